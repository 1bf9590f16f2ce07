//! Rows of CSV as RFC 4180 has them, read from a stream of any length in constant memory.
//!
//! This reader tells a quoted field from an unquoted one, which the `csv` crate does not: for a
//! database an unquoted `NULL` is no value, and a quoted one is text. It keeps the raw text of a
//! row and its line, and does not allocate for a row. Lines end with `\n` or `\r\n`.

use std::io::{self, Read};

use memchr::memchr;

/// No row is longer: an unclosed quote must not read the rest of a large file into memory.
pub const LONGEST_ROW: usize = 16 << 20;

/// What is read at once.
const CHUNK: usize = 128 << 10;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Reads rows.
pub struct CsvReader<R> {
    source: R,
    buffer: Vec<u8>,
    /// Unread bytes of the buffer.
    start: usize,
    end: usize,
    ended: bool,
    /// Line of the next row.
    line: u64,
    fields: Vec<Place>,
    unescaped: Vec<u8>,
}

/// A row: its fields, or what is wrong with its form.
#[derive(Clone, Copy)]
pub struct CsvRow<'a> {
    /// The line where it begins, from 1.
    pub line: u64,
    /// Its text as it came, without the line's end.
    pub raw: &'a [u8],
    /// What is wrong, where it is no row of RFC 4180; the fields up to there are readable.
    pub fault: Option<&'static str>,
    fields: &'a [Place],
    unescaped: &'a [u8],
}

/// A field without its quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CsvField<'a> {
    /// Its text, which need not be UTF-8.
    pub text: &'a [u8],
    /// Whether it stood in quotes.
    pub quoted: bool,
}

#[derive(Clone, Copy)]
struct Place {
    start: usize,
    end: usize,
    quoted: bool,
    /// Whether the place is one in `unescaped`, because the field had doubled quotes.
    unescaped: bool,
}

/// A row in the buffer.
struct Scanned {
    /// Its length without the line's end.
    raw: usize,
    /// Where the next row begins.
    next: usize,
    lines: u64,
    fault: Option<&'static str>,
}

impl<'a> CsvRow<'a> {
    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there are none, which is so only for a row whose form is wrong.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// A field, from 0.
    pub fn field(&self, number: usize) -> CsvField<'a> {
        let place = self.fields[number];
        let whole = if place.unescaped {
            self.unescaped
        } else {
            self.raw
        };
        CsvField {
            text: &whole[place.start..place.end],
            quoted: place.quoted,
        }
    }
}

impl<R: Read> CsvReader<R> {
    /// Reads from `source`, which need not be buffered.
    pub fn new(source: R) -> CsvReader<R> {
        CsvReader {
            source,
            buffer: vec![0; CHUNK],
            start: 0,
            end: 0,
            ended: false,
            line: 1,
            fields: Vec::new(),
            unescaped: Vec::new(),
        }
    }

    /// Where the rows come from.
    pub fn source(&self) -> &R {
        &self.source
    }

    /// The next row, or nothing behind the last one.
    ///
    /// # Errors
    /// Those of the source, and `FileTooLarge` for a row longer than [`LONGEST_ROW`].
    // An iterator could not lend its row.
    pub fn read(&mut self) -> io::Result<Option<CsvRow<'_>>> {
        let scanned = loop {
            let text = &self.buffer[self.start..self.end];
            if text.is_empty() && self.ended {
                return Ok(None);
            }
            let scanned = scan(text, self.ended, &mut self.fields, &mut self.unescaped);
            match scanned {
                Some(scanned) => break scanned,
                None => self.fill()?,
            }
        };
        let start = self.start;
        let line = self.line;
        self.start += scanned.next;
        self.line += scanned.lines;
        Ok(Some(CsvRow {
            line,
            raw: &self.buffer[start..start + scanned.raw],
            fault: scanned.fault,
            fields: &self.fields,
            unescaped: &self.unescaped,
        }))
    }

    /// Reads more behind the bytes that are there.
    fn fill(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.end == self.buffer.len() {
            if self.end >= LONGEST_ROW {
                let words = format!(
                    "line {}: a row of more than {} MiB; perhaps a quote is not closed",
                    self.line,
                    LONGEST_ROW >> 20
                );
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, words));
            }
            self.buffer.resize(self.end * 2, 0);
        }
        let first = self.line == 1 && self.end < BYTE_ORDER_MARK.len();
        let read = loop {
            match self.source.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.end += read;
        self.ended = read == 0;
        if first && self.buffer[..self.end].starts_with(BYTE_ORDER_MARK) {
            self.start = BYTE_ORDER_MARK.len();
        }
        Ok(())
    }
}

/// Finds the row at the beginning of `text`; nothing when it does not end there and more may
/// follow (`last` is false).
fn scan(
    text: &[u8],
    last: bool,
    fields: &mut Vec<Place>,
    unescaped: &mut Vec<u8>,
) -> Option<Scanned> {
    fields.clear();
    unescaped.clear();
    // A mark of three bytes may come in pieces, and is no row.
    if !last && text.len() < BYTE_ORDER_MARK.len() {
        return None;
    }
    let mut lines = 1;
    let mut at = 0;
    loop {
        if text.get(at) == Some(&b'"') {
            let quoted = scan_quoted(text, at + 1, last, fields, unescaped, &mut lines)?;
            match quoted {
                Ok(end) => at = end,
                Err(from) => return faulty(text, from, last, "a quote that is not closed"),
            }
        } else {
            let end = text[at..]
                .iter()
                .position(|byte| matches!(byte, b',' | b'\n' | b'\r' | b'"'));
            let end = end.map_or(text.len(), |length| at + length);
            fields.push(Place {
                start: at,
                end,
                quoted: false,
                unescaped: false,
            });
            at = end;
        }
        let ended = |next: usize| {
            Some(Scanned {
                raw: at,
                next,
                lines,
                fault: None,
            })
        };
        match text.get(at) {
            Some(b',') => at += 1,
            Some(b'\n') => return ended(at + 1),
            Some(b'\r') if text.get(at + 1) == Some(&b'\n') => return ended(at + 2),
            Some(b'\r') if at + 1 == text.len() && !last => return None,
            None if last => return ended(at),
            None => return None,
            Some(other) => {
                let closed = fields.last().is_some_and(|field| field.quoted);
                let fault = match other {
                    b'\r' => "a carriage return without a line feed outside of quotes",
                    _ if closed => "text behind a closing quote",
                    _ => "a quote inside of an unquoted field",
                };
                fields.pop();
                return faulty(text, at, last, fault);
            }
        }
    }
}

/// Reads a quoted field whose text begins at `start`; gives the place behind its closing quote,
/// or as the error the end of the text when there is no such quote, or nothing when more may
/// follow.
fn scan_quoted(
    text: &[u8],
    start: usize,
    last: bool,
    fields: &mut Vec<Place>,
    unescaped: &mut Vec<u8>,
    lines: &mut u64,
) -> Option<Result<usize, usize>> {
    let (mut from, begun) = (start, unescaped.len());
    let mut doubled = false;
    loop {
        let Some(length) = memchr(b'"', &text[from..]) else {
            return last.then_some(Err(start));
        };
        let quote = from + length;
        *lines += newlines(&text[from..quote]);
        match text.get(quote + 1) {
            Some(b'"') => {
                doubled = true;
                unescaped.extend_from_slice(&text[from..=quote]);
                from = quote + 2;
            }
            None if !last => return None,
            _ => {
                let (start, end) = if doubled {
                    unescaped.extend_from_slice(&text[from..quote]);
                    (begun, unescaped.len())
                } else {
                    (start, quote)
                };
                fields.push(Place {
                    start,
                    end,
                    quoted: true,
                    unescaped: doubled,
                });
                return Some(Ok(quote + 1));
            }
        }
    }
}

/// A row of a wrong form ends with the line on which that shows.
fn faulty(text: &[u8], from: usize, last: bool, fault: &'static str) -> Option<Scanned> {
    let (raw, next) = match memchr(b'\n', &text[from..]) {
        Some(length) => (from + length, from + length + 1),
        None if last => (text.len(), text.len()),
        None => return None,
    };
    Some(Scanned {
        raw,
        next,
        lines: newlines(&text[..next]),
        fault: Some(fault),
    })
}

fn newlines(text: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', text).count() as u64
}

#[cfg(test)]
mod tests;
