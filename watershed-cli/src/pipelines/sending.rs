//! The last two rooms of a poller's page: encoded, sent.

use bytes::Bytes;
use watershed::connectors::stream::{Stream, StreamRecord};
use watershed::error::Result;
use watershed::formats::avro::{Encoder, Record};
use watershed::pipeline::{DeadLetter, Delivered};
use watershed::privacy::Pseudonym;

use super::Shown;

/// A record about one subject, known by pseudonyms alone.
pub trait Subject: Record {
    /// Whose records keep their order in the stream (P4).
    fn subject(&self) -> &Pseudonym;
    /// What a dead letter calls the record.
    fn key(&self) -> &Pseudonym;
}

/// A record on its way out, with its place in the source.
pub struct Outgoing<R> {
    record: R,
    data: Bytes,
    position: String,
}

/// Encodes records and sends them.
pub struct Sending {
    /// Holds the schema.
    pub encoder: Encoder,
    /// Where they go.
    pub stream: Stream,
    /// Gets them as JSON, too.
    pub show: Option<Shown>,
}

impl Sending {
    /// Encodes the records of a page, each with its place in the source; one that does not fit
    /// the schema becomes a dead letter in its place.
    pub fn encode<R: Subject>(
        &self,
        records: impl Iterator<Item = (R, String)>,
    ) -> Vec<Result<Outgoing<R>, DeadLetter>> {
        let mut encoding = self.encoder.start();
        let mut encoded = Vec::with_capacity(records.size_hint().0);
        for (record, position) in records {
            encoded.push(match encoding.encode(&record) {
                Ok(data) => Ok(Outgoing {
                    record,
                    data: data.into(),
                    position,
                }),
                Err(unfit) => Err(dead_letter(&record, position, unfit.to_string())),
            });
        }
        tracing::trace!(room = "formatted");
        encoded
    }

    /// Sends the records; the key of each subject keeps its records in order (P4).
    pub async fn deliver<R: Subject>(&self, outputs: Vec<Outgoing<R>>) -> Result<Delivered> {
        if let Some(show) = &self.show {
            show.add(outputs.iter().map(|out| out.record.to_json()));
        }
        let records = outputs.iter().map(|out| StreamRecord {
            key: out.record.subject().to_string(),
            data: out.data.clone(),
        });
        let put = self.stream.put(records.collect()).await?;
        let rejected = put.rejected.into_iter().map(|(place, reason)| {
            let out = &outputs[place];
            dead_letter(&out.record, out.position.clone(), reason)
        });
        Ok(Delivered {
            skipped: put.skipped,
            set_aside: rejected.collect(),
        })
    }
}

fn dead_letter<R: Subject>(record: &R, position: String, reason: String) -> DeadLetter {
    DeadLetter {
        key: Some(record.key().to_string()),
        position,
        reason,
        record: Some(record.to_json()),
    }
}

/// A record that could not be made.
pub fn unreadable(key: &Pseudonym, position: String, reason: String) -> DeadLetter {
    DeadLetter {
        key: Some(key.to_string()),
        position,
        reason,
        record: None,
    }
}
