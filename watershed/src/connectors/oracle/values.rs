//! Values between Oracle's types and ours.

use jiff::civil::{Date, DateTime};
use jiff::tz::{Offset, TimeZone};
use oracle::sql_type::{InnerValue, OracleType, Timestamp};
use oracle::{ColumnInfo, Row, RowValue, SqlValue, Statement};

use crate::connectors::sql::Value;

/// Replaces `$1`, `$2`, … by `:p1`, `:p2`, …. Whole lines of comment are left out, where a colon
/// would be no placeholder; another `$` is part of a name, as in `v$version`.
pub(super) fn named(sql: &str) -> String {
    let lines = sql.lines();
    let lines: Vec<&str> = lines
        .filter(|line| !line.trim_start().starts_with("--"))
        .collect();
    let sql = lines.join("\n");
    let mut pieces = sql.split('$');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let placeholder = piece.starts_with(|c: char| c.is_ascii_digit())
            && !text.ends_with(|c: char| c.is_ascii_alphanumeric() || "_$#\"".contains(c));
        text.push_str(if placeholder { ":p" } else { "$" });
        text.push_str(piece);
    }
    text
}

/// Binds each value to the placeholder of its number, which may stand in the text more than once.
pub(super) fn bind(statement: &mut Statement, parameters: &[Value]) -> oracle::Result<()> {
    let names = statement.bind_names();
    let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    for name in names {
        let number = name.strip_prefix('P').and_then(|n| n.parse::<usize>().ok());
        let value = number.and_then(|n| parameters.get(n.checked_sub(1)?));
        let value = value.ok_or_else(|| {
            oracle::Error::new(oracle::ErrorKind::InvalidBindName, "no such parameter")
        })?;
        match value {
            // Of type VARCHAR2, and not of the crate's NVARCHAR2, which no index of a VARCHAR2
            // column serves.
            Value::Text(text) => {
                let size = u32::try_from(text.len()).unwrap_or(u32::MAX).max(1);
                statement.bind(&*name, &(text, &OracleType::Varchar2(size)))?;
            }
            Value::Null | Value::Unreadable(_) => {
                statement.bind(&*name, &OracleType::Varchar2(1))?;
            }
            Value::Integer(number) => statement.bind(&*name, number)?,
            // SQL has had no truth values there for long; tables hold 0 and 1.
            Value::Boolean(truth) => statement.bind(&*name, &i64::from(*truth))?,
            Value::Date(date) => {
                let at = timestamp(date.to_datetime(jiff::civil::Time::midnight()))?;
                statement.bind(&*name, &(&at, &OracleType::Date))?;
            }
            Value::Instant(instant) => {
                let at = timestamp(TimeZone::UTC.to_datetime(*instant))?;
                statement.bind(&*name, &(&at, &OracleType::Timestamp(9)))?;
            }
        }
    }
    Ok(())
}

fn timestamp(at: DateTime) -> oracle::Result<Timestamp> {
    Timestamp::new(
        at.year().into(),
        at.month().unsigned_abs().into(),
        at.day().unsigned_abs().into(),
        at.hour().unsigned_abs().into(),
        at.minute().unsigned_abs().into(),
        at.second().unsigned_abs().into(),
        at.subsec_nanosecond().unsigned_abs(),
    )
}

/// Why a whole column cannot be read: large values are not sent with their rows.
pub(super) fn unread(column: &ColumnInfo) -> Option<String> {
    match column.oracle_type() {
        OracleType::CLOB
        | OracleType::NCLOB
        | OracleType::BLOB
        | OracleType::BFILE
        | OracleType::Long
        | OracleType::LongRaw
        | OracleType::Json
        | OracleType::Xml
        | OracleType::Object(_)
        | OracleType::RefCursor => Some(format!(
            "column {} is of type {}, which is not read",
            column.name(),
            column.oracle_type()
        )),
        _ => None,
    }
}

/// A row as it lies in the client's buffer, turned into our values.
pub(super) struct Values(pub(super) Vec<Value>);

impl RowValue for Values {
    fn get(row: &Row) -> oracle::Result<Values> {
        let values = row.sql_values().iter().zip(row.column_info());
        let values = values.map(|(value, column)| of_value(value, column.oracle_type()));
        values.collect::<oracle::Result<_>>().map(Values)
    }
}

fn of_value(value: &SqlValue<'_>, kind: &OracleType) -> oracle::Result<Value> {
    if value.is_null()? {
        return Ok(Value::Null);
    }
    Ok(match value.as_inner_value()? {
        // The crate would replace bytes that are no UTF-8; ours says so.
        InnerValue::Char(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Value::Text(text.to_owned()),
            Err(_) => Value::Unreadable("UTF-8"),
        },
        InnerValue::Int64(number) => Value::Integer(number),
        // All digits, written by ODPI-C from the number as it is stored.
        InnerValue::Number(text) => Value::Text(text.to_owned()),
        InnerValue::Boolean(truth) => Value::Boolean(truth),
        InnerValue::Timestamp(at) => {
            let Some(local) = civil(
                at.year, at.month, at.day, at.hour, at.minute, at.second, at.fsecond,
            ) else {
                return Ok(Value::Unreadable("a date of our era"));
            };
            let (hours, minutes) = (i32::from(at.tzHourOffset), i32::from(at.tzMinuteOffset));
            match kind {
                OracleType::Date => day_and_time(local),
                _ => instant(local, hours * 3600 + minutes * 60),
            }
        }
        InnerValue::Float(_) | InnerValue::Double(_) => {
            Value::Unreadable("no floating-point number")
        }
        _ => Value::Unreadable("text, a number, a date or a timestamp"),
    })
}

/// Nothing for a year outside of 1 to 9999, which Oracle may hold.
fn civil(
    year: i16,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
    nanosecond: u32,
) -> Option<DateTime> {
    let date = Date::new(year, month.try_into().ok()?, day.try_into().ok()?);
    let time = jiff::civil::Time::new(
        hour.try_into().ok()?,
        minute.try_into().ok()?,
        second.try_into().ok()?,
        nanosecond.try_into().ok()?,
    );
    let date = date.ok().filter(|date| (1..=9999).contains(&date.year()))?;
    Some(date.to_datetime(time.ok()?))
}

/// Oracle's DATE has a time of day. As a text it is read as either, as that of a SQLite file is.
fn day_and_time(at: DateTime) -> Value {
    Value::Text(at.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

/// A time without a zone is given as if it were in UTC, as every SQL connector does.
fn instant(local: DateTime, offset: i32) -> Value {
    let at = Offset::from_seconds(offset).and_then(|offset| offset.to_timestamp(local));
    at.map_or(Value::Unreadable("a value within range"), Value::Instant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_get_names_and_names_keep_their_dollar() {
        let sql = "-- By $1.\nSELECT $2, x$1, \"y\"$3 FROM v$version\n WHERE a = $12 OR b=$1";
        assert_eq!(
            named(sql),
            "SELECT :p2, x$1, \"y\"$3 FROM v$version\n WHERE a = :p12 OR b=:p1"
        );
        assert_eq!(named("SELECT 1 FROM dual"), "SELECT 1 FROM dual");
    }

    #[test]
    fn a_date_that_no_calendar_has_is_none() {
        for (year, month, day) in [(0, 1, 1), (-4712, 1, 1), (2023, 2, 29), (2024, 13, 1)] {
            assert_eq!(civil(year, month, day, 0, 0, 0, 0), None);
        }
        assert!(civil(2024, 2, 29, 23, 59, 59, 999_999_999).is_some());
    }
}
