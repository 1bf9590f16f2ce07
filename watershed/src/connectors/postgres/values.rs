//! Values between PostgreSQL's binary and text formats and ours.

use std::error::Error;

use bytes::BytesMut;
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use super::super::sql::Value;

/// A column's bytes as they came, so that one bad value does not fail the whole result.
struct Raw<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Raw<'a>, Box<dyn Error + Sync + Send>> {
        Ok(Raw(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

pub(super) fn of_row(row: &tokio_postgres::Row) -> Vec<Value> {
    let columns = row.columns().iter().enumerate();
    columns
        .map(|(i, column)| match row.try_get::<_, Option<Raw<'_>>>(i) {
            Ok(None) => Value::Null,
            Ok(Some(Raw(bytes))) => of_binary(column.type_(), bytes),
            Err(_) => Value::Unreadable("a value that the protocol can carry"),
        })
        .collect()
}

fn of_binary(kind: &Type, bytes: &[u8]) -> Value {
    let read = match *kind {
        Type::INT2 => i16::from_sql(kind, bytes).map(|number| Value::Integer(number.into())),
        Type::INT4 => i32::from_sql(kind, bytes).map(|number| Value::Integer(number.into())),
        Type::INT8 => i64::from_sql(kind, bytes).map(Value::Integer),
        Type::BOOL => bool::from_sql(kind, bytes).map(Value::Boolean),
        Type::DATE => Date::from_sql(kind, bytes).map(Value::Date),
        Type::TIMESTAMPTZ => Timestamp::from_sql(kind, bytes).map(Value::Instant),
        Type::TIMESTAMP => DateTime::from_sql(kind, bytes)
            .and_then(|local| Ok(Value::Instant(TimeZone::UTC.to_timestamp(local)?))),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::CHAR | Type::UNKNOWN => {
            return match std::str::from_utf8(bytes) {
                Ok(text) => Value::Text(text.to_owned()),
                Err(_) => Value::Unreadable("UTF-8"),
            };
        }
        _ => return Value::Unreadable("text, a whole number, a date, a timestamp or a boolean"),
    };
    read.unwrap_or(Value::Unreadable("a value within range"))
}

pub(super) fn of_text(text: Result<Option<&str>, tokio_postgres::Error>) -> Value {
    match text {
        Ok(None) => Value::Null,
        Ok(Some(text)) => Value::Text(text.to_owned()),
        Err(_) => Value::Unreadable("UTF-8"),
    }
}

impl ToSql for Value {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match (self, kind) {
            (Value::Null | Value::Unreadable(_), _) => Ok(IsNull::Yes),
            (Value::Integer(number), &Type::INT2) => i16::try_from(*number)?.to_sql(kind, out),
            (Value::Integer(number), &Type::INT4) => i32::try_from(*number)?.to_sql(kind, out),
            (Value::Integer(number), _) => number.to_sql(kind, out),
            (Value::Text(text), _) => text.to_sql(kind, out),
            (Value::Instant(instant), &Type::TIMESTAMP) => {
                TimeZone::UTC.to_datetime(*instant).to_sql(kind, out)
            }
            (Value::Instant(instant), _) => instant.to_sql(kind, out),
            (Value::Date(date), _) => date.to_sql(kind, out),
            (Value::Boolean(truth), _) => truth.to_sql(kind, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}
