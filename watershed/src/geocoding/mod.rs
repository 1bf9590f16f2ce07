//! Addresses in, census tracts out.
//!
//! Two geocoders: [`Attempts`] asks the services of the Census Bureau and of New York City,
//! [`Ranges`] looks into a file and needs no network.

mod attempts;
mod census;
mod cleaning;
#[cfg(test)]
mod fake;
mod nyc;
mod ranges;
mod ranges_csv;
mod street;

pub use attempts::Attempts;
pub use census::CensusOptions;
pub use nyc::NycOptions;
pub use ranges::{BuildReport, Ranges};

use std::fmt;

use futures::future::BoxFuture;

use crate::error::Result;
use crate::pipeline::Counts;
use crate::privacy::Personal;

use cleaning::full_text;
pub use cleaning::{CleanedAddress, Cleaner, prepare};

/// A postal address in the United States, as a system of record has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// House number, street, and whatever else was typed there.
    pub street: Personal<String>,
    /// City.
    pub city: Personal<String>,
    /// State.
    pub region: Personal<String>,
    /// ZIP code, of five digits or nine, if it is one.
    pub postal_code: Personal<String>,
}

impl Address {
    /// Whether there is nothing that could be geocoded.
    pub fn is_empty(&self) -> bool {
        [&self.street, &self.city, &self.region, &self.postal_code]
            .iter()
            .all(|part| part.for_geocoder().trim().is_empty())
    }
}

/// A census tract's GEOID: two digits of state, three of county, six of tract.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tract(String);

impl Tract {
    /// Takes a GEOID of eleven digits, leading zeros kept.
    pub fn new(geoid: impl Into<String>) -> Option<Tract> {
        let geoid = geoid.into();
        (geoid.len() == 11 && geoid.bytes().all(|b| b.is_ascii_digit())).then_some(Tract(geoid))
    }

    /// The eleven digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Finds the census tracts of addresses.
pub trait Geocoder: Send + Sync {
    /// The tract of each address, in the order of the addresses; nothing where none was found.
    ///
    /// # Errors
    /// When the geocoder itself failed: then nothing is known about any address.
    fn geocode<'a>(&'a self, addresses: &'a [Address]) -> BoxFuture<'a, Result<Geocoded>>;
}

/// What a [`Geocoder`] found.
#[derive(Debug, Default)]
pub struct Geocoded {
    /// One entry an address, in order.
    pub tracts: Vec<Option<Tract>>,
    /// Matched by which attempt, not matched, not tried: for the report.
    pub counts: Counts,
}
