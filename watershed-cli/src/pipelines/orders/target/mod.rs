//! Where the rows go: PostgreSQL, or SQLite as its embedded twin.

mod history;
mod postgres;
mod sqlite;

use jiff::Timestamp;
use watershed::connectors::objects::{Inbox, Listed};
use watershed::connectors::postgres::Tls;
use watershed::connectors::sql::{Protocol, Role};
use watershed::error::Result;

use super::entities::Entity;
use super::names::Place;
use super::progress::Progress;
pub(super) use history::History;
use postgres::PostgresTarget;
use sqlite::SqliteTarget;

use super::Checked;
use super::settings::Config;

/// What the loader expects of its target.
const TARGET: Role = Role {
    name: "the target",
    schema: None,
    protocol: Protocol::Extended,
    tls: Tls::Prefer,
};

/// A file on its way into its table.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    pub id: i64,
    pub file: Listed,
    /// Place among the entities.
    pub entity: usize,
    pub place: Place,
    pub started_at: Timestamp,
    /// The highest event id before this delivery.
    pub max_event_id: Option<i64>,
}

impl Delivery {
    /// Whether the rows are removed that this snapshot lacks. A row that was set aside may be one of
    /// them, so that then none is.
    fn removes_lacking(&self, entity: &Entity, full_load: bool, applied: &Applied) -> bool {
        let snapshot = full_load && entity.snapshot;
        if snapshot && applied.rejected > 0 {
            let (delivery, key) = (self.id, &self.file.key);
            tracing::warn!(
                delivery,
                "Delivery {delivery}: rows of the snapshot {key} were set aside, so that none is removed"
            );
            return false;
        }
        snapshot
    }
}

/// What a delivery did, by key and net.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Applied {
    /// Rows of the file.
    pub rows: u64,
    pub created: u64,
    pub amended: u64,
    /// Keys removed, by their rows or because a snapshot lacks them.
    pub removed: u64,
    /// Of these, those that a snapshot lacks.
    pub lacking: u64,
    pub unchanged: u64,
    pub rejected: u64,
    /// Rows that a later row of the same key replaced.
    pub replaced: u64,
    /// The highest event id so far.
    pub max_event_id: Option<i64>,
}

impl Applied {
    pub(super) fn changed_nothing(&self) -> bool {
        self.created + self.amended + self.removed == 0
    }
}

/// The message of a delivery, for what it did; nothing when none is kept.
pub(super) type Compose<'a> = &'a (dyn Fn(&Applied) -> Option<String> + Sync);

/// A message that waits for the broker.
pub(super) struct Pending {
    pub id: i64,
    pub message: String,
}

/// The target of a run.
pub(super) enum Target {
    Postgres(Box<PostgresTarget>),
    Sqlite(Box<SqliteTarget>),
}

/// Where messages wait; it has a connection of its own.
#[derive(Clone)]
pub(super) enum Outbox {
    Postgres(postgres::Outbox),
    Sqlite(sqlite::Outbox),
}

impl Target {
    /// Reads the URL; asks nothing of the network yet.
    pub(super) fn open(config: &Config) -> Result<Target> {
        Ok(match config.target.expose().strip_prefix("sqlite:") {
            Some(path) => Target::Sqlite(Box::new(SqliteTarget::new(path, config))),
            None => Target::Postgres(Box::new(PostgresTarget::new(config)?)),
        })
    }

    /// Connects, takes the lock, makes and checks the tables. What was delivered so far comes back
    /// whenever that had to be done; nothing when all is as it was.
    ///
    /// # Errors
    /// [`Remedy::StopOtherRunner`](watershed::error::Remedy::StopOtherRunner) when another loader
    /// of this process has the lock.
    pub(super) async fn ready(&mut self) -> Result<Option<History>> {
        match self {
            Target::Postgres(target) => target.ready().await,
            Target::Sqlite(target) => target.ready().await,
        }
    }

    /// Applies a file, all of it in one transaction with its row in `loader_deliveries`. In a dry
    /// run the transaction is that of the whole run.
    pub(super) async fn deliver(
        &mut self,
        delivery: &Delivery,
        folder: &Inbox,
        progress: Progress,
        compose: Compose<'_>,
    ) -> Result<Applied> {
        match self {
            Target::Postgres(target) => target.deliver(delivery, folder, progress, compose).await,
            Target::Sqlite(target) => target.deliver(delivery, folder, progress, compose).await,
        }
    }

    /// Ends a dry run.
    pub(super) async fn roll_back(&mut self) -> Result<()> {
        match self {
            Target::Postgres(target) => target.roll_back().await,
            Target::Sqlite(target) => target.roll_back().await,
        }
    }

    /// Asks the server to abandon what it is at (P7).
    pub(super) async fn abandon(&mut self) {
        if let Target::Postgres(target) = self {
            target.abandon().await;
        }
    }

    /// Where its messages wait.
    pub(super) fn outbox(&self) -> Outbox {
        match self {
            Target::Postgres(target) => Outbox::Postgres(target.outbox()),
            Target::Sqlite(target) => Outbox::Sqlite(target.outbox()),
        }
    }

    /// Version and tables, for `check`; makes and locks nothing.
    pub(super) async fn check(&mut self) -> Vec<Checked> {
        let checked = match self {
            Target::Postgres(target) => target.check().await,
            Target::Sqlite(target) => target.check().await,
        };
        match checked {
            Ok((version, tables)) => vec![
                Checked {
                    system: "target",
                    found: Ok(version),
                },
                Checked {
                    system: "tables",
                    found: tables,
                },
            ],
            Err(error) => vec![Checked {
                system: "target",
                found: Err(error),
            }],
        }
    }
}

impl Outbox {
    /// The first messages that wait, in the order of their deliveries, and how many there are.
    pub(super) async fn pending(&self) -> Result<(Vec<Pending>, u64)> {
        match self {
            Outbox::Postgres(outbox) => outbox.pending().await,
            Outbox::Sqlite(outbox) => outbox.pending().await,
        }
    }

    /// Marks a delivery whose message the broker has.
    pub(super) async fn notified(&self, id: i64) -> Result<()> {
        match self {
            Outbox::Postgres(outbox) => outbox.notified(id).await,
            Outbox::Sqlite(outbox) => outbox.notified(id).await,
        }
    }
}

/// Messages that are read at once.
const MESSAGES: i64 = 100;

/// Rows of `loader_rejects` that are written at once.
const REJECTS: usize = 500;
