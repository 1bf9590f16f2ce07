//! The Census Bureau's batch service and NYC Geoclient on this machine, with faults by script.
//!
//! It says no to what the real ones would not take: when it is dropped, it fails the test if a
//! request had too many rows or too many came at once.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures::stream;
use tokio::sync::Barrier;

use super::{Address, CensusOptions, NycOptions};
use crate::privacy::{Personal, Secret};
use crate::retry::Policy;

pub(super) const KEY: &str = "a key";

/// A row of a request: number, street, city, region, postal code.
pub(super) type Row = [String; 5];

/// What a service does with a request.
pub(super) enum Reply {
    Text(String),
    Status(u16),
    Page(u16, &'static str),
    /// Some bytes of an answer, and then the connection is closed.
    Cut,
    /// No answer, ever.
    Silence,
}

/// A request to the batch service.
#[derive(Clone)]
pub(super) struct CensusRequest {
    pub(super) query: HashMap<String, String>,
    pub(super) rows: Vec<Row>,
}

type Census = dyn Fn(usize, &[Row]) -> Reply + Send + Sync;
type Nyc = dyn Fn(usize, &HashMap<String, String>) -> Reply + Send + Sync;

/// Both services. A script is a function of the request's number (from 0) and of its content.
pub(super) struct Fake {
    place: SocketAddr,
    script: Arc<Script>,
}

struct Script {
    census: Box<Census>,
    nyc: Box<Nyc>,
    census_requests: Mutex<Vec<CensusRequest>>,
    nyc_calls: Mutex<Vec<HashMap<String, String>>>,
    census_load: Load,
    nyc_load: Load,
}

/// How many requests are being answered, and the most that were.
#[derive(Default)]
struct Load {
    now: AtomicUsize,
    most: AtomicUsize,
    /// The first requests wait for each other, so that they are there at once for certain.
    meeting: Option<(usize, Barrier)>,
}

/// One request being answered, until it is or its client has gone.
struct InHand<'a>(&'a Load);

impl Load {
    fn meeting(requests: usize) -> Load {
        Load {
            meeting: Some((requests, Barrier::new(requests))),
            ..Load::default()
        }
    }

    async fn take(&self, number: usize) -> InHand<'_> {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        let in_hand = InHand(self);
        if let Some((requests, barrier)) = &self.meeting
            && number < *requests
        {
            barrier.wait().await;
        }
        // Whoever else is on the way arrives now, before this one leaves.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        in_hand
    }
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Fake {
    /// A batch service by script; NYC Geoclient knows nothing.
    pub(super) async fn census(
        census: impl Fn(usize, &[Row]) -> Reply + Send + Sync + 'static,
    ) -> Fake {
        Fake::both(census, |_, _| Reply::Text(r#"{"address": {}}"#.into())).await
    }

    /// Both services by script.
    pub(super) async fn both(
        census: impl Fn(usize, &[Row]) -> Reply + Send + Sync + 'static,
        nyc: impl Fn(usize, &HashMap<String, String>) -> Reply + Send + Sync + 'static,
    ) -> Fake {
        Fake::serve(
            Box::new(census),
            Box::new(nyc),
            Load::default(),
            Load::default(),
        )
        .await
    }

    /// Services that match nothing; their first requests, so many of each, wait for each other.
    pub(super) async fn meeting(census: usize, nyc: usize) -> Fake {
        Fake::serve(
            Box::new(|_, rows| Reply::Text(rows.iter().map(no_match).collect())),
            Box::new(|_, _| Reply::Text(r#"{"address": {}}"#.into())),
            Load::meeting(census),
            Load::meeting(nyc),
        )
        .await
    }

    async fn serve(census: Box<Census>, nyc: Box<Nyc>, census_load: Load, nyc_load: Load) -> Fake {
        let script = Arc::new(Script {
            census,
            nyc,
            census_requests: Mutex::default(),
            nyc_calls: Mutex::default(),
            census_load,
            nyc_load,
        });
        let router = Router::new()
            .route("/batch", post(batch))
            .route("/geoclient/v2/address.json", get(address))
            .layer(DefaultBodyLimit::disable())
            .with_state(script.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Fake { place, script }
    }

    /// Three tries without waits.
    pub(super) fn census_options(&self) -> CensusOptions {
        CensusOptions {
            url: format!("http://{}/batch", self.place),
            policy: impatient(Duration::from_secs(60)),
            ..CensusOptions::default()
        }
    }

    /// Three tries without waits.
    pub(super) fn nyc_options(&self) -> NycOptions {
        NycOptions {
            policy: impatient(Duration::from_secs(60)),
            ..NycOptions::new(
                format!("http://{}/geoclient/v2", self.place),
                Some(Secret::new(KEY)),
            )
        }
    }

    pub(super) fn census_requests(&self) -> Vec<CensusRequest> {
        self.script.census_requests.lock().unwrap().clone()
    }

    /// How many rows each request had.
    pub(super) fn sizes(&self) -> Vec<usize> {
        let requests = self.census_requests();
        requests.iter().map(|request| request.rows.len()).collect()
    }

    pub(super) fn nyc_calls(&self) -> Vec<HashMap<String, String>> {
        self.script.nyc_calls.lock().unwrap().clone()
    }

    /// The most requests that were being answered at once, and the most calls.
    pub(super) fn most_at_once(&self) -> (usize, usize) {
        (
            self.script.census_load.most.load(Ordering::SeqCst),
            self.script.nyc_load.most.load(Ordering::SeqCst),
        )
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let (requests, calls) = self.most_at_once();
            assert!(requests <= 2, "{requests} batch requests at once");
            assert!(calls <= 8, "{calls} calls at once");
            let largest = self.sizes().into_iter().max().unwrap_or(0);
            assert!(largest <= 10_000, "{largest} rows in a request");
        }
    }
}

/// Three tries of this long, without waits.
pub(super) fn impatient(each: Duration) -> Policy {
    Policy {
        first_wait: Duration::ZERO,
        ..Policy::within(Duration::from_secs(600)).each(each).tries(3)
    }
}

/// An invented address.
pub(super) fn address_of(columns: [&str; 4]) -> Address {
    let [street, city, region, postal_code] = columns.map(|text| Personal::new(text.to_owned()));
    Address {
        street,
        city,
        region,
        postal_code,
    }
}

/// The tract that the service gives the row of this number when it matches.
pub(super) fn geoid(number: &str) -> String {
    format!("06001{number:0>6}")
}

pub(super) fn matched(row: &Row) -> String {
    found(&row[0], &geoid(&row[0])[5..])
}

/// A row of an answer: this number lies in this tract.
pub(super) fn found(number: &str, tract: &str) -> String {
    format!(
        "\"{number}\",\"1 Otter St, Quill, CA, 90099\",\"Match\",\"Exact\",\
         \"1 OTTER ST, QUILL, CA, 90099\",\"-119.5,35.25\",\"1\",\"L\",\
         \"06\",\"001\",\"{tract}\",\"1000\"\n"
    )
}

pub(super) fn no_match(row: &Row) -> String {
    format!(
        "\"{}\",\"1 Otter St, Quill, CA, 90099\",\"No_Match\"\n",
        row[0]
    )
}

pub(super) fn all_matched(rows: &[Row]) -> Reply {
    Reply::Text(rows.iter().map(matched).collect())
}

async fn batch(
    State(script): State<Arc<Script>>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let rows = rows_of(&headers, &body);
    let request = CensusRequest { query, rows };
    let number = {
        let mut requests = script.census_requests.lock().unwrap();
        requests.push(request.clone());
        requests.len() - 1
    };
    let _in_hand = script.census_load.take(number).await;
    respond((script.census)(number, &request.rows)).await
}

async fn address(
    State(script): State<Arc<Script>>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    if headers
        .get("ocp-apim-subscription-key")
        .map(|key| key.as_bytes())
        != Some(KEY.as_bytes())
    {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let number = {
        let mut calls = script.nyc_calls.lock().unwrap();
        calls.push(query.clone());
        calls.len() - 1
    };
    let _in_hand = script.nyc_load.take(number).await;
    respond((script.nyc)(number, &query)).await
}

/// The rows of the one part of the form.
fn rows_of(headers: &HeaderMap, body: &[u8]) -> Vec<Row> {
    let kind = headers["content-type"].to_str().unwrap();
    let boundary = kind.strip_prefix("multipart/form-data; boundary=").unwrap();
    let body = std::str::from_utf8(body).unwrap();
    let body = body.strip_prefix(&format!("--{boundary}\r\n")).unwrap();
    let body = body
        .strip_suffix(&format!("\r\n--{boundary}--\r\n"))
        .unwrap();
    let (head, csv) = body.split_once("\r\n\r\n").unwrap();
    assert!(
        head.contains(r#"name="addressFile"; filename="input_addresses.csv""#),
        "{head}"
    );
    let mut csv = csv::ReaderBuilder::new()
        .has_headers(false)
        .from_reader(csv.as_bytes());
    csv.deserialize().map(Result::unwrap).collect()
}

async fn respond(reply: Reply) -> Response {
    match reply {
        Reply::Text(text) => text.into_response(),
        Reply::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
        Reply::Page(status, page) => (StatusCode::from_u16(status).unwrap(), page).into_response(),
        Reply::Cut => {
            let start = Ok(Bytes::from_static(b"\"0\",\"1 Otter"));
            let cut = Err(io::Error::other("cut"));
            Body::from_stream(stream::iter([start, cut])).into_response()
        }
        Reply::Silence => match std::future::pending::<Infallible>().await {},
    }
}
