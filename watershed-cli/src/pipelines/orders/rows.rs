//! From a file's bytes to rows of values: gunzip, CSV, types. It runs on a thread of its own,
//! beside the one that talks to the database, and does not allocate for a row.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::read::MultiGzDecoder;
use watershed::error::{Error, OrFail as _, Remedy, Result};
use watershed::formats::csv::{CsvReader, CsvRow};
use watershed::formats::values::{ColumnType, Scalar, ValueReader};

use super::entities::{Column, Entity};
use super::feed::{Feed, our_error};
use super::progress::Progress;

/// What becomes of rows.
pub(super) trait Rows {
    /// A row begins. Its values follow in the order of the columns.
    fn begin(&mut self, line: u64, operation: Operation);
    /// A value, or none.
    fn value(&mut self, place: usize, kind: ColumnType, value: Option<Scalar<'_>>);
    /// The row that was begun is none.
    fn undo(&mut self);
    /// The row is complete. What it gives is a fault of the row, such as a key that came before.
    fn end(&mut self) -> Result<Option<Unfit>>;
    /// A row is set aside.
    fn reject(&mut self, reject: Reject) -> Result<()>;
}

/// What a row of changes says of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// Inserted or updated: afterwards the key is there.
    Put,
    Delete,
}

/// A row that was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reject {
    pub line: u64,
    /// As it came, but that what is no text is replaced.
    pub raw: String,
    pub reason: String,
}

/// Why a row cannot be applied.
#[derive(Debug)]
pub(super) struct Unfit {
    /// Column and shortened value, where it is about one.
    place: Option<(String, String)>,
    expected: String,
}

/// How a file is read.
pub(super) struct Reading<'a> {
    pub entity: &'a Entity,
    /// Its key in the bucket, for messages.
    pub key: &'a str,
    pub full_load: bool,
    pub quarantine: bool,
}

/// What was in a file.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FileRead {
    /// Rows, those set aside included.
    pub rows: u64,
    pub rejected: u64,
    pub max_event_id: Option<i64>,
}

/// Values in messages are no longer than this many characters.
const SHORT: usize = 40;

impl Unfit {
    pub(super) fn new(expected: impl Into<String>) -> Unfit {
        Unfit {
            place: None,
            expected: expected.into(),
        }
    }

    pub(super) fn of_column(column: &str, value: &[u8], expected: impl Into<String>) -> Unfit {
        Unfit {
            place: Some((column.to_owned(), shortened(value))),
            expected: expected.into(),
        }
    }

    /// For the one who reads `loader_rejects`, who has the line beside it.
    pub(super) fn reason(&self) -> String {
        match &self.place {
            Some((column, value)) => {
                format!("column {column}: `{value}`: expected {}", self.expected)
            }
            None => format!("expected {}", self.expected),
        }
    }

    pub(super) fn error(&self, key: &str, line: u64) -> Error {
        let what = format!("reading {key}: line {line}, {}", self.reason());
        Error::new(Remedy::FixData, what).with_hint(
            "mend the file where it comes from; or ON_BAD_ROW=quarantine sets such rows aside",
        )
    }
}

impl Reading<'_> {
    /// Whether the rows begin with an operation.
    pub(super) fn has_operation(&self) -> bool {
        !self.full_load || self.entity.form.operation_in_full_load
    }

    /// Fields of a row before those of the columns.
    fn lead(&self) -> usize {
        usize::from(self.has_operation()) + usize::from(self.entity.form.timestamp_column)
    }

    /// Reads a whole file.
    ///
    /// # Errors
    /// [`Remedy::FixData`] for a file that is none, and for a row that does not fit unless such
    /// rows are set aside; those of the feed and of `rows`.
    pub(super) fn read(
        &self,
        feed: Feed,
        rows: &mut impl Rows,
        progress: &Progress,
    ) -> Result<FileRead> {
        let fetched = feed.progress();
        if self.key.ends_with(".gz") {
            // A stream of no bytes is no gzip, which the decoder takes for the end of one.
            let decoder = NotEmpty::new(feed, MultiGzDecoder::new);
            self.read_csv(decoder, rows, progress, &fetched)
        } else {
            self.read_csv(feed, rows, progress, &fetched)
        }
    }

    fn read_csv(
        &self,
        source: impl Read,
        rows: &mut impl Rows,
        progress: &Progress,
        fetched: &AtomicU64,
    ) -> Result<FileRead> {
        let mut csv = CsvReader::new(source);
        let mut values = ValueReader::default();
        let mut read = FileRead::default();
        let mut header = self.entity.form.header;
        loop {
            let row = match csv.read() {
                Ok(Some(row)) => row,
                Ok(None) => break,
                Err(error) => return Err(self.unreadable(error, read.rows)),
            };
            if std::mem::take(&mut header) {
                self.check_header(&row)?;
                continue;
            }
            read.rows += 1;
            let unfit = match self.row(&row, &mut values, rows, &mut read.max_event_id) {
                Ok(()) => rows.end()?,
                Err(unfit) => {
                    rows.undo();
                    Some(unfit)
                }
            };
            if let Some(unfit) = unfit {
                if !self.quarantine {
                    let error = unfit.error(self.key, row.line);
                    return Err(self.cause_of(error, csv, read.rows));
                }
                read.rejected += 1;
                rows.reject(rejected(&row, unfit.reason()))?;
            }
            if read.rows % 1_024 == 0 {
                progress.tell(read.rows, fetched.load(Ordering::Relaxed));
            }
        }
        Ok(read)
    }

    /// Reads the values of a row.
    fn row(
        &self,
        row: &CsvRow<'_>,
        values: &mut ValueReader,
        rows: &mut impl Rows,
        max_event_id: &mut Option<i64>,
    ) -> Result<(), Unfit> {
        let entity = self.entity;
        let lead = self.lead();
        // Begun first, so that whatever is found can be undone.
        let operation = self.operation(row);
        rows.begin(row.line, *operation.as_ref().unwrap_or(&Operation::Put));
        if let Some(fault) = row.fault {
            return Err(Unfit::new(format!("a row of CSV, found {fault}")));
        }
        if row.len() != lead + entity.columns.len() {
            return Err(Unfit::new(format!(
                "{} columns, found {}",
                lead + entity.columns.len(),
                row.len()
            )));
        }
        let operation = operation?;
        let null = entity.form.null_value.as_bytes();
        let mut event_id = None;
        for (place, column) in entity.columns.iter().enumerate() {
            let field = row.field(lead + place);
            // A row that is deleted needs its key alone; what else it tells may be missing.
            let needed = operation == Operation::Put || entity.key.contains(&place);
            let is_event = entity.event_id == Some(place);
            if !field.quoted && field.text == null {
                if column.not_null && needed {
                    return Err(Unfit::of_column(
                        &column.name,
                        field.text,
                        not_null(entity, place),
                    ));
                }
                rows.value(place, column.kind, None);
                continue;
            }
            if !needed && !is_event {
                rows.value(place, column.kind, None);
                continue;
            }
            match values.read(column.kind, field.text) {
                Ok(value) => {
                    if let (true, Scalar::Integer(id)) = (is_event, value) {
                        event_id = Some(id);
                    }
                    rows.value(place, column.kind, Some(value).filter(|_| needed));
                }
                Err(_) if !needed => rows.value(place, column.kind, None),
                Err(unfit) => {
                    let expected = column.kind.expected(unfit);
                    return Err(Unfit::of_column(&column.name, field.text, expected));
                }
            }
        }
        *max_event_id = (*max_event_id).max(event_id);
        Ok(())
    }

    fn operation(&self, row: &CsvRow<'_>) -> Result<Operation, Unfit> {
        if !self.has_operation() || row.is_empty() {
            return Ok(Operation::Put);
        }
        let text = row.field(0).text;
        match text {
            b"I" => Ok(Operation::Put),
            b"U" if !self.full_load => Ok(Operation::Put),
            b"D" if !self.full_load => Ok(Operation::Delete),
            _ if self.full_load => Err(Unfit::of_column("operation", text, "I in a full load")),
            _ => Err(Unfit::of_column("operation", text, "I, U or D")),
        }
    }

    /// What is corrupt may decompress to rows that do not fit; only its end, with the check sum,
    /// tells that it is not they that are wrong.
    fn cause_of(&self, error: Error, mut csv: CsvReader<impl Read>, rows: u64) -> Error {
        if !self.key.ends_with(".gz") {
            return error;
        }
        loop {
            match csv.read() {
                Ok(Some(_)) => {}
                Ok(None) => return error,
                Err(unreadable) if unreadable.kind() == io::ErrorKind::FileTooLarge => {
                    return error;
                }
                Err(unreadable) => return self.unreadable(unreadable, rows),
            }
        }
    }

    /// The names must be those of the columns, in their order; what the migration task calls its
    /// own columns is its business.
    fn check_header(&self, row: &CsvRow<'_>) -> Result<()> {
        let lead = self.lead();
        let columns = &self.entity.columns;
        let wrong = |what: String| {
            Err(Error::new(
                Remedy::FixData,
                format!("reading {}: line 1, the header: {what}", self.key),
            )
            .with_hint("its names must be the columns of the entity, in their order"))
        };
        if row.len() != lead + columns.len() {
            return wrong(format!(
                "expected {} columns, found {}",
                lead + columns.len(),
                row.len()
            ));
        }
        for (place, Column { name, .. }) in columns.iter().enumerate() {
            let there = row.field(lead + place).text;
            if !there.eq_ignore_ascii_case(name.as_bytes()) {
                return wrong(format!("expected `{name}`, found `{}`", shortened(there)));
            }
        }
        Ok(())
    }

    /// The source failed, or the decoder found no gzip.
    fn unreadable(&self, error: io::Error, rows: u64) -> Error {
        let error = match our_error(error) {
            Ok(ours) => return ours,
            Err(error) => error,
        };
        let what = if self.key.ends_with(".gz") && error.kind() != io::ErrorKind::FileTooLarge {
            format!(
                "reading {}: truncated or corrupt gzip behind row {rows}",
                self.key
            )
        } else {
            format!("reading {}: behind row {rows}", self.key)
        };
        Error::new(Remedy::FixData, what)
            .caused_by(error)
            .with_hint("write the file again; a new version of it is a new delivery")
    }
}

fn not_null(entity: &Entity, place: usize) -> &'static str {
    if entity.key.contains(&place) {
        "a value, because the column belongs to the key"
    } else {
        "a value, because the column is not null"
    }
}

/// A row with its text as PostgreSQL can hold it.
pub(super) fn rejected(row: &CsvRow<'_>, reason: String) -> Reject {
    Reject {
        line: row.line,
        raw: String::from_utf8_lossy(row.raw).replace('\0', "\u{fffd}"),
        reason,
    }
}

pub(super) fn shortened(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(&value[..value.len().min(4 * SHORT + 4)]);
    let mut characters = text.chars();
    let mut short: String = characters
        .by_ref()
        .take(SHORT)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if characters.next().is_some() || value.len() > 4 * SHORT + 4 {
        short.push('…');
    }
    short
}

/// Reads the raw text of some rows again; each comes with why it is set aside.
pub(super) fn read_raw(
    feed: Feed,
    key: &str,
    mut reasons: BTreeMap<u64, String>,
) -> Result<Vec<Reject>> {
    let source: Box<dyn Read> = match key.ends_with(".gz") {
        true => Box::new(MultiGzDecoder::new(feed)),
        false => Box::new(feed),
    };
    let mut csv = CsvReader::new(source);
    let mut rejects = Vec::new();
    while !reasons.is_empty() {
        let row = csv
            .read()
            .or_fail(Remedy::TryAgain, || format!("reading {key} again"))?;
        let Some(row) = row else {
            break;
        };
        rejects.extend(
            reasons
                .remove(&row.line)
                .map(|reason| rejected(&row, reason)),
        );
    }
    Ok(rejects)
}

/// Puts a decoder over a source.
type Decode<R, D> = fn(Begun<R>) -> D;

/// Finds that a source has no bytes at all before a decoder is put over it.
struct NotEmpty<R, D> {
    source: Option<(R, Decode<R, D>)>,
    decoder: Option<D>,
}

/// A source whose first byte was read already.
struct Begun<R> {
    first: Option<u8>,
    rest: R,
}

impl<R: Read, D: Read> NotEmpty<R, D> {
    fn new(source: R, decoder: fn(Begun<R>) -> D) -> NotEmpty<R, D> {
        NotEmpty {
            source: Some((source, decoder)),
            decoder: None,
        }
    }
}

impl<R: Read, D: Read> Read for NotEmpty<R, D> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if let Some((mut rest, decoder)) = self.source.take() {
            let mut first = [0];
            if rest.read(&mut first)? == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the file is empty",
                ));
            }
            let begun = Begun {
                first: Some(first[0]),
                rest,
            };
            self.decoder = Some(decoder(begun));
        }
        self.decoder
            .as_mut()
            .map_or(Ok(0), |decoder| decoder.read(into))
    }
}

impl<R: Read> Read for Begun<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match (self.first.take(), into) {
            (Some(first), [place, ..]) => {
                *place = first;
                Ok(1)
            }
            (None, into) => self.rest.read(into),
            (first, []) => {
                self.first = first;
                Ok(0)
            }
        }
    }
}
