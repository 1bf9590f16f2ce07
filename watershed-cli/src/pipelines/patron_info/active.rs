//! The modes new and updated: patrons who exist, geocoded and pseudonymised.

use std::collections::HashMap;
use std::sync::Arc;

use watershed::error::Result;
use watershed::geocoding::{Address, Geocoded, Geocoder};
use watershed::pipeline::{Counts, DeadLetter, Delivered, Page, Pipeline, Transformed};
use watershed::privacy::{Personal, Pseudonym, Pseudonymiser};
use watershed::time::format_utc;

use super::super::sending::unreadable;
use super::cursor::ChangeCursor;
use super::delivery::{Delivery, Outgoing, Shaped};
use super::record::PatronInfo;
use super::redshift::{Agreed, Redshift, Rows};
use super::sierra::{Details, Patron, Sierra};

/// What both modes work with.
pub(super) struct Active {
    pub sierra: Arc<Sierra>,
    pub redshift: Arc<Redshift>,
    pub pseudonymiser: Arc<Pseudonymiser>,
    pub geocoder: Arc<dyn Geocoder>,
    pub delivery: Arc<Delivery>,
    pub page: usize,
}

/// Patrons created behind the cursor: every one is geocoded.
pub(super) struct New(pub Arc<Active>);

/// Patrons updated behind the cursor: those whose address was delivered before keep its tract.
pub(super) struct Updated(pub Arc<Active>);

impl Pipeline for New {
    const NAME: &'static str = "new";
    const READ_AHEAD: usize = 2;
    type Cursor = ChangeCursor;
    type Input = Patron;
    type Output = Outgoing;

    async fn poll(&self, after: &ChangeCursor) -> Result<Page<Patron, ChangeCursor>> {
        self.0
            .sierra
            .changed("creation_date_gmt", after, self.0.page)
            .await
    }

    async fn transform(&self, inputs: Vec<Patron>) -> Result<Transformed<Outgoing>> {
        let active = &self.0;
        let (patrons, proposal) = active.delivery.propose(inputs, |patron| &patron.id);
        let (readable, unreadable) = sort_out(patrons);
        tracing::trace!(room = "shaped");

        let ids = readable.iter().map(|patron| patron.id.to_text());
        let addresses = readable.iter().map(Readable::address_text);
        let unreadable_ids = unreadable.iter().map(|(patron, _)| patron.id.to_text());
        let texts: Vec<Personal<String>> = ids.chain(addresses).chain(unreadable_ids).collect();
        let to_geocode: Vec<Address> = readable
            .iter()
            .map(|patron| patron.details.address.clone())
            .collect();
        let (pseudonyms, geocoded) = futures::try_join!(
            active.pseudonymiser.pseudonyms(&texts),
            active.geocode(&to_geocode)
        )?;
        let (ids, rest) = pseudonyms.split_at(readable.len());
        let (hashes, unreadable_ids) = rest.split_at(readable.len());
        tracing::trace!(room = "protected");

        let mut shaped = Vec::with_capacity(readable.len());
        for (i, patron) in readable.into_iter().enumerate() {
            let geoid = geocoded.tracts[i].as_ref().map(ToString::to_string);
            let initial = patron.details.home_library_code.clone();
            shaped.push(patron.shape(ids[i].clone(), &hashes[i], geoid, initial));
        }
        let set_aside = letters(unreadable, unreadable_ids);
        Ok(active
            .delivery
            .encode(shaped, proposal, set_aside, geocoded.counts))
    }

    async fn deliver(&self, outputs: Vec<Outgoing>) -> Result<Delivered> {
        self.0.delivery.deliver(outputs).await
    }
}

impl Pipeline for Updated {
    const NAME: &'static str = "updated";
    const READ_AHEAD: usize = 2;
    type Cursor = ChangeCursor;
    type Input = Patron;
    type Output = Outgoing;

    async fn poll(&self, after: &ChangeCursor) -> Result<Page<Patron, ChangeCursor>> {
        self.0
            .sierra
            .changed("record_last_updated_gmt", after, self.0.page)
            .await
    }

    async fn transform(&self, inputs: Vec<Patron>) -> Result<Transformed<Outgoing>> {
        let active = &self.0;
        let (patrons, proposal) = active.delivery.propose(inputs, |patron| &patron.id);
        let (readable, unreadable) = sort_out(patrons);
        tracing::trace!(room = "shaped");

        let texts: Vec<Personal<String>> = readable.iter().map(Readable::address_text).collect();
        let hashes = active.pseudonymiser.pseudonyms(&texts).await?;
        let known = active.redshift.by_address(&hashes).await?;
        let mut noted = Counts::default();
        let found: Vec<Option<Known>> = hashes
            .iter()
            .map(|hash| known.get(hash.as_str()).and_then(Known::of))
            .collect();
        note_differences(known.values(), &mut noted);

        // Only those get a computed id and a new tract for whom Redshift has none to keep.
        let mut unknown_ids = Places::default();
        let mut unknown_tracts = Places::default();
        for (i, patron) in readable.iter().enumerate() {
            if found[i]
                .as_ref()
                .is_none_or(|known| known.patron_id.is_none())
            {
                unknown_ids.add(i, patron.id.to_text());
            }
            if found[i]
                .as_ref()
                .is_none_or(|known| matches!(known.geoid, Agreed::Not(_)))
            {
                unknown_tracts.add(i, patron.details.address.clone());
            }
        }
        let kept = readable.len() - unknown_tracts.values.len();
        noted.add("tract kept", kept as u64);
        unknown_ids
            .values
            .extend(unreadable.iter().map(|(patron, _)| patron.id.to_text()));
        let (pseudonyms, geocoded) = futures::try_join!(
            active.pseudonymiser.pseudonyms(&unknown_ids.values),
            active.geocode(&unknown_tracts.values)
        )?;
        noted.add_all(&geocoded.counts);
        let unreadable_ids = &pseudonyms[unknown_ids.places.len()..];

        let mut ids = Vec::with_capacity(readable.len());
        let mut geoids = Vec::with_capacity(readable.len());
        let mut initials = Vec::with_capacity(readable.len());
        for (i, known) in found.into_iter().enumerate() {
            let known = known.unwrap_or_default();
            let computed = unknown_ids.places.get(&i).map(|&at| pseudonyms[at].clone());
            ids.push(
                computed
                    .or(known.patron_id)
                    .expect("an id is known or computed"),
            );
            geoids.push(match unknown_tracts.places.get(&i) {
                Some(&at) => geocoded.tracts[at].as_ref().map(ToString::to_string),
                None => known.geoid.latest(),
            });
            initials.push(known.initial);
        }
        active
            .complete_initial_codes(&ids, &mut initials, &mut noted)
            .await?;
        tracing::trace!(room = "protected");

        let mut shaped = Vec::with_capacity(readable.len());
        let enriched = ids.into_iter().zip(geoids).zip(initials);
        for ((patron, hash), ((id, geoid), initial)) in
            readable.into_iter().zip(&hashes).zip(enriched)
        {
            shaped.push(patron.shape(id, hash, geoid, initial));
        }
        let set_aside = letters(unreadable, unreadable_ids);
        Ok(active.delivery.encode(shaped, proposal, set_aside, noted))
    }

    async fn deliver(&self, outputs: Vec<Outgoing>) -> Result<Delivered> {
        self.0.delivery.deliver(outputs).await
    }
}

impl Active {
    async fn geocode(&self, addresses: &[Address]) -> Result<Geocoded> {
        if addresses.is_empty() {
            Ok(Geocoded::default())
        } else {
            self.geocoder.geocode(addresses).await
        }
    }

    /// Looks up the initial home library code of every patron that lacks one. The current one is
    /// no substitute.
    async fn complete_initial_codes(
        &self,
        ids: &[Pseudonym],
        initials: &mut [Option<String>],
        noted: &mut Counts,
    ) -> Result<()> {
        let lacking: Vec<Pseudonym> = ids
            .iter()
            .zip(&*initials)
            .filter(|(_, code)| code.is_none())
            .map(|(id, _)| id.clone())
            .collect();
        if lacking.is_empty() {
            return Ok(());
        }
        let codes = self.redshift.initial_codes(&lacking).await?;
        note_differences(codes.values(), noted);
        let mut missing = Vec::new();
        for (id, code) in ids.iter().zip(initials).filter(|(_, code)| code.is_none()) {
            match codes.get(id.as_str()) {
                Some(rows) => *code = rows.agreed("initial_patron_home_library_code").latest(),
                None => missing.push(id.as_str()),
            }
        }
        if !missing.is_empty() {
            noted.add("without initial home library code", missing.len() as u64);
            tracing::warn!(
                "the initial home library codes of these patrons could not be found in Redshift: {}",
                missing.join(", ")
            );
        }
        Ok(())
    }
}

/// What Redshift knows of an address that was delivered before.
struct Known {
    /// Nothing where several patrons are stored under the address: then it is computed.
    patron_id: Option<Pseudonym>,
    geoid: Agreed,
    initial: Option<String>,
}

impl Default for Known {
    fn default() -> Known {
        Known {
            patron_id: None,
            geoid: Agreed::Nothing,
            initial: None,
        }
    }
}

impl Known {
    /// Rows without any patron make nobody known.
    fn of(rows: &Rows) -> Option<Known> {
        let patron_id = match rows.agreed("patron_id") {
            Agreed::Nothing => return None,
            Agreed::On(id) => Some(Pseudonym::stored(id)),
            Agreed::Not(_) => None,
        };
        let initial = rows.agreed("initial_patron_home_library_code").latest();
        Some(Known {
            patron_id,
            geoid: rows.agreed("geoid"),
            initial,
        })
    }
}

/// Counts and warns of stored rows that contradict each other.
pub(super) fn note_differences<'a>(rows: impl Iterator<Item = &'a Rows>, noted: &mut Counts) {
    let differing = rows.filter(|rows| rows.differ()).count() as u64;
    if differing > 0 {
        noted.add("stored rows that differ", differing);
        tracing::warn!(
            "More than one Redshift row found, and they differ, for {differing} patrons or addresses"
        );
    }
}

/// Values that only some of a page's patrons need, and where each stands among them.
struct Places<T> {
    values: Vec<T>,
    places: HashMap<usize, usize>,
}

impl<T> Default for Places<T> {
    fn default() -> Places<T> {
        Places {
            values: Vec::new(),
            places: HashMap::new(),
        }
    }
}

impl<T> Places<T> {
    fn add(&mut self, patron: usize, value: T) {
        self.places.insert(patron, self.values.len());
        self.values.push(value);
    }
}

/// A patron all of whose columns could be read.
struct Readable {
    id: Personal<i64>,
    position: String,
    details: Details,
}

/// A patron with a column that could not, and why.
type Unreadable = (Patron, String);

fn sort_out(patrons: Vec<Patron>) -> (Vec<Readable>, Vec<Unreadable>) {
    let (mut readable, mut unreadable) = (Vec::with_capacity(patrons.len()), Vec::new());
    for patron in patrons {
        match patron.details {
            Ok(details) => readable.push(Readable {
                id: patron.id,
                position: format_utc(patron.at),
                details,
            }),
            Err(ref unfit) => {
                let reason = format!("Sierra, {unfit}");
                unreadable.push((patron, reason));
            }
        }
    }
    (readable, unreadable)
}

fn letters(unreadables: Vec<Unreadable>, ids: &[Pseudonym]) -> Vec<DeadLetter> {
    let with_ids = unreadables.into_iter().zip(ids);
    with_ids
        .map(|((patron, reason), id)| unreadable(id, format_utc(patron.at), reason))
        .collect()
}

impl Readable {
    /// What the address hash is made of: the id, too, so that it names a patron at an address.
    fn address_text(&self) -> Personal<String> {
        let Address {
            street,
            city,
            region,
            postal_code,
        } = &self.details.address;
        Personal::join(
            &[&self.id.to_text(), street, city, region, postal_code],
            "_",
        )
    }

    fn shape(
        self,
        patron_id: Pseudonym,
        address_hash: &Pseudonym,
        geoid: Option<String>,
        initial_patron_home_library_code: Option<String>,
    ) -> Shaped {
        let details = self.details;
        let date = |date: Option<jiff::civil::Date>| date.map(|date| date.to_string());
        let record = PatronInfo {
            patron_id,
            address_hash: Some(address_hash.to_string()),
            postal_code: details.postal_area,
            geoid,
            creation_date_et: date(details.creation_date_et),
            deletion_date_et: date(details.deletion_date_et),
            circ_active_date_et: date(details.circ_active_date_et),
            ptype_code: details.ptype_code,
            pcode3: details.pcode3,
            patron_home_library_code: details.home_library_code,
            initial_patron_home_library_code,
        };
        Shaped {
            record,
            position: self.position,
        }
    }
}
