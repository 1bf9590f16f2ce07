//! A stream that refuses: what becomes of the run, the dead letters and the state.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value as Json, json};
use tokio::net::TcpListener;

use crate::fixture::{Patron, known_address};
use crate::world::{World, pseudonym};

const YEAR_AGO: &str = "2023-07-01T00:00:00-04:00";

/// A Kinesis that refuses the records of some keys, with this code.
#[derive(Clone)]
struct Refusing {
    keys: Arc<HashSet<String>>,
    all: bool,
    code: &'static str,
    taken: Arc<Mutex<Vec<String>>>,
}

async fn answer(State(kinesis): State<Refusing>, headers: HeaderMap, body: Bytes) -> Response {
    let kind = [("content-type", "application/x-amz-json-1.1")];
    if headers["x-amz-target"] != "Kinesis_20131202.PutRecords" {
        let denied =
            json!({"__type": "AccessDeniedException", "message": "not allowed to do this"});
        return (StatusCode::BAD_REQUEST, kind, denied.to_string()).into_response();
    }
    let request: Json = serde_json::from_slice(&body).unwrap();
    let mut answers = Vec::new();
    for record in request["Records"].as_array().unwrap() {
        let key = record["PartitionKey"].as_str().unwrap().to_owned();
        answers.push(if kinesis.all || kinesis.keys.contains(&key) {
            json!({"ErrorCode": kinesis.code, "ErrorMessage": "no"})
        } else {
            kinesis.taken.lock().unwrap().push(key);
            json!({"SequenceNumber": "1", "ShardId": "shardId-000000000000"})
        });
    }
    let failed = answers
        .iter()
        .filter(|answer| answer.get("ErrorCode").is_some())
        .count();
    (
        StatusCode::OK,
        kind,
        json!({"FailedRecordCount": failed, "Records": answers}).to_string(),
    )
        .into_response()
}

async fn refusing(world: &mut World, keys: &[String], all: bool, code: &'static str) -> Refusing {
    let kinesis = Refusing {
        keys: Arc::new(keys.iter().cloned().collect()),
        all,
        code,
        taken: Arc::default(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().fallback(answer).with_state(kinesis.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    world.program.settings.remove("STREAM_URL");
    for (name, text) in [
        ("KINESIS_STREAM_NAME", "PatronInfo"),
        ("KINESIS_RETRY_SECONDS", "1"),
        ("AWS_ENDPOINT_URL_KINESIS", &format!("http://{address}")),
        ("AWS_ACCESS_KEY_ID", "testing"),
        ("AWS_SECRET_ACCESS_KEY", "testing-secret-key"),
    ] {
        world.set(name, text);
    }
    kinesis
}

async fn world_of(patrons: i64) -> World {
    let mut world = World::embedded();
    let patron =
        |i| Patron::created(486_000_000_001 + i * 7, "2024-06-01 12:00:00").at(known_address());
    world
        .add(&(0..patrons).map(patron).collect::<Vec<_>>())
        .await;
    world.start_at(YEAR_AGO, "2099-01-01", "2099-01-01").await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hopeless_record_is_set_aside_and_the_run_ends_with_6() {
    let mut world = world_of(5).await;
    let hopeless = pseudonym("486000000008").await;
    let kinesis = refusing(
        &mut world,
        std::slice::from_ref(&hopeless),
        false,
        "InternalFailure",
    )
    .await;
    world.poll().await.expect(6).says("1 set aside");
    let letters = world.dead_letters();
    assert_eq!((letters.len(), &letters[0]["key"]), (1, &json!(hopeless)));
    assert!(
        letters[0]["reason"]
            .as_str()
            .unwrap()
            .contains("InternalFailure")
    );
    assert_eq!(letters[0]["record"]["geoid"], "36061000100");
    assert_eq!(kinesis.taken.lock().unwrap().len(), 4);
    assert_eq!(
        world.state().await["creation_dt"],
        "2024-06-01T08:00:00-04:00"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn throttled_for_ever_the_run_ends_with_4_and_sets_nothing_aside() {
    let mut world = world_of(3).await;
    let before = world.state_text().await;
    refusing(
        &mut world,
        &[],
        true,
        "ProvisionedThroughputExceededException",
    )
    .await;
    world
        .poll()
        .await
        .expect(4)
        .says("Failed to send records to Kinesis");
    assert!(world.dead_letters().is_empty());
    assert_eq!(world.state_text().await, before);
}
