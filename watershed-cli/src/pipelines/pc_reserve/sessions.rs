//! The sessions of a page: joined with their patrons, pseudonymised, delivered.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use watershed::error::Result;
use watershed::pipeline::{Counts, Delivered, Page, Pipeline, Transformed};
use watershed::privacy::{Personal, Pseudonym, Pseudonymiser};
use watershed::time::format_wall_time;

use super::super::sending::{Outgoing, Sending, unreadable};
use super::cursor::SessionCursor;
use super::envisionware::{Details, Envisionware, Session};
use super::record::PcReserve;
use super::redshift::Redshift;
use super::sierra::{self, Patron, Sierra};

/// Barcodes that staff hand to guests begin with these digits.
const GUEST_PASS: &str = "25555";

/// Sessions behind the cursor.
pub(super) struct Sessions {
    pub envisionware: Envisionware,
    pub sierra: Sierra,
    pub redshift: Redshift,
    pub pseudonymiser: Arc<Pseudonymiser>,
    pub sending: Sending,
    pub page: usize,
    /// Patrons of this run, so that each is hashed once: the pseudonymiser's own memo is bounded,
    /// and the keys, which never come again, would push the patrons out of it.
    pub hashed: Mutex<HashMap<Personal<String>, Pseudonym>>,
}

/// A session all of whose columns could be read, with what Sierra knows.
struct Matched {
    session: SessionCursor,
    details: Details,
    /// What the patron's pseudonym is made of.
    patron: Personal<String>,
    sierra: sierra::Details,
    status: &'static str,
}

/// A session with a column that could not, and why.
type Unreadable = (SessionCursor, String);

const FOUND: &str = "found";

impl Pipeline for Sessions {
    const NAME: &'static str = "sessions";
    const READ_AHEAD: usize = 2;
    type Cursor = SessionCursor;
    type Input = Session;
    type Output = Outgoing<PcReserve>;

    async fn poll(&self, after: &SessionCursor) -> Result<Page<Session, SessionCursor>> {
        self.envisionware.sessions(after, self.page).await
    }

    async fn transform(&self, inputs: Vec<Session>) -> Result<Transformed<Outgoing<PcReserve>>> {
        let mut noted = Counts::default();
        let (matched, unreadables) = self.matched(inputs, &mut noted).await?;
        tracing::trace!(room = "shaped");

        let keys = matched.iter().map(|matched| &matched.session);
        let keys: Vec<Personal<String>> = keys
            .chain(unreadables.iter().map(|(session, _)| session))
            .map(|session| Personal::new(session.key.to_string()))
            .collect();
        let patrons: Vec<&Personal<String>> = matched.iter().map(|one| &one.patron).collect();
        let (keys, patrons) = self.pseudonyms(keys, &patrons, &mut noted).await?;
        tracing::trace!(room = "protected");

        let found = matched.iter().zip(&patrons);
        let found = found.filter(|(one, _)| one.status == FOUND);
        let found = self
            .redshift
            .areas(found.map(|(_, patron)| patron).collect())
            .await?;
        noted.add("more than one Redshift row", found.ambiguous);

        let (keys, unreadable_keys) = keys.split_at(matched.len());
        let with_pseudonyms = matched.into_iter().zip(patrons).zip(keys);
        let records = with_pseudonyms.map(|((matched, patron), key)| {
            let position = format_wall_time(matched.session.at);
            let area = match matched.status {
                FOUND => found.areas.get(patron.as_str()).cloned(),
                _ => None,
            };
            let area = area.unwrap_or_default();
            let record = PcReserve {
                patron_id: patron,
                ptype_code: matched.sierra.ptype_code,
                patron_home_library_code: matched.sierra.home_library_code,
                pcode3: matched.sierra.pcode3,
                postal_code: area.postal_code,
                geoid: area.geoid,
                key: key.clone(),
                minutes_used: matched.details.minutes_used,
                transaction_et: matched.session.at.date().to_string(),
                branch: matched.details.branch,
                area: matched.details.area,
                staff_override: matched.details.staff_override,
                patron_retrieval_status: matched.status,
            };
            (record, position)
        });
        let mut transformed = Transformed {
            noted,
            ..Transformed::default()
        };
        for encoded in self.sending.encode(records) {
            match encoded {
                Ok(outgoing) => transformed.outputs.push(outgoing),
                Err(letter) => transformed.set_aside.push(letter),
            }
        }
        let letters = unreadables.into_iter().zip(unreadable_keys);
        let letters = letters
            .map(|((session, reason), key)| unreadable(key, format_wall_time(session.at), reason));
        transformed.set_aside.extend(letters);
        Ok(transformed)
    }

    async fn deliver(&self, outputs: Vec<Outgoing<PcReserve>>) -> Result<Delivered> {
        self.sending.deliver(outputs).await
    }
}

impl Sessions {
    /// Looks up the patron of every session.
    async fn matched(
        &self,
        sessions: Vec<Session>,
        noted: &mut Counts,
    ) -> Result<(Vec<Matched>, Vec<Unreadable>)> {
        let readable = sessions.iter().filter_map(|one| one.details.as_ref().ok());
        let barcodes: HashSet<Personal<String>> = readable
            .filter_map(|details| details.barcode.clone())
            .collect();
        let patrons = self.sierra.patrons(barcodes.into_iter().collect()).await?;
        let (mut matched, mut unreadables) = (Vec::with_capacity(sessions.len()), Vec::new());
        for Session { place, details } in sessions {
            let details = match details {
                Ok(details) => details,
                Err(unfit) => {
                    unreadables.push((place, format!("Envisionware, {unfit}")));
                    continue;
                }
            };
            let barcode = details.barcode.as_ref();
            if barcode.is_none() {
                noted.add("NULL barcode", 1);
            }
            let patron = barcode.and_then(|barcode| patrons.get(barcode));
            let status = status(patron, barcode);
            noted.add(status, 1);
            let sierra = match patron.map(|patron| &patron.details) {
                Some(Ok(details)) => details.clone(),
                Some(Err(unfit)) => {
                    unreadables.push((place, format!("Sierra, {unfit}")));
                    continue;
                }
                None => sierra::Details::default(),
            };
            matched.push(Matched {
                patron: pseudonymised_text(patron, barcode),
                session: place,
                details,
                sierra,
                status,
            });
        }
        Ok((matched, unreadables))
    }

    /// The pseudonyms of `keys` and of `patrons`, in their orders.
    async fn pseudonyms(
        &self,
        keys: Vec<Personal<String>>,
        patrons: &[&Personal<String>],
        noted: &mut Counts,
    ) -> Result<(Vec<Pseudonym>, Vec<Pseudonym>)> {
        let new: Vec<Personal<String>> = {
            let hashed = self.hashed.lock().expect("no holder panics");
            let distinct: HashSet<&Personal<String>> = patrons.iter().copied().collect();
            let new = distinct.into_iter();
            new.filter(|patron| !hashed.contains_key(*patron))
                .cloned()
                .collect()
        };
        noted.add(
            "repeated patrons, hashed once",
            (patrons.len() - new.len()) as u64,
        );
        let mut texts = keys;
        let number_of_keys = texts.len();
        texts.extend(new.iter().cloned());
        let mut pseudonyms = self.pseudonymiser.pseudonyms(&texts).await?;
        let of_new = pseudonyms.split_off(number_of_keys);
        let mut hashed = self.hashed.lock().expect("no holder panics");
        hashed.extend(new.into_iter().zip(of_new));
        let of_patrons = patrons.iter().map(|patron| hashed[*patron].clone());
        Ok((pseudonyms, of_patrons.collect()))
    }
}

fn status(patron: Option<&Patron>, barcode: Option<&Personal<String>>) -> &'static str {
    match (patron, barcode) {
        (Some(_), _) => FOUND,
        (None, Some(barcode)) if barcode.starts_with(GUEST_PASS) => "guest_pass",
        (None, _) => "missing",
    }
}

/// What a session's `patron_id` is made of: the patron's id, else the barcode; that of a session
/// without one is empty.
fn pseudonymised_text(
    patron: Option<&Patron>,
    barcode: Option<&Personal<String>>,
) -> Personal<String> {
    if let Some(patron) = patron {
        return patron.id.to_text();
    }
    let word = Personal::new("barcode".to_owned());
    let none = Personal::default();
    Personal::join(&[&word, barcode.unwrap_or(&none)], " ")
}
