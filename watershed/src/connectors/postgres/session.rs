//! One connection for itself: transactions, bulk loads, locks that live as long as it does.

use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt as _, TryStreamExt as _, pin_mut};
use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{CopyInSink, Row};

use super::fault;
use super::{Connected, Postgres};
use crate::connectors::sql::Value;
use crate::error::{Error, Remedy, Result};
use crate::retry::retry;

/// A connection that nobody else uses. Dropped, it is closed, and the server rolls back what was
/// not committed and gives its locks free.
///
/// Its errors repeat the server's words, with the values in them: it is for tables without
/// personal data.
pub struct Session {
    connected: Connected,
    name: &'static str,
}

/// A bulk load that was begun.
pub struct Copy {
    sink: std::pin::Pin<Box<CopyInSink<Bytes>>>,
    what: String,
}

impl Postgres {
    /// Connects.
    pub async fn session(&self) -> Result<Session> {
        let what = format!("connecting to {}", self.role.name);
        let connected = retry(&self.policy, &what, || self.connect()).await?;
        Ok(Session {
            connected,
            name: self.role.name,
        })
    }
}

impl Session {
    /// Runs statements without parameters and without rows.
    pub async fn batch(&self, sql: &str) -> Result<()> {
        let done = self.connected.client.batch_execute(sql).await;
        done.map_err(|cause| self.error(&cause))
    }

    /// Runs a statement and counts the rows that it changed.
    pub async fn execute(&self, sql: &str, parameters: &[Value]) -> Result<u64> {
        let done = self.connected.client.execute_raw(sql, parameters).await;
        done.map_err(|cause| self.error(&cause))
    }

    /// Runs a query.
    pub async fn query(&self, sql: &str, parameters: &[Value]) -> Result<Vec<Row>> {
        let parameters: Vec<&(dyn ToSql + Sync)> = parameters
            .iter()
            .map(|value| value as &(dyn ToSql + Sync))
            .collect();
        let done = self.connected.client.query(sql, &parameters).await;
        done.map_err(|cause| self.error(&cause))
    }

    /// Runs a query whose rows may be very many, and gives them on one by one.
    pub async fn each_row(
        &self,
        sql: &str,
        parameters: &[Value],
        mut take: impl FnMut(&Row),
    ) -> Result<()> {
        let rows = self.connected.client.query_raw(sql, parameters).await;
        let rows = rows.map_err(|cause| self.error(&cause))?;
        pin_mut!(rows);
        while let Some(row) = rows.try_next().await.map_err(|cause| self.error(&cause))? {
            take(&row);
        }
        Ok(())
    }

    /// Begins a `COPY … FROM STDIN`.
    pub async fn copy(&self, sql: &str) -> Result<Copy> {
        let sink = self.connected.client.copy_in(sql).await;
        Ok(Copy {
            sink: Box::pin(sink.map_err(|cause| self.error(&cause))?),
            what: format!("writing to {}", self.name),
        })
    }

    /// Whether the connection is known to be lost.
    pub fn is_closed(&self) -> bool {
        self.connected.client.is_closed()
    }

    /// How the connection is protected.
    pub fn tls(&self) -> &super::TlsReport {
        &self.connected.tls
    }

    /// Asks the server to abandon the statement under way, so that it does not go on for nobody.
    pub async fn cancel(&self, database: &Postgres) {
        let Ok((connector, _)) = database.tls.connector() else {
            return;
        };
        let token = self.connected.client.cancel_token();
        // Whether or not it is heard, the connection is closed next.
        let _ = timeout(Duration::from_secs(1), token.cancel_query(connector)).await;
    }

    fn error(&self, cause: &tokio_postgres::Error) -> Error {
        with_the_servers_words(&format!("writing to {}", self.name), cause)
    }
}

impl Copy {
    /// Sends bytes of the format that the statement named.
    pub async fn send(&mut self, bytes: Bytes) -> Result<()> {
        // `feed` leaves the flush to the sink's own buffer; the server's answer to a faulty row
        // comes with a later call.
        let sent = self.sink.as_mut().feed(bytes).await;
        sent.map_err(|cause| with_the_servers_words(&self.what, &cause))
    }

    /// Ends the load and counts its rows.
    pub async fn finish(mut self) -> Result<u64> {
        let done = self.sink.as_mut().finish().await;
        done.map_err(|cause| with_the_servers_words(&self.what, &cause))
    }
}

fn with_the_servers_words(what: &str, cause: &tokio_postgres::Error) -> Error {
    let error = fault::error(what, cause, &Default::default());
    let Some(answer) = cause.as_db_error() else {
        return error;
    };
    let code = answer.code().code();
    let mut words = format!("SQLSTATE {code}: {}", answer.message());
    for more in [answer.detail(), answer.where_()].into_iter().flatten() {
        words.push_str("; ");
        words.push_str(more.lines().next().unwrap_or_default());
    }
    // A row that a constraint refuses is refused again.
    let remedy = match &code[..2] {
        "23" => Remedy::FixData,
        _ => error.remedy(),
    };
    let hint = answer.hint().map(str::to_owned);
    let error = Error::new(remedy, what).caused_by(Refusal {
        code: code.to_owned(),
        words,
    });
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// What a server answered to a statement that failed; the cause of a [`Session`]'s errors.
#[derive(Debug)]
pub struct Refusal {
    /// SQLSTATE.
    pub code: String,
    words: String,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.words)
    }
}

impl std::error::Error for Refusal {}
