use watershed::connectors::sql::{Database, Value};
use watershed::error::{OrFail as _, Remedy, Result};

use super::super::{MESSAGES, Pending};
use super::{sql, text};

/// The messages, over a connection of their own.
#[derive(Clone)]
pub(in super::super::super) struct Outbox {
    database: Database,
    source: String,
    process: String,
}

impl Outbox {
    pub(super) fn new(database: Database, source: &str, process: &str) -> Outbox {
        Outbox {
            database,
            source: source.to_owned(),
            process: process.to_owned(),
        }
    }

    pub(in super::super) async fn pending(&self) -> Result<(Vec<Pending>, u64)> {
        let parameters = [
            text(&self.source),
            text(&self.process),
            Value::Integer(MESSAGES),
        ];
        let rows = self.database.query(sql::PENDING, &parameters).await?;
        let what = || "reading the messages that wait".to_owned();
        let mut pending = Vec::new();
        let mut number = 0;
        for row in rows {
            let id = row.integer("id").or_fail(Remedy::FixData, what)?;
            let message = row.text("message").or_fail(Remedy::FixData, what)?;
            let all = row.integer("pending").or_fail(Remedy::FixData, what)?;
            number = all.unwrap_or_default() as u64;
            pending.extend(id.zip(message).map(|(id, message)| Pending { id, message }));
        }
        Ok((pending, number))
    }

    pub(in super::super) async fn notified(&self, id: i64) -> Result<()> {
        let parameters = [text(&self.source), text(&self.process), Value::Integer(id)];
        self.database
            .execute(sql::NOTIFIED, &parameters)
            .await
            .map(|_| ())
    }
}
