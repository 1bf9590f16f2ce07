//! A Kinesis without a socket: it stands below AWS's own client, in place of the network, so the
//! tests may stop the clock. It answers by script, and notes every breach of its rules.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::http::{HttpRequest, HttpResponse};
use aws_sdk_kinesis::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_kinesis::config::{HttpClient, RuntimeComponents};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value as Json, json};
use tokio::time::sleep;

use crate::connectors::stream::StreamOptions;
use crate::connectors::stream::kinesis::{CALL_BYTES, CALL_RECORDS, Kinesis};

/// What becomes of one record: nothing, or the code it is rejected with.
type Verdict = dyn FnMut(&str, &[u8]) -> Option<&'static str> + Send;
/// What becomes of a whole call before it is looked at: nothing, or status and code.
type Refusal = dyn FnMut(&str) -> Option<(u16, &'static str)> + Send;
/// How long a call is on its way, there and back.
type Delay = dyn FnMut() -> [Duration; 2] + Send;

#[derive(Clone)]
pub(super) struct Fake(Arc<Mutex<State>>);

pub(super) struct State {
    verdict: Box<Verdict>,
    refusal: Box<Refusal>,
    delay: Box<Delay>,
    /// Each page of ListShards: first and last hash of each shard, and whether it is closed.
    pub(super) shards: Vec<Vec<(u128, u128, bool)>>,
    /// Keys of the calls that are under way, and of which call each is.
    in_flight: HashSet<String>,
    pub(super) under_way: usize,
    pub(super) most_under_way: usize,
    /// Calls by operation.
    pub(super) calls: HashMap<String, usize>,
    /// Records that arrived, by key.
    pub(super) arrived: HashMap<String, Vec<Vec<u8>>>,
    pub(super) breaches: Vec<String>,
}

impl Fake {
    /// A stream of one shard that takes everything at once.
    pub(super) fn new() -> Fake {
        Fake(Arc::new(Mutex::new(State {
            verdict: Box::new(|_, _| None),
            refusal: Box::new(|_| None),
            delay: Box::new(|| [Duration::ZERO; 2]),
            shards: vec![vec![(0, u128::MAX, false)]],
            in_flight: HashSet::new(),
            under_way: 0,
            most_under_way: 0,
            calls: HashMap::new(),
            arrived: HashMap::new(),
            breaches: Vec::new(),
        })))
    }

    pub(super) fn judging(
        self,
        verdict: impl FnMut(&str, &[u8]) -> Option<&'static str> + Send + 'static,
    ) -> Fake {
        self.state().verdict = Box::new(verdict);
        self
    }

    pub(super) fn refusing(
        self,
        refusal: impl FnMut(&str) -> Option<(u16, &'static str)> + Send + 'static,
    ) -> Fake {
        self.state().refusal = Box::new(refusal);
        self
    }

    pub(super) fn delaying(self, delay: impl FnMut() -> [Duration; 2] + Send + 'static) -> Fake {
        self.state().delay = Box::new(delay);
        self
    }

    pub(super) fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().expect("no holder panics")
    }

    pub(super) fn kinesis(&self, retry: Duration) -> Kinesis {
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("key", "secret", None, None, "tests"))
            .retry_config(aws_sdk_kinesis::config::retry::RetryConfig::disabled())
            .http_client(self.clone())
            .build();
        let options = StreamOptions {
            records_per_call: 500,
            retry,
            run: "run".into(),
        };
        Kinesis::with_client("patrons", Client::from_conf(config), options)
    }

    async fn answer(&self, request: HttpRequest) -> (u16, Json) {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        let body = request.body().bytes().expect("a body in memory");
        let body: Json = serde_json::from_slice(body).expect("a body of JSON");
        let [there, back] = {
            let mut state = self.state();
            *state.calls.entry(operation.clone()).or_default() += 1;
            (state.delay)()
        };
        let _call = UnderWay::begin(self, &body);
        sleep(there).await;
        let answer = self.decide(&operation, &body);
        sleep(back).await;
        answer
    }

    fn decide(&self, operation: &str, body: &Json) -> (u16, Json) {
        let mut state = self.state();
        if let Some((status, code)) = (state.refusal)(operation) {
            return (status, json!({"__type": code, "message": "by script"}));
        }
        match operation {
            "ListShards" => (200, state.list_shards(body)),
            "PutRecords" => (200, state.put_records(body)),
            other => (
                400,
                json!({"__type": "UnknownOperationException", "message": other}),
            ),
        }
    }
}

impl State {
    fn list_shards(&mut self, body: &Json) -> Json {
        let page = body["NextToken"].as_str();
        if page.is_some() == body["StreamName"].is_string() {
            self.breaches.push(format!("ListShards with {body}"));
        }
        let page: usize = page.map_or(0, |page| page.parse().expect("our own token"));
        let shards = self.shards[page].iter().map(|(first, last, is_closed)| {
            let numbers = match is_closed {
                true => json!({"StartingSequenceNumber": "1", "EndingSequenceNumber": "2"}),
                false => json!({"StartingSequenceNumber": "1"}),
            };
            json!({
                "ShardId": format!("shardId-{first}"),
                "HashKeyRange": {"StartingHashKey": first.to_string(), "EndingHashKey": last.to_string()},
                "SequenceNumberRange": numbers,
            })
        });
        let mut answer = json!({"Shards": shards.collect::<Vec<_>>()});
        if page + 1 < self.shards.len() {
            answer["NextToken"] = (page + 1).to_string().into();
        }
        answer
    }

    fn put_records(&mut self, body: &Json) -> Json {
        let records = body["Records"].as_array().expect("records");
        let mut bytes = 0;
        let mut answers = Vec::new();
        for record in records {
            let key = record["PartitionKey"].as_str().expect("a key").to_owned();
            let data = record["Data"].as_str().expect("data");
            let data = BASE64_STANDARD.decode(data).expect("base64");
            bytes += key.len() + data.len();
            answers.push(match (self.verdict)(&key, &data) {
                Some(code) => json!({"ErrorCode": code, "ErrorMessage": "by script"}),
                None => {
                    self.arrived.entry(key).or_default().push(data);
                    json!({"SequenceNumber": "1", "ShardId": "shardId-0"})
                }
            });
        }
        if records.len() > CALL_RECORDS || bytes > CALL_BYTES {
            let count = records.len();
            self.breaches
                .push(format!("a call of {count} records, {bytes} bytes"));
        }
        json!({"FailedRecordCount": 0, "Records": answers})
    }
}

/// A call on its way; the end of the future that makes it ends it, too.
struct UnderWay<'a> {
    fake: &'a Fake,
    keys: Vec<String>,
}

impl UnderWay<'_> {
    fn begin<'a>(fake: &'a Fake, body: &Json) -> UnderWay<'a> {
        let records = body["Records"].as_array().into_iter().flatten();
        let keys = records.filter_map(|record| record["PartitionKey"].as_str());
        let keys: Vec<_> = keys.map(str::to_owned).collect();
        let mut state = fake.state();
        for key in &keys {
            if !state.in_flight.insert(key.clone()) {
                state
                    .breaches
                    .push(format!("two records of {key} in flight"));
            }
        }
        state.under_way += 1;
        state.most_under_way = state.most_under_way.max(state.under_way);
        UnderWay { fake, keys }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut state = self.fake.state();
        for key in &self.keys {
            state.in_flight.remove(key);
        }
        state.under_way -= 1;
    }
}

impl HttpConnector for Fake {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let fake = self.clone();
        HttpConnectorFuture::new(async move {
            let (status, body) = fake.answer(request).await;
            let status = status.try_into().expect("an HTTP status");
            let mut response = HttpResponse::new(status, body.to_string().into());
            response
                .headers_mut()
                .insert("content-type", "application/x-amz-json-1.1");
            Ok(response)
        })
    }
}

impl HttpClient for Fake {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl fmt::Debug for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fake")
    }
}
