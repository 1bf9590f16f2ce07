use super::*;

/// Reads a text in pieces of this size: row by row, line, fields with a mark for quoted ones, and
/// the fault.
fn rows_of(text: &[u8], piece: usize) -> Vec<String> {
    struct Pieces<'a>(&'a [u8], usize);
    impl Read for Pieces<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let length = self.1.min(self.0.len()).min(into.len());
            into[..length].copy_from_slice(&self.0[..length]);
            self.0 = &self.0[length..];
            Ok(length)
        }
    }
    let mut reader = CsvReader::new(Pieces(text, piece));
    let mut rows = Vec::new();
    while let Some(row) = reader.read().unwrap() {
        let fields = (0..row.len()).map(|number| {
            let field = row.field(number);
            let text = String::from_utf8_lossy(field.text);
            if field.quoted {
                format!("q:{text}")
            } else {
                text.into_owned()
            }
        });
        let fields = fields.collect::<Vec<_>>().join("|");
        let fault = row.fault.map(|fault| format!(" ! {fault}"));
        rows.push(format!(
            "{} {fields}{}",
            row.line,
            fault.unwrap_or_default()
        ));
    }
    rows
}

fn rows(text: &str) -> Vec<String> {
    let whole = rows_of(text.as_bytes(), usize::MAX);
    for piece in [1, 2, 3, 7] {
        assert_eq!(
            rows_of(text.as_bytes(), piece),
            whole,
            "in pieces of {piece}"
        );
    }
    whole
}

#[test]
fn a_quoted_field_is_told_from_an_unquoted_one() {
    assert_eq!(rows("NULL,\"NULL\",,\"\"\n"), ["1 NULL|q:NULL||q:"]);
}

#[test]
fn quotes_hold_commas_quotes_and_lines() {
    let text = "1,\"a,b\",\"say \"\"hi\"\"\"\r\n2,\"two\nlines\r\n\",\"\"\"\"\n3,x,y";
    assert_eq!(
        rows(text),
        [
            "1 1|q:a,b|q:say \"hi\"",
            "2 2|q:two\nlines\r\n|q:\"",
            "5 3|x|y"
        ]
    );
}

#[test]
fn a_last_line_needs_no_end_and_an_empty_line_is_a_row_of_one_empty_field() {
    assert_eq!(rows("a\n\nb"), ["1 a", "2 ", "3 b"]);
    assert_eq!(rows("a,\n"), ["1 a|"]);
    assert_eq!(rows(""), [""; 0]);
}

#[test]
fn a_byte_order_mark_is_no_text() {
    assert_eq!(rows("\u{feff}a,b\n"), ["1 a|b"]);
    assert_eq!(rows("\u{feff}"), [""; 0]);
    assert_eq!(rows("a\n\u{feff}b\n"), ["1 a", "2 \u{feff}b"]);
}

#[test]
fn a_row_of_a_wrong_form_says_why_and_the_next_one_is_read() {
    assert_eq!(
        rows("1,a\"b\n2,\"c\"d,e\n3,f\rg\n4,h\n"),
        [
            "1 1 ! a quote inside of an unquoted field",
            "2 2 ! text behind a closing quote",
            "3 3 ! a carriage return without a line feed outside of quotes",
            "4 4|h"
        ]
    );
    assert_eq!(
        rows("1,\"a\n2,b\n"),
        ["1 1 ! a quote that is not closed", "2 2|b"]
    );
    assert_eq!(
        rows("1,\"a\"\"\n2\"x,b\n3,c\n"),
        ["1 1 ! text behind a closing quote", "3 3|c"]
    );
}

#[test]
fn a_row_longer_than_the_limit_is_an_error() {
    let text = [b"1,\"".to_vec(), vec![b'x'; LONGEST_ROW]].concat();
    let mut reader = CsvReader::new(&*text);
    let error = reader.read().err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    assert!(
        error
            .to_string()
            .contains("line 1: a row of more than 16 MiB")
    );
}

#[test]
fn whatever_is_written_is_read_back() {
    let mut random = fastrand::Rng::with_seed(7);
    let alphabet = ["a", "Z", "0", ",", "\"", "\n", "\r\n", "é", "NULL", " "];
    for _ in 0..2_000 {
        let mut text = String::new();
        let mut expected = Vec::new();
        let mut line = 1;
        for _ in 0..random.usize(1..6) {
            let mut fields = Vec::new();
            let begins = line;
            for i in 0..random.usize(1..5) {
                let value: String = (0..random.usize(0..6))
                    .map(|_| *random.choice(&alphabet).unwrap())
                    .collect();
                let quoted = random.bool() || value.contains([',', '"', '\n', '\r']);
                if i > 0 {
                    text.push(',');
                }
                if quoted {
                    text.push_str(&format!("\"{}\"", value.replace('"', "\"\"")));
                    line += value.matches('\n').count();
                    fields.push(format!("q:{value}"));
                } else {
                    text.push_str(&value);
                    fields.push(value);
                }
            }
            text.push_str(if random.bool() { "\n" } else { "\r\n" });
            expected.push(format!("{begins} {}", fields.join("|")));
            line += 1;
        }
        assert_eq!(rows_of(text.as_bytes(), random.usize(1..40)), expected);
    }
}
