//! Record streams: Kinesis (`kinesis:` and an ARN or a name) and folders of Avro files
//! (`file:dir`).

mod folder;
mod kinesis;

use std::time::Duration;

use bytes::Bytes;

pub use kinesis::Kinesis;

use super::aws::Aws;
use super::objects::local_path;
use crate::error::{Error, Remedy, Result};
use crate::formats::avro::Encoder;
use crate::pipeline::Counts;
use folder::Folder;

/// A record on its way out.
#[derive(Clone, Debug)]
pub struct StreamRecord {
    /// Pseudonym of the record's subject. Records of one key arrive in their order (P4).
    pub key: String,
    /// The encoded record.
    pub data: Bytes,
}

/// What a stream did with the records of a page; all others are durable.
#[derive(Debug, Default)]
pub struct Put {
    /// Records not sent on purpose, by reason.
    pub skipped: Counts,
    /// Places of the records that the stream will never take, and why.
    pub rejected: Vec<(usize, String)>,
}

/// Where a pipeline's records go.
#[derive(Debug)]
pub enum Stream {
    /// Amazon Kinesis.
    Kinesis(Kinesis),
    /// Avro object container files in a local folder.
    Folder(Folder),
    /// Nowhere, for dry runs and `IGNORE_KINESIS`; the text is the reason in the report.
    Nowhere(&'static str),
}

/// How a stream is used.
#[derive(Clone, Debug)]
pub struct StreamOptions {
    /// Records a call, 500 at most.
    pub records_per_call: usize,
    /// How long a rejected record or a failing call is sent again.
    pub retry: Duration,
    /// Name of the run, in the names of files.
    pub run: String,
}

impl Stream {
    /// Opens the stream that a URL names; asks nothing of the network yet.
    ///
    /// # Errors
    /// [`Remedy::FixSettings`] for a URL of another form.
    pub fn open(url: &str, encoder: &Encoder, aws: &Aws, options: StreamOptions) -> Result<Stream> {
        if let Some(name) = url.strip_prefix("kinesis:").filter(|name| !name.is_empty()) {
            return Ok(Stream::Kinesis(Kinesis::new(name, aws, options)));
        }
        if let Some(path) = url.strip_prefix("file:").filter(|path| !path.is_empty()) {
            return Ok(Stream::Folder(Folder::new(
                local_path(path),
                encoder,
                options.run,
            )));
        }
        Err(
            Error::new(Remedy::FixSettings, format!("opening the stream `{url}`"))
                .with_hint("expected kinesis: and an ARN or a name, or file: and a folder"),
        )
    }

    /// Writes the records of a page, or of a part of it. When this returns, they are durable (P1), but for those
    /// that it names.
    pub async fn put(&self, records: Vec<StreamRecord>) -> Result<Put> {
        match self {
            Stream::Kinesis(kinesis) => kinesis.put(records).await,
            Stream::Folder(folder) => folder.put(records).await,
            Stream::Nowhere(reason) => {
                let mut skipped = Counts::default();
                skipped.add(reason, records.len() as u64);
                Ok(Put {
                    skipped,
                    rejected: Vec::new(),
                })
            }
        }
    }

    /// One line about the stream, for `check`.
    pub async fn summary(&self) -> Result<String> {
        match self {
            Stream::Kinesis(kinesis) => kinesis.summary().await,
            Stream::Folder(folder) => Ok(folder.to_string()),
            Stream::Nowhere(reason) => Ok((*reason).to_owned()),
        }
    }
}
