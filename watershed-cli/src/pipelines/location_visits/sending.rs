//! The last room of a day: encoded, sent.

use std::collections::HashMap;

use watershed::connectors::stream::{Stream, StreamRecord};
use watershed::engine::accounts;
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
    /// sent. They are some of the `all` records of a page of `mode`.
    ///
    /// # Errors
    /// Those of [`accounts::few`], before any letter is made.
    pub fn take_unfit(
        &self,
        visits: &mut Vec<Visit>,
        (mode, all, recovered): (&str, u64, bool),
    ) -> Result<Vec<DeadLetter>> {
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
        let mut numbers: HashMap<String, u64> = HashMap::new();
        for unfit in visits.iter().filter_map(&mut reason) {
            *numbers.entry(unfit.to_string()).or_default() += 1;
        }
        for (reason, number) in numbers {
            accounts::few(mode, all, number, &reason)?;
        }
        let mut letters = Vec::new();
        visits.retain(|visit| match reason(visit) {
            None => true,
            Some(unfit) => {
                letters.push(self.dead_letter(visit, recovered, unfit.to_string()));
                false
            }
        });
        Ok(letters)
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

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use watershed::error::Remedy;

    use super::*;

    /// A changed schema is known by the numbers alone.
    #[test]
    fn a_day_that_does_not_fit_is_refused_before_its_letters_are_made() {
        let schema = include_str!("LocationVisits.avsc");
        let mut strict: serde_json::Value = serde_json::from_str(schema).unwrap();
        assert_eq!(strict["fields"][1]["name"], "orbit");
        strict["fields"][1]["type"] = "int".into();
        let (encoder, generation) = Generation::encoder(&strict.to_string(), "here").unwrap();
        let sending = Sending {
            encoder,
            generation,
            stream: Stream::Nowhere("nowhere"),
            show: None,
            poll_date: "2024-07-01".into(),
        };
        let visit = |orbit| Visit {
            site: Some("aa".into()),
            orbit,
            start: date(2024, 6, 30).at(9, 0, 0, 0),
            enters: Some(1),
            exits: None,
            healthy: true,
            missing: false,
        };
        let day = |unfit: usize| {
            let mut visits = vec![visit(Some(1)); 99 - unfit];
            visits.extend(vec![visit(None); unfit]);
            visits
        };
        let take = |visits: &mut Vec<Visit>| sending.take_unfit(visits, ("all-sites", 100, false));
        let mut visits = day(11);
        let error = take(&mut visits).unwrap_err();
        assert_eq!(error.remedy(), Remedy::FixSettings);
        let words = error.in_one_line();
        let expected = "setting aside 11 of the 100 records of a page of all-sites: field orbit";
        assert!(words.starts_with(expected), "{words}");
        assert_eq!(visits.len(), 99, "none is taken out");
        let mut visits = day(10);
        assert_eq!(take(&mut visits).unwrap().len(), 10);
        assert_eq!(visits.len(), 89);
    }
}
