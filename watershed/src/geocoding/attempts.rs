//! The geocoder of production: three attempts, each with what the one before left over.

use std::sync::{Arc, Once};

use futures::future::BoxFuture;

use super::census::{Census, CensusOptions, Row};
use super::nyc::{Asked, Nyc, NycOptions};
use super::{Address, CleanedAddress, Cleaner, Geocoded, Geocoder, Tract, full_text, prepare};
use crate::error::{Error, Remedy, Result};
use crate::pipeline::Counts;

/// Addresses cleaned in one go. A run that is stopped waits for no more than these, which take well
/// under a second (P7).
const CLEANED_AT_ONCE: usize = 1_000;

/// A geocoder that asks the Census Bureau's batch service, asks it again with what was not matched
/// re-formatted, and asks NYC Geoclient for the rest.
///
/// 1. All [prepared](prepare) addresses that are not empty go to the Census Bureau's service, with
///    their positions as row numbers, at most 10,000 a request and at most two requests at once.
///    Rows that the answer lacks, ties and rows that it answers in two ways are not matched.
/// 2. Those not matched are [cleaned](Cleaner) and go there again, whether cleaning has changed
///    them or not; left out is only an address of which cleaning left nothing.
/// 3. Those not matched with a house number, a street name and a postal code (as cleaned) go to NYC
///    Geoclient, one call each, at most eight at once.
///
/// It counts each address once as `geocoded by census`, `geocoded by census after cleaning`,
/// `geocoded by nyc`, `not geocoded` or `no address`. Of those `not geocoded` it also counts
/// `not tried with nyc` when there is no NYC Geoclient in the settings, and `failed with nyc` when
/// its call failed.
///
/// # Errors
/// Nothing is then known about any address of the page. The words `Failed to retrieve geocoded
/// addresses from API` begin each of these:
/// - [`Remedy::TryAgain`] when the Census Bureau's service fails. Anything but status 200 is a
///   failure, as are an answer that is not its CSV, no answer and a time-out. A request gets the
///   tries of its [policy](CensusOptions::policy); then its halves, as long as they have 1,000 rows,
///   get theirs.
/// - As well when ten calls in a row to NYC Geoclient failed after their tries (with the remedy of
///   the last). Fewer failures count as not geocoded, with a warning.
/// - [`Remedy::FixAccess`] at once when the Census Bureau's service denies access, or NYC Geoclient
///   to all calls of a page.
pub struct Attempts {
    census: Census,
    cleaner: Arc<Cleaner>,
    nyc: Option<Nyc>,
    said_that_nyc_is_not_set: Once,
}

impl Attempts {
    /// A geocoder with or without the third attempt. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Remedy::FixSettings`] when a URL or the key of NYC Geoclient cannot be used.
    pub fn new(census: CensusOptions, nyc: Option<NycOptions>) -> Result<Attempts> {
        Ok(Attempts {
            census: Census::new(census)?,
            cleaner: Arc::new(Cleaner::new()),
            nyc: nyc.map(Nyc::new).transpose()?,
            said_that_nyc_is_not_set: Once::new(),
        })
    }

    async fn attempt(&self, addresses: &[Address]) -> Result<Geocoded> {
        let prepared: Vec<Address> = addresses.iter().map(prepare).collect();
        let mut page = Page {
            left: (0..prepared.len())
                .filter(|&place| !full_text(&prepared[place]).is_empty())
                .collect(),
            tracts: vec![None; prepared.len()],
            counts: Counts::default(),
        };
        let without = prepared.len() - page.left.len();
        page.counts.add("no address", without as u64);

        let rows: Vec<Row> = page
            .left
            .iter()
            .map(|&place| row(place, &prepared[place]))
            .collect();
        let found = self.census.geocode(&rows).await?;
        page.settle("geocoded by census", &page.left.clone(), found);

        let cleaned = self.clean(&page.left, &prepared).await?;
        let rows: Vec<Row> = cleaned
            .iter()
            .map(|(place, cleaned)| cleaned_row(*place, cleaned))
            .filter(|row| row.columns.iter().any(|column| !column.is_empty()))
            .collect();
        let places: Vec<usize> = rows.iter().map(|row| row.number).collect();
        let found = self.census.geocode(&rows).await?;
        page.settle("geocoded by census after cleaning", &places, found);

        let (places, for_nyc): (Vec<usize>, Vec<&CleanedAddress>) = cleaned
            .iter()
            .filter(|(place, cleaned)| page.tracts[*place].is_none() && is_for_nyc(cleaned))
            .map(|(place, cleaned)| (*place, cleaned))
            .unzip();
        match &self.nyc {
            Some(nyc) => {
                let Asked { tracts, failed } = nyc.geocode(&for_nyc).await?;
                page.settle("geocoded by nyc", &places, tracts);
                page.counts.add("failed with nyc", failed as u64);
            }
            None => self.leave_out_nyc(places.len(), &mut page.counts),
        }
        page.counts.add("not geocoded", page.left.len() as u64);
        Ok(Geocoded {
            tracts: page.tracts,
            counts: page.counts,
        })
    }

    /// Cleans the addresses at these places, away from the threads that wait for answers.
    async fn clean(
        &self,
        places: &[usize],
        prepared: &[Address],
    ) -> Result<Vec<(usize, CleanedAddress)>> {
        let mut cleaned = Vec::with_capacity(places.len());
        for places in places.chunks(CLEANED_AT_ONCE) {
            let cleaner = Arc::clone(&self.cleaner);
            let addresses: Vec<(usize, Address)> = places
                .iter()
                .map(|&place| (place, prepared[place].clone()))
                .collect();
            let work = move || {
                let clean = |(place, address)| (place, cleaner.clean(&address));
                addresses.into_iter().map(clean).collect::<Vec<_>>()
            };
            // Not with its cause, which quotes the panic (P6).
            cleaned.extend(
                tokio::task::spawn_blocking(work)
                    .await
                    .map_err(|_| Error::new(Remedy::ReportBug, "cleaning addresses: broken off"))?,
            );
        }
        Ok(cleaned)
    }

    fn leave_out_nyc(&self, addresses: usize, counts: &mut Counts) {
        counts.add("not tried with nyc", addresses as u64);
        if addresses > 0 {
            self.said_that_nyc_is_not_set.call_once(|| {
                tracing::info!(
                    "NYC_GEOCODER_URL is not set: addresses that the Census Bureau's service does \
                     not match stay without a census tract"
                );
            });
        }
    }
}

impl Geocoder for Attempts {
    fn geocode<'a>(&'a self, addresses: &'a [Address]) -> BoxFuture<'a, Result<Geocoded>> {
        Box::pin(self.attempt(addresses))
    }
}

/// What is known so far.
struct Page {
    /// One entry an address of the page.
    tracts: Vec<Option<Tract>>,
    /// Places of the addresses that are still without a tract, and not empty; ascending.
    left: Vec<usize>,
    counts: Counts,
}

impl Page {
    /// Puts what was found for these places where it belongs.
    fn settle(&mut self, count: &'static str, places: &[usize], found: Vec<Option<Tract>>) {
        debug_assert_eq!(places.len(), found.len(), "a tract or none for each place");
        for (&place, tract) in places.iter().zip(found) {
            self.counts.add(count, u64::from(tract.is_some()));
            self.tracts[place] = tract;
        }
        self.left.retain(|&place| self.tracts[place].is_none());
    }
}

fn row(number: usize, address: &Address) -> Row<'_> {
    let Address {
        street,
        city,
        region,
        postal_code,
    } = address;
    Row {
        number,
        columns: [street, city, region, postal_code],
    }
}

fn cleaned_row(number: usize, cleaned: &CleanedAddress) -> Row<'_> {
    Row {
        number,
        columns: [
            &cleaned.address,
            &cleaned.city,
            &cleaned.region,
            &cleaned.postal_code,
        ],
    }
}

fn is_for_nyc(cleaned: &CleanedAddress) -> bool {
    [
        &cleaned.house_number,
        &cleaned.street_name,
        &cleaned.postal_code,
    ]
    .iter()
    .all(|part| !part.for_geocoder().trim().is_empty())
}

#[cfg(test)]
mod tests;
