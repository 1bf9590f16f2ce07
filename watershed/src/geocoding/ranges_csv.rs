//! The CSV from which a file of address ranges is built. Its values are public, so that errors may
//! quote them.

use std::io::Read;

use csv::ByteRecord;

use super::{Tract, street};
use crate::error::{Error, OrFail, Remedy, Result};

const COLUMNS: [&str; 6] = ["street", "zip", "side", "from", "to", "tract"];

const SIDES: [&str; 3] = ["even", "odd", "both"];

/// More would not help: they tend to have one cause.
const MOST_FAULTS: usize = 20;

/// A row of the CSV, as it is kept.
pub(super) struct Range {
    pub(super) street: String,
    pub(super) zip: String,
    pub(super) side: &'static str,
    pub(super) first: u32,
    pub(super) last: u32,
    pub(super) tract: Tract,
}

/// Reads all rows, and hands on those before the first fault.
///
/// # Errors
/// [`Remedy::FixData`] with the faults, [`Remedy::FixAccess`] when reading failed, or what `take`
/// failed with.
pub(super) fn read(
    csv: impl Read,
    csv_name: &str,
    mut take: impl FnMut(Range) -> Result<()>,
) -> Result<()> {
    let reading = || format!("reading address ranges from {csv_name}");
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        // The CR of CRLF is trimmed: as a terminator, it would put the line numbers out by one.
        .terminator(csv::Terminator::Any(b'\n'))
        .trim(csv::Trim::All)
        .from_reader(csv);
    let mut faults = Vec::new();
    let header = reader.byte_headers().or_fail(Remedy::FixAccess, reading)?;
    if let Some(places) = places(header, &mut faults) {
        let mut rows = 0;
        let mut row = ByteRecord::new();
        while faults.len() < MOST_FAULTS
            && reader
                .read_byte_record(&mut row)
                .or_fail(Remedy::FixAccess, reading)?
        {
            let is_empty_line = row.len() == 1 && row[0].is_empty();
            if is_empty_line {
                continue;
            }
            rows += 1;
            let range = range(&row, places, &mut faults);
            if let Some(range) = range.filter(|_| faults.is_empty()) {
                take(range)?;
            }
        }
        if rows == 0 {
            faults.push("there is no row behind the header".to_owned());
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    if faults.len() >= MOST_FAULTS {
        faults.truncate(MOST_FAULTS);
        faults.push("and no further was read".to_owned());
    }
    Err(Error::new(Remedy::FixData, reading()).caused_by(faults.join("; ")))
}

/// Where in a row each of [`COLUMNS`] is.
fn places(header: &ByteRecord, faults: &mut Vec<String>) -> Option<[usize; 6]> {
    let line = line(header);
    for name in header {
        if !COLUMNS.iter().any(|column| column.as_bytes() == name) {
            let expected = COLUMNS.join(", ");
            let name = quoted(name);
            faults.push(format!("line {line}: column {name} is none of {expected}"));
        }
    }
    let places = COLUMNS.map(|column| {
        let mut found = (0..header.len()).filter(|&i| &header[i] == column.as_bytes());
        let place = found.next();
        if place.is_none() {
            faults.push(format!("line {line}: column {column} is missing"));
        }
        if found.next().is_some() {
            faults.push(format!("line {line}: column {column} is there twice"));
        }
        place.unwrap_or_default()
    });
    faults.is_empty().then_some(places)
}

/// A row as a range; or nothing, and what is wrong with each of its values.
fn range(row: &ByteRecord, places: [usize; 6], faults: &mut Vec<String>) -> Option<Range> {
    if row.len() != COLUMNS.len() {
        let (line, number, expected) = (line(row), row.len(), COLUMNS.len());
        faults.push(format!("line {line}: {number} values, expected {expected}"));
        return None;
    }
    let [street, zip_code, side, from, to, tract] = places.map(|place| &row[place]);
    let mut cell = Cells {
        line: line(row),
        faults,
    };
    let street = cell.parse("street", street, "the name of a street", street::normalise);
    let zip = cell.parse("zip", zip_code, "five digits", street::zip);
    let side = cell.parse("side", side, "even, odd or both", |side| {
        SIDES.into_iter().find(|one| *one == side)
    });
    let first = cell.parse("from", from, "a house number", street::house_number);
    let last = cell.parse(
        "to",
        to,
        "a house number that is not below \"from\"",
        |to| street::house_number(to).filter(|&last| first.is_none_or(|first| first <= last)),
    );
    let tract = cell.parse("tract", tract, "eleven digits", |geoid| Tract::new(geoid));
    Some(Range {
        street: street?,
        zip: zip?,
        side: side?,
        first: first?,
        last: last?,
        tract: tract?,
    })
}

/// The cells of a line, and all faults so far.
struct Cells<'a> {
    line: u64,
    faults: &'a mut Vec<String>,
}

impl Cells<'_> {
    fn parse<T>(
        &mut self,
        column: &str,
        value: &[u8],
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let (parsed, expected) = match std::str::from_utf8(value) {
            Ok(text) => (parse(text), expected),
            Err(_) => (None, "UTF-8"),
        };
        if parsed.is_none() {
            let (line, value) = (self.line, quoted(value));
            let fault = format!("line {line}, column {column}: {value}, expected {expected}");
            self.faults.push(fault);
        }
        parsed
    }
}

/// The line on which a row begins, or that of the first empty line before it; they count from 1.
fn line(row: &ByteRecord) -> u64 {
    row.position().map_or(1, csv::Position::line)
}

/// A value for an error, on one line and of bearable length.
fn quoted(value: &[u8]) -> String {
    let value: String = String::from_utf8_lossy(value).chars().take(60).collect();
    format!("{value:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "street,zip,side,from,to,tract";

    /// The faults of a CSV.
    #[track_caller]
    fn faults(csv: &[u8]) -> String {
        let error = read(csv, "streets.csv", |_| Ok(())).unwrap_err();
        assert_eq!(error.remedy(), Remedy::FixData);
        let line = error.in_one_line();
        let faults = line.strip_prefix("reading address ranges from streets.csv: ");
        faults.unwrap().to_owned()
    }

    #[test]
    fn faults_name_line_column_value_and_what_was_expected() {
        let good = "Otter St,10099,even,2,98,36000000001";
        for (row, fault) in [
            (
                "!!,10099,even,2,98,36000000001",
                r#"column street: "!!", expected the name of a street"#,
            ),
            (
                "A,1099,even,2,98,36000000001",
                r#"column zip: "1099", expected five digits"#,
            ),
            (
                "A,10099,left,2,98,36000000001",
                r#"column side: "left", expected even, odd or both"#,
            ),
            (
                "A,10099,even,x,98,36000000001",
                r#"column from: "x", expected a house number"#,
            ),
            (
                "A,10099,even,2,-1,36000000001",
                r#"column to: "-1", expected a house number that is not below "from""#,
            ),
            (
                "A,10099,even,20,4,36000000001",
                r#"column to: "4", expected a house number that is not below "from""#,
            ),
            (
                "A,10099,even,2,4,3600000001",
                r#"column tract: "3600000001", expected eleven digits"#,
            ),
        ] {
            for end in ["\n", "\r\n"] {
                let csv = [HEADER, good, row, good, "", ""].join(end);
                assert_eq!(faults(csv.as_bytes()), format!("line 3, {fault}"));
            }
        }
        let csv = format!("{HEADER}\n{good},more\nOtter St\n");
        assert_eq!(
            faults(csv.as_bytes()),
            "line 2: 7 values, expected 6; line 3: 1 values, expected 6"
        );
        let csv = [HEADER.as_bytes(), b"\nCaf\xe9,10099,even,2,4,36000000001\n"].concat();
        assert_eq!(
            faults(&csv),
            "line 2, column street: \"Caf\u{fffd}\", expected UTF-8"
        );
    }

    #[test]
    fn faults_are_reported_together_up_to_twenty() {
        let faults_of =
            |rows: usize| faults(format!("{HEADER}{}", "\nA,1,up,1,1,1".repeat(rows)).as_bytes());
        assert_eq!(faults_of(2).matches("expected").count(), 6);
        assert!(!faults_of(2).contains("and no further was read"));
        assert_eq!(faults_of(50).matches("expected").count(), 20);
        assert!(faults_of(50).ends_with("; and no further was read"));
    }

    #[test]
    fn the_header_has_the_six_columns_in_any_order() {
        let all = "street, zip, side, from, to, tract";
        assert_eq!(
            faults(b"street,zip,side,from,geoid,to,to\n"),
            format!(
                "line 1: column \"geoid\" is none of {all}; line 1: column to is there twice; \
             line 1: column tract is missing"
            )
        );
        assert!(faults(b"").contains("column street is missing"));
        assert_eq!(
            faults(HEADER.as_bytes()),
            "there is no row behind the header"
        );

        let csv = "\u{feff}tract,to,from,side,zip,street\n36000000001,9,1,odd,10099,\"Otter St\"\n";
        read(csv.as_bytes(), "streets.csv", |range| {
            assert_eq!(
                (range.street.as_str(), range.zip.as_str()),
                ("OTTER ST", "10099")
            );
            assert_eq!((range.side, range.first, range.last), ("odd", 1, 9));
            assert_eq!(range.tract.as_str(), "36000000001");
            Ok(())
        })
        .unwrap();
    }
}
