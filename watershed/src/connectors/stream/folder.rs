use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::task::spawn_blocking;

use super::{Put, StreamRecord};
use crate::connectors::objects::write_whole;
use crate::error::{Error, OrFail as _, Remedy, Result};
use crate::formats::avro::Encoder;

/// A folder of Avro object container files, one a page, or several of a large one:
/// `<run start>-<number, 6 digits>.avro`,
/// written aside, fsynced, renamed. Any Avro tool opens them.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    encoder: Encoder,
    run: String,
    files: AtomicU32,
}

impl Folder {
    pub(super) fn new(path: PathBuf, encoder: &Encoder, run: String) -> Folder {
        Folder {
            path,
            encoder: encoder.clone(),
            run,
            files: AtomicU32::new(0),
        }
    }

    pub(super) async fn put(&self, records: Vec<StreamRecord>) -> Result<Put> {
        if records.is_empty() {
            return Ok(Put::default());
        }
        let number = self.files.fetch_add(1, Ordering::Relaxed) + 1;
        let path = self.path.join(format!("{}-{number:06}.avro", self.run));
        let what = format!("writing file:{}", path.display());
        let bytes = self
            .encoder
            .container(records.iter().map(|record| &record.data[..]))?;
        spawn_blocking(move || write_whole(&path, &bytes))
            .await
            // Its cause would repeat the words of a panic (P6).
            .map_err(|_| Error::new(Remedy::ReportBug, &*what))?
            .or_fail(Remedy::FixAccess, || what)?;
        Ok(Put::default())
    }
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "file:{}", self.path.display())
    }
}
