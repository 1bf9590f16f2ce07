//! PostgreSQL, and Redshift, which speaks its protocol of old.

mod fault;
mod session;
mod tls;
mod values;

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use futures::{TryStreamExt as _, pin_mut};
use percent_encoding::percent_decode_str;
use tokio::sync::Mutex;
use tokio::task::AbortHandle;
use tokio_postgres::{Client, Config, SimpleQueryMessage};
use url::Url;

pub use session::{Copy, Refusal, Session};
pub use tls::{Tls, TlsReport};

use self::tls::Seen;
use super::redshift::IamLogin;
use super::sql::{Outlet, Protocol, Role, Row, RowStream, Value, with_literals};
use crate::error::{Error, Remedy, Result};
use crate::privacy::Secret;
use crate::retry::{Policy, retry};

/// A PostgreSQL or Redshift database: one connection, made when it is needed and made again when
/// it was lost.
#[derive(Clone, Debug)]
pub struct Postgres {
    role: Role,
    /// Where and as whom to log in, unless `login` knows better.
    config: Config,
    login: Login,
    tls: Tls,
    policy: Policy,
    connected: Arc<Mutex<Option<Connected>>>,
}

/// Who tells host, port, user and password.
#[derive(Clone, Debug)]
enum Login {
    /// The URL did.
    Fixed,
    /// AWS is asked for each connection. Nothing is kept: connections are few and live long, and
    /// the password is of no use 15 minutes later.
    Redshift(Box<IamLogin>),
}

/// A connection, and how it is protected.
#[derive(Debug)]
struct Connected {
    client: Client,
    tls: TlsReport,
    /// The task that reads from the server.
    connection: AbortHandle,
}

/// Ends the task that reads from the server when its stream is dropped half-way: it would read on
/// to the end of a result that nobody wants any more.
struct Abandoned(Option<AbortHandle>);

impl Drop for Abandoned {
    fn drop(&mut self) {
        if let Some(connection) = &self.0 {
            connection.abort();
        }
    }
}

/// What a statement gave.
struct Answer {
    rows: Vec<Row>,
    /// Rows that it was about, by its command tag.
    changed: u64,
}

impl Postgres {
    /// Reads the URL; asks nothing of the network yet.
    pub(crate) fn new(url: &Secret, role: Role, policy: Policy) -> Result<Postgres> {
        let (config, tls) = configuration(url, role)?;
        Ok(Postgres {
            role,
            config,
            login: Login::Fixed,
            tls,
            policy,
            connected: Arc::default(),
        })
    }

    /// As `new`, for a Redshift cluster whose credentials come from AWS.
    pub(super) fn redshift(
        login: IamLogin,
        database: &str,
        role: Role,
        policy: Policy,
    ) -> Postgres {
        let mut config = basics(role.tls);
        config.dbname(database);
        Postgres {
            role,
            config,
            login: Login::Redshift(Box::new(login)),
            tls: role.tls,
            policy,
            connected: Arc::default(),
        }
    }

    pub(crate) async fn query(&self, sql: &str, parameters: &[Value]) -> Result<Vec<Row>> {
        let what = format!("querying {}", self.role.name);
        Ok(self.run(&what, sql, parameters).await?.rows)
    }

    pub(crate) async fn execute(&self, sql: &str, parameters: &[Value]) -> Result<u64> {
        let what = format!("writing to {}", self.role.name);
        Ok(self.run(&what, sql, parameters).await?.changed)
    }

    async fn run(&self, what: &str, sql: &str, parameters: &[Value]) -> Result<Answer> {
        retry(&self.policy, what, || async {
            let connected = self.take().await?;
            let client = &connected.client;
            let mut rows = Vec::new();
            let sent = match self.role.protocol {
                Protocol::Extended => extended(client, sql, parameters, &mut rows).await,
                Protocol::Simple => {
                    simple(client, &with_literals(sql, parameters)?, &mut rows).await
                }
            };
            let changed = sent.map_err(|cause| fault::error(what, &cause, &Seen::default()))?;
            *self.connected.lock().await = Some(connected);
            Ok(Answer { rows, changed })
        })
        .await
    }

    /// Reads the rows as the server sends them. It waits where they are not taken.
    pub(crate) fn stream(&self, sql: &str, parameters: &[Value]) -> RowStream {
        let database = self.clone();
        let (sql, parameters) = (sql.to_owned(), parameters.to_vec());
        let what = format!("querying {}", self.role.name);
        RowStream::start(what, self.policy.each, move |mut outlet| async move {
            let what = format!("querying {}", database.role.name);
            let connected = retry(&database.policy, &what, || database.take()).await?;
            let client = &connected.client;
            let mut abandoned = Abandoned(Some(connected.connection.clone()));
            let sent = match database.role.protocol {
                Protocol::Extended => extended(client, &sql, &parameters, &mut outlet).await,
                Protocol::Simple => {
                    let sql = with_literals(&sql, &parameters)?;
                    simple(client, &sql, &mut outlet).await
                }
            };
            sent.map_err(|cause| fault::error(&what, &cause, &Seen::default()))?;
            abandoned.0 = None;
            *database.connected.lock().await = Some(connected);
            Ok(outlet)
        })
    }

    /// How the connection is protected.
    pub(crate) async fn tls(&self) -> Result<TlsReport> {
        let what = format!("connecting to {}", self.role.name);
        let connected = retry(&self.policy, &what, || self.take()).await?;
        let tls = connected.tls.clone();
        *self.connected.lock().await = Some(connected);
        Ok(tls)
    }

    /// The connection, taken from its place or made. It comes back when its query ended well: one
    /// that failed, or fell silent until the time was up, is never asked again.
    async fn take(&self) -> Result<Connected> {
        let idle = self.connected.lock().await.take();
        if let Some(connected) = idle.filter(|connected| !connected.client.is_closed()) {
            return Ok(connected);
        }
        self.connect().await
    }

    async fn connect(&self) -> Result<Connected> {
        let what = format!("connecting to {}", self.role.name);
        let mut config = self.config.clone();
        if let Login::Redshift(login) = &self.login {
            let endpoint = login.endpoint().await?;
            config
                .host(endpoint.host)
                .port(endpoint.port)
                .user(endpoint.user)
                .password(endpoint.password.expose());
        }
        let (connector, seen) = self.tls.connector()?;
        let failed = |cause| fault::error(&what, &cause, &seen);
        let (client, connection) = config.connect(connector).await.map_err(failed)?;
        let unconverted = connection.parameter("server_encoding") == Some("SQL_ASCII");
        // The connection's task ends when the client is dropped or the server goes away; what
        // went wrong reaches the query that was waiting.
        let connection = tokio::spawn(connection).abort_handle();
        if unconverted {
            // Such a server knows no encoding, and would fail the whole result for one byte that
            // is not UTF-8; sent as they are, the bytes fail their own record.
            let sent = client
                .batch_execute("SET client_encoding TO SQL_ASCII")
                .await;
            sent.map_err(failed)?;
        }
        Ok(Connected {
            client,
            tls: TlsReport::new(self.tls, &seen),
            connection,
        })
    }
}

/// Takes the rows of a result, one after another.
trait Sink {
    async fn take(&mut self, row: Row);
}

impl Sink for Vec<Row> {
    async fn take(&mut self, row: Row) {
        self.push(row);
    }
}

impl Sink for Outlet {
    async fn take(&mut self, row: Row) {
        self.push(row).await;
    }
}

/// Gives the number of rows that the statement was about.
async fn extended(
    client: &Client,
    sql: &str,
    parameters: &[Value],
    sink: &mut impl Sink,
) -> Result<u64, tokio_postgres::Error> {
    let statement = client.prepare(sql).await?;
    let names: Arc<[String]> = statement
        .columns()
        .iter()
        .map(|column| column.name().to_owned())
        .collect();
    let rows = client.query_raw(&statement, parameters).await?;
    pin_mut!(rows);
    while let Some(row) = rows.try_next().await? {
        let row = Row::new(names.clone(), values::of_row(&row));
        sink.take(row).await;
    }
    Ok(rows.rows_affected().unwrap_or_default())
}

async fn simple(
    client: &Client,
    sql: &str,
    sink: &mut impl Sink,
) -> Result<u64, tokio_postgres::Error> {
    let messages = client.simple_query_raw(sql).await?;
    pin_mut!(messages);
    let mut total = 0;
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
                sink.take(Row::new(names.clone(), values)).await;
            }
            SimpleQueryMessage::CommandComplete(changed) => total += changed,
            _ => {}
        }
    }
    Ok(total)
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
    let mut config = basics(role.tls);
    let host = parsed
        .host_str()
        .filter(|host| !host.is_empty())
        .ok_or_else(|| refused("it has no host"))?;
    // Percent-encoded, a host may be the folder of a Unix socket, which is how libpq has it.
    config.host(decoded(host.trim_matches(['[', ']']))?);
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

/// What every connection has, whoever logs in.
fn basics(tls: Tls) -> Config {
    let mut config = Config::new();
    config
        .application_name("watershed")
        .connect_timeout(Duration::from_secs(30))
        .keepalives(true)
        .keepalives_idle(Duration::from_secs(30))
        .keepalives_interval(Duration::from_secs(10))
        .keepalives_retries(3)
        .tcp_user_timeout(Duration::from_secs(60))
        .ssl_mode(tls.negotiation());
    config
}

#[cfg(test)]
pub(crate) mod fake_server;
#[cfg(test)]
mod tests;
