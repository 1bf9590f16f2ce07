use std::time::Duration;

use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::Row;
use crate::error::{Error, Remedy, Result};

/// Rows of one batch: large enough that handing it on costs nothing a row, and small enough that
/// the few which wait in memory do not count.
const BATCH_ROWS: usize = 500;

/// Batches that are read before the one in hand is done with.
const AHEAD: usize = 2;

/// The rows of one query, in batches, as the database sends them: however many there are, only a
/// few batches are in memory at a time.
///
/// They come through one open statement, and so from one snapshot: what others write meanwhile is
/// not seen. Dropping the stream ends the statement.
#[derive(Debug)]
pub struct RowStream {
    what: String,
    silence: Duration,
    /// The rows, then `None`: a reader that vanishes is thus told from one that is done.
    batches: Receiver<Result<Option<Vec<Row>>>>,
    done: bool,
}

impl RowStream {
    /// The next rows; nothing when there are no more.
    ///
    /// # Errors
    /// That of the query, after which the stream has ended. Nothing is tried again here once the
    /// first row has come, because the rows would come twice.
    pub async fn next(&mut self) -> Result<Option<Vec<Row>>> {
        if self.done {
            return Ok(None);
        }
        let received = timeout(self.silence, self.batches.recv()).await;
        let batch = match received {
            Ok(Some(batch)) => batch,
            Ok(None) => Err(Error::new(Remedy::ReportBug, &*self.what)
                .caused_by("the reader went away before the last row")),
            Err(_) => {
                let limit = self.silence;
                let what = format!("{}: no row within {limit:.0?}", self.what);
                Err(Error::new(Remedy::TryAgain, what))
            }
        };
        self.done = !matches!(batch, Ok(Some(_)));
        batch
    }

    /// Starts a reader that pushes all rows and gives its outlet back. It is dropped when nobody
    /// reads any more.
    pub(crate) fn start<F>(
        what: String,
        silence: Duration,
        read: impl FnOnce(Outlet) -> F,
    ) -> RowStream
    where
        F: Future<Output = Result<Outlet>> + Send + 'static,
    {
        let (sender, batches) = channel(AHEAD);
        let reading = read(Outlet::new(sender.clone()));
        tokio::spawn(async move {
            let read = tokio::select! {
                biased;
                () = sender.closed() => return,
                read = reading => read,
            };
            for last in last_batches(read) {
                // Nobody reads any more: then nobody misses it.
                let _ = sender.send(last).await;
            }
        });
        RowStream::new(what, silence, batches)
    }

    /// As [`start`](RowStream::start), for a driver that blocks its thread. A push says when
    /// nobody reads any more.
    pub(crate) fn start_blocking(
        what: String,
        silence: Duration,
        read: impl FnOnce(Outlet) -> Result<Outlet> + Send + 'static,
    ) -> RowStream {
        let (sender, batches) = channel(AHEAD);
        spawn_blocking(move || {
            let read = read(Outlet::new(sender.clone()));
            for last in last_batches(read) {
                let _ = sender.blocking_send(last);
            }
        });
        RowStream::new(what, silence, batches)
    }

    fn new(
        what: String,
        silence: Duration,
        batches: Receiver<Result<Option<Vec<Row>>>>,
    ) -> RowStream {
        RowStream {
            what,
            silence,
            batches,
            done: false,
        }
    }
}

/// The rows that are left and the end, or the error.
fn last_batches(read: Result<Outlet>) -> Vec<Result<Option<Vec<Row>>>> {
    match read {
        Ok(outlet) if outlet.batch.is_empty() => vec![Ok(None)],
        Ok(outlet) => vec![Ok(Some(outlet.batch)), Ok(None)],
        Err(error) => vec![Err(error)],
    }
}

/// Where a reader pushes its rows.
pub(crate) struct Outlet {
    sender: Sender<Result<Option<Vec<Row>>>>,
    batch: Vec<Row>,
}

impl Outlet {
    fn new(sender: Sender<Result<Option<Vec<Row>>>>) -> Outlet {
        Outlet {
            sender,
            batch: Vec::with_capacity(BATCH_ROWS),
        }
    }

    fn full(&mut self, row: Row) -> Option<Vec<Row>> {
        self.batch.push(row);
        let full = self.batch.len() == BATCH_ROWS;
        full.then(|| std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH_ROWS)))
    }

    /// Hands a row on, as soon as there is room for it.
    pub(crate) async fn push(&mut self, row: Row) {
        if let Some(batch) = self.full(row) {
            let _ = self.sender.send(Ok(Some(batch))).await;
        }
    }

    /// As [`push`](Outlet::push), on a thread of its own. False when nobody reads any more.
    pub(crate) fn push_blocking(&mut self, row: Row) -> bool {
        match self.full(row) {
            Some(batch) => self.sender.blocking_send(Ok(Some(batch))).is_ok(),
            None => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::connectors::sql::Value;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn row(number: i64) -> Row {
        Row::new(Arc::from(["n".to_owned()]), vec![Value::Integer(number)])
    }

    #[tokio::test]
    async fn a_reader_that_vanishes_is_an_error_and_not_the_end() {
        let mut rows = RowStream::start("reading".into(), PATIENCE, |mut outlet| async move {
            for number in 0..=BATCH_ROWS {
                outlet.push(row(number as i64)).await;
            }
            panic!("as a driver might");
        });
        assert_eq!(rows.next().await.unwrap().unwrap().len(), BATCH_ROWS);
        let error = rows.next().await.unwrap_err();
        assert_eq!(error.remedy(), Remedy::ReportBug);
        assert!(rows.next().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn an_error_comes_behind_the_rows_before_it() {
        let mut rows = RowStream::start_blocking("reading".into(), PATIENCE, |mut outlet| {
            for number in 0..BATCH_ROWS {
                assert!(outlet.push_blocking(row(number as i64)));
            }
            Err(Error::new(Remedy::TryAgain, "reading the warehouse"))
        });
        assert!(rows.next().await.unwrap().is_some());
        assert!(rows.next().await.is_err());
        assert!(rows.next().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_reader_that_nobody_listens_to_is_told_to_end() {
        let (ended, end) = tokio::sync::oneshot::channel();
        let rows = RowStream::start_blocking("reading".into(), PATIENCE, move |mut outlet| {
            while outlet.push_blocking(row(1)) {}
            ended.send(()).expect("the test waits");
            Ok(outlet)
        });
        drop(rows);
        timeout(PATIENCE, end).await.expect("in time").unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_server_is_not_waited_for_for_ever() {
        let mut rows = RowStream::start("reading".into(), PATIENCE, |outlet| async move {
            std::future::pending::<()>().await;
            Ok(outlet)
        });
        assert_eq!(rows.next().await.unwrap_err().remedy(), Remedy::TryAgain);
    }
}
