use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use mysql_async::consts::ColumnType;
use mysql_async::{Column, Value as Theirs};

use crate::connectors::sql::{Row, Value};
use crate::error::{Error, Remedy, Result};

/// Replaces `$1`, `$2`, … by `?`, and puts the values into the order in which they are asked for.
/// Our SQL texts have no `$` elsewhere but in whole lines of comment, which are left out: a `?` there
/// would be no placeholder.
pub(super) fn positional(sql: &str, parameters: &[Value]) -> Result<(String, Vec<Theirs>)> {
    let lines = sql.lines();
    let lines: Vec<&str> = lines
        .filter(|line| !line.trim_start().starts_with("--"))
        .collect();
    let sql = lines.join("\n");
    let mut text = String::with_capacity(sql.len());
    let mut values = Vec::with_capacity(parameters.len());
    let mut pieces = sql.split('$');
    text.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let digits = piece.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = piece.split_at(digits);
        let value = number
            .parse::<usize>()
            .ok()
            .and_then(|n| parameters.get(n.checked_sub(1)?))
            .ok_or_else(|| Error::new(Remedy::ReportBug, "binding: no such parameter"))?;
        values.push(bound(value));
        text.push('?');
        text.push_str(rest);
    }
    Ok((text, values))
}

fn bound(value: &Value) -> Theirs {
    match value {
        Value::Null | Value::Unreadable(_) => Theirs::NULL,
        Value::Text(text) => Theirs::Bytes(text.clone().into_bytes()),
        Value::Integer(number) => Theirs::Int(*number),
        Value::Boolean(truth) => Theirs::Int((*truth).into()),
        Value::Date(date) => date_time(date.to_datetime(jiff::civil::Time::midnight())),
        Value::Instant(instant) => date_time(TimeZone::UTC.to_datetime(*instant)),
    }
}

fn date_time(at: DateTime) -> Theirs {
    Theirs::Date(
        at.year().unsigned_abs(),
        at.month().unsigned_abs(),
        at.day().unsigned_abs(),
        at.hour().unsigned_abs(),
        at.minute().unsigned_abs(),
        at.second().unsigned_abs(),
        at.subsec_nanosecond().unsigned_abs() / 1000,
    )
}

/// The columns of a result.
pub(super) struct Columns {
    names: Arc<[String]>,
    columns: Arc<[Column]>,
}

impl Columns {
    pub(super) fn of(columns: &[Column]) -> Columns {
        let names = columns.iter().map(|column| column.name_str().into_owned());
        Columns {
            names: names.collect(),
            columns: columns.into(),
        }
    }

    pub(super) fn row(&self, row: mysql_async::Row) -> Row {
        let values = row.unwrap().into_iter().zip(self.columns.iter());
        let values = values.map(|(value, column)| of_value(value, column));
        Row::new(self.names.clone(), values.collect())
    }
}

pub(super) fn of_rows(rows: Vec<mysql_async::Row>) -> Vec<Row> {
    let Some(first) = rows.first() else {
        return Vec::new();
    };
    let columns = Columns::of(first.columns_ref());
    rows.into_iter().map(|row| columns.row(row)).collect()
}

fn of_value(value: Theirs, column: &Column) -> Value {
    const RANGE: Value = Value::Unreadable("a value within range");
    match value {
        Theirs::NULL => Value::Null,
        Theirs::Int(number) => Value::Integer(number),
        Theirs::UInt(number) => number.try_into().map_or(RANGE, Value::Integer),
        Theirs::Bytes(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Value::Text(text),
            Err(_) => Value::Unreadable("UTF-8"),
        },
        Theirs::Date(year, month, day, hour, minute, second, micros) => {
            let date = civil_date(year, month, day);
            if column.column_type() == ColumnType::MYSQL_TYPE_DATE {
                return date.map_or(RANGE, Value::Date);
            }
            date.and_then(|date| instant(date, hour, minute, second, micros))
                .map_or(RANGE, Value::Instant)
        }
        Theirs::Float(_) | Theirs::Double(_) => Value::Unreadable("no floating-point number"),
        Theirs::Time(..) => Value::Unreadable("text, a whole number, a date or a timestamp"),
    }
}

/// Nothing for the dates that MySQL may hold and no calendar has, such as `0000-00-00`.
fn civil_date(year: u16, month: u8, day: u8) -> Option<Date> {
    Date::new(
        year.try_into().ok()?,
        month.try_into().ok()?,
        day.try_into().ok()?,
    )
    .ok()
}

/// A time without a zone is given as if it were in UTC, as every SQL connector does.
fn instant(date: Date, hour: u8, minute: u8, second: u8, micros: u32) -> Option<Timestamp> {
    let time = jiff::civil::Time::new(
        hour.try_into().ok()?,
        minute.try_into().ok()?,
        second.try_into().ok()?,
        i32::try_from(micros).ok()?.checked_mul(1000)?,
    );
    TimeZone::UTC
        .to_timestamp(date.to_datetime(time.ok()?))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_become_question_marks_in_the_order_of_the_text() {
        let values = [Value::Integer(1), Value::Text("$1 ?".into())];
        let sql = "-- By $1 and $9.\nSELECT $2,\n $1, $2";
        let (sql, bound) = positional(sql, &values).unwrap();
        assert_eq!(sql, "SELECT ?,\n ?, ?");
        let text = Theirs::Bytes(b"$1 ?".to_vec());
        assert_eq!(bound, [text.clone(), Theirs::Int(1), text]);
        for sql in ["SELECT $3", "SELECT $0", "SELECT $x"] {
            assert!(positional(sql, &values).is_err(), "{sql}");
        }
    }

    #[test]
    fn a_date_that_no_calendar_has_is_unreadable() {
        for column_type in [ColumnType::MYSQL_TYPE_DATE, ColumnType::MYSQL_TYPE_DATETIME] {
            let zero = Theirs::Date(0, 0, 0, 0, 0, 0, 0);
            let read = of_value(zero, &Column::new(column_type));
            assert!(matches!(read, Value::Unreadable(_)), "{column_type:?}");
        }
    }
}
