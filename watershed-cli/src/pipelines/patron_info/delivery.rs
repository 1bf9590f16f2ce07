//! What the three modes share once their records are made: once a run, encoded, sent.

use std::collections::HashSet;
use std::sync::Mutex;

use watershed::error::Result;
use watershed::pipeline::{Counts, DeadLetter, Delivered, Transformed};
use watershed::privacy::Personal;

use super::super::sending::{self, Sending};
use super::record::PatronInfo;

/// Reason of a skip: an earlier mode or page of this run has dealt with the patron.
const ALREADY_SENT: &str = "already sent in this run";

/// A patron's record on its way out.
pub(super) type Outgoing = sending::Outgoing<PatronInfo>;

pub(super) struct Delivery {
    pub sending: Sending,
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
        let mut outputs = Vec::with_capacity(shaped.len());
        let records = shaped
            .into_iter()
            .map(|shaped| (shaped.record, shaped.position));
        for encoded in self.sending.encode(records) {
            match encoded {
                Ok(outgoing) => outputs.push(outgoing),
                Err(letter) => set_aside.push(letter),
            }
        }
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

    /// Sends the records.
    pub async fn deliver(&self, outputs: Vec<Outgoing>) -> Result<Delivered> {
        self.sending.deliver(outputs).await
    }
}
