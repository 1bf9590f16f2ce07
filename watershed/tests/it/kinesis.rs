//! Kinesis: moto for the normal way, and a server of our own that fails as told.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_sdk_kinesis::types::ShardIteratorType;
use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};
use watershed::connectors::stream::{Put, Stream, StreamOptions, StreamRecord};
use watershed::error::{Remedy, Result};
use watershed::formats::avro::{Encoder, Field, Record};

use crate::support::{aws, environment, nobody, serve, unique};

const THROTTLED: &str = "ProvisionedThroughputExceededException";

/// The stream asks for an encoder, and Kinesis does not use it.
struct Nothing;

impl Record for Nothing {
    const FIELDS: &'static [&'static str] = &["at"];
    const NEWER: &'static [&'static str] = &[];

    fn values(&self) -> Vec<Field<'_>> {
        vec![Field::Integer(1)]
    }
}

async fn stream(endpoint: &str, url: &str, retry: Duration) -> Stream {
    let schema = r#"{"type":"record","name":"N","fields":[{"name":"at","type":"int"}]}"#;
    let encoder = Encoder::new::<Nothing>(schema, "the test").unwrap();
    let options = StreamOptions {
        records_per_call: 500,
        retry,
        run: "run".into(),
    };
    Stream::open(url, &encoder, &aws(endpoint).await, options).unwrap()
}

/// The records `key:number`, numbered through.
fn records<'a>(keys: impl IntoIterator<Item = &'a str>) -> Vec<StreamRecord> {
    let numbered = keys.into_iter().enumerate();
    numbered
        .map(|(number, key)| StreamRecord {
            key: key.into(),
            data: format!("{key}:{number}").into(),
        })
        .collect()
}

/// The numbers of each key, in the order of arrival.
fn by_key(arrived: &[(String, Vec<u8>)]) -> HashMap<String, Vec<usize>> {
    let mut numbers: HashMap<String, Vec<usize>> = HashMap::new();
    for (key, data) in arrived {
        let text = std::str::from_utf8(data).unwrap();
        let (of, number) = text.split_once(':').unwrap();
        assert_eq!(of, key);
        numbers
            .entry(key.clone())
            .or_default()
            .push(number.parse().unwrap());
    }
    numbers
}

// Against moto.

async fn moto_stream(shards: i32) -> (aws_sdk_kinesis::Client, String, String) {
    let endpoint = environment("WATERSHED_TEST_AWS");
    let account = aws(&endpoint).await;
    let config = aws_sdk_kinesis::config::Builder::from(account.config()).endpoint_url(&endpoint);
    let client = aws_sdk_kinesis::Client::from_conf(config.build());
    let name = unique("it");
    let create = client.create_stream().stream_name(&name);
    create.shard_count(shards).send().await.unwrap();
    let summary = client.describe_stream_summary().stream_name(&name);
    let summary = summary.send().await.unwrap().stream_description_summary;
    let arn = summary.unwrap().stream_arn;
    (client, name, arn)
}

async fn arrived(client: &aws_sdk_kinesis::Client, name: &str) -> Vec<(String, Vec<u8>)> {
    let mut arrived = Vec::new();
    let shards = client.list_shards().stream_name(name).send().await.unwrap();
    for shard in shards.shards() {
        let iterator = client
            .get_shard_iterator()
            .stream_name(name)
            .shard_id(shard.shard_id())
            .shard_iterator_type(ShardIteratorType::TrimHorizon);
        let mut next = iterator.send().await.unwrap().shard_iterator;
        while let Some(iterator) = next {
            let page = client.get_records().shard_iterator(iterator);
            let page = page.send().await.unwrap();
            let more = !page.records.is_empty();
            for record in page.records {
                arrived.push((record.partition_key.unwrap(), record.data.into_inner()));
            }
            next = page.next_shard_iterator.filter(|_| more);
        }
    }
    arrived
}

#[tokio::test]
async fn p4_by_arn_and_by_name_every_record_arrives_in_the_order_of_its_key() {
    let (client, name, arn) = moto_stream(2).await;
    let keys: Vec<String> = (0..1200).map(|n| format!("k{}", n % 300)).collect();
    for (round, url) in [format!("kinesis:{name}"), format!("kinesis:{arn}")]
        .iter()
        .enumerate()
    {
        let stream = stream(
            &environment("WATERSHED_TEST_AWS"),
            url,
            Duration::from_secs(10),
        )
        .await;
        assert!(
            stream
                .summary()
                .await
                .unwrap()
                .contains("ACTIVE, 2 open shards")
        );
        let put = stream
            .put(records(keys.iter().map(String::as_str)))
            .await
            .unwrap();
        assert!(put.rejected.is_empty() && put.skipped.total() == 0);
        let arrived = arrived(&client, &name).await;
        assert_eq!(arrived.len(), 1200 * (round + 1));
        let numbers = by_key(&arrived);
        assert_eq!(numbers.len(), 300);
        for (key, numbers) in numbers {
            let sent: Vec<usize> = (0..1200)
                .filter(|n| keys[*n] == key)
                .cycle()
                .take(4 * (round + 1))
                .collect();
            assert_eq!(numbers, sent, "{key}");
        }
    }
}

#[tokio::test]
async fn a_record_that_is_too_large_is_refused_and_the_others_arrive() {
    let (client, name, _) = moto_stream(1).await;
    let endpoint = environment("WATERSHED_TEST_AWS");
    let stream = stream(
        &endpoint,
        &format!("kinesis:{name}"),
        Duration::from_secs(10),
    )
    .await;
    let mut records = records(["a", "b", "c"]);
    records[1].data = vec![0; 1 << 20].into();
    let put = stream.put(records).await.unwrap();
    assert_eq!(
        put.rejected,
        [(
            1,
            "the record has 1048576 bytes, and Kinesis takes 1 MiB".to_owned()
        )]
    );
    assert_eq!(arrived(&client, &name).await.len(), 2);
}

#[tokio::test]
async fn a_stream_that_does_not_exist_is_for_a_person_to_mend() {
    let endpoint = environment("WATERSHED_TEST_AWS");
    let url = format!("kinesis:{}", unique("missing"));
    let stream = stream(&endpoint, &url, Duration::from_secs(10)).await;
    for error in [
        stream.put(records(["a"])).await.unwrap_err(),
        stream.summary().await.unwrap_err(),
    ] {
        assert_eq!(error.remedy(), Remedy::FixAccess, "{error:?}");
        assert_eq!(error.remedy().exit_code(), 3);
        assert!(
            error.in_one_line().contains("ResourceNotFoundException"),
            "{error:?}"
        );
    }
}

// Against our own.

/// The code with which an entry (key and text) is refused in the call of this number, from 1.
type Refusal = fn(u64, &str, &str) -> Option<&'static str>;

/// What arrived at a stream that refuses entries.
#[derive(Default)]
struct Log {
    calls: u64,
    arrived: Vec<(String, Vec<u8>)>,
}

async fn refusing(refusal: Refusal) -> (String, Arc<Mutex<Log>>) {
    let log = Arc::<Mutex<Log>>::default();
    let shared = log.clone();
    let answer = move |headers: HeaderMap, body: Bytes| async move {
        if headers["x-amz-target"] == "Kinesis_20131202.ListShards" {
            let denied = json!({"__type": "AccessDeniedException", "message": "not this"});
            let kind = [("content-type", "application/x-amz-json-1.1")];
            return (StatusCode::BAD_REQUEST, kind, denied.to_string()).into_response();
        }
        let call: Json = serde_json::from_slice(&body).unwrap();
        let mut log = shared.lock().unwrap();
        log.calls += 1;
        let mut keys = HashSet::new();
        let mut answers = Vec::new();
        for entry in call["Records"].as_array().unwrap() {
            let key = entry["PartitionKey"].as_str().unwrap();
            let data = STANDARD.decode(entry["Data"].as_str().unwrap()).unwrap();
            assert!(
                keys.insert(key.to_owned()),
                "P4: a call has one record of a key"
            );
            let text = String::from_utf8_lossy(&data);
            match refusal(log.calls, key, &text) {
                Some(code) => answers.push(json!({"ErrorCode": code, "ErrorMessage": "no"})),
                None => {
                    answers.push(json!({"SequenceNumber": "1", "ShardId": "shardId-0"}));
                    log.arrived.push((key.to_owned(), data));
                }
            }
        }
        let failed = answers.iter().filter(|a| a.get("ErrorCode").is_some());
        json_answer(json!({"FailedRecordCount": failed.count(), "Records": answers}))
    };
    let router = Router::new()
        .fallback(answer)
        .layer(DefaultBodyLimit::disable());
    (serve(router).await, log)
}

fn json_answer(body: Json) -> Response {
    let kind = [("content-type", "application/x-amz-json-1.1")];
    (kind, body.to_string()).into_response()
}

async fn put(endpoint: &str, retry: Duration, records: Vec<StreamRecord>) -> Result<Put> {
    stream(endpoint, "kinesis:stream", retry)
        .await
        .put(records)
        .await
}

#[tokio::test]
async fn p4_a_refused_record_is_not_overtaken_by_a_later_one_of_its_key() {
    // The first record of each key is refused twice, and every third at its first sight.
    let (endpoint, log) = refusing(|call, _, text| {
        let number: u64 = text.split_once(':').unwrap().1.parse().unwrap();
        let refused = (number < 3 && call <= 2) || (number % 3 == call % 3 && call < 6);
        refused.then_some(THROTTLED)
    })
    .await;
    let keys = ["a", "b", "c", "a", "b", "a", "a", "c", "c", "b", "a", "d"];
    let put = put(&endpoint, Duration::from_secs(10), records(keys))
        .await
        .unwrap();
    assert!(put.rejected.is_empty());
    let log = log.lock().unwrap();
    assert_eq!(
        by_key(&log.arrived),
        HashMap::from([
            ("a".into(), vec![0, 3, 5, 6, 10]),
            ("b".into(), vec![1, 4, 9]),
            ("c".into(), vec![2, 7, 8]),
            ("d".into(), vec![11]),
        ])
    );
}

#[tokio::test]
async fn a_record_that_is_refused_while_others_go_through_is_set_aside() {
    let (endpoint, log) = refusing(|_, key, _| (key == "bad").then_some("InternalFailure")).await;
    let start = Instant::now();
    let put = put(
        &endpoint,
        Duration::from_millis(500),
        records(["bad", "a", "b", "bad"]),
    )
    .await
    .unwrap();
    assert!(start.elapsed() >= Duration::from_millis(500));
    let places: Vec<usize> = put.rejected.iter().map(|(place, _)| *place).collect();
    assert_eq!(places, [0, 3], "{:?}", put.rejected);
    assert!(
        put.rejected[0].1.contains("InternalFailure"),
        "{:?}",
        put.rejected
    );
    assert_eq!(log.lock().unwrap().arrived.len(), 2);
}

#[tokio::test]
async fn throttling_sets_nothing_aside_however_long_it_lasts() {
    let (endpoint, log) = refusing(|_, key, _| (key == "bad").then_some(THROTTLED)).await;
    let error = put(
        &endpoint,
        Duration::from_millis(300),
        records(["bad", "a", "b"]),
    )
    .await
    .unwrap_err();
    assert_eq!(error.remedy(), Remedy::TryAgain);
    assert_eq!(error.remedy().exit_code(), 4);
    assert!(
        error
            .to_string()
            .contains("Failed to send records to Kinesis"),
        "{error:?}"
    );
    assert!(error.in_one_line().contains(THROTTLED), "{error:?}");
    assert!(log.lock().unwrap().calls > 1);
}

#[tokio::test]
async fn an_outage_sets_nothing_aside() {
    let (endpoint, _) = refusing(|_, _, _| Some("InternalFailure")).await;
    let error = put(&endpoint, Duration::from_millis(300), records(["a", "b"]))
        .await
        .unwrap_err();
    assert_eq!(error.remedy(), Remedy::TryAgain);
}

#[tokio::test]
async fn calls_that_fail_say_whether_to_wait_or_to_mend() {
    for (status, code, remedy) in [
        (400, "ExpiredTokenException", Remedy::FixAccess),
        (400, "UnrecognizedClientException", Remedy::FixAccess),
        (400, "AccessDeniedException", Remedy::FixAccess),
        (400, THROTTLED, Remedy::TryAgain),
        (500, "InternalFailure", Remedy::TryAgain),
    ] {
        let answer = move || async move {
            let body = json!({"__type": code, "message": "no"});
            (
                StatusCode::from_u16(status).unwrap(),
                json_answer(body).into_body(),
            )
        };
        let endpoint = serve(Router::new().fallback(answer)).await;
        let error = put(&endpoint, Duration::ZERO, records(["a"]))
            .await
            .unwrap_err();
        assert_eq!(error.remedy(), remedy, "{error:?}");
        assert!(error.in_one_line().contains(code), "{error:?}");
        assert!(
            error
                .to_string()
                .contains("Error sending records to Kinesis"),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn nobody_at_the_address_is_an_outage() {
    let endpoint = format!("http://{}", nobody().await);
    let error = put(&endpoint, Duration::ZERO, records(["a"]))
        .await
        .unwrap_err();
    assert_eq!(error.remedy(), Remedy::TryAgain);
}
