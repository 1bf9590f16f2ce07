//! PostgreSQL: rows are copied in binary form into a temporary table and merged by a few set-based
//! statements; a first full load goes straight into its table.

mod encoding;
mod outbox;
mod sql;
mod tables;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use watershed::connectors::objects::Inbox;
use watershed::connectors::postgres::{Copy, Postgres, Refusal, Session};
use watershed::connectors::sql::{Database, Value};
use watershed::error::{Error, OrFail as _, Remedy, Result};
use watershed::formats::copy;
use watershed::formats::values::{ColumnType, Scalar};

use super::super::super::databases::with_tls;
use super::super::entities::Entity;
use super::super::feed::Feed;
use super::super::lock::lock_number;
use super::super::progress::Progress;
use super::super::rows::{FileRead, Reading, Reject, Unfit, read_raw};
use super::super::settings::Config;
use super::super::version;
use super::{Applied, Compose, Delivery, History, REJECTS, TARGET};
use encoding::{Block, Encoding, Layout};
pub(in super::super) use outbox::Outbox;

/// A lock whose owner was killed is free as soon as the server has noticed.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);

pub(in super::super) struct PostgresTarget {
    database: Database,
    /// The session that holds the lock and does all the work.
    session: Option<Session>,
    entities: Vec<Entity>,
    source: String,
    process: String,
    quarantine: bool,
    dry_run: bool,
    outbox: Outbox,
}

impl PostgresTarget {
    pub(super) fn new(config: &Config) -> Result<PostgresTarget> {
        let open = || Database::open(&config.target, TARGET, config.policy.clone());
        let entities = &config.entities;
        Ok(PostgresTarget {
            database: open()?,
            session: None,
            entities: entities.list.clone(),
            source: entities.source.clone(),
            process: entities.process.clone(),
            quarantine: config.quarantine,
            dry_run: config.dry_run,
            outbox: Outbox::new(open()?, &entities.source, &entities.process),
        })
    }

    fn postgres(&self) -> Result<&Postgres> {
        match &self.database {
            Database::Postgres(database) => Ok(database),
            _ => Err(Error::new(
                Remedy::ReportBug,
                "opening the target: it is no PostgreSQL",
            )),
        }
    }

    pub(super) async fn ready(&mut self) -> Result<Option<History>> {
        if self
            .session
            .as_ref()
            .is_some_and(|session| !session.is_closed())
        {
            return Ok(None);
        }
        self.session = None;
        let session = self.postgres()?.session().await?;
        session.query(sql::SESSION, &[]).await?;
        self.lock(&session).await?;
        if self.dry_run {
            session.batch("BEGIN").await?;
        }
        tables::prepare(&session, &mut self.entities).await?;
        let mut history = History::new();
        let owner = [text(&self.source), text(&self.process)];
        session
            .each_row(sql::HISTORY, &owner, |row| {
                history.add(row.get(0), row.get(1), row.get(2), row.get(3), row.get(4));
            })
            .await?;
        self.session = Some(session);
        Ok(Some(history))
    }

    /// Takes the lock of this source and process, for as long as the session lives.
    async fn lock(&self, session: &Session) -> Result<()> {
        let number = [Value::Integer(lock_number(&self.source, &self.process))];
        let mut waited = Duration::ZERO;
        loop {
            let locked = session.query(sql::LOCK, &number).await?;
            if locked.first().is_some_and(|row| row.get(0)) {
                return Ok(());
            }
            if waited >= LOCK_PATIENCE {
                break;
            }
            let pause = Duration::from_millis(250);
            sleep(pause).await;
            waited += pause;
        }
        let holder = session.query(sql::LOCK_HOLDER, &number).await?;
        let holder: Option<String> = holder.first().map(|row| row.get(0));
        let what = format!("locking {}.{}", self.source, self.process);
        Err(Error::new(Remedy::StopOtherRunner, what).caused_by(format!(
            "another loader has it: {}",
            holder.as_deref().unwrap_or("a session that just ended")
        )))
    }

    pub(super) async fn deliver(
        &mut self,
        delivery: &Delivery,
        folder: &Inbox,
        progress: Progress,
        compose: Compose<'_>,
    ) -> Result<Applied> {
        let lost = || Error::new(Remedy::TryAgain, "delivering: the connection was lost");
        let session = self.session.as_ref().ok_or_else(lost)?;
        let work = Work {
            session,
            entity: &self.entities[delivery.entity],
            delivery,
            folder,
            progress: Arc::new(progress),
            quarantine: self.quarantine,
            source: &self.source,
            process: &self.process,
        };
        let delivered = work.deliver(compose, !self.dry_run).await;
        if delivered.is_err() {
            // A session that cannot roll back is of no more use; the server does it then.
            let rolled_back = timeout(Duration::from_secs(5), session.batch("ROLLBACK")).await;
            if !matches!(rolled_back, Ok(Ok(()))) || self.dry_run {
                self.session = None;
            }
        }
        delivered.map_err(|error| about(&delivery.file.key, error))
    }

    pub(super) async fn roll_back(&mut self) -> Result<()> {
        match self.session.take() {
            Some(session) => session.batch("ROLLBACK").await,
            None => Ok(()),
        }
    }

    pub(super) async fn abandon(&mut self) {
        if let (Some(session), Ok(database)) = (self.session.take(), self.postgres()) {
            session.cancel(database).await;
        }
    }

    pub(super) fn outbox(&self) -> Outbox {
        self.outbox.clone()
    }

    pub(super) async fn check(&mut self) -> Result<(String, Result<String>)> {
        let version = with_tls(self.database.version().await?, &self.database).await?;
        let session = self.postgres()?.session().await?;
        let faults = tables::check(&session, &mut self.entities).await;
        let tables = faults.and_then(|mut faults| {
            if faults.is_empty() {
                let names: Vec<&str> = self.entities.iter().map(|entity| &*entity.table).collect();
                return Ok(format!(
                    "{}: as the entities have them, or to be made",
                    names.join(", ")
                ));
            }
            faults.sort();
            Err(tables::mismatch(&faults))
        });
        Ok((version, tables))
    }
}

/// One delivery over a session.
struct Work<'a> {
    session: &'a Session,
    entity: &'a Entity,
    delivery: &'a Delivery,
    folder: &'a Inbox,
    progress: Arc<Progress>,
    quarantine: bool,
    source: &'a str,
    process: &'a str,
}

impl Work<'_> {
    async fn deliver(&self, compose: Compose<'_>, own_transaction: bool) -> Result<Applied> {
        if own_transaction {
            self.session.batch("BEGIN").await?;
        }
        tracing::trace!(room = "begun");
        let mut applied = self.apply().await?;
        applied.max_event_id = applied.max_event_id.max(self.delivery.max_event_id);
        tracing::trace!(room = "merged");
        self.record(&applied, compose(&applied)).await?;
        tracing::trace!(room = "recorded");
        if own_transaction {
            // All of the delivery, or nothing.
            self.session.batch("COMMIT").await?;
        }
        tracing::trace!(room = "committed");
        Ok(applied)
    }

    async fn apply(&self) -> Result<Applied> {
        let full_load = self.delivery.place.is_full_load();
        if full_load && self.table_is_empty().await? {
            self.session.batch("SAVEPOINT loader_direct").await?;
            let (layout, copy) = (Layout::Table, sql::copy_directly(self.entity));
            match self.copy_rows(layout, &copy).await {
                Ok((read, _)) => {
                    return Ok(Applied {
                        created: read.rows - read.rejected,
                        ..applied(&read)
                    });
                }
                // Only the staging table tells which rows share a key.
                Err(error) if is_duplicate(&error) => {
                    let undo = "ROLLBACK TO SAVEPOINT loader_direct";
                    self.session.batch(undo).await?;
                }
                Err(error) => return Err(error),
            }
        }
        self.stage_and_merge(full_load).await
    }

    async fn stage_and_merge(&self, full_load: bool) -> Result<Applied> {
        let (session, entity, changes) = (self.session, self.entity, !full_load);
        let layout = match changes {
            true => Layout::StagedChanges,
            false => Layout::Staging,
        };
        session.batch(&sql::create_staging(entity, changes)).await?;
        let (read, rising) = self.copy_rows(layout, &sql::copy_to_staging()).await?;
        tracing::trace!(room = "staged");
        let mut applied = applied(&read);
        if !rising && changes {
            applied.replaced = session.execute(&sql::delete_replaced(entity), &[]).await?;
        } else if !rising {
            applied.rejected += self.refuse_duplicates().await?;
        }
        session.batch(&sql::analyze_staging(entity)).await?;
        if self.delivery.removes_lacking(entity, full_load, &applied) {
            applied.lacking = session.execute(&sql::delete_lacking(entity), &[]).await?;
        }
        session.batch(&sql::create_changes(entity, changes)).await?;
        session.batch(&format!("ANALYZE {}", sql::CHANGES)).await?;
        if changes {
            applied.removed = session.execute(&sql::delete_deleted(entity), &[]).await?;
        }
        if let Some(update) = sql::update(entity, changes) {
            applied.amended = session.execute(&update, &[]).await?;
        }
        applied.created = session.execute(&sql::insert(entity, changes), &[]).await?;
        session
            .batch(&format!("DROP TABLE {}, {}", sql::CHANGES, sql::STAGING))
            .await?;
        let keys = applied.rows - applied.rejected - applied.replaced;
        applied.unchanged = keys - applied.created - applied.amended - applied.removed;
        applied.removed += applied.lacking;
        Ok(applied)
    }

    async fn table_is_empty(&self) -> Result<bool> {
        let empty = self.session.query(&sql::is_empty(self.entity), &[]).await?;
        Ok(empty.first().is_some_and(|row| row.get(0)))
    }

    /// Copies the file's rows, read on a thread of its own. Says whether the keys rose from row to
    /// row.
    async fn copy_rows(&self, layout: Layout, copy: &str) -> Result<(FileRead, bool)> {
        let (sender, mut blocks) = mpsc::channel(4);
        let feed = Feed::open(self.folder, &self.delivery.file);
        let (entity, key) = (self.entity.clone(), self.delivery.file.key.clone());
        let (full_load, quarantine) = (self.delivery.place.is_full_load(), self.quarantine);
        let progress = self.progress.clone();
        let reading = spawn_blocking(move || {
            let columns = entity.columns.len();
            let mut rows = Encoding::new(sender, layout, columns, entity.key.clone());
            let reading = Reading {
                entity: &entity,
                key: &key,
                full_load,
                quarantine,
            };
            let read = reading.read(feed, &mut rows, &progress)?;
            Ok((read, rows.finish()?))
        });
        let mut open: Option<Copy> = None;
        while let Some(block) = blocks.recv().await {
            match block {
                Block::Rows(bytes) => {
                    let sink = match &mut open {
                        Some(sink) => sink,
                        None => {
                            let mut begun = self.session.copy(copy).await?;
                            begun.send(Bytes::from_static(copy::HEADER)).await?;
                            open.insert(begun)
                        }
                    };
                    sink.send(bytes.into()).await?;
                }
                Block::Rejects(rejects) => {
                    // The connection does one thing at a time; the next block begins anew.
                    finish(&mut open).await?;
                    self.set_aside(&rejects).await?;
                }
            }
        }
        // Its cause would repeat the words of a panic.
        let read: Result<(FileRead, bool)> = reading.await.map_err(|_| {
            Error::new(
                Remedy::ReportBug,
                format!("reading {}", self.delivery.file.key),
            )
        })?;
        let read = read?;
        finish(&mut open).await?;
        Ok(read)
    }

    /// Finds the rows of a full load whose key came before in it: the first one is an error, or
    /// all are set aside.
    async fn refuse_duplicates(&self) -> Result<u64> {
        let key_column = self.entity.key_columns().next();
        let key_column = key_column.map_or("", |column| &*column.name);
        let refused = |first: i64, value: &str| {
            let expected = format!("a key that comes once, line {first} has it, too");
            Unfit::of_column(key_column, value.as_bytes(), expected)
        };
        let file = &self.delivery.file;
        let duplicates = sql::duplicates(self.entity);
        if !self.quarantine {
            let found = self
                .session
                .query(&format!("{duplicates} LIMIT 1"), &[])
                .await?;
            return match found.first() {
                None => Ok(0),
                Some(row) => {
                    let unfit = refused(row.get(1), row.get(2));
                    Err(unfit.error(&file.key, row.get::<_, i64>(0) as u64))
                }
            };
        }
        let mut reasons = BTreeMap::new();
        self.session
            .each_row(&duplicates, &[], |row| {
                let unfit = refused(row.get(1), row.get(2));
                reasons.insert(row.get::<_, i64>(0) as u64, unfit.reason());
            })
            .await?;
        if reasons.is_empty() {
            return Ok(0);
        }
        let number = reasons.len() as u64;
        // The staging table has no raw text: it is read from the file again.
        let (feed, key) = (Feed::open(self.folder, file), file.key.clone());
        let rejects = spawn_blocking(move || read_raw(feed, &key, reasons)).await;
        let rejects = rejects.or_fail(Remedy::ReportBug, || format!("reading {}", file.key))??;
        for some in rejects.chunks(REJECTS) {
            self.set_aside(some).await?;
        }
        self.session
            .execute(&sql::delete_duplicates(self.entity), &[])
            .await?;
        Ok(number)
    }

    async fn set_aside(&self, rejects: &[Reject]) -> Result<()> {
        let mut bytes = copy::HEADER.to_vec();
        for reject in rejects {
            copy::begin_row(6, &mut bytes);
            for number in [self.delivery.id, reject.line as i64] {
                copy::value(ColumnType::BigInt, Scalar::Integer(number), &mut bytes);
            }
            for text in [&*reject.raw, &*reject.reason, self.source, self.process] {
                copy::value(ColumnType::Text, Scalar::Text(text), &mut bytes);
            }
        }
        bytes.extend_from_slice(copy::TRAILER);
        let mut sink = self.session.copy(sql::COPY_REJECTS).await?;
        sink.send(bytes.into()).await?;
        sink.finish().await?;
        Ok(())
    }

    /// Writes the row of the delivery, with the message that waits to be published.
    async fn record(&self, applied: &Applied, message: Option<String>) -> Result<()> {
        let file = &self.delivery.file;
        let number = |number: u64| Value::Integer(number as i64);
        let parameters = [
            Value::Integer(self.delivery.id),
            text(&file.key),
            text(&file.etag),
            number(file.bytes),
            Value::Instant(file.last_modified),
            text(&self.entity.name),
            number(applied.rows),
            number(applied.created),
            number(applied.amended),
            number(applied.removed),
            number(applied.unchanged),
            applied.max_event_id.map_or(Value::Null, Value::Integer),
            Value::Instant(self.delivery.started_at),
            text(version::host()),
            text(version::VERSION),
            text(self.source),
            text(self.process),
            message.map_or(Value::Null, Value::Text),
        ];
        self.session
            .execute(sql::INSERT_DELIVERY, &parameters)
            .await
            .map(|_| ())
    }
}

fn applied(read: &FileRead) -> Applied {
    Applied {
        rows: read.rows,
        rejected: read.rejected,
        max_event_id: read.max_event_id,
        ..Applied::default()
    }
}

async fn finish(open: &mut Option<Copy>) -> Result<()> {
    if let Some(mut sink) = open.take() {
        sink.send(Bytes::from_static(copy::TRAILER)).await?;
        sink.finish().await?;
    }
    Ok(())
}

/// What the server refused for its data is about the file; the loader finds most of it first, and
/// then tells the line.
fn about(key: &str, error: Error) -> Error {
    let answered = std::error::Error::source(&error).is_some_and(|cause| cause.is::<Refusal>());
    if error.remedy() != Remedy::FixData || !answered {
        return error;
    }
    Error::new(Remedy::FixData, format!("applying {key}")).caused_by(error.in_one_line())
}

/// Whether the server refused a row because its key is there already.
fn is_duplicate(error: &Error) -> bool {
    std::error::Error::source(error)
        .and_then(|cause| cause.downcast_ref::<Refusal>())
        .is_some_and(|answer| answer.code == "23505")
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}
