//! Oracle, through its own client library, which is loaded when the first connection is made: the
//! program is built and runs without it, unless it is asked for an `oracle://` URL.
//!
//! The library's calls block, so that each query has a thread of its own while it runs. A query that
//! is dropped is interrupted at the server, and its connection is closed.
//!
//! - Names of columns come in lower case, as PostgreSQL gives them, so that one text serves both;
//!   names that were quoted with small letters stay as they are.
//! - NUMBER comes with all its digits and never through a floating-point number, DATE as a text with
//!   its time of day, TIMESTAMP as an instant: without a zone as if it were in UTC.
//! - CHAR comes as it is stored, filled up with blanks. An empty text is NULL there, in tables and in
//!   bound values alike.
//! - LOB, LONG, XML, JSON and object columns are refused by name before a row is read.

mod address;
mod client;
mod fault;
mod values;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use ::oracle::{Connection, Connector};
use tokio::task::spawn_blocking;

use self::address::Address;
use self::values::Values;
use super::sql::{Outlet, Role, Row, RowStream, Value};
use crate::error::{Error, Remedy, Result};
use crate::privacy::Secret;
use crate::retry::{Policy, retry};

/// Values in one list: up to version 21, the server refuses more (ORA-01795).
pub(crate) const LIST_VALUES: usize = 1_000;

/// Rows of one round trip to the server. The client's buffers for them are as large as the columns
/// are declared: 40 columns of VARCHAR2(4000) take 160 MB.
const FETCHED_ROWS: u32 = 250;

/// An Oracle database: one connection, made when it is needed and made again when it was lost.
#[derive(Clone, Debug)]
pub struct Oracle {
    role: Role,
    address: Address,
    client: Option<PathBuf>,
    policy: Policy,
    /// The connection that nobody is using.
    idle: Arc<Mutex<Option<Session>>>,
}

/// A connection that has logged in. Closing it asks the server once more.
#[derive(Clone)]
struct Session(Arc<Connection>);

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session")
    }
}

/// What a thread that may block is at, seen from outside of it.
#[derive(Default)]
struct Running {
    session: Option<Session>,
    interrupted: bool,
}

/// Dropped, it interrupts the thread's call, if there is one.
struct Interrupt(Arc<Mutex<Running>>);

impl Drop for Interrupt {
    fn drop(&mut self) {
        let mut running = lock(&self.0);
        running.interrupted = true;
        if let Some(Session(connection)) = &running.session {
            // Should it not reach the server, its answer still reaches nobody.
            let _ = connection.break_execution();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds this")
}

impl Oracle {
    /// Reads the URL; asks nothing of the network and loads nothing yet.
    pub(crate) fn new(url: &Secret, role: Role, policy: Policy) -> Result<Oracle> {
        Ok(Oracle {
            role,
            address: Address::read(url, role.name)?,
            client: None,
            policy,
            idle: Arc::default(),
        })
    }

    /// Sets the folder of the client library.
    pub(crate) fn client(&mut self, folder: PathBuf) {
        self.client = Some(folder);
        // What this is a clone of may have a session, of another library.
        self.idle = Arc::default();
    }

    pub(crate) async fn query(&self, sql: &str, parameters: &[Value]) -> Result<Vec<Row>> {
        let sql = values::named(sql);
        retry(&self.policy, &self.querying(), || async {
            let (sql, parameters) = (sql.clone(), parameters.to_vec());
            self.with_idle(move |database, connection| {
                let mut rows = Vec::new();
                database.read(connection, &sql, &parameters, |row| {
                    rows.push(row);
                    true
                })?;
                Ok(rows)
            })
            .await
        })
        .await
    }

    /// Changes rows and commits; tells how many they are.
    pub(crate) async fn execute(&self, sql: &str, parameters: &[Value]) -> Result<u64> {
        let what = format!("writing to {}", self.role.name);
        let sql = values::named(sql);
        retry(&self.policy, &what, || async {
            let (what, sql, parameters) = (what.clone(), sql.clone(), parameters.to_vec());
            self.with_idle(move |_, connection| {
                let change = || {
                    let mut statement = connection.statement(&sql).build()?;
                    values::bind(&mut statement, &parameters)?;
                    statement.execute(&[])?;
                    let changed = statement.row_count()?;
                    connection.commit()?;
                    Ok(changed)
                };
                change().map_err(|cause| fault::error(&what, &cause))
            })
            .await
        })
        .await
    }

    /// Reads through a connection of its own, so that other queries need not wait for it.
    pub(crate) fn stream(&self, sql: &str, parameters: &[Value]) -> RowStream {
        let database = self.clone();
        let (sql, parameters) = (values::named(sql), parameters.to_vec());
        let read = |mut outlet: Outlet| async move {
            let connecting = || database.run(None, |_, _| Ok(()));
            let ((), session) = retry(&database.policy, &database.querying(), connecting).await?;
            let reading = move |database: &Oracle, connection: &Connection| {
                database.read(connection, &sql, &parameters, |row| {
                    outlet.push_blocking(row)
                })?;
                Ok(outlet)
            };
            let (outlet, session) = database.run(Some(session), reading).await?;
            spawn_blocking(move || drop(session));
            Ok(outlet)
        };
        RowStream::start(self.querying(), self.policy.each, read)
    }

    pub(crate) async fn version(&self) -> Result<String> {
        let what = format!("connecting to {}", self.role.name);
        retry(&self.policy, &what, || async {
            let what = what.clone();
            self.with_idle(move |_, connection| {
                let (version, _) = connection
                    .server_version()
                    .map_err(|cause| fault::error(&what, &cause))?;
                Ok(format!("Oracle Database {version}"))
            })
            .await
        })
        .await
    }

    fn querying(&self) -> String {
        format!("querying {}", self.role.name)
    }

    /// Works with the connection that is idle, or makes one. One whose work failed is not asked
    /// again.
    async fn with_idle<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Oracle, &Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let idle = lock(&self.idle).take();
        let (done, session) = self.run(idle, work).await?;
        *lock(&self.idle) = Some(session);
        Ok(done)
    }

    /// Connects, unless there is a session, and works with it on a thread that may block. Dropped
    /// half-way, it is interrupted at the server and the session is closed.
    async fn run<T: Send + 'static>(
        &self,
        session: Option<Session>,
        work: impl FnOnce(&Oracle, &Connection) -> Result<T> + Send + 'static,
    ) -> Result<(T, Session)> {
        let running: Arc<Mutex<Running>> = Arc::default();
        let _interrupt = Interrupt(running.clone());
        let database = self.clone();
        let blocking = spawn_blocking(move || {
            let session = match session {
                Some(session) => session,
                None => database.connect()?,
            };
            {
                let mut running = lock(&running);
                if running.interrupted {
                    return Err(Error::new(Remedy::TryAgain, database.querying())
                        .caused_by("it was interrupted"));
                }
                running.session = Some(session.clone());
            }
            let worked = work(&database, &session.0);
            lock(&running).session = None;
            Ok((worked?, session))
        });
        // Its cause would repeat the words of a panic (P6).
        blocking
            .await
            .map_err(|_| Error::new(Remedy::ReportBug, self.querying()))?
    }

    /// Gives every row to `take`, until that says false. Blocks.
    fn read(
        &self,
        connection: &Connection,
        sql: &str,
        parameters: &[Value],
        mut take: impl FnMut(Row) -> bool,
    ) -> Result<()> {
        let what = self.querying();
        let failed = |cause| fault::error(&what, &cause);
        let mut statement = connection
            .statement(sql)
            .fetch_array_size(FETCHED_ROWS)
            .build()
            .map_err(failed)?;
        values::bind(&mut statement, parameters).map_err(failed)?;
        let rows = statement.query_as::<Values>(&[]).map_err(failed)?;
        let columns = rows.column_info();
        if let Some(why) = columns.iter().find_map(values::unread) {
            return Err(Error::new(Remedy::FixAccess, what)
                .caused_by(why)
                .with_hint("let a view give it as VARCHAR2, or leave it out"));
        }
        let names: Arc<[String]> = columns.iter().map(|column| folded(column.name())).collect();
        for row in rows {
            // An error behind some rows is an error, and no shorter result (P3).
            let Values(values) = row.map_err(failed)?;
            if !take(Row::new(names.clone(), values)) {
                break;
            }
        }
        Ok(())
    }

    /// Loads the client library, if nobody has, connects and logs in. Blocks.
    fn connect(&self) -> Result<Session> {
        client::load(self.client.as_deref())?;
        let what = format!("connecting to {}", self.role.name);
        let failed = |cause| fault::error(&what, &cause);
        let Address {
            user,
            password,
            descriptor,
        } = &self.address;
        let connection = Connector::new(user.expose(), password.expose(), descriptor.as_str())
            .connect()
            .map_err(failed)?;
        // So that a time in the session's zone is in UTC, whatever the machine's zone.
        connection
            .execute("ALTER SESSION SET TIME_ZONE = '+00:00'", &[])
            .map_err(failed)?;
        Ok(Session(Arc::new(connection)))
    }
}

/// Oracle folds names to capitals, and PostgreSQL to small letters.
fn folded(name: &str) -> String {
    if name.contains(|c: char| c.is_lowercase()) {
        name.to_owned()
    } else {
        name.to_lowercase()
    }
}
