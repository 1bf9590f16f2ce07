//! Zips of any size: files go in as they are made, and come out deflated, in chunks.
//!
//! The deflating has a thread of its own, between two bounded channels, so that memory stays
//! constant and making the files goes on beside it.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use jiff::civil::DateTime;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::spawn_blocking;
use zip::write::{SimpleFileOptions, StreamWriter};
use zip::{CompressionMethod, ZipWriter};

use crate::error::{Error, Remedy, Result};

/// Pieces that wait for the deflating thread.
const AHEAD: usize = 4;

/// The fast level: a better one costs several times the time, and saves little of XML.
const LEVEL: i64 = 1;

/// Where the files of a zip go in.
pub struct ZipFiles {
    pieces: Sender<Piece>,
    bytes: Arc<AtomicU64>,
}

/// Where the bytes of a zip come out.
pub struct ZipBytes {
    /// The bytes, then `None`: a thread that vanishes is thus told from one that is done.
    chunks: Receiver<Option<Bytes>>,
    done: bool,
}

enum Piece {
    File(String),
    Bytes(Vec<u8>),
    End,
}

/// Begins a zip whose bytes come in chunks of `chunk` bytes, the last one excepted. Its files bear
/// the time `at`.
pub fn zip(chunk: usize, at: DateTime) -> (ZipFiles, ZipBytes) {
    let (pieces, received) = channel(AHEAD);
    let (sender, chunks) = channel(1);
    let bytes = Arc::<AtomicU64>::default();
    let outlet = Chunked {
        chunk,
        held: Vec::new(),
        sender,
        bytes: bytes.clone(),
    };
    spawn_blocking(move || deflate(received, outlet, at));
    let out = ZipBytes {
        chunks,
        done: false,
    };
    (ZipFiles { pieces, bytes }, out)
}

impl ZipFiles {
    /// Begins a file, and ends the one before it.
    pub async fn begin(&mut self, name: &str) -> Result<()> {
        self.send(Piece::File(name.to_owned())).await
    }

    /// Adds to the file in hand. Pieces of some hundred kilobytes cost the least.
    pub async fn write(&mut self, bytes: Vec<u8>) -> Result<()> {
        self.send(Piece::Bytes(bytes)).await
    }

    /// Ends the zip; without this its reader gets an error.
    pub async fn finish(self) -> Result<()> {
        self.send(Piece::End).await
    }

    /// How many bytes the zip has so far; those on their way are not counted.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    async fn send(&self, piece: Piece) -> Result<()> {
        let sent = self.pieces.send(piece).await;
        sent.map_err(|_| Error::new(Remedy::ReportBug, "deflating: the thread went away"))
    }
}

impl ZipBytes {
    /// The next chunk; nothing when the zip is complete.
    ///
    /// # Errors
    /// [`Remedy::ReportBug`] when it will never be.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        if self.done {
            return Ok(None);
        }
        let chunk = self.chunks.recv().await.ok_or_else(|| {
            Error::new(
                Remedy::ReportBug,
                "deflating: the zip was not brought to its end",
            )
        });
        self.done = !matches!(chunk, Ok(Some(_)));
        chunk
    }
}

fn deflate(mut pieces: Receiver<Piece>, outlet: Chunked, at: DateTime) {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(LEVEL))
        .last_modified_time(zip_time(at));
    let mut zip = ZipWriter::new_stream(outlet);
    while let Some(piece) = pieces.blocking_recv() {
        let done = match piece {
            Piece::File(name) => zip.start_file(name, options).map_err(io::Error::from),
            Piece::Bytes(bytes) => zip.write_all(&bytes),
            Piece::End => return end(zip),
        };
        if done.is_err() {
            break;
        }
    }
    // Dropped half-way, the zip writes its end: nobody may take that for a whole one.
    if let Ok(outlet) = zip.finish() {
        outlet.into_inner().forget();
    }
}

fn end(zip: ZipWriter<StreamWriter<Chunked>>) {
    if let Ok(outlet) = zip.finish() {
        outlet.into_inner().end();
    }
}

/// Zips know the years from 1980 to 2107.
fn zip_time(at: DateTime) -> zip::DateTime {
    let part = |number: i8| number.unsigned_abs();
    zip::DateTime::from_date_and_time(
        at.year().unsigned_abs(),
        part(at.month()),
        part(at.day()),
        part(at.hour()),
        part(at.minute()),
        part(at.second()),
    )
    .unwrap_or_default()
}

/// Collects what is written into chunks of one size.
struct Chunked {
    chunk: usize,
    held: Vec<u8>,
    sender: Sender<Option<Bytes>>,
    bytes: Arc<AtomicU64>,
}

impl Write for Chunked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.held.capacity() == 0 {
            self.held.reserve_exact(self.chunk);
        }
        let room = self.chunk - self.held.len();
        let taken = bytes.len().min(room);
        self.held.extend_from_slice(&bytes[..taken]);
        self.bytes.fetch_add(taken as u64, Ordering::Relaxed);
        if self.held.len() == self.chunk {
            let full = std::mem::take(&mut self.held);
            // A reader that went away has no use for the rest.
            let _ = self.sender.blocking_send(Some(full.into()));
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Chunked {
    fn end(self) {
        if !self.held.is_empty() {
            let _ = self.sender.blocking_send(Some(self.held.into()));
        }
        let _ = self.sender.blocking_send(None);
    }

    fn forget(self) {}
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use jiff::civil::date;

    use super::*;

    async fn collect(mut out: ZipBytes, chunk: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut last = chunk;
        while let Some(next) = out.next().await? {
            assert_eq!(last, chunk, "only the last chunk is smaller");
            last = next.len();
            bytes.extend_from_slice(&next);
        }
        Ok(bytes)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn files_come_out_as_they_went_in() {
        let (mut files, out) = zip(1_000, date(2024, 2, 29).at(23, 59, 58, 0));
        let reading = tokio::spawn(collect(out, 1_000));
        for (name, number) in [("a_1.xml", 20_000), ("a_2.xml", 3)] {
            files.begin(name).await.unwrap();
            for i in 0..number {
                files
                    .write(format!("{name} {i}\n").into_bytes())
                    .await
                    .unwrap();
            }
        }
        files.begin("empty.xml").await.unwrap();
        files.finish().await.unwrap();
        let bytes = reading.await.unwrap().unwrap();
        let mut archive = zip::ZipArchive::new(io::Cursor::new(bytes)).unwrap();
        assert_eq!(archive.len(), 3);
        let mut file = archive.by_name("a_1.xml").unwrap();
        assert_eq!(file.compression(), CompressionMethod::Deflated);
        assert!(file.compressed_size() < file.size() / 2);
        let at = file.last_modified().unwrap();
        assert_eq!(
            (at.year(), at.month(), at.day(), at.hour()),
            (2024, 2, 29, 23)
        );
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text.lines().count(), 20_000);
        assert_eq!(text.lines().last(), Some("a_1.xml 19999"));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_zip_that_nobody_ended_is_an_error() {
        let (mut files, out) = zip(1_000, date(2024, 2, 29).at(0, 0, 0, 0));
        files.begin("a.xml").await.unwrap();
        files.write(vec![b'x'; 10_000]).await.unwrap();
        drop(files);
        assert!(collect(out, 1_000).await.is_err());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_reader_that_leaves_does_not_block_the_writer() {
        let (mut files, out) = zip(100, date(2024, 2, 29).at(0, 0, 0, 0));
        drop(out);
        files.begin("a.xml").await.unwrap();
        for _ in 0..100 {
            let noise = (0..1_000).map(|_| fastrand::u8(..)).collect();
            files.write(noise).await.unwrap();
        }
        files.finish().await.unwrap();
    }
}
