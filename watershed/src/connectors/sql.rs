//! What the SQL connectors share: one set of values and rows, and [`Database`], which runs the
//! same SQL text on each of them.
//!
//! Placeholders are `$1`, `$2`, …; every value is bound, except on Redshift, which knows no
//! prepared statements for us: there one tested function quotes it, and nothing else does.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::mysql::Mysql;
use super::postgres::{Postgres, Protocol, Tls};
use super::sqlite::Sqlite;
use crate::error::{Error, Remedy, Result};
use crate::privacy::{Personal, Secret};
use crate::retry::Policy;
use crate::time::{parse_date, parse_instant};

/// Values of one look-up are bound in lists of at most this many; PostgreSQL and MySQL
/// take 65,535 parameters a statement, and SQLite 32,766.
pub const LIST_VALUES: usize = 10_000;

/// A SQL database, whichever it is.
#[derive(Clone, Debug)]
pub enum Database {
    /// `postgres://`
    Postgres(Box<Postgres>),
    /// `mysql://`
    Mysql(Box<Mysql>),
    /// `sqlite:path`
    Sqlite(Sqlite),
}

/// What a pipeline expects of one of its databases.
#[derive(Clone, Copy, Debug)]
pub struct Role {
    /// What the database is called in messages: `Sierra`.
    pub name: &'static str,
    /// Schema name under which an embedded file is attached, so that one SQL text serves both.
    pub schema: Option<&'static str>,
    /// How values reach the server.
    pub protocol: Protocol,
    /// TLS when the URL does not say.
    pub tls: Tls,
}

impl Database {
    /// Opens the database that a URL names; asks nothing of the network yet.
    ///
    /// # Errors
    /// [`Remedy::FixSettings`] for a URL of another form.
    pub fn open(url: &Secret, role: Role, policy: Policy) -> Result<Database> {
        let text = url.expose();
        if let Some(path) = text.strip_prefix("sqlite:") {
            let path = super::objects::local_path(path);
            return Ok(Database::Sqlite(Sqlite::new(path, role.name, role.schema)));
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Database::Postgres(Box::new(Postgres::new(
                url, role, policy,
            )?)));
        }
        if text.starts_with("mysql://") {
            return Ok(Database::Mysql(Box::new(Mysql::new(url, role, policy)?)));
        }
        Err(Error::new(
            Remedy::FixSettings,
            format!("opening {}: a URL of unknown form", role.name),
        )
        .with_hint(
            "expected postgres:// or mysql:// with user:password@host:port/database, or sqlite:path",
        ))
    }

    /// Runs a query and reads all its rows.
    pub async fn query(&self, sql: &str, parameters: &[Value]) -> Result<Vec<Row>> {
        match self {
            Database::Postgres(database) => database.query(sql, parameters).await,
            Database::Mysql(database) => database.query(sql, parameters).await,
            Database::Sqlite(database) => database.query(sql, parameters).await,
        }
    }

    /// Runs a query whose text has `{list}` once for every list of values, and reads all rows.
    pub async fn query_lists(&self, sql: &str, values: &[Value]) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        for list in values.chunks(LIST_VALUES) {
            let places: Vec<String> = (1..=list.len()).map(|i| format!("${i}")).collect();
            rows.extend(
                self.query(&sql.replace("{list}", &places.join(", ")), list)
                    .await?,
            );
        }
        Ok(rows)
    }

    /// The product and its version, for `check`.
    pub async fn version(&self) -> Result<String> {
        let sql = match self {
            Database::Postgres(_) | Database::Mysql(_) => "SELECT version() AS version",
            Database::Sqlite(_) => "SELECT 'SQLite ' || sqlite_version() AS version",
        };
        let rows = self.query(sql, &[]).await?;
        let version = rows
            .first()
            .and_then(|row| row.text("version").ok().flatten());
        Ok(version.unwrap_or_else(|| "unknown version".into()))
    }

    /// Checks that the columns of a table (quoted already) can be read; for `check`.
    pub async fn check_columns(&self, table: &str, columns: &[&str]) -> Result<()> {
        let sql = format!("SELECT {} FROM {table} LIMIT 0", columns.join(", "));
        self.query(&sql, &[]).await.map(|_| ())
    }
}

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
            Value::Instant(instant) => Some(*instant),
            Value::Text(text) => parse_instant(text, &TimeZone::UTC),
            _ => None,
        })
    }

    /// A calendar date; of a text the first ten characters count.
    pub fn date(&self, column: &str) -> Result<Option<Date>, Unfit> {
        self.get(column, "a date (YYYY-MM-DD)", |value| match value {
            Value::Date(date) => Some(*date),
            Value::Text(text) => text.get(..10).and_then(parse_date),
            _ => None,
        })
    }
}

/// Quotes the name of a table, schema-qualified or not, after checking that it is one. Names are
/// folded to lower case, as both PostgreSQL and Redshift do with unquoted ones.
///
/// # Errors
/// [`Remedy::FixSettings`] when it is no plain name.
pub fn identifier(name: &str) -> Result<String> {
    let plain = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'$')
    };
    let parts: Vec<&str> = name.split('.').collect();
    if parts.len() > 3 || !parts.iter().all(|part| plain(part)) {
        return Err(Error::new(
            Remedy::FixSettings,
            format!(
                "naming the table `{name}`: expected letters, digits and _, with a schema and a dot before it or without"
            ),
        ));
    }
    let quoted: Vec<String> = parts
        .iter()
        .map(|part| format!("\"{}\"", part.to_lowercase()))
        .collect();
    Ok(quoted.join("."))
}

/// Writes a value as a SQL literal, for the one protocol that cannot bind (Redshift's simple one).
///
/// A backslash is an escape on Redshift and an ordinary character on PostgreSQL, so that it is
/// written as `chr(92)`, which means the same on both.
pub(crate) fn literal(value: &Value) -> Result<String> {
    Ok(match value {
        Value::Null => "NULL".into(),
        Value::Integer(number) => number.to_string(),
        Value::Boolean(truth) => truth.to_string(),
        Value::Date(date) => format!("'{date}'"),
        Value::Instant(instant) => format!("'{}+00'", crate::time::format_utc(*instant)),
        Value::Text(text) if !text.contains('\0') => {
            let quoted = text.replace('\'', "''").replace('\\', "' || chr(92) || '");
            if text.contains('\\') {
                format!("('{quoted}')")
            } else {
                format!("'{quoted}'")
            }
        }
        Value::Text(_) | Value::Unreadable(_) => {
            return Err(Error::new(
                Remedy::FixData,
                "quoting a value: a text with a NUL byte",
            ));
        }
    })
}

/// Replaces `$1`, `$2`, … by literals. Our SQL texts have no `$` elsewhere.
pub(crate) fn with_literals(sql: &str, parameters: &[Value]) -> Result<String> {
    let mut text = String::with_capacity(sql.len() + parameters.len() * 36);
    let mut pieces = sql.split('$');
    text.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let digits = piece.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = piece.split_at(digits);
        let value = number
            .parse::<usize>()
            .ok()
            .and_then(|n| parameters.get(n.checked_sub(1)?));
        let value =
            value.ok_or_else(|| Error::new(Remedy::ReportBug, "binding: no such parameter"))?;
        text.push_str(&literal(value)?);
        text.push_str(rest);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::Text(text.into())
    }

    #[test]
    fn a_literal_cannot_be_left_from_within() {
        for (value, expected) in [
            (text("plain"), "'plain'"),
            (text("O'Brien"), "'O''Brien'"),
            (
                text("'; DROP TABLE patrons; --"),
                "'''; DROP TABLE patrons; --'",
            ),
            (text(r"back\slash"), r"('back' || chr(92) || 'slash')"),
            (text(r"\'"), r"('' || chr(92) || '''')"),
            (text("$1"), "'$1'"),
            (Value::Null, "NULL"),
            (Value::Integer(-7), "-7"),
        ] {
            assert_eq!(literal(&value).unwrap(), expected);
        }
        assert!(literal(&text("nul\0byte")).is_err());
    }

    #[test]
    fn placeholders_are_replaced_by_their_numbers() {
        let values: Vec<Value> = (1..=12).map(Value::Integer).collect();
        let sql = with_literals("SELECT $2, $12, $1", &values).unwrap();
        assert_eq!(sql, "SELECT 2, 12, 1");
        let quoted = with_literals("SELECT $1", &[text("$2")]).unwrap();
        assert_eq!(quoted, "SELECT '$2'");
        assert!(with_literals("SELECT $3", &values[..2]).is_err());
        assert!(with_literals("SELECT $x", &values).is_err());
    }

    #[test]
    fn identifiers_are_plain_names() {
        assert_eq!(identifier("Patron_Info_QA").unwrap(), "\"patron_info_qa\"");
        assert_eq!(
            identifier("public.patron_info").unwrap(),
            "\"public\".\"patron_info\""
        );
        for name in ["", "a b", "a;b", "a\"b", "1a", "a.", "a.b.c.d"] {
            assert!(identifier(name).is_err(), "{name}");
        }
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
