//! MySQL and MariaDB.

mod tls;
mod values;

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, DriverError, IoError, Opts, OptsBuilder, Params, SslOpts};
use percent_encoding::percent_decode_str;
use tokio::sync::Mutex;
use tokio::time::timeout;
use url::Url;

use super::postgres::Tls;
use super::sql::{Role, Row, RowStream, Value};
use crate::error::{Error, Remedy, Result};
use crate::privacy::Secret;
use crate::retry::{Policy, retry};

/// How long the server waits for a reader that is busy with the rows it has; a minute is its own
/// patience, and an upload may take longer.
const PATIENCE: &str = "SET SESSION net_write_timeout = 3600";

const CONNECT_WITHIN: Duration = Duration::from_secs(30);

/// A MySQL or MariaDB database: one connection, made when it is needed and made again when it was
/// lost.
#[derive(Clone, Debug)]
pub struct Mysql {
    role: Role,
    opts: Opts,
    tls: Tls,
    policy: Policy,
    connection: Arc<Mutex<Option<Conn>>>,
}

impl Mysql {
    /// Reads the URL; asks nothing of the network yet.
    pub(crate) fn new(url: &Secret, role: Role, policy: Policy) -> Result<Mysql> {
        let (opts, tls) = configuration(url, role)?;
        Ok(Mysql {
            role,
            opts,
            tls,
            policy,
            connection: Arc::default(),
        })
    }

    pub(crate) async fn query(&self, sql: &str, parameters: &[Value]) -> Result<Vec<Row>> {
        let what = format!("querying {}", self.role.name);
        Ok(self.run(&what, sql, parameters).await?.0)
    }

    pub(crate) async fn execute(&self, sql: &str, parameters: &[Value]) -> Result<u64> {
        let what = format!("writing to {}", self.role.name);
        Ok(self.run(&what, sql, parameters).await?.1)
    }

    /// The rows of a statement, and the number of those that it changed.
    async fn run(&self, what: &str, sql: &str, parameters: &[Value]) -> Result<(Vec<Row>, u64)> {
        let (sql, values) = values::positional(sql, parameters)?;
        retry(&self.policy, what, || async {
            let mut slot = self.connection.lock().await;
            // Out of its place while it works: a query that is dropped half-way takes with it a
            // connection that nobody could go on with.
            let mut connection = match slot.take() {
                Some(connection) => connection,
                None => self.connect().await?,
            };
            let params = parameters_of(&values);
            let rows: Result<Vec<mysql_async::Row>, _> = connection.exec(&sql, params).await;
            match rows {
                Ok(rows) => {
                    let changed = connection.affected_rows();
                    *slot = Some(connection);
                    Ok((values::of_rows(rows), changed))
                }
                Err(cause) => {
                    if !cause.is_fatal() {
                        *slot = Some(connection);
                    }
                    Err(self.error(what, &cause))
                }
            }
        })
        .await
    }

    /// Reads the rows as the server sends them, through a connection of their own: other queries
    /// need not wait for it, and one that is dropped half-way takes with it nobody else's.
    pub(crate) fn stream(&self, sql: &str, parameters: &[Value]) -> RowStream {
        let database = self.clone();
        let (sql, parameters) = (sql.to_owned(), parameters.to_vec());
        let what = format!("querying {}", self.role.name);
        RowStream::start(what, self.policy.each, move |mut outlet| async move {
            let what = format!("querying {}", database.role.name);
            let (sql, values) = values::positional(&sql, &parameters)?;
            let failed = |cause| database.error(&what, &cause);
            let mut connection = retry(&database.policy, &what, || database.connect()).await?;
            connection.query_drop(PATIENCE).await.map_err(failed)?;
            let params = parameters_of(&values);
            let mut result = connection.exec_iter(&sql, params).await.map_err(failed)?;
            let columns = values::Columns::of(result.columns_ref());
            while let Some(row) = result.next().await.map_err(failed)? {
                outlet.push(columns.row(row)).await;
            }
            drop(result);
            // It would be closed anyway, but not in the server's good manner.
            let _ = connection.disconnect().await;
            Ok(outlet)
        })
    }

    async fn connect(&self) -> Result<Conn> {
        match self.connect_with(tls::options(self.tls)).await {
            Err(cause) if self.tls == Tls::Prefer && tls::is_at_fault(&cause) => {
                tracing::warn!(
                    "{} offers no TLS that can be used: the connection is not encrypted (sslmode=prefer)",
                    self.role.name
                );
                self.connect_with(None).await
            }
            connected => connected,
        }
        .map_err(|cause| self.error(&format!("connecting to {}", self.role.name), &cause))
    }

    async fn connect_with(&self, ssl: Option<SslOpts>) -> mysql_async::Result<Conn> {
        let opts = OptsBuilder::from_opts(self.opts.clone()).ssl_opts(ssl);
        match timeout(CONNECT_WITHIN, Conn::new(opts)).await {
            Ok(connected) => connected,
            Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
        }
    }

    /// Ours of theirs. A server's message may quote a value, so that it is kept only where it
    /// speaks of names and permissions (P6).
    fn error(&self, what: &str, cause: &mysql_async::Error) -> Error {
        if tls::is_at_fault(cause) {
            return Error::new(Remedy::FixAccess, what)
                .caused_by(innermost(cause))
                .with_hint("see `sslmode` in the database's URL");
        }
        let answer = match cause {
            mysql_async::Error::Server(answer) => answer,
            mysql_async::Error::Io(IoError::Io(io)) => {
                return Error::new(Remedy::TryAgain, what).caused_by(io.to_string());
            }
            mysql_async::Error::Driver(
                DriverError::UnknownAuthPlugin { .. }
                | DriverError::MysqlOldPasswordDisabled
                | DriverError::CleartextPluginDisabled,
            ) => return Error::new(Remedy::FixAccess, what).caused_by(innermost(cause)),
            mysql_async::Error::Driver(
                DriverError::StmtParamsMismatch { .. }
                | DriverError::StmtParamsNumberExceedsLimit { .. },
            ) => return Error::new(Remedy::ReportBug, what).caused_by(innermost(cause)),
            _ => return Error::new(Remedy::TryAgain, what).caused_by(innermost(cause)),
        };
        let (remedy, words) = match (answer.code, answer.state.get(..2).unwrap_or_default()) {
            // Access denied (ER_DBACCESS_DENIED_ERROR, ER_ACCESS_DENIED_ERROR); the message names
            // the user, who is a secret.
            (1044 | 1045, _) | (_, "28") => (
                Remedy::FixAccess,
                "access denied for this user, password and database",
            ),
            // Names, syntax, permissions.
            (_, "42" | "3D") => (Remedy::FixAccess, &*answer.message),
            (_, "22") => (Remedy::FixData, "see the server's log"),
            // Connections and their limits, transaction rollback.
            (_, "08" | "40") => (Remedy::TryAgain, &*answer.message),
            _ => (Remedy::TryAgain, "see the server's log"),
        };
        Error::new(remedy, what).caused_by(format!("error {}: {words}", answer.code))
    }
}

fn parameters_of(values: &[mysql_async::Value]) -> Params {
    if values.is_empty() {
        Params::Empty
    } else {
        Params::Positional(values.to_vec())
    }
}

/// The words of the cause below all others. The driver's own hold no values.
fn innermost(error: &mysql_async::Error) -> String {
    let mut cause: &dyn StdError = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

fn configuration(url: &Secret, role: Role) -> Result<(Opts, Tls)> {
    let refused = |why: &str| {
        Error::new(
            Remedy::FixSettings,
            format!("reading the URL of {}: {why}", role.name),
        )
        .with_hint("expected mysql://user:password@host:port/database?sslmode=…")
    };
    // The parser's own message is not shown: it could repeat a password.
    let parsed = Url::parse(url.expose()).map_err(|_| refused("it is no URL"))?;
    let decoded = |text: &str| -> Result<Option<String>> {
        let text = percent_decode_str(text)
            .decode_utf8()
            .map_err(|_| refused("it is not UTF-8"))?;
        Ok(Some(text.into_owned()).filter(|text| !text.is_empty()))
    };
    let host = parsed
        .host_str()
        .filter(|host| !host.is_empty())
        .ok_or_else(|| refused("it has no host"))?;
    let mut tls = role.tls;
    for (name, value) in parsed.query_pairs() {
        match &*name {
            "sslmode" => {
                tls = Tls::from_mode(&value).ok_or_else(|| {
                    refused("sslmode must be disable, prefer, require, verify-ca or verify-full")
                })?;
            }
            // The driver shows nobody the certificate.
            "sslfingerprint" => {
                return Err(refused(
                    "a certificate can be pinned for PostgreSQL alone; use sslmode=verify-full with SSL_CERT_FILE",
                ));
            }
            other => return Err(refused(&format!("it has an unknown parameter `{other}`"))),
        }
    }
    let opts = OptsBuilder::default()
        .ip_or_hostname(host.trim_matches(['[', ']']))
        .tcp_port(parsed.port().unwrap_or(3306))
        .user(decoded(parsed.username())?)
        .pass(parsed.password().map(&decoded).transpose()?.flatten())
        .db_name(decoded(parsed.path().trim_start_matches('/'))?)
        // A server on this machine would be changed to over its socket, and its TLS left out.
        .prefer_socket(false)
        // So that rows which hold the new value already are counted, as every database does.
        .client_found_rows(true)
        .tcp_keepalive(Some(Duration::from_secs(60)))
        // So that columns of the type TIMESTAMP are in UTC; those of DATETIME know no zone.
        .setup(vec!["SET time_zone = '+00:00'"]);
    Ok((opts.into(), tls))
}
