//! The files that a new loader begins with, its types guessed from a sample.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use watershed::connectors::sql::identifier;
use watershed::error::{Error, OrFail as _, Remedy, Result};
use watershed::formats::csv::{CsvReader, CsvRow};
use watershed::formats::values::{ColumnType, ValueReader};

use super::names::Place;

/// Rows of a sample that are looked at.
const ROWS: usize = 10_000;

/// The text of the entities' file.
///
/// # Errors
/// [`Remedy::FixData`] for a sample that cannot be read.
pub fn entities(name: &str, sample: Option<&Path>) -> Result<String> {
    let guessed = sample.map(Guessed::read).transpose()?;
    let (header, entity) = match &guessed {
        Some(guessed) => (guessed.header, guessed.yaml()),
        None => (false, EXAMPLE.to_owned()),
    };
    Ok(format!(
        "\
# What the loader `{name}` loads. Every fault of this file is told by
#   watershed check orders --env {name}

source: {name}           # \"ds\" in notifications, and the first part of their topic
process: load            # \"id\" in notifications; with the source it names the lock
schema: dbo              # the folder in the bucket: <bucket_path>/dbo/<entity>/LOAD00000001.csv.gz
# event_id: event_id     # a column whose highest value is reported

# How the migration task writes its files:
header: {header}            # the first row has the columns' names
operation_in_full_load: false
timestamp_column: false  # the time of the commit follows the operation
null_value: \"NULL\"       # what stands, unquoted, for no value

# Types: smallint int bigint numeric(p,s) double text varchar(n) boolean date time timestamp timestamptz
# uuid jsonb bytea, each with `not null` or without. An entity that others belong to stands before them.
entities:
{entity}"
    ))
}

const EXAMPLE: &str = "\
\x20 - name: customer         # the folder in the bucket
    # table: sales.customer  # the target's table; default: the name
    # snapshot: true         # each full-load file is the complete table: keys that it lacks are removed
    key: [customer_id]
    columns:
      customer_id: bigint
      name: text not null
      balance: numeric(18,2)
      changed_at: timestamptz
";

/// The text of the settings' file.
pub fn settings(name: &str, entities: &str) -> String {
    format!(
        "\
# Settings of the loader `{name}`. Every setting with its default: docs/reference.md.
#   watershed check orders --env {name}
#   watershed run orders --env {name} --dry-run
#   watershed run orders --env {name}
#
# Secrets come from the environment, or encrypted from ENCRYPTED_VARIABLES (watershed config encrypt):
#   SOURCE='bucket_endpoint=… bucket_id=… bucket_key=… bucket_name=… bucket_path=…', or s3://bucket/path, or file:folder
#   TARGET='user=… password=… host=… port=5432 dbname=…', or postgres://…, or sqlite:path
#   NATS='nats://user:password@host:4222', or file:path; without it nobody is told

PLAINTEXT_VARIABLES:
  ENTITIES: {entities}
  RUN_AS_SERVICE: True     # False: apply what waits, and end
  MIN_SLEEP: 15
  MAX_SLEEP: 30
  ON_BAD_ROW: stop         # quarantine: set such rows aside in loader_rejects

ENCRYPTED_VARIABLES: {{}}
"
    )
}

/// What a sample looks like.
struct Guessed {
    entity: String,
    header: bool,
    columns: Vec<Guess>,
    rows: usize,
}

struct Guess {
    name: String,
    candidates: Vec<ColumnType>,
    /// The most digits before and behind the point.
    digits: (usize, usize),
    has_null: bool,
    has_value: bool,
}

/// What a text may be, the narrowest first.
const CANDIDATES: [ColumnType; 10] = [
    ColumnType::Boolean,
    ColumnType::BigInt,
    ColumnType::Numeric(None),
    ColumnType::Double,
    ColumnType::Date,
    ColumnType::Time,
    ColumnType::TimestampTz,
    ColumnType::Uuid,
    ColumnType::Bytea,
    ColumnType::Jsonb,
];

impl Guessed {
    fn read(path: &Path) -> Result<Guessed> {
        let what = || format!("reading the sample {}", path.display());
        let file = File::open(path).or_fail(Remedy::FixSettings, what)?;
        let source: Box<dyn Read> = match path.extension().is_some_and(|ending| ending == "gz") {
            true => Box::new(MultiGzDecoder::new(file)),
            false => Box::new(file),
        };
        let guessed = Guessed::from_rows(entity_of(path), source).or_fail(Remedy::FixData, what)?;
        guessed
            .ok_or_else(|| Error::new(Remedy::FixData, what()).caused_by("it has no rows of CSV"))
    }

    fn from_rows(entity: String, source: impl Read) -> io::Result<Option<Guessed>> {
        let mut csv = CsvReader::new(source);
        let Some(first) = csv.read()?.filter(|row| row.fault.is_none()) else {
            return Ok(None);
        };
        let header = is_header(&first);
        let mut columns: Vec<Guess> = (0..first.len())
            .map(|place| {
                Guess::new(match header {
                    true => String::from_utf8_lossy(first.field(place).text).to_lowercase(),
                    false => format!("column_{}", place + 1),
                })
            })
            .collect();
        let mut rows = 0;
        let mut operations = true;
        let mut take = |row: &CsvRow<'_>, columns: &mut [Guess]| {
            rows += 1;
            operations &= matches!(row.field(0).text, b"I" | b"U" | b"D");
            for (place, column) in columns.iter_mut().enumerate().take(row.len()) {
                let field = row.field(place);
                column.take(field.text, field.quoted);
            }
        };
        if !header {
            take(&first, &mut columns);
        }
        for _ in 1..ROWS {
            match csv.read()? {
                None => break,
                Some(row) if row.fault.is_none() && !row.is_empty() => take(&row, &mut columns),
                Some(_) => {}
            }
        }
        if operations && rows > 0 && columns.len() > 1 {
            // A file of changes: the operation is no column.
            columns.remove(0);
        }
        Ok(Some(Guessed {
            entity,
            header,
            columns,
            rows,
        }))
    }

    fn yaml(&self) -> String {
        let mut yaml = format!(
            "  # Guessed from {} rows of a sample: look at the key, the lengths and what may be null.\n\
             \x20 - name: {}\n    key: [{}]\n    columns:\n",
            self.rows,
            self.entity,
            self.columns.first().map_or("", |column| &column.name)
        );
        for (place, column) in self.columns.iter().enumerate() {
            let not_null = match column.has_null || !column.has_value || place == 0 {
                true => "",
                false => " not null",
            };
            yaml.push_str(&format!(
                "      {}: {}{not_null}\n",
                column.name,
                column.kind()
            ));
        }
        yaml
    }
}

impl Guess {
    fn new(name: String) -> Guess {
        Guess {
            name,
            candidates: CANDIDATES.to_vec(),
            digits: (0, 0),
            has_null: false,
            has_value: false,
        }
    }

    fn take(&mut self, text: &[u8], quoted: bool) {
        if !quoted && text == b"NULL" {
            self.has_null = true;
            return;
        }
        self.has_value = true;
        let mut values = ValueReader::default();
        self.candidates.retain(|kind| {
            let plausible = match kind {
                // 0 and 1 are more often numbers.
                ColumnType::Boolean => text.len() > 1 || matches!(text, b"t" | b"f" | b"T" | b"F"),
                ColumnType::Bytea => text.starts_with(b"0x") || text.starts_with(b"\\x"),
                ColumnType::Jsonb => text.starts_with(b"{") || text.starts_with(b"["),
                // A code with zeros before it is no number, nor is a day without separators a date.
                ColumnType::BigInt | ColumnType::Numeric(_) | ColumnType::Double => {
                    !has_leading_zero(text)
                }
                ColumnType::Date => text.len() <= 10 && text.contains(&b'-'),
                ColumnType::TimestampTz => text.contains(&b'-'),
                _ => true,
            };
            plausible && values.read(*kind, text).is_ok()
        });
        let text = String::from_utf8_lossy(text);
        let (before, behind) = text.split_once('.').unwrap_or((&text, ""));
        let count = |text: &str| text.bytes().filter(u8::is_ascii_digit).count();
        self.digits = (
            self.digits.0.max(count(before)),
            self.digits.1.max(count(behind)),
        );
    }

    fn kind(&self) -> ColumnType {
        let first = self.candidates.first().copied().filter(|_| self.has_value);
        match first {
            Some(ColumnType::Numeric(_)) => {
                let (before, behind) = self.digits;
                // Room for larger numbers than those of the sample.
                let precision = (before + behind).clamp(18, 1000);
                ColumnType::Numeric(Some((precision as u16, behind.min(precision) as u16)))
            }
            Some(kind) => kind,
            None => ColumnType::Text,
        }
    }
}

/// Names, all different, none of which could be a value of anything but text.
fn is_header(row: &CsvRow<'_>) -> bool {
    let names: Vec<String> = (0..row.len())
        .map(|place| String::from_utf8_lossy(row.field(place).text).to_lowercase())
        .collect();
    let different: std::collections::HashSet<&String> = names.iter().collect();
    different.len() == names.len()
        && names.len() > 1
        && names
            .iter()
            .all(|name| name.len() > 1 && identifier(name).is_ok() && name != "null")
        && !matches!(&*names[0], "true" | "false")
}

fn has_leading_zero(text: &[u8]) -> bool {
    matches!(
        text.strip_prefix(b"-").unwrap_or(text),
        [b'0', b'0'..=b'9', ..]
    )
}

/// The folder of a file that the migration service named, else the file's own name.
fn entity_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let folder = path.parent().and_then(Path::file_name);
    match (Place::of_name(&name), folder) {
        (Some(_), Some(folder)) => folder.to_string_lossy().into_owned(),
        _ => name.split('.').next().unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::entities::Entities;
    use super::*;

    fn guessed(csv: &str) -> String {
        let guessed = Guessed::from_rows("order".into(), csv.as_bytes()).unwrap();
        guessed.unwrap().yaml()
    }

    #[test]
    fn types_are_guessed_from_a_sample() {
        insta::assert_snapshot!(guessed(
            "id,code,price,at,flag,note,day,payload,zip\n\
             1,A1,10.25,2022-09-22 09:58:53,true,NULL,2022-09-22,\"{\"\"a\"\": 1}\",00501\n\
             2,B2,1000.5,2022-09-22 09:58:53+02,false,x,2022-09-23,[],10018\n"
        ), @r"
        # Guessed from 2 rows of a sample: look at the key, the lengths and what may be null.
        - name: order
          key: [id]
          columns:
            id: bigint
            code: text not null
            price: numeric(18,2) not null
            at: timestamptz not null
            flag: boolean not null
            note: text
            day: date not null
            payload: jsonb not null
            zip: text not null
        ");
    }

    #[test]
    fn what_is_written_is_read_without_faults() {
        for text in [
            entities("new", None).unwrap(),
            format!(
                "source: a\nprocess: b\nschema: c\nentities:\n{}",
                guessed("I,7,x\nU,8,y\n")
            ),
        ] {
            let entities = Entities::parse(&text, "e.yaml");
            assert!(entities.is_ok(), "{text}\n{:?}", entities.err());
        }
        assert!(
            guessed("I,7,x\nU,8,y\n").contains("column_2: bigint\n      column_3: text not null")
        );
    }
}
