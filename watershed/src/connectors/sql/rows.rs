//! Values and rows, the same for every database.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::error::Result;
use crate::privacy::Personal;
use crate::time::{parse_date, parse_instant};

/// A value on its way to or from a database. It may be personal, so that its `Debug` tells the
/// kind alone.
#[derive(Clone, PartialEq)]
pub enum Value {
    /// NULL
    Null,
    /// Text, and decimals.
    Text(String),
    /// A whole number of any width.
    Integer(i64),
    /// A point in time.
    Instant(Timestamp),
    /// A calendar date.
    Date(Date),
    /// A truth value.
    Boolean(bool),
    /// What the database sent cannot be read; the text says why, without the value.
    Unreadable(&'static str),
}

impl Value {
    /// A person's id, on its way back to the system of record that it came from.
    pub fn personal_id(id: &Personal<i64>) -> Value {
        Value::Integer(*id.inner())
    }

    /// A text about a person, such as a barcode, on its way back to the system of record that it
    /// came from.
    pub fn personal_text(text: &Personal<String>) -> Value {
        Value::Text(text.inner().clone())
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Value::Null => "Null",
            Value::Text(_) => "Text",
            Value::Integer(_) => "Integer",
            Value::Instant(_) => "Instant",
            Value::Date(_) => "Date",
            Value::Boolean(_) => "Boolean",
            Value::Unreadable(_) => "Unreadable",
        })
    }
}

/// Whether a date can be written with four digits of the year.
fn in_our_era(date: Date) -> bool {
    (1..=9999).contains(&date.year())
}

/// A row of a result.
#[derive(Clone, Debug)]
pub struct Row {
    names: Arc<[String]>,
    values: Vec<Value>,
}

/// A value that is not what its reader expects; names the column and what was expected, and not
/// the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    column: String,
    expected: &'static str,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: expected {}", self.column, self.expected)
    }
}

impl std::error::Error for Unfit {}

impl Row {
    pub(crate) fn new(names: Arc<[String]>, values: Vec<Value>) -> Row {
        Row { names, values }
    }

    /// Whether the result has this column.
    pub fn has(&self, column: &str) -> bool {
        self.names.iter().any(|name| name == column)
    }

    /// Every value as a text about a person, in the order of the columns, without a copy of it;
    /// whole numbers and dates are written out.
    pub fn into_personal_texts(
        self,
    ) -> impl Iterator<Item = Result<Option<Personal<String>>, Unfit>> {
        let names = self.names;
        let values = self.values.into_iter().enumerate();
        values.map(move |(i, value)| {
            let unfit = |expected| Unfit {
                column: names[i].clone(),
                expected,
            };
            Ok(Some(Personal::new(match value {
                Value::Null => return Ok(None),
                Value::Text(text) => text,
                Value::Integer(number) => number.to_string(),
                Value::Date(date) => date.to_string(),
                Value::Unreadable(why) => return Err(unfit(why)),
                Value::Instant(_) | Value::Boolean(_) => return Err(unfit("text")),
            })))
        })
    }

    fn get<T>(
        &self,
        column: &str,
        expected: &'static str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, Unfit> {
        let unfit = |expected| Unfit {
            column: column.to_owned(),
            expected,
        };
        let place = self.names.iter().position(|name| name == column);
        match place.map(|i| &self.values[i]) {
            None => Err(unfit("it in the result")),
            Some(Value::Null) => Ok(None),
            Some(Value::Unreadable(why)) => Err(unfit(why)),
            Some(value) => read(value).map(Some).ok_or_else(|| unfit(expected)),
        }
    }

    /// A text; whole numbers and dates are written out.
    pub fn text(&self, column: &str) -> Result<Option<String>, Unfit> {
        self.get(column, "text", |value| match value {
            Value::Text(text) => Some(text.clone()),
            Value::Integer(number) => Some(number.to_string()),
            Value::Date(date) => Some(date.to_string()),
            _ => None,
        })
    }

    /// A text about a person.
    pub fn personal_text(&self, column: &str) -> Result<Option<Personal<String>>, Unfit> {
        Ok(self.text(column)?.map(Personal::new))
    }

    /// A whole number; decimal text is read.
    pub fn integer(&self, column: &str) -> Result<Option<i64>, Unfit> {
        self.get(column, "a whole number", |value| match value {
            Value::Integer(number) => Some(*number),
            Value::Text(text) => text.trim().parse().ok(),
            _ => None,
        })
    }

    /// A whole number of 32 bits.
    pub fn integer32(&self, column: &str) -> Result<Option<i32>, Unfit> {
        let expected = "a whole number of 32 bits";
        match self.integer(column)? {
            None => Ok(None),
            Some(number) => i32::try_from(number).map(Some).map_err(|_| Unfit {
                column: column.to_owned(),
                expected,
            }),
        }
    }

    /// A truth value; SQLite's is a number, and that of the simple protocol a text.
    pub fn boolean(&self, column: &str) -> Result<Option<bool>, Unfit> {
        self.get(column, "true or false", |value| match value {
            Value::Boolean(truth) => Some(*truth),
            Value::Integer(0) => Some(false),
            Value::Integer(1) => Some(true),
            Value::Text(text) => match &**text {
                "t" | "true" => Some(true),
                "f" | "false" => Some(false),
                _ => None,
            },
            _ => None,
        })
    }

    /// A whole number that names a person.
    pub fn personal_integer(&self, column: &str) -> Result<Option<Personal<i64>>, Unfit> {
        Ok(self.integer(column)?.map(Personal::new))
    }

    /// A point in time; text without an offset is in UTC.
    pub fn instant(&self, column: &str) -> Result<Option<Timestamp>, Unfit> {
        self.get(column, "a point in time", |value| match value {
            Value::Instant(instant) => {
                Some(*instant).filter(|i| in_our_era(TimeZone::UTC.to_datetime(*i).date()))
            }
            Value::Text(text) => parse_instant(text, &TimeZone::UTC),
            _ => None,
        })
    }

    /// A calendar date; of a text the first ten characters count.
    pub fn date(&self, column: &str) -> Result<Option<Date>, Unfit> {
        self.get(column, "a date (YYYY-MM-DD)", |value| match value {
            Value::Date(date) => Some(*date).filter(|date| in_our_era(*date)),
            Value::Text(text) => text.get(..10).and_then(parse_date),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::Text(text.into())
    }

    #[test]
    fn a_row_gives_up_its_texts_in_the_order_of_its_columns() {
        let names = ["name", "number", "born", "none", "bytes", "at"].map(str::to_owned);
        let values = vec![
            text("Zerlina"),
            Value::Integer(-7),
            Value::Date(jiff::civil::date(2024, 2, 29)),
            Value::Null,
            Value::Unreadable("UTF-8"),
            Value::Instant(Timestamp::UNIX_EPOCH),
        ];
        let texts: Vec<_> = Row::new(Arc::from(names), values)
            .into_personal_texts()
            .collect();
        let personal = |text: &str| Ok(Some(Personal::new(text.to_owned())));
        assert_eq!(
            texts[..3],
            [personal("Zerlina"), personal("-7"), personal("2024-02-29")]
        );
        assert_eq!(texts[3], Ok(None));
        let words = |place: usize| texts[place].as_ref().unwrap_err().to_string();
        assert_eq!(words(4), "column bytes: expected UTF-8");
        assert_eq!(words(5), "column at: expected text");
    }

    #[test]
    fn a_value_that_does_not_fit_names_its_column_and_not_itself() {
        let names: Arc<[String]> = Arc::from(["ptype_code".to_owned(), "addr1".to_owned()]);
        let row = Row::new(names, vec![text("many"), Value::Unreadable("UTF-8")]);
        let unfit = row.integer("ptype_code").unwrap_err();
        assert_eq!(
            unfit.to_string(),
            "column ptype_code: expected a whole number"
        );
        assert_eq!(
            row.text("addr1").unwrap_err().to_string(),
            "column addr1: expected UTF-8"
        );
        assert!(row.text("pcode3").is_err());
        assert_eq!(format!("{:?}", row.values), "[Text, Unreadable]");
    }
}
