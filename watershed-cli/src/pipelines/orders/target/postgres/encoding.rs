//! Rows as blocks of PostgreSQL's binary format, on their way to the connection.

use tokio::sync::mpsc;
use watershed::error::{Error, Remedy, Result};
use watershed::formats::copy;
use watershed::formats::values::{ColumnType, Scalar};

use super::super::super::rows::{Operation, Reject, Rows, Unfit};
use super::super::REJECTS;

/// A block is sent when it has grown to this.
const BLOCK: usize = 256 << 10;

/// What goes from the thread that reads to the one that writes.
pub(super) enum Block {
    Rows(Vec<u8>),
    Rejects(Vec<Reject>),
}

/// Encodes rows.
pub(super) struct Encoding {
    blocks: mpsc::Sender<Block>,
    block: Vec<u8>,
    /// Where the row that was begun starts in the block.
    start: usize,
    layout: Layout,
    columns: usize,
    /// Places of the key's columns.
    key: Vec<usize>,
    current_key: Vec<u8>,
    last_key: Vec<u8>,
    rising: bool,
    rejects: Vec<Reject>,
}

/// What stands before the columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// Nothing: the table itself.
    Table,
    /// The line.
    Staging,
    /// The line, and whether the row is deleted.
    StagedChanges,
}

impl Encoding {
    pub(super) fn new(
        blocks: mpsc::Sender<Block>,
        layout: Layout,
        columns: usize,
        key: Vec<usize>,
    ) -> Encoding {
        Encoding {
            blocks,
            block: Vec::with_capacity(BLOCK + BLOCK / 4),
            start: 0,
            layout,
            columns,
            key,
            current_key: Vec::new(),
            last_key: Vec::new(),
            rising: true,
            rejects: Vec::new(),
        }
    }

    /// Sends what is left; gives whether the keys rose from row to row, so that none came twice.
    pub(super) fn finish(mut self) -> Result<bool> {
        self.send_rejects()?;
        self.send_rows()?;
        Ok(self.rising)
    }

    fn send_rows(&mut self) -> Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let next = Vec::with_capacity(BLOCK + BLOCK / 4);
        let block = std::mem::replace(&mut self.block, next);
        self.send(Block::Rows(block))
    }

    fn send_rejects(&mut self) -> Result<()> {
        if self.rejects.is_empty() {
            return Ok(());
        }
        let rejects = std::mem::take(&mut self.rejects);
        self.send(Block::Rejects(rejects))
    }

    fn send(&self, block: Block) -> Result<()> {
        let sent = self.blocks.blocking_send(block);
        // Nobody sees this error: the writer ended first, and tells why.
        sent.map_err(|_| Error::new(Remedy::TryAgain, "sending rows to a writer that ended"))
    }
}

impl Rows for Encoding {
    fn begin(&mut self, line: u64, operation: Operation) {
        self.start = self.block.len();
        self.current_key.clear();
        let (lead, out) = (self.layout as usize, &mut self.block);
        copy::begin_row(self.columns + lead, out);
        if self.layout != Layout::Table {
            copy::value(ColumnType::BigInt, Scalar::Integer(line as i64), out);
        }
        if self.layout == Layout::StagedChanges {
            let deleted = operation == Operation::Delete;
            copy::value(ColumnType::Boolean, Scalar::Boolean(deleted), out);
        }
    }

    fn value(&mut self, place: usize, kind: ColumnType, value: Option<Scalar<'_>>) {
        let start = self.block.len();
        match value {
            Some(value) => copy::value(kind, value, &mut self.block),
            None => copy::null(&mut self.block),
        }
        if self.rising && self.key.contains(&place) {
            // With the length before it, no two keys of several columns look alike.
            self.current_key.extend_from_slice(&self.block[start..]);
        }
    }

    fn undo(&mut self) {
        self.block.truncate(self.start);
    }

    fn end(&mut self) -> Result<Option<Unfit>> {
        if self.rising {
            // Any total order will do to see that no key comes twice; this one is that of bytes.
            self.rising = self.last_key.is_empty() || self.current_key > self.last_key;
            std::mem::swap(&mut self.current_key, &mut self.last_key);
        }
        if self.block.len() >= BLOCK {
            self.send_rows()?;
        }
        Ok(None)
    }

    fn reject(&mut self, reject: Reject) -> Result<()> {
        self.rejects.push(reject);
        if self.rejects.len() >= REJECTS {
            self.send_rejects()?;
        }
        Ok(())
    }
}
