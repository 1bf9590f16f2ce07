//! The last room of a day: encoded, sent.

use watershed::connectors::stream::{Stream, StreamRecord};
use watershed::error::Result;
use watershed::formats::avro::{Encoder, Unfit};
use watershed::pipeline::{DeadLetter, Delivered};

use super::super::Shown;
use super::record::{Generation, Sent};
use super::visit::Visit;

/// Visits that are encoded at once: a day may have hundreds of thousands, and their bytes are many
/// times the visits themselves.
const CHUNK: usize = 20_000;

/// Key of the records of no site.
const UNKNOWN: &str = "unknown";

/// Encodes visits and sends them.
pub(super) struct Sending {
    pub encoder: Encoder,
    pub generation: Generation,
    /// Where they go.
    pub stream: Stream,
    /// Gets them as JSON, too.
    pub show: Option<Shown>,
    /// The day of the run.
    pub poll_date: String,
}

impl Sending {
    /// Takes out the visits that do not fit the schema, so that it is known before anything is
    /// sent.
    pub fn take_unfit(&self, visits: &mut Vec<Visit>, recovered: bool) -> Vec<DeadLetter> {
        // Of a visit only these can be null, and nothing else about it matters here.
        let mut known: [Option<Result<(), Unfit>>; 16] = Default::default();
        let mut reason = |visit: &Visit| {
            let nulls = [
                visit.site.is_none(),
                visit.orbit.is_none(),
                visit.enters.is_none(),
                visit.exits.is_none(),
            ];
            let kind = nulls
                .iter()
                .fold(0, |kind, null| 2 * kind + usize::from(*null));
            let check = || {
                self.generation
                    .check(&self.encoder, self.sent(visit, recovered))
            };
            known[kind].get_or_insert_with(check).clone().err()
        };
        let mut letters = Vec::new();
        visits.retain(|visit| match reason(visit) {
            None => true,
            Some(unfit) => {
                letters.push(self.dead_letter(visit, recovered, unfit.to_string()));
                false
            }
        });
        letters
    }

    /// Sends visits, those of one site in their order (P4). When this returns they are durable
    /// (P1), but for those that it names.
    pub async fn send(&self, visits: &[Visit], recovered: bool) -> Result<Delivered> {
        if let Some(show) = &self.show {
            let records = visits.iter().map(|visit| self.sent(visit, recovered));
            show.add(records.map(|sent| self.generation.json(sent)));
        }
        let mut delivered = Delivered::default();
        for chunk in visits.chunks(CHUNK) {
            let (sendable, records) = self.encode(chunk, recovered, &mut delivered.set_aside);
            tracing::trace!(room = "formatted");
            let put = self.stream.put(records).await?;
            delivered.skipped.add_all(&put.skipped);
            let rejected = put.rejected.into_iter();
            delivered.set_aside.extend(
                rejected
                    .map(|(place, reason)| self.dead_letter(sendable[place], recovered, reason)),
            );
        }
        Ok(delivered)
    }

    /// The records of the visits that can be encoded, and these visits.
    fn encode<'a>(
        &self,
        visits: &'a [Visit],
        recovered: bool,
        set_aside: &mut Vec<DeadLetter>,
    ) -> (Vec<&'a Visit>, Vec<StreamRecord>) {
        let mut encoding = self.encoder.start();
        let mut sendable = Vec::with_capacity(visits.len());
        let mut records = Vec::with_capacity(visits.len());
        for visit in visits {
            let sent = self.sent(visit, recovered);
            match self.generation.encode(&mut encoding, sent) {
                Ok(data) => {
                    records.push(StreamRecord {
                        key: visit.site.as_deref().unwrap_or(UNKNOWN).to_owned(),
                        data: data.into(),
                    });
                    sendable.push(visit);
                }
                Err(unfit) => {
                    set_aside.push(self.dead_letter(visit, recovered, unfit.to_string()));
                }
            }
        }
        (sendable, records)
    }

    fn sent<'a>(&'a self, visit: &'a Visit, recovered: bool) -> Sent<'a> {
        Sent {
            visit,
            poll_date: &self.poll_date,
            recovered,
        }
    }

    /// A door is no person: the key is the site's own id.
    fn dead_letter(&self, visit: &Visit, recovered: bool, reason: String) -> DeadLetter {
        DeadLetter {
            key: visit.site.as_deref().map(str::to_owned),
            position: visit.start.strftime("%Y-%m-%d %H:%M:%S").to_string(),
            reason,
            record: Some(self.generation.json(self.sent(visit, recovered))),
        }
    }
}
