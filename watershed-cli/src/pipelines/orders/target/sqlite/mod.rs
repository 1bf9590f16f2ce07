//! SQLite, the embedded twin: a lock file for the advisory lock, prepared inserts for `COPY`.

mod rows;
mod sql;

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, params};
use tokio::task::spawn_blocking;
use watershed::connectors::objects::Inbox;
use watershed::error::{Error, OrFail as _, Remedy, Result};
use watershed::time::format_utc;

use super::super::entities::Entity;
use super::super::feed::Feed;
use super::super::progress::Progress;
use super::super::rows::Reading;
use super::super::settings::Config;
use super::super::version;
use super::{Applied, Compose, Delivery, History, MESSAGES, Pending};
use rows::Inserting;

/// How long another writer of the file is waited for.
const BUSY: Duration = Duration::from_secs(60);

pub(in super::super) struct SqliteTarget {
    path: PathBuf,
    entities: Arc<Mutex<Vec<Entity>>>,
    owner: (String, String),
    quarantine: bool,
    dry_run: bool,
    open: Option<Open>,
}

struct Open {
    connection: Arc<Mutex<Connection>>,
    /// The lock is the kernel's: it goes with the process, so that no stale one can stay.
    _lock: File,
}

/// The messages, over connections of their own.
#[derive(Clone)]
pub(in super::super) struct Outbox {
    path: PathBuf,
    owner: (String, String),
}

impl SqliteTarget {
    pub(super) fn new(path: &str, config: &Config) -> SqliteTarget {
        let path = path.strip_prefix("//").unwrap_or(path);
        SqliteTarget {
            path: PathBuf::from(path),
            entities: Arc::new(Mutex::new(config.entities.list.clone())),
            owner: (
                config.entities.source.clone(),
                config.entities.process.clone(),
            ),
            quarantine: config.quarantine,
            dry_run: config.dry_run,
            open: None,
        }
    }

    pub(super) async fn ready(&mut self) -> Result<Option<History>> {
        if self.open.is_some() {
            return Ok(None);
        }
        let (path, owner, dry_run) = (self.path.clone(), self.owner.clone(), self.dry_run);
        let entities = self.entities.clone();
        let (open, history) = blocking(move || {
            let lock = lock(&path, &owner)?;
            let connection = connect(&path)?;
            let mut entities = entities.lock().expect("no holder panics");
            // Checked first: what does not fit is left as it is.
            check(&connection, &mut entities)?;
            if dry_run {
                connection
                    .execute_batch("BEGIN IMMEDIATE")
                    .map_err(failed)?;
            }
            connection.execute_batch(sql::TABLES).map_err(failed)?;
            for entity in entities.iter() {
                if columns_of(&connection, &entity.table)?.is_empty() {
                    connection
                        .execute_batch(&sql::create_table(entity))
                        .map_err(failed)?;
                    tracing::info!("made the table {}", entity.table);
                }
            }
            let history = history(&connection, &owner).map_err(failed)?;
            let connection = Arc::new(Mutex::new(connection));
            let _lock = lock;
            Ok((Open { connection, _lock }, history))
        })
        .await?;
        self.open = Some(open);
        Ok(Some(history))
    }

    pub(super) async fn deliver(
        &mut self,
        delivery: &Delivery,
        folder: &Inbox,
        progress: Progress,
        compose: Compose<'_>,
    ) -> Result<Applied> {
        let open = self.open.as_ref();
        let open =
            open.ok_or_else(|| Error::new(Remedy::ReportBug, "delivering: nothing is open"))?;
        let connection = open.connection.clone();
        let (entities, owner) = (self.entities.clone(), self.owner.clone());
        let (dry_run, quarantine) = (self.dry_run, self.quarantine);
        let (this, feed) = (delivery.clone(), Feed::open(folder, &delivery.file));
        let applied = blocking(move || {
            let connection = connection.lock().expect("no holder panics");
            let entities = entities.lock().expect("no holder panics");
            if !dry_run {
                connection
                    .execute_batch("BEGIN IMMEDIATE")
                    .map_err(failed)?;
            }
            tracing::trace!(room = "begun");
            let work = Work {
                connection: &connection,
                entity: &entities[this.entity],
                delivery: &this,
                owner: &owner,
                quarantine,
            };
            let applied = work.apply(feed, &progress);
            if applied.is_err() {
                let _ = connection.execute_batch("ROLLBACK");
            }
            tracing::trace!(room = "merged");
            applied
        })
        .await?;
        let applied = Applied {
            max_event_id: applied.max_event_id.max(delivery.max_event_id),
            ..applied
        };
        let message = compose(&applied);
        let connection = open.connection.clone();
        let (this, owner, entities) = (delivery.clone(), self.owner.clone(), self.entities.clone());
        blocking(move || {
            let connection = connection.lock().expect("no holder panics");
            let entity = entities.lock().expect("no holder panics")[this.entity]
                .name
                .clone();
            let done =
                record(&connection, &this, &entity, &owner, &applied, message).and_then(|()| {
                    tracing::trace!(room = "recorded");
                    match dry_run {
                        true => Ok(()),
                        // All of the delivery, or nothing.
                        false => connection.execute_batch("COMMIT"),
                    }
                });
            done.map_err(|error| {
                let _ = connection.execute_batch("ROLLBACK");
                failed(error)
            })
        })
        .await?;
        tracing::trace!(room = "committed");
        Ok(applied)
    }

    pub(super) async fn roll_back(&mut self) -> Result<()> {
        let Some(open) = self.open.take() else {
            return Ok(());
        };
        blocking(move || {
            let connection = open.connection.lock().expect("no holder panics");
            connection.execute_batch("ROLLBACK").map_err(failed)
        })
        .await
    }

    pub(super) fn outbox(&self) -> Outbox {
        Outbox {
            path: self.path.clone(),
            owner: self.owner.clone(),
        }
    }

    pub(super) async fn check(&mut self) -> Result<(String, Result<String>)> {
        let (path, entities) = (self.path.clone(), self.entities.clone());
        let place = format!("SQLite {}, sqlite:{}", rusqlite::version(), path.display());
        let tables = blocking(move || {
            let mut entities = entities.lock().expect("no holder panics");
            if path.exists() {
                let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
                let connection = Connection::open_with_flags(&path, flags).map_err(failed)?;
                check(&connection, &mut entities)?;
            }
            let names: Vec<&str> = entities.iter().map(|entity| &*entity.table).collect();
            Ok(format!(
                "{}: as the entities have them, or to be made",
                names.join(", ")
            ))
        })
        .await;
        Ok((place, tables))
    }
}

/// One delivery over a connection.
struct Work<'a> {
    connection: &'a Connection,
    entity: &'a Entity,
    delivery: &'a Delivery,
    owner: &'a (String, String),
    quarantine: bool,
}

impl Work<'_> {
    fn apply(&self, feed: Feed, progress: &Progress) -> Result<Applied> {
        let (connection, entity) = (self.connection, self.entity);
        let full_load = self.delivery.place.is_full_load();
        connection
            .execute_batch(&sql::create_staging(entity))
            .map_err(failed)?;
        let reading = Reading {
            entity,
            key: &self.delivery.file.key,
            full_load,
            quarantine: self.quarantine,
        };
        let mut rows = Inserting::new(connection, entity, self.delivery, self.owner)?;
        let read = reading.read(feed, &mut rows, progress)?;
        drop(rows);
        tracing::trace!(room = "staged");
        let mut applied = Applied {
            rows: read.rows,
            rejected: read.rejected,
            max_event_id: read.max_event_id,
            ..Applied::default()
        };
        let execute = |sql: &str| {
            let changed = connection.execute(sql, []);
            changed.map(|number| number as u64).map_err(failed)
        };
        if self.delivery.removes_lacking(entity, full_load, &applied) {
            applied.lacking = execute(&sql::delete_lacking(entity))?;
        }
        applied.removed = execute(&sql::delete_deleted(entity))?;
        if let Some(update) = sql::update(entity) {
            applied.amended = execute(&update)?;
        }
        applied.created = execute(&sql::insert(entity))?;
        let keys: i64 = connection
            .query_row(sql::COUNT_STAGED, [], |row| row.get(0))
            .map_err(failed)?;
        let keys = keys as u64;
        applied.replaced = applied.rows - applied.rejected - keys;
        applied.unchanged = keys - applied.created - applied.amended - applied.removed;
        applied.removed += applied.lacking;
        Ok(applied)
    }
}

impl Outbox {
    pub(super) async fn pending(&self) -> Result<(Vec<Pending>, u64)> {
        let Outbox { path, owner } = self.clone();
        blocking(move || {
            let read = |connection: &Connection| -> rusqlite::Result<(Vec<Pending>, u64)> {
                let mut statement = connection.prepare(sql::PENDING)?;
                let pending = statement
                    .query_map(params![owner.0, owner.1, MESSAGES], |row| {
                        Ok(Pending {
                            id: row.get(0)?,
                            message: row.get(1)?,
                        })
                    })?
                    .collect::<rusqlite::Result<_>>()?;
                let number: i64 =
                    connection.query_row(sql::COUNT_PENDING, params![owner.0, owner.1], |row| {
                        row.get(0)
                    })?;
                Ok((pending, number as u64))
            };
            read(&connect(&path)?).map_err(failed)
        })
        .await
    }

    pub(super) async fn notified(&self, id: i64) -> Result<()> {
        let Outbox { path, owner } = self.clone();
        blocking(move || {
            let now = format_utc(Timestamp::now());
            let done = connect(&path)?.execute(sql::NOTIFIED, params![owner.0, owner.1, id, now]);
            done.map(|_| ()).map_err(failed)
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    spawn_blocking(work)
        .await
        // Its cause would repeat the words of a panic.
        .map_err(|_| Error::new(Remedy::ReportBug, "working on the target"))?
}

/// SQLite's messages name tables and columns and hold no values.
fn failed(cause: rusqlite::Error) -> Error {
    let remedy = match cause.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::DiskFull) => {
            Remedy::TryAgain
        }
        Some(ErrorCode::ConstraintViolation) => Remedy::FixData,
        _ => Remedy::FixAccess,
    };
    Error::new(remedy, "writing to the target").caused_by(cause)
}

fn connect(path: &Path) -> Result<Connection> {
    let connection = Connection::open(path).or_fail(Remedy::FixAccess, || {
        format!("opening sqlite:{}", path.display())
    })?;
    connection.busy_timeout(BUSY).map_err(failed)?;
    // Whoever reads the tables is not in the way of a delivery, nor it in theirs.
    connection
        .pragma_update(None, "journal_mode", "WAL")
        .map_err(failed)?;
    connection
        .pragma_update(None, "synchronous", "FULL")
        .map_err(failed)?;
    Ok(connection)
}

/// Takes the lock of this source and process.
fn lock(path: &Path, (source, process): &(String, String)) -> Result<File> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{source}.{process}.lock"));
    let what = || format!("locking {}", Path::new(&name).display());
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&name)
        .or_fail(Remedy::FixAccess, what)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Error::new(Remedy::StopOtherRunner, what()).caused_by("another loader has it"))
        }
        Err(TryLockError::Error(error)) => {
            Err(Error::new(Remedy::FixAccess, what()).caused_by(error))
        }
    }
}

/// Refuses tables that are other than the entities have them; takes over their `not null`.
fn check(connection: &Connection, entities: &mut [Entity]) -> Result<()> {
    let mut faults = Vec::new();
    for entity in entities {
        let (table, existing) = (&entity.table, columns_of(connection, &entity.table)?);
        if existing.is_empty() {
            continue;
        }
        for column in &mut entity.columns {
            let kind = sql::kind(column.kind);
            let wanted = format!(
                "table {table}, column {}: the entities have {} ({kind} in SQLite), the table has",
                column.name, column.kind
            );
            match existing
                .iter()
                .find(|there| there.name.eq_ignore_ascii_case(&column.name))
            {
                None => faults.push(format!("{wanted} no such column")),
                Some(there) if !there.kind.eq_ignore_ascii_case(kind) => {
                    faults.push(format!("{wanted} {}", there.kind));
                }
                Some(there) => column.not_null |= there.not_null,
            }
        }
        let in_key = |name: &str| {
            entity
                .key_columns()
                .any(|column| column.name.eq_ignore_ascii_case(name))
        };
        if existing
            .iter()
            .any(|there| there.in_key != in_key(&there.name))
        {
            let key: Vec<&str> = entity.key_columns().map(|column| &*column.name).collect();
            faults.push(format!(
                "table {table}: the entities have the key ({}), the table has another",
                key.join(", ")
            ));
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    let lines: String = faults.iter().map(|fault| format!("\n  {fault}")).collect();
    let what = format!("comparing the target's tables with the entities:{lines}");
    Err(Error::new(Remedy::FixSettings, what)
        .with_hint("change the entities, or alter the tables yourself: the loader never does"))
}

struct Existing {
    name: String,
    kind: String,
    not_null: bool,
    in_key: bool,
}

fn columns_of(connection: &Connection, table: &str) -> Result<Vec<Existing>> {
    let read = || -> rusqlite::Result<Vec<Existing>> {
        let mut statement = connection.prepare(sql::COLUMNS_OF)?;
        let columns = statement.query_map([table], |row| {
            Ok(Existing {
                name: row.get(0)?,
                kind: row.get(1)?,
                not_null: row.get(2)?,
                in_key: row.get::<_, i64>(4)? > 0,
            })
        })?;
        columns.collect()
    };
    read().map_err(failed)
}

fn history(
    connection: &Connection,
    (source, process): &(String, String),
) -> rusqlite::Result<History> {
    let mut history = History::new();
    let mut statement = connection.prepare(sql::HISTORY)?;
    let mut rows = statement.query(params![source, process])?;
    while let Some(row) = rows.next()? {
        let (key, etag, entity): (String, String, String) = (row.get(1)?, row.get(2)?, row.get(3)?);
        history.add(row.get(0)?, &key, &etag, &entity, row.get(4)?);
    }
    Ok(history)
}

fn record(
    connection: &Connection,
    delivery: &Delivery,
    entity: &str,
    (source, process): &(String, String),
    applied: &Applied,
    message: Option<String>,
) -> rusqlite::Result<()> {
    let file = &delivery.file;
    connection
        .execute(
            sql::INSERT_DELIVERY,
            params![
                delivery.id,
                file.key,
                file.etag,
                file.bytes as i64,
                format_utc(file.last_modified),
                entity,
                applied.rows as i64,
                applied.created as i64,
                applied.amended as i64,
                applied.removed as i64,
                applied.unchanged as i64,
                applied.max_event_id,
                format_utc(delivery.started_at),
                format_utc(Timestamp::now()),
                version::host(),
                version::VERSION,
                source,
                process,
                message
            ],
        )
        .map(|_| ())
}
