//! What the three modes share once their records are made: once a run, encoded, sent.

use std::collections::HashSet;
use std::sync::Mutex;

use bytes::Bytes;
use watershed::connectors::stream::{Stream, StreamRecord};
use watershed::error::Result;
use watershed::formats::avro::{Encoder, Record as _};
use watershed::pipeline::{Counts, DeadLetter, Delivered, Transformed};
use watershed::privacy::{Personal, Pseudonym};

use super::super::Shown;
use super::record::PatronInfo;

/// Reason of a skip: an earlier mode or page of this run has dealt with the patron.
const ALREADY_SENT: &str = "already sent in this run";

/// A record on its way out, with its place in the source.
pub(super) struct Outgoing {
    record: PatronInfo,
    data: Bytes,
    position: String,
}

pub(super) struct Delivery {
    pub encoder: Encoder,
    pub stream: Stream,
    pub show: Option<Shown>,
    /// Patrons that this run has dealt with, in all modes.
    pub sent: Mutex<HashSet<Personal<i64>>>,
}

/// A patron's record, complete but for its bytes.
pub(super) struct Shaped {
    pub record: PatronInfo,
    /// Its place in the source.
    pub position: String,
}

/// Patrons that a page will have dealt with when it is complete, and those it has skipped.
pub(super) struct Proposal {
    ids: Vec<Personal<i64>>,
    skipped: Counts,
}

impl Delivery {
    /// Drops the patrons that this run has dealt with. The others are proposed, and committed when
    /// the page is [encoded](Delivery::encode): a page that fails leaves no trace.
    pub fn propose<T>(
        &self,
        mut patrons: Vec<T>,
        id: impl Fn(&T) -> &Personal<i64>,
    ) -> (Vec<T>, Proposal) {
        let sent = self.sent.lock().expect("no holder panics");
        let read = patrons.len();
        let mut in_page = HashSet::with_capacity(read);
        patrons.retain(|patron| !sent.contains(id(patron)) && in_page.insert(id(patron).clone()));
        let mut skipped = Counts::default();
        skipped.add(ALREADY_SENT, (read - patrons.len()) as u64);
        let ids = patrons.iter().map(|patron| id(patron).clone()).collect();
        (patrons, Proposal { ids, skipped })
    }

    /// Encodes the records of a page.
    pub fn encode(
        &self,
        shaped: Vec<Shaped>,
        proposal: Proposal,
        mut set_aside: Vec<DeadLetter>,
        noted: Counts,
    ) -> Transformed<Outgoing> {
        let mut encoding = self.encoder.start();
        let mut outputs = Vec::with_capacity(shaped.len());
        for Shaped { record, position } in shaped {
            match encoding.encode(&record) {
                Ok(data) => outputs.push(Outgoing {
                    record,
                    data: data.into(),
                    position,
                }),
                Err(unfit) => set_aside.push(dead_letter(&record, position, unfit.to_string())),
            }
        }
        tracing::trace!(room = "formatted");
        self.sent
            .lock()
            .expect("no holder panics")
            .extend(proposal.ids);
        Transformed {
            outputs,
            skipped: proposal.skipped,
            set_aside,
            noted,
        }
    }

    /// Sends the records; each patron's key keeps its records in order (P4).
    pub async fn deliver(&self, outputs: Vec<Outgoing>) -> Result<Delivered> {
        if let Some(show) = &self.show {
            show.lock()
                .expect("no holder panics")
                .extend(outputs.iter().map(|out| out.record.to_json()));
        }
        let records = outputs.iter().map(|out| StreamRecord {
            key: out.record.patron_id.to_string(),
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

fn dead_letter(record: &PatronInfo, position: String, reason: String) -> DeadLetter {
    DeadLetter {
        key: Some(record.patron_id.to_string()),
        position,
        reason,
        record: Some(record.to_json()),
    }
}

/// A patron of whom no record could be made.
pub(super) fn unreadable(key: &Pseudonym, position: String, reason: String) -> DeadLetter {
    DeadLetter {
        key: Some(key.to_string()),
        position,
        reason,
        record: None,
    }
}
