//! Addresses as people typed them, re-formatted for a second try at the geocoder.
//!
//! What people type into four boxes need not be what the boxes ask for: the street stands in the
//! city's box, the city's name is followed by the state, the apartment comes first. The geocoder
//! gives up on those. So the four texts are put together, cut into tokens ([`tokens`]), each
//! token is labelled by the model of the Python library `usaddress` ([`features`], [`crf`]), and
//! the columns are made anew from the labels ([`reformat`]), in plain ASCII ([`ascii`]). Of all
//! this nothing is printed, and no error comes of it (P6).
//!
//! The model in `model/` is that of `usaddress` 0.5.16, unchanged, as is its list of words for
//! kinds of streets; their licence lies beside them. Tokens, attributes and labels are equal to the
//! library's; the samples in `testdata/` say so.

mod ascii;
mod crf;
mod features;
mod labels;
mod reformat;
#[cfg(test)]
mod tests;
mod tokens;

use zeroize::Zeroizing;

use super::Address;
use crate::privacy::Personal;

/// An address with its parts where they belong: for the second request to the geocoder, and, by
/// house number and street name, for a geocoder of one city.
///
/// A part that was not found is empty, or, if the address says something twice (a second street, a
/// city in front and behind), as it was; house number and street name are then empty. All but the house number is trimmed and holds only what
/// is usual in it: letters, white space and `-` in city and region; digits and `-` in the postal
/// code; letters, digits, white space and ``# & . , ; : + @ / -`` elsewhere. All of it is ASCII.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CleanedAddress {
    /// House number, street, and the second line: building, floor, apartment.
    pub address: Personal<String>,
    /// City.
    pub city: Personal<String>,
    /// State.
    pub region: Personal<String>,
    /// ZIP code.
    pub postal_code: Personal<String>,
    /// House number, `123` or `123-45`; may hold other characters and blanks.
    pub house_number: Personal<String>,
    /// Name of the street with its directions and kind, `W 40th St`.
    pub street_name: Personal<String>,
}

/// An address without the characters that geocoders stumble over: `'`, `"` and `\`.
///
/// This is how addresses go to the geocoder the first time. What a system of record has as NULL is
/// empty text (`Personal::default()`) in an [`Address`]. Preparing twice changes nothing.
pub fn prepare(address: &Address) -> Address {
    let without_quotes =
        |part: &Personal<String>| Personal::new(part.for_geocoder().replace(['\'', '"', '\\'], ""));
    Address {
        street: without_quotes(&address.street),
        city: without_quotes(&address.city),
        region: without_quotes(&address.region),
        postal_code: without_quotes(&address.postal_code),
    }
}

/// The four parts of an address joined with one blank each, trimmed of white space at both ends.
/// Nothing can be geocoded of an address for which this is empty.
pub(super) fn full_text(address: &Address) -> Personal<String> {
    let parts = [
        &address.street,
        &address.city,
        &address.region,
        &address.postal_code,
    ];
    let full = Personal::join(&parts, " ");
    Personal::new(
        full.for_geocoder()
            .trim_matches(tokens::is_space)
            .to_owned(),
    )
}

/// Re-formats addresses. Made once, it is shared by reference between threads.
///
/// ```
/// use watershed::geocoding::{Address, Cleaner};
/// use watershed::privacy::Personal;
///
/// let part = |text: &str| Personal::new(text.to_owned());
/// let cleaned = Cleaner::new().clean(&Address {
///     street: part("123"),
///     city: part("REAL AVE APT 1"),
///     region: part("NEW YORK NY"),
///     postal_code: part("10001"),
/// });
/// assert_eq!(cleaned.address, part("123 REAL AVE APT 1"));
/// assert_eq!(cleaned.city, part("NEW YORK"));
/// assert_eq!(cleaned.region, part("NY"));
/// ```
pub struct Cleaner {
    model: crf::Model,
}

impl Cleaner {
    /// Reads the model, which is part of the program; takes less than a millisecond.
    pub fn new() -> Cleaner {
        Cleaner {
            model: crf::Model::new(),
        }
    }

    /// The address with its parts where they belong; any text will do. It need not be
    /// [prepared](prepare): that is done here.
    pub fn clean(&self, address: &Address) -> CleanedAddress {
        let prepared = prepare(address);
        let full = full_text(&prepared);
        let unescaped = Zeroizing::new(tokens::unescape(full.for_geocoder()).into_owned());
        let tokens = tokens::tokenise(&unescaped);
        let labels = self.model.label(&tokens);
        let labelled: Vec<_> = tokens.into_iter().zip(labels).collect();
        reformat::reformat(&prepared, &labelled)
    }
}

impl Default for Cleaner {
    fn default() -> Cleaner {
        Cleaner::new()
    }
}
