//! The batch service of the Census Bureau: a CSV of addresses goes in, a CSV of tracts comes out.
//!
//! The service is slow, and under load it answers some requests with errors, some with a page of
//! HTML, and some without a few of their rows. So a request is tried three times, then cut in
//! halves, and the answer is read row by row.
//!
//! Addresses leave the machine here (P6): they go to the URL in the settings, and neither an error
//! nor the log holds anything of a request or of an answer.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use csv::{ReaderBuilder, StringRecord};
use futures::future::{BoxFuture, try_join_all};
use reqwest::multipart::{Form, Part};
use reqwest::{Body, StatusCode};
use tokio::sync::Semaphore;
use url::Url;
use zeroize::Zeroizing;

use super::Tract;
use crate::connectors::http::Http;
use crate::error::{Error, OrFail as _, Remedy, Result};
use crate::privacy::{Personal, Secret};
use crate::retry::{Policy, retry};

/// The service takes 10,000 addresses a request: "Census Geocoder", batch geocoding.
const MOST_ROWS: usize = 10_000;

/// A request is cut in halves as long as a half has this many rows. Smaller ones fail for other
/// reasons than their size.
const SMALLEST_HALF: usize = 1_000;

/// More would not be answered sooner.
const REQUESTS_AT_ONCE: usize = 2;

/// Operators' alarms look for these words.
const ALARM: &str = "Failed to retrieve geocoded addresses from API";

/// Where the Census Bureau's batch service is, and how it is asked.
#[derive(Clone, Debug)]
pub struct CensusOptions {
    /// The address of the service, `http` or `https`.
    pub url: String,
    /// Which edition of the addresses is searched.
    pub benchmark: String,
    /// Which edition of the tracts is answered with.
    pub vintage: String,
    /// The service works without one.
    pub key: Option<Secret>,
    /// The tries of each request, halves included: how many, how long each, and the waits between.
    pub policy: Policy,
}

impl Default for CensusOptions {
    /// The public service, the current editions, no key, and three tries of 300 s a request.
    fn default() -> CensusOptions {
        let policy = Policy::within(Duration::from_secs(20 * 60))
            .each(Duration::from_secs(300))
            .tries(3);
        CensusOptions {
            url: "https://geocoding.geo.census.gov/geocoder/geographies/addressbatch".into(),
            benchmark: "Public_AR_Current".into(),
            vintage: "Current_Current".into(),
            key: None,
            policy: Policy {
                first_wait: Duration::from_secs(8),
                ..policy
            },
        }
    }
}

/// A client of the service.
#[derive(Debug)]
pub(super) struct Census {
    http: Http,
    /// With its query, and so perhaps with a key: never printed.
    url: Url,
    /// What errors call a request.
    what: String,
    policy: Policy,
    /// Held from a request's first try to its last, so that waits take a place too: who has just
    /// failed should not be asked more.
    at_once: Semaphore,
}

/// An address as the service takes it.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    /// Which of the page's addresses it is; the answer names it.
    pub(super) number: usize,
    /// Street, city, region, postal code.
    pub(super) columns: [&'a Personal<String>; 4],
}

impl Census {
    pub(super) fn new(options: CensusOptions) -> Result<Census> {
        let (mut url, host) = parse_url(&options.url).map_err(|error| {
            error.with_hint(
                "GEOCODER_API_BASE_URL is the address of the Census Bureau's batch service",
            )
        })?;
        let mut query = url.query_pairs_mut();
        query.append_pair("benchmark", &options.benchmark);
        query.append_pair("vintage", &options.vintage);
        if let Some(key) = &options.key {
            query.append_pair("key", key.expose());
        }
        drop(query);
        Ok(Census {
            http: Http::without_redirects(options.policy.each)?,
            url,
            what: format!("asking {host} for census tracts"),
            policy: options.policy,
            at_once: Semaphore::new(REQUESTS_AT_ONCE),
        })
    }

    /// The tract of each row, in the order of the rows; nothing for a row that did not match or
    /// that the answer lacks. Numbers are unique.
    ///
    /// # Errors
    /// When any part of the rows got no answer: then nothing is known about any of them.
    pub(super) async fn geocode(&self, rows: &[Row<'_>]) -> Result<Vec<Option<Tract>>> {
        let requests = rows.chunks(MOST_ROWS).map(|rows| self.request(rows));
        Ok(try_join_all(requests).await?.concat())
    }

    /// Asks in one request, or, when its tries have failed, in two halves.
    fn request<'a>(&'a self, rows: &'a [Row<'a>]) -> BoxFuture<'a, Result<Vec<Option<Tract>>>> {
        Box::pin(async move {
            let error = match self.tries(rows).await {
                Ok(tracts) => return Ok(tracts),
                Err(error) => error,
            };
            let half = rows.len() / 2;
            if error.remedy() != Remedy::TryAgain || half < SMALLEST_HALF {
                return Err(failed(rows.len(), error));
            }
            tracing::info!(
                "asking for {} addresses in two halves: {}",
                rows.len(),
                error.in_one_line()
            );
            let (first, second) = rows.split_at(half);
            let (mut tracts, rest) = futures::try_join!(self.request(first), self.request(second))?;
            tracts.extend(rest);
            Ok(tracts)
        })
    }

    async fn tries(&self, rows: &[Row<'_>]) -> Result<Vec<Option<Tract>>> {
        let csv = write(rows)?;
        let _place = self
            .at_once
            .acquire()
            .await
            .or_fail(Remedy::ReportBug, || self.what.clone())?;
        retry(&self.policy, &self.what, || async {
            let answer = self.ask(csv.clone()).await?;
            read(&answer, rows).ok_or_else(|| {
                self.fault("the answer is not the CSV of the Census Bureau's service")
            })
        })
        .await
    }

    /// One request. Any answer but 200 may pass, except that access is denied.
    async fn ask(&self, csv: Bytes) -> Result<Zeroizing<String>> {
        let length = csv.len() as u64;
        let file = Part::stream_with_length(Body::from(csv), length)
            .file_name("input_addresses.csv")
            .mime_str("text/csv")
            .or_fail(Remedy::ReportBug, || self.what.clone())?;
        let request = self
            .http
            .post(self.url.as_str())
            .multipart(Form::new().part("addressFile", file));
        let answer = match self.http.send(&self.what, request).await {
            Err(error) if error.remedy() != Remedy::FixAccess => {
                return Err(error.with_remedy(Remedy::TryAgain));
            }
            answer => answer?,
        };
        if answer.status() != StatusCode::OK {
            return Err(self.fault(&format!("the answer was {}", answer.status())));
        }
        match answer.text().await {
            Ok(text) => Ok(Zeroizing::new(text)),
            // Without the URL, which may hold the key.
            Err(cause) => {
                Err(Error::new(Remedy::TryAgain, &*self.what).caused_by(cause.without_url()))
            }
        }
    }

    fn fault(&self, cause: &str) -> Error {
        Error::new(Remedy::TryAgain, &*self.what).caused_by(cause)
    }
}

/// The error that ends the page.
fn failed(rows: usize, cause: Error) -> Error {
    let what = format!("{ALARM}: {rows} addresses in one request");
    let error = Error::new(cause.remedy(), what);
    match cause.remedy() {
        Remedy::FixAccess => error.with_hint("check GEOCODER_API_KEY"),
        _ => error,
    }
    .caused_by(cause)
}

/// A URL of a geocoder and its host, which may be printed, as the rest may not.
pub(super) fn parse_url(url: &str) -> Result<(Url, String)> {
    let setting_up = || "setting up a geocoder: its URL cannot be used".to_owned();
    let url = Url::parse(url).or_fail(Remedy::FixSettings, setting_up)?;
    match url.host_str() {
        Some(host) if matches!(url.scheme(), "http" | "https") => {
            let host = host.to_owned();
            Ok((url, host))
        }
        _ => Err(Error::new(Remedy::FixSettings, setting_up())
            .caused_by("expected one that begins with http:// or https://")),
    }
}

/// The rows as the service takes them: without a header; number, street, city, region, postal
/// code; what holds a comma, a quote or a line break is quoted.
fn write(rows: &[Row<'_>]) -> Result<Bytes> {
    let writing = || "writing addresses for the geocoder".to_owned();
    let mut text = Zeroizing::new(Vec::new());
    let mut csv = csv::Writer::from_writer(&mut *text);
    for row in rows {
        let number = row.number.to_string();
        let columns = row.columns.map(|column| column.for_geocoder());
        csv.write_record([&*number].into_iter().chain(columns))
            .or_fail(Remedy::ReportBug, writing)?;
    }
    csv.flush().or_fail(Remedy::ReportBug, writing)?;
    drop(csv);
    // Wiped when the last try lets go of it.
    Ok(Bytes::from_owner(text))
}

/// The tracts in the order of the rows, or nothing if this is not the service's CSV.
///
/// The answer has no header and any order. Its columns are: number, the address as it was sent,
/// `Match`, `No_Match` or `Tie`, and of a match: kind, matched address, coordinates, TIGER line,
/// side, state, county, tract, block. It counts as the service's when at least one row begins with
/// a number and has more than that; HTML and an empty answer do not. Rows that are not like this
/// are passed over, as are rows that were not asked for. A row that comes twice counts once, and
/// if the two disagree nothing is known of it.
fn read(answer: &str, rows: &[Row<'_>]) -> Option<Vec<Option<Tract>>> {
    let mut found: HashMap<usize, Option<Tract>> = HashMap::with_capacity(rows.len());
    let csv = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(answer.as_bytes());
    // The text is UTF-8 and any number of columns is taken: there is nothing else to fail.
    for record in csv.into_records().flatten() {
        let Some(number) = record.get(0).and_then(|number| number.trim().parse().ok()) else {
            continue;
        };
        if record.len() < 2 {
            continue;
        }
        let tract = tract_of(&record);
        found
            .entry(number)
            .and_modify(|first| {
                if *first != tract {
                    *first = None;
                }
            })
            .or_insert(tract);
    }
    if found.is_empty() {
        return None;
    }
    let tracts = rows.iter().map(|row| found.remove(&row.number).flatten());
    Some(tracts.collect())
}

/// State, county and tract of a match, as text: their leading zeros count.
fn tract_of(record: &StringRecord) -> Option<Tract> {
    const MATCH: usize = 2;
    const STATE_COUNTY_TRACT: [usize; 3] = [8, 9, 10];
    const COLUMNS: usize = 12;
    if record.len() < COLUMNS || record[MATCH].trim() != "Match" {
        return None;
    }
    let parts = STATE_COUNTY_TRACT.map(|column| record[column].trim());
    Tract::new(parts.concat())
}

#[cfg(test)]
mod tests;
