//! SQLite, the embedded twin of every SQL source.
//!
//! A file that stands for a schema of the server is attached under that schema's name, so that
//! one SQL text serves both. Instants are text in UTC with six decimals, dates `YYYY-MM-DD`,
//! booleans 0 and 1, decimals text.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, Statement, ToSql};
use tokio::task::spawn_blocking;

use super::sql::{Outlet, Row, RowStream, Value};
use crate::error::{Error, Remedy, Result};
use crate::time::format_utc;

/// A file is not silent for long, not even while another program has it locked.
const SILENCE: Duration = Duration::from_secs(900);

/// A SQLite file, opened at the first query.
#[derive(Clone, Debug)]
pub struct Sqlite {
    path: PathBuf,
    name: &'static str,
    schema: Option<&'static str>,
    /// Read-only.
    reading: Slot,
    /// Made when something is written; most pipelines write nowhere.
    writing: Slot,
}

type Slot = Arc<Mutex<Option<Connection>>>;

impl Sqlite {
    pub(crate) fn new(path: PathBuf, name: &'static str, schema: Option<&'static str>) -> Sqlite {
        Sqlite {
            path,
            name,
            schema,
            reading: Arc::default(),
            writing: Arc::default(),
        }
    }

    pub(crate) async fn query(&self, sql: &str, parameters: &[Value]) -> Result<Vec<Row>> {
        let (sql, parameters) = (sql.to_owned(), parameters.to_vec());
        self.run("querying", &self.reading, Access::Read, move |connection| {
            rows(connection, &sql, &parameters)
        })
        .await
    }

    pub(crate) async fn execute(&self, sql: &str, parameters: &[Value]) -> Result<u64> {
        let (sql, parameters) = (sql.to_owned(), parameters.to_vec());
        self.run(
            "writing to",
            &self.writing,
            Access::Write,
            move |connection| {
                let mut statement = connection.prepare_cached(&sql)?;
                bind(&mut statement, &parameters)?;
                statement.raw_execute().map(|changed| changed as u64)
            },
        )
        .await
    }

    /// Runs one call on a connection, which is opened when there is none.
    async fn run<T: Send + 'static>(
        &self,
        doing: &'static str,
        slot: &Slot,
        access: Access,
        call: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let (database, slot) = (self.clone(), slot.clone());
        spawn_blocking(move || {
            let mut slot = slot.lock().expect("no query panics");
            if slot.is_none() {
                let opened = open(&database.path, database.schema, access);
                *slot = Some(opened.map_err(|e| database.error("opening", e))?);
            }
            let connection = slot.as_ref().expect("it was opened above");
            call(connection).map_err(|e| database.error(doing, e))
        })
        .await
        // Its cause would repeat the words of a panic (P6).
        .map_err(|_| Error::new(Remedy::ReportBug, format!("{doing} {}", self.name)))?
    }

    /// Reads through a connection of its own, so that other queries need not wait for it.
    pub(crate) fn stream(&self, sql: &str, parameters: &[Value]) -> RowStream {
        let database = self.clone();
        let (sql, parameters) = (sql.to_owned(), parameters.to_vec());
        let read = move |mut outlet: Outlet| {
            let connection = open(&database.path, database.schema, Access::Read)
                .map_err(|cause| database.error("opening", cause))?;
            each_row(&connection, &sql, &parameters, |row| {
                outlet.push_blocking(row)
            })
            .map_err(|cause| database.error("querying", cause))?;
            Ok(outlet)
        };
        RowStream::start_blocking(format!("querying {}", self.name), SILENCE, read)
    }

    /// SQLite's messages name tables and columns and hold no values.
    fn error(&self, doing: &str, cause: rusqlite::Error) -> Error {
        let what = format!("{doing} {} (sqlite:{})", self.name, self.path.display());
        let busy = [ErrorCode::DatabaseBusy, ErrorCode::DatabaseLocked];
        let remedy = match cause.sqlite_error_code() {
            Some(code) if busy.contains(&code) => Remedy::TryAgain,
            _ => Remedy::FixAccess,
        };
        Error::new(remedy, what).caused_by(cause)
    }
}

#[derive(Clone, Copy)]
enum Access {
    Read,
    Write,
}

fn open(path: &Path, schema: Option<&str>, access: Access) -> rusqlite::Result<Connection> {
    let access_flag = match access {
        Access::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
        Access::Write => OpenFlags::SQLITE_OPEN_READ_WRITE,
    };
    let flags = access_flag | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    // Opened for itself first: attaching a missing file fails with a message that hides its cause.
    let mut connection = Connection::open_with_flags(path, flags)?;
    if let Some(schema) = schema {
        let attached = Connection::open_in_memory()?;
        let file = path.to_string_lossy();
        attached.execute(&format!("ATTACH DATABASE ?1 AS \"{schema}\""), [&file])?;
        attached.pragma_update(None, "query_only", matches!(access, Access::Read))?;
        connection = attached;
    }
    connection.busy_timeout(Duration::from_secs(60))?;
    // Sorting must not put personal values into temporary files (P6).
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(connection)
}

fn rows(connection: &Connection, sql: &str, parameters: &[Value]) -> rusqlite::Result<Vec<Row>> {
    let mut found = Vec::new();
    each_row(connection, sql, parameters, |row| {
        found.push(row);
        true
    })?;
    Ok(found)
}

/// Gives every row to `take`, until that says false.
fn each_row(
    connection: &Connection,
    sql: &str,
    parameters: &[Value],
    mut take: impl FnMut(Row) -> bool,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(sql)?;
    bind(&mut statement, parameters)?;
    let names: Arc<[String]> = statement.column_names().map(str::to_owned).collect();
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        let mut values = Vec::with_capacity(names.len());
        for i in 0..names.len() {
            values.push(value(row.get_ref(i)?));
        }
        if !take(Row::new(names.clone(), values)) {
            break;
        }
    }
    Ok(())
}

fn bind(statement: &mut Statement<'_>, parameters: &[Value]) -> rusqlite::Result<()> {
    for (i, value) in parameters.iter().enumerate() {
        // SQLite numbers `$2` by its first appearance, so each is looked up by name.
        if let Some(place) = statement.parameter_index(&format!("${}", i + 1))? {
            statement.raw_bind_parameter(place, value)?;
        }
    }
    Ok(())
}

fn value(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Real(_) => Value::Unreadable("no floating-point number"),
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Value::Text(text.to_owned()),
            Err(_) => Value::Unreadable("UTF-8"),
        },
        ValueRef::Blob(_) => Value::Unreadable("text and not bytes"),
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Value::Null | Value::Unreadable(_) => rusqlite::types::Null.into(),
            Value::Text(text) => text.as_str().into(),
            Value::Integer(number) => (*number).into(),
            Value::Instant(instant) => format_utc(*instant).into(),
            Value::Date(date) => date.to_string().into(),
            Value::Boolean(truth) => (*truth).into(),
        })
    }
}
