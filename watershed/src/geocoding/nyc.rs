//! Geoclient of the City of New York: one address a call, for those that the Census Bureau's
//! service could not place.
//!
//! Addresses leave the machine here (P6): they go to the URL in the settings, and neither an error
//! nor the log holds anything of a call or of an answer.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesOrdered;
use reqwest::header::HeaderValue;
use serde::Deserialize;
use tokio::sync::Semaphore;
use url::Url;
use zeroize::Zeroizing;

use super::census::parse_url;
use super::{CleanedAddress, Tract};
use crate::connectors::http::Http;
use crate::error::{Error, OrFail as _, Remedy, Result};
use crate::privacy::Secret;
use crate::retry::{Policy, retry};

/// What the city's gateway puts up with.
const CALLS_AT_ONCE: usize = 8;

/// So many failed calls in a row are no matter of the addresses any more.
const DOWN: usize = 10;

/// The header that the city's gateway takes the key in.
const KEY: &str = "Ocp-Apim-Subscription-Key";

/// Where NYC Geoclient is, and how it is asked.
#[derive(Clone, Debug)]
pub struct NycOptions {
    /// The address of the service without a function, such as
    /// `https://api.nyc.gov/geoclient/v2`.
    pub url: String,
    /// The subscription's key; an instance of one's own needs none.
    pub key: Option<Secret>,
    /// The tries of each call: how many, how long each, and the waits between.
    pub policy: Policy,
}

impl NycOptions {
    /// The service at this address, with three tries of 30 s a call.
    pub fn new(url: impl Into<String>, key: Option<Secret>) -> NycOptions {
        NycOptions {
            url: url.into(),
            key,
            policy: Policy::within(Duration::from_secs(120))
                .each(Duration::from_secs(30))
                .tries(3),
        }
    }
}

/// A client of the service.
#[derive(Debug)]
pub(super) struct Nyc {
    http: Http,
    url: Url,
    key: Option<HeaderValue>,
    host: String,
    /// What errors call a call.
    what: String,
    policy: Policy,
    at_once: Semaphore,
}

/// What became of a page's addresses.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// One entry an address, in order; nothing also where the call failed.
    pub(super) tracts: Vec<Option<Tract>>,
    /// How many calls failed.
    pub(super) failed: usize,
}

/// Of the answer only what we need.
#[derive(Deserialize)]
struct Answer {
    address: Place,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Place {
    first_borough_name: Option<String>,
    census_tract2020: Option<String>,
    census_tract2010: Option<String>,
    census_tract2000: Option<String>,
    census_tract1990: Option<String>,
}

impl Nyc {
    pub(super) fn new(options: NycOptions) -> Result<Nyc> {
        let (mut url, host) = parse_url(&options.url).map_err(|error| {
            error.with_hint("NYC_GEOCODER_URL is like https://api.nyc.gov/geoclient/v2")
        })?;
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push("address.json");
        }
        let key = options.key.as_ref().map(|key| {
            // Not with its cause: whatever it says, it says of a secret.
            let mut key = HeaderValue::from_str(key.expose()).map_err(|_| {
                Error::new(
                    Remedy::FixSettings,
                    "setting up the NYC geocoder: its key holds characters that no key has",
                )
                .with_hint("check NYC_GEOCODER_KEY")
            })?;
            key.set_sensitive(true);
            Ok::<_, Error>(key)
        });
        Ok(Nyc {
            http: Http::without_redirects(options.policy.each)?,
            url,
            key: key.transpose()?,
            what: format!("asking {host} for a census tract"),
            host,
            policy: options.policy,
            at_once: Semaphore::new(CALLS_AT_ONCE),
        })
    }

    /// The tract of each address, in their order. A call that fails after its tries counts as not
    /// matched: it may be the address that the service cannot bear.
    ///
    /// # Errors
    /// When it is not the addresses: ten calls in a row have failed (with the last one's remedy),
    /// or access was denied to all of them, however few ([`Remedy::FixAccess`]). A page that went
    /// on without the service would lose its tracts for good, since a patron whose address has not
    /// changed is not geocoded again.
    pub(super) async fn geocode(&self, addresses: &[&CleanedAddress]) -> Result<Asked> {
        let mut calls: FuturesOrdered<_> = addresses.iter().map(|it| self.ask(it)).collect();
        let mut asked = Asked::default();
        let mut in_a_row = 0;
        let mut denied = 0;
        let mut last = None;
        while let Some(answer) = calls.next().await {
            let error = match answer {
                Ok(tract) => {
                    in_a_row = 0;
                    asked.tracts.push(tract);
                    continue;
                }
                Err(error) => error,
            };
            asked.tracts.push(None);
            asked.failed += 1;
            in_a_row += 1;
            denied += usize::from(error.remedy() == Remedy::FixAccess);
            if in_a_row == DOWN || denied == addresses.len() {
                return Err(self.down(error));
            }
            last = Some(error);
        }
        if let Some(error) = last {
            tracing::warn!(
                "{} of {} addresses count as not geocoded, because {} failed: {}",
                asked.failed,
                addresses.len(),
                self.host,
                error.in_one_line()
            );
        }
        Ok(asked)
    }

    /// The error that ends the page.
    fn down(&self, cause: Error) -> Error {
        let what = "Failed to retrieve geocoded addresses from API: NYC Geoclient";
        let hint = "check NYC_GEOCODER_URL and NYC_GEOCODER_KEY; without them the run goes on \
                    with the Census Bureau's service alone";
        Error::new(cause.remedy(), what)
            .with_hint(hint)
            .caused_by(cause)
    }

    async fn ask(&self, address: &CleanedAddress) -> Result<Option<Tract>> {
        let mut url = self.url.clone();
        url.query_pairs_mut()
            .append_pair("houseNumber", address.house_number.for_geocoder())
            .append_pair("street", address.street_name.for_geocoder())
            .append_pair("zip", address.postal_code.for_geocoder());
        let _place = self
            .at_once
            .acquire()
            .await
            .or_fail(Remedy::ReportBug, || self.what.clone())?;
        let answer = retry(&self.policy, &self.what, || async {
            let mut request = self.http.get(url.as_str());
            if let Some(key) = &self.key {
                request = request.header(KEY, key.clone());
            }
            let answer = Zeroizing::new(self.http.text(&self.what, request).await?);
            // Not with its cause, which may quote the answer.
            serde_json::from_str::<Answer>(&answer).map_err(|_| {
                Error::new(Remedy::TryAgain, &*self.what)
                    .caused_by("the answer is not the JSON of NYC Geoclient")
            })
        })
        .await?;
        Ok(answer.address.tract())
    }
}

impl Place {
    /// The county of the borough and the tract of the newest census that has one.
    fn tract(&self) -> Option<Tract> {
        let county = match self.first_borough_name.as_deref()?.trim() {
            "BRONX" => "36005",
            "BROOKLYN" => "36047",
            "MANHATTAN" => "36061",
            "QUEENS" => "36081",
            "STATEN IS" | "STATEN ISLAND" => "36085",
            _ => return None,
        };
        let editions = [
            &self.census_tract2020,
            &self.census_tract2010,
            &self.census_tract2000,
            &self.census_tract1990,
        ];
        let newest = editions
            .into_iter()
            .flatten()
            .find(|tract| !tract.trim().is_empty())?;
        Tract::new(format!("{county}{}", six_digits(newest)?))
    }
}

/// A tract as the city writes it, as six digits.
///
/// Geosupport, which Geoclient hands through, gives six characters: the number, right-justified in
/// four, and a suffix of two, each blank meaning a zero (Geosupport User Programming Guide,
/// "census tract"). `"  31  "` is 003100, `" 10201"` is 010201. Should something on the way have
/// taken blanks away:
///
/// - five characters lack one in front: `"10201"` is 010201;
/// - up to four lack the blank suffix: `"  31"` and `"31"` are 003100;
/// - but four digits are nothing, for `"1502"` may be `"1502  "` as well as `"  1502"`, and no
///   tract is better than a wrong one.
fn six_digits(tract: &str) -> Option<String> {
    let digits = match tract.len() {
        4 if tract.bytes().all(|byte| byte.is_ascii_digit()) => return None,
        0..=4 => format!("{:>4}  ", tract.trim()),
        _ => format!("{tract:>6}"),
    };
    Some(digits.replace(' ', "0"))
}

#[cfg(test)]
mod tests;
