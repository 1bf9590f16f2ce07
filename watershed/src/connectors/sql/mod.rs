//! What the SQL connectors share: one set of values and rows, and [`Database`], which runs the
//! same SQL text on each of them.
//!
//! Placeholders are `$1`, `$2`, …; every value is bound, except on Redshift, which knows no
//! prepared statements for us: there one tested function quotes it, and nothing else does.

mod role;
mod rows;
mod stream;
mod text;

pub use role::{Protocol, Role};
pub use rows::{Row, Unfit, Value};
pub(crate) use stream::Outlet;
pub use stream::RowStream;
pub use text::identifier;
pub(crate) use text::with_literals;

use std::path::PathBuf;

use super::aws::Aws;
use super::mysql::Mysql;
use super::oracle::{self, Oracle};
use super::postgres::{Postgres, TlsReport};
use super::redshift::IamLogin;
use super::sqlite::Sqlite;
use crate::error::{Error, Remedy, Result};
use crate::privacy::Secret;
use crate::retry::Policy;

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
    /// `oracle://`
    Oracle(Box<Oracle>),
    /// `sqlite:path`
    Sqlite(Sqlite),
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
        if text.starts_with("oracle://") {
            return Ok(Database::Oracle(Box::new(Oracle::new(url, role, policy)?)));
        }
        Err(Error::new(
            Remedy::FixSettings,
            format!("opening {}: a URL of unknown form", role.name),
        )
        .with_hint(
            "expected postgres:// or mysql:// with user:password@host:port/database, oracle:// with user:password@host:port/SERVICE, or sqlite:path",
        ))
    }

    /// Says which folder holds Oracle's client library (`ORACLE_LIB_DIR`); without it the machine's
    /// loader looks where it always does. Other databases need none.
    ///
    /// A process loads one client library, with its first connection, and keeps it: a database that
    /// names another folder then is refused when it connects ([`Remedy::FixSettings`]).
    pub fn with_oracle_client(mut self, folder: impl Into<PathBuf>) -> Database {
        if let Database::Oracle(database) = &mut self {
            database.client(folder.into());
        }
        self
    }

    /// A database of a Redshift cluster, with temporary credentials from AWS for every connection:
    /// see [`redshift::credentials`](super::redshift::credentials). Asks nothing of the network
    /// yet; what AWS refuses is an error of the first query.
    ///
    /// There is no URL here that could say `sslmode`: `role.tls` holds.
    pub fn redshift_by_iam(
        aws: &Aws,
        cluster: &str,
        database: &str,
        user: &str,
        role: Role,
        policy: Policy,
    ) -> Database {
        let login = IamLogin::new(aws, cluster, database, user);
        Database::Postgres(Box::new(Postgres::redshift(login, database, role, policy)))
    }

    /// Runs a query and reads all its rows.
    pub async fn query(&self, sql: &str, parameters: &[Value]) -> Result<Vec<Row>> {
        match self {
            Database::Postgres(database) => database.query(sql, parameters).await,
            Database::Mysql(database) => database.query(sql, parameters).await,
            Database::Oracle(database) => database.query(sql, parameters).await,
            Database::Sqlite(database) => database.query(sql, parameters).await,
        }
    }

    /// Runs a query and reads its rows as they are asked for: for results of any size.
    pub fn stream(&self, sql: &str, parameters: &[Value]) -> RowStream {
        match self {
            Database::Postgres(database) => database.stream(sql, parameters),
            Database::Mysql(database) => database.stream(sql, parameters),
            Database::Oracle(database) => database.stream(sql, parameters),
            Database::Sqlite(database) => database.stream(sql, parameters),
        }
    }

    /// Runs a query whose text has `{list}` once for every list of values, and reads all rows.
    pub async fn query_lists(&self, sql: &str, values: &[Value]) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        for list in values.chunks(self.longest_list()) {
            rows.extend(self.query(&listed(sql, list), list).await?);
        }
        Ok(rows)
    }

    /// Runs a statement that changes rows, and tells how many it was about, with those
    /// that held the new values already.
    ///
    /// The statement must be one that may run twice: it is tried again when its answer was lost.
    pub async fn execute(&self, sql: &str, parameters: &[Value]) -> Result<u64> {
        match self {
            Database::Postgres(database) => database.execute(sql, parameters).await,
            Database::Mysql(database) => database.execute(sql, parameters).await,
            Database::Oracle(database) => database.execute(sql, parameters).await,
            Database::Sqlite(database) => database.execute(sql, parameters).await,
        }
    }

    /// Runs a statement whose text has `{list}` once for every list of values, as
    /// [`Database::execute`] does, and tells how many rows were changed in all.
    pub async fn execute_lists(&self, sql: &str, values: &[Value]) -> Result<u64> {
        let mut changed = 0;
        for list in values.chunks(self.longest_list()) {
            changed += self.execute(&listed(sql, list), list).await?;
        }
        Ok(changed)
    }

    fn longest_list(&self) -> usize {
        match self {
            Database::Oracle(_) => oracle::LIST_VALUES,
            _ => LIST_VALUES,
        }
    }

    /// How the connection is protected, for `check`; nothing for a file. Connects, if need be.
    ///
    /// # Errors
    /// Those of connecting. [`Remedy::FixAccess`] with a hint that has the fingerprint of the
    /// server's certificate, when it was shown and not trusted.
    pub async fn tls(&self) -> Result<Option<TlsReport>> {
        match self {
            Database::Postgres(database) => database.tls().await.map(Some),
            // MySQL's driver does not show the certificate; Oracle's client agrees with the server
            // on its own encryption, and does not say on which.
            Database::Mysql(_) | Database::Oracle(_) | Database::Sqlite(_) => Ok(None),
        }
    }

    /// The product and its version, for `check`.
    pub async fn version(&self) -> Result<String> {
        let sql = match self {
            Database::Postgres(_) | Database::Mysql(_) => "SELECT version() AS version",
            Database::Oracle(database) => return database.version().await,
            Database::Sqlite(_) => "SELECT 'SQLite ' || sqlite_version() AS version",
        };
        let rows = self.query(sql, &[]).await?;
        let version = rows
            .first()
            .and_then(|row| row.text("version").ok().flatten());
        Ok(version.unwrap_or_else(|| "unknown version".into()))
    }

    /// Checks that an embedded file holds the instants of a column in the one form whose order as
    /// text is that of time: `YYYY-MM-DD HH:MM:SS.ffffff`. Servers have a type for them.
    ///
    /// # Errors
    /// [`Remedy::FixData`], with the column and the number of rows in another form.
    pub async fn check_instants(&self, table: &str, column: &str) -> Result<()> {
        if !matches!(self, Database::Sqlite(_)) {
            return Ok(());
        }
        let form = "????-??-?? ??:??:??.??????";
        let sql = format!(
            "SELECT count(*) AS number FROM {table} WHERE {column} IS NOT NULL \
             AND (typeof({column}) <> 'text' OR {column} NOT GLOB '{form}')"
        );
        let rows = self.query(&sql, &[]).await?;
        match rows.first().and_then(|row| row.integer("number").ok().flatten()) {
            Some(0) => Ok(()),
            number => Err(Error::new(Remedy::FixData, format!("reading {table}, column {column}: {} rows have another form than YYYY-MM-DD HH:MM:SS.ffffff", number.unwrap_or_default()))
                .with_hint("an embedded file compares instants as text; write them in UTC with six decimals")),
        }
    }

    /// Checks that the columns of a table (quoted already) can be read; for `check`.
    pub async fn check_columns(&self, table: &str, columns: &[&str]) -> Result<()> {
        let nothing = match self {
            Database::Oracle(_) => "WHERE 1 = 0",
            _ => "LIMIT 0",
        };
        let sql = format!("SELECT {} FROM {table} {nothing}", columns.join(", "));
        self.query(&sql, &[]).await.map(|_| ())
    }
}

/// The text with a placeholder for every value of the list.
fn listed(sql: &str, list: &[Value]) -> String {
    let places: Vec<String> = (1..=list.len()).map(|i| format!("${i}")).collect();
    sql.replace("{list}", &places.join(", "))
}
