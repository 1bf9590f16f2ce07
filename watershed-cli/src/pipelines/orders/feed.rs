//! An object's bytes on their way to the thread that reads them.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf as _, Bytes};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use watershed::connectors::objects::{Inbox, Listed};
use watershed::error::{Error, Result};

/// What is asked for at once. Two such pieces wait at most.
const PIECE: u64 = 4 << 20;

/// Reads an object, from any thread that may block.
pub(super) struct Feed {
    pieces: mpsc::Receiver<Result<Bytes>>,
    piece: Bytes,
    read: Arc<AtomicU64>,
    /// Ends the fetching when the reader has seen enough.
    _fetching: JoinSet<()>,
}

impl Feed {
    /// Begins to fetch, each piece by a call of its own that is tried again by itself.
    pub(super) fn open(folder: &Inbox, object: &Listed) -> Feed {
        let (sender, pieces) = mpsc::channel(1);
        let (folder, object) = (folder.clone(), object.clone());
        let mut fetching = JoinSet::new();
        fetching.spawn(async move {
            let mut start = 0;
            while start < object.bytes {
                let end = object.bytes.min(start + PIECE);
                let piece = folder.read(&object, start..end).await;
                let failed = piece.is_err();
                if sender.send(piece).await.is_err() || failed {
                    return;
                }
                start = end;
            }
        });
        Feed {
            pieces,
            piece: Bytes::new(),
            read: Arc::default(),
            _fetching: fetching,
        }
    }

    /// Bytes that were read, as they were fetched.
    pub(super) fn progress(&self) -> Arc<AtomicU64> {
        self.read.clone()
    }
}

impl Read for Feed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                None => return Ok(0),
                Some(Ok(piece)) => self.piece = piece,
                Some(Err(error)) => return Err(io::Error::other(error)),
            }
        }
        let length = into.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut into[..length]);
        self.read.fetch_add(length as u64, Ordering::Relaxed);
        Ok(length)
    }
}

/// The error of ours that a reader of a feed gave on, if it was one.
pub(super) fn our_error(error: io::Error) -> Result<Error, io::Error> {
    error.downcast::<Error>()
}
