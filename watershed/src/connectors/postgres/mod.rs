//! PostgreSQL, and Redshift, which speaks its protocol of old.

mod tls;
mod values;

use std::num::TryFromIntError;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use futures::{TryStreamExt as _, pin_mut};
use percent_encoding::percent_decode_str;
use tokio::sync::Mutex;
use tokio_postgres::{Client, Config, SimpleQueryMessage};
use url::Url;

pub use tls::Tls;

use super::sql::{Role, Row, Value, with_literals};
use crate::error::{Error, Remedy, Result};
use crate::privacy::Secret;
use crate::retry::{Policy, retry};

/// How values reach the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Prepared statements with bound values: PostgreSQL.
    Extended,
    /// One text with quoted values, and text back: Redshift, which lacks the catalogue tables
    /// that a prepared statement's types are looked up in.
    Simple,
}

/// A PostgreSQL or Redshift database: one connection, made when it is needed and made again when
/// it was lost.
#[derive(Clone, Debug)]
pub struct Postgres {
    role: Role,
    config: Config,
    tls: Tls,
    policy: Policy,
    client: Arc<Mutex<Option<Arc<Client>>>>,
}

impl Postgres {
    /// Reads the URL; asks nothing of the network yet.
    pub(crate) fn new(url: &Secret, role: Role, policy: Policy) -> Result<Postgres> {
        let (config, tls) = configuration(url, role)?;
        Ok(Postgres {
            role,
            config,
            tls,
            policy,
            client: Arc::default(),
        })
    }

    pub(crate) async fn query(&self, sql: &str, parameters: &[Value]) -> Result<Vec<Row>> {
        let what = format!("querying {}", self.role.name);
        retry(&self.policy, &what, || async {
            let client = self.client().await?;
            let rows = match self.role.protocol {
                Protocol::Extended => extended(&client, sql, parameters).await,
                Protocol::Simple => simple(&client, &with_literals(sql, parameters)?).await,
            };
            rows.map_err(|cause| self.error(&what, &cause))
        })
        .await
    }

    async fn client(&self) -> Result<Arc<Client>> {
        let mut slot = self.client.lock().await;
        if let Some(client) = slot.as_ref().filter(|client| !client.is_closed()) {
            return Ok(client.clone());
        }
        let what = format!("connecting to {}", self.role.name);
        let connector = self.tls.connector()?;
        let (client, connection) = self
            .config
            .connect(connector)
            .await
            .map_err(|cause| self.error(&what, &cause))?;
        let unconverted = connection.parameter("server_encoding") == Some("SQL_ASCII");
        // The connection's task ends when the client is dropped or the server goes away; what
        // went wrong reaches the query that was waiting.
        tokio::spawn(connection);
        if unconverted {
            // Such a server knows no encoding, and would fail the whole result for one byte that
            // is not UTF-8; sent as they are, the bytes fail their own record.
            let sent = client
                .batch_execute("SET client_encoding TO SQL_ASCII")
                .await;
            sent.map_err(|cause| self.error(&what, &cause))?;
        }
        let client = Arc::new(client);
        *slot = Some(client.clone());
        Ok(client)
    }

    /// Ours of theirs. A server's message may quote a value, so that it is kept only where it
    /// speaks of names and permissions (P6).
    fn error(&self, what: &str, cause: &tokio_postgres::Error) -> Error {
        if std::error::Error::source(cause).is_some_and(|source| source.is::<TryFromIntError>()) {
            return Error::new(Remedy::FixData, what)
                .caused_by("a number is too large for the type that it is compared with");
        }
        let Some(answer) = cause.as_db_error() else {
            return match io_cause(cause) {
                Some(words) if cause.is_closed() || !words.starts_with("tls: ") => {
                    Error::new(Remedy::TryAgain, what).caused_by(words)
                }
                Some(words) => Error::new(Remedy::FixAccess, what).caused_by(words).with_hint(
                    "see `sslmode` and `sslfingerprint` in the database's URL; `watershed check` prints the fingerprint",
                ),
                None => Error::new(Remedy::TryAgain, what).caused_by(cause.to_string()),
            };
        };
        let code = answer.code().code();
        let (remedy, speaks_of_names) = match &code[..2] {
            // Connection, resources, operator's intervention, transaction rollback.
            "08" | "53" | "57" | "40" => (Remedy::TryAgain, true),
            // Authorisation, catalogue name, schema name, syntax or access rule.
            "28" | "3D" | "3F" | "42" => (Remedy::FixAccess, true),
            // Data exception.
            "22" => (Remedy::FixData, false),
            _ => (Remedy::TryAgain, false),
        };
        let words = if speaks_of_names {
            answer.message()
        } else {
            "see the server's log"
        };
        Error::new(remedy, what).caused_by(format!("SQLSTATE {code}: {words}"))
    }
}

/// The words of an input/output or TLS error below; those of tokio-postgres' own kinds are its.
fn io_cause(error: &tokio_postgres::Error) -> Option<String> {
    let mut cause = std::error::Error::source(error);
    let mut words = None;
    while let Some(error) = cause {
        let tls = error.downcast_ref::<rustls::Error>().is_some()
            || words
                .as_deref()
                .is_some_and(|w: &str| w.starts_with("tls: "));
        words = Some(if tls {
            format!("tls: {}", error.to_string().trim_start_matches("tls: "))
        } else {
            error.to_string()
        });
        cause = match error
            .downcast_ref::<std::io::Error>()
            .and_then(|io| io.get_ref())
        {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    words
}

async fn extended(
    client: &Client,
    sql: &str,
    parameters: &[Value],
) -> Result<Vec<Row>, tokio_postgres::Error> {
    let statement = client.prepare(sql).await?;
    let names: Arc<[String]> = statement
        .columns()
        .iter()
        .map(|column| column.name().to_owned())
        .collect();
    let rows = client.query_raw(&statement, parameters).await?;
    pin_mut!(rows);
    let mut found = Vec::new();
    while let Some(row) = rows.try_next().await? {
        found.push(Row::new(names.clone(), values::of_row(&row)));
    }
    Ok(found)
}

async fn simple(client: &Client, sql: &str) -> Result<Vec<Row>, tokio_postgres::Error> {
    let messages = client.simple_query_raw(sql).await?;
    pin_mut!(messages);
    let mut found = Vec::new();
    let mut names: Arc<[String]> = Arc::default();
    while let Some(message) = messages.try_next().await? {
        match message {
            SimpleQueryMessage::RowDescription(columns) => {
                names = columns
                    .iter()
                    .map(|column| column.name().to_owned())
                    .collect();
            }
            SimpleQueryMessage::Row(row) => {
                let values = (0..row.len())
                    .map(|i| values::of_text(row.try_get(i)))
                    .collect();
                found.push(Row::new(names.clone(), values));
            }
            _ => {}
        }
    }
    Ok(found)
}

fn configuration(url: &Secret, role: Role) -> Result<(Config, Tls)> {
    let refused = |why: &str| {
        Error::new(
            Remedy::FixSettings,
            format!("reading the URL of {}: {why}", role.name),
        )
        .with_hint("expected postgres://user:password@host:port/database?sslmode=…")
    };
    // The parser's own message is not shown: it could repeat a password.
    let parsed = Url::from_str(url.expose()).map_err(|_| refused("it is no URL"))?;
    let decoded = |text: &str| -> Result<String> {
        let text = percent_decode_str(text)
            .decode_utf8()
            .map_err(|_| refused("it is not UTF-8"))?;
        Ok(text.into_owned())
    };
    let mut config = Config::new();
    let host = parsed
        .host_str()
        .filter(|host| !host.is_empty())
        .ok_or_else(|| refused("it has no host"))?;
    config.host(host.trim_matches(['[', ']']));
    config.port(
        parsed
            .port()
            .unwrap_or(if role.protocol == Protocol::Simple {
                5439
            } else {
                5432
            }),
    );
    if !parsed.username().is_empty() {
        config.user(decoded(parsed.username())?);
    }
    if let Some(password) = parsed.password() {
        config.password(decoded(password)?);
    }
    let database = decoded(parsed.path().trim_start_matches('/'))?;
    if !database.is_empty() {
        config.dbname(database);
    }
    config
        .application_name("watershed")
        .connect_timeout(Duration::from_secs(30))
        .keepalives(true);
    let mut tls = role.tls;
    let mut fingerprint = None;
    for (name, value) in parsed.query_pairs() {
        match &*name {
            "sslmode" => {
                tls = Tls::from_mode(&value).ok_or_else(|| {
                    refused("sslmode must be disable, prefer, require, verify-ca or verify-full")
                })?;
            }
            "sslfingerprint" => fingerprint = Some(value.into_owned()),
            other => return Err(refused(&format!("it has an unknown parameter `{other}`"))),
        }
    }
    if let Some(fingerprint) = fingerprint {
        tls = Tls::pinned(&fingerprint).ok_or_else(|| {
            refused("sslfingerprint must be the certificate's SHA-256 in hexadecimal")
        })?;
    }
    config.ssl_mode(tls.negotiation());
    Ok((config, tls))
}
