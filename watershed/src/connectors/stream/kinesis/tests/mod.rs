//! Kinesis under pressure: against a scripted fake with the clock stopped, and against a server that
//! enforces the limits of shards.

mod enforced;
mod fake;
mod queues;

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::*;
use crate::error::Remedy;
use fake::Fake;

const THROTTLED: &str = "ProvisionedThroughputExceededException";
const REFUSED: &str = "InternalFailure";
const MINUTE: Duration = Duration::from_secs(60);

/// A record whose data say which of its key it is.
fn record(key: impl Into<String>, number: u32) -> StreamRecord {
    StreamRecord {
        key: key.into(),
        data: number.to_be_bytes().to_vec().into(),
    }
}

/// `each` records of each of `keys` keys, in turn.
fn page(keys: usize, each: u32) -> Vec<StreamRecord> {
    (0..each)
        .flat_map(|number| (0..keys).map(move |key| record(format!("key {key}"), number)))
        .collect()
}

/// Checks that the records of each key arrived in their order, each at least once.
fn assert_in_order(arrived: &HashMap<String, Vec<Vec<u8>>>, keys: usize, each: u32, hint: &str) {
    assert_eq!(arrived.len(), keys, "{hint}");
    for (key, data) in arrived {
        let mut numbers: Vec<_> = data
            .iter()
            .map(|data| u32::from_be_bytes(data[..4].try_into().expect("four bytes")))
            .collect();
        assert!(numbers.is_sorted(), "{hint}: {key}: {numbers:?}");
        numbers.dedup();
        assert_eq!(numbers, (0..each).collect::<Vec<_>>(), "{hint}: {key}");
    }
}

#[tokio::test(start_paused = true)]
async fn several_calls_are_under_way_and_never_with_one_key() {
    let fake = Fake::new().delaying(|| [Duration::from_millis(20), Duration::from_millis(30)]);
    // Four shards, so that the buckets hold more than a call does.
    fake.state().shards = vec![(0..4).map(|quarter| (quarter << 126, 0, false)).collect()];
    let put = fake.kinesis(MINUTE).put(page(2000, 3)).await.unwrap();
    assert!(put.rejected.is_empty());
    let state = fake.state();
    assert_eq!(state.breaches, [""; 0]);
    assert_eq!(state.most_under_way, CALLS_IN_FLIGHT);
    assert_in_order(&state.arrived, 2000, 3, "");
}

#[tokio::test(start_paused = true)]
async fn partial_failures_within_one_answer_are_sent_again_alone() {
    let mut seen = HashMap::new();
    let fake = Fake::new().judging(move |key, _| {
        let tries = seen.entry(key.to_owned()).or_insert(0);
        *tries += 1;
        let code = if key.ends_with('3') {
            THROTTLED
        } else {
            REFUSED
        };
        (*tries < 4 && key.ends_with(['3', '7'])).then_some(code)
    });
    let put = fake.kinesis(MINUTE).put(page(100, 2)).await.unwrap();
    assert!(put.rejected.is_empty());
    let state = fake.state();
    assert_eq!(state.breaches, [""; 0]);
    // What went through is never sent again.
    assert!(state.arrived.values().all(|data| data.len() == 2));
    assert_in_order(&state.arrived, 100, 2, "");
}

#[tokio::test(start_paused = true)]
async fn order_within_a_key_holds_over_random_failures() {
    for seed in 0..40 {
        let mut random = fastrand::Rng::with_seed(seed);
        let keys = random.usize(1..40);
        let each = random.u32(1..6);
        let rejected = random.f64() * 0.6;
        let failed = random.f64() * 0.3;
        let slowest = random.u64(1..500);
        let mut verdicts = random.fork();
        let mut refusals = random.fork();
        let mut delays = random.fork();
        let fake = Fake::new()
            .judging(move |_, _| {
                let code = verdicts.choice([THROTTLED, REFUSED]).expect("two codes");
                (verdicts.f64() < rejected).then_some(code)
            })
            .refusing(move |_| (refusals.f64() < failed).then_some((500, "InternalFailure")))
            .delaying(move || [0; 2].map(|_| Duration::from_millis(delays.u64(0..slowest))));
        let mut kinesis = fake.kinesis(Duration::from_secs(3600));
        kinesis.options.records_per_call = random.usize(1..20);
        let hint = format!("seed {seed}");
        let put = kinesis.put(page(keys, each)).await.expect(&hint);
        assert!(put.rejected.is_empty(), "{hint}");
        let state = fake.state();
        assert_eq!(state.breaches, [""; 0], "{hint}");
        assert_in_order(&state.arrived, keys, each, &hint);
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_always_refused_is_set_aside_after_the_retry_time() {
    let fake = Fake::new()
        .judging(|key, data| (key == "key 5" && data == 1_u32.to_be_bytes()).then_some(REFUSED));
    let start = Instant::now();
    let put = fake.kinesis(MINUTE).put(page(9, 3)).await.unwrap();
    let [(place, reason)] = &put.rejected[..] else {
        panic!("{:?}", put.rejected);
    };
    assert_eq!(*place, 9 + 5);
    assert!(reason.contains(REFUSED), "{reason}");
    assert!((MINUTE..MINUTE + Duration::from_secs(1)).contains(&start.elapsed()));
    let state = fake.state();
    // The record behind it went through, after it was given up.
    let numbers = [0_u32, 2].map(|number| number.to_be_bytes().to_vec());
    assert_eq!(state.arrived["key 5"], numbers);
    assert_eq!(state.arrived["key 8"].len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_refused_record_that_is_a_call_by_itself_is_set_aside_too() {
    let mut calls = 0;
    let fake = Fake::new()
        .judging(|key, _| (key == "key 500").then_some(REFUSED))
        // The call with the refused record is answered first.
        .delaying(move || {
            calls += 1;
            [Duration::ZERO, Duration::from_millis(100 / calls)]
        });
    let put = fake.kinesis(MINUTE).put(page(501, 1)).await.unwrap();
    assert_eq!(put.rejected.len(), 1);
    assert_eq!(put.rejected[0].0, 500);
}

#[tokio::test(start_paused = true)]
async fn an_outage_sets_nothing_aside() {
    let fake = Fake::new().judging(|_, _| Some(REFUSED));
    let error = fake.kinesis(MINUTE).put(page(9, 2)).await.unwrap_err();
    assert_eq!(error.remedy(), Remedy::TryAgain);
    assert!(
        error
            .to_string()
            .contains("Failed to send records to Kinesis")
    );
}

#[tokio::test(start_paused = true)]
async fn throttling_for_ever_sets_nothing_aside_even_when_the_rest_goes_through() {
    let fake = Fake::new().judging(|key, _| (key == "key 5").then_some(THROTTLED));
    let error = fake.kinesis(MINUTE).put(page(9, 2)).await.unwrap_err();
    assert_eq!(error.remedy(), Remedy::TryAgain);
    assert!(
        error
            .to_string()
            .contains("Failed to send records to Kinesis")
    );
    assert!(error.in_one_line().contains(THROTTLED));
    assert_eq!(fake.state().arrived.len(), 8);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_after_long_throttling_is_no_reason_to_set_aside() {
    let start = Instant::now();
    let fake = Fake::new().judging(move |key, _| match start.elapsed() {
        _ if key != "key 5" => None,
        passed if passed < MINUTE - Duration::from_secs(10) => Some(THROTTLED),
        passed if passed < MINUTE + Duration::from_secs(20) => Some(REFUSED),
        _ => None,
    });
    let put = fake.kinesis(MINUTE).put(page(9, 2)).await.unwrap();
    assert!(put.rejected.is_empty());
    assert_in_order(&fake.state().arrived, 9, 2, "");
}

#[tokio::test(start_paused = true)]
async fn records_that_kinesis_never_takes_are_rejected_at_once_and_unsent() {
    let fake = Fake::new();
    let large = |key: &str, bytes: usize| StreamRecord {
        key: key.into(),
        data: vec![7; bytes].into(),
    };
    let records = vec![
        record("a", 0),
        large("b", RECORD_BYTES),
        large("c", 0),
        large("d", RECORD_BYTES - 1),
    ];
    let put = fake.kinesis(MINUTE).put(records).await.unwrap();
    let places: Vec<_> = put.rejected.iter().map(|(place, _)| *place).collect();
    assert_eq!(places, [1, 2]);
    assert_eq!(put.rejected[1].1, "the record is empty");
    let mut keys: Vec<_> = fake.state().arrived.keys().cloned().collect();
    keys.sort();
    assert_eq!(keys, ["a", "d"]);
}

#[tokio::test(start_paused = true)]
async fn a_page_with_nothing_to_send_asks_nothing() {
    let fake = Fake::new();
    fake.kinesis(MINUTE).put(Vec::new()).await.unwrap();
    assert!(fake.state().calls.is_empty());
}

#[tokio::test(start_paused = true)]
async fn open_shards_of_all_pages_are_listed_once() {
    let half = 1 << 127;
    let fake = Fake::new();
    fake.state().shards = vec![
        vec![(0, u128::MAX, true), (half, u128::MAX, false)],
        vec![(0, half - 1, false)],
    ];
    let kinesis = fake.kinesis(MINUTE);
    kinesis.put(page(5, 1)).await.unwrap();
    kinesis.put(page(5, 1)).await.unwrap();
    assert_eq!(fake.state().calls["ListShards"], 2);
    assert_eq!(fake.state().breaches, [""; 0]);
    let shards = kinesis.shards.lock().await;
    assert_eq!(shards.as_ref().map(Shards::len), Some(2));
}

#[tokio::test(start_paused = true)]
async fn where_listing_is_denied_one_shard_paces_all() {
    let fake = Fake::new().refusing(|operation| {
        (operation == "ListShards").then_some((400, "AccessDeniedException"))
    });
    let kinesis = fake.kinesis(MINUTE);
    let start = Instant::now();
    kinesis.put(page(1000, 3)).await.unwrap();
    assert!(start.elapsed() >= Duration::from_secs(2));
    kinesis.put(page(5, 1)).await.unwrap();
    assert_eq!(fake.state().calls["ListShards"], 1);
}

#[tokio::test(start_paused = true)]
async fn shards_are_paced_each_for_itself() {
    let half = 1 << 127;
    let fake = Fake::new();
    fake.state().shards = vec![vec![(0, half - 1, false), (half, u128::MAX, false)]];
    let kinesis = fake.kinesis(MINUTE);
    let start = Instant::now();
    // MD5 of "a" is 0cc175b9…, of "b" 92eb5ffe….
    let mut records: Vec<_> = (0..3).map(|number| record("a", number)).collect();
    for record in &mut records {
        record.data = vec![0; RECORD_BYTES - 1].into();
    }
    records.push(record("b", 0));
    let sent = timeout(Duration::from_millis(500), kinesis.put(records)).await;
    assert!(
        sent.is_err(),
        "the third of a's waits for its second to pass"
    );
    let state = fake.state();
    assert!(start.elapsed() < Duration::from_secs(1));
    assert_eq!((state.arrived["a"].len(), state.arrived["b"].len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn call_errors_that_pass_are_tried_again() {
    let codes = [
        (500, "InternalFailure"),
        (503, "ServiceUnavailable"),
        (400, "LimitExceededException"),
        (400, "ThrottlingException"),
        (400, "ProvisionedThroughputExceededException"),
    ];
    let mut left: Vec<_> = codes.iter().chain(&codes).copied().collect();
    let fake = Fake::new().refusing(move |_| left.pop());
    fake.kinesis(MINUTE * 60).put(page(9, 2)).await.unwrap();
    assert_in_order(&fake.state().arrived, 9, 2, "");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_never_answered_fails_after_the_retry_time() {
    let fake = Fake::new().delaying(|| [MINUTE * 600; 2]);
    let kinesis = fake.kinesis(MINUTE);
    *kinesis.shards.lock().await = Some(Shards::unknown());
    let error = kinesis.put(page(9, 2)).await.unwrap_err();
    assert_eq!(error.remedy(), Remedy::TryAgain);
    assert!(
        error
            .to_string()
            .contains("Error sending records to Kinesis")
    );
}

#[tokio::test(start_paused = true)]
async fn call_errors_that_stay_are_not_tried_again() {
    for (operation, code) in [
        ("PutRecords", "AccessDeniedException"),
        ("PutRecords", "ResourceNotFoundException"),
        ("ListShards", "ResourceNotFoundException"),
    ] {
        let fake = Fake::new().refusing(move |asked| (asked == operation).then_some((400, code)));
        let error = fake.kinesis(MINUTE).put(page(9, 2)).await.unwrap_err();
        assert_eq!(error.remedy(), Remedy::FixAccess, "{operation}: {code}");
        assert!(
            error
                .to_string()
                .contains("Error sending records to Kinesis")
        );
        assert!(error.in_one_line().contains(code));
        assert_eq!(fake.state().calls[operation], 1);
    }
}

#[tokio::test(start_paused = true)]
async fn to_drop_the_future_is_to_cancel_every_call() {
    let fake = Fake::new().delaying(|| [Duration::from_secs(5); 2]);
    let kinesis = fake.kinesis(MINUTE);
    *kinesis.shards.lock().await = Some(Shards::unknown());
    let put = timeout(Duration::from_secs(1), kinesis.put(page(1000, 2)));
    assert!(put.await.is_err());
    let calls = fake.state().calls["PutRecords"];
    assert_eq!((fake.state().under_way, calls), (0, 2));
    // Nothing was left behind that goes on by itself.
    tokio::time::advance(MINUTE).await;
    assert_eq!(fake.state().calls["PutRecords"], calls);
    // And the stream is as good as before.
    kinesis.put(page(3, 1)).await.unwrap();
}

#[test]
fn a_long_key_is_hashed_and_an_empty_one_is_unknown() {
    assert_eq!(partition_key("k".repeat(256)), "k".repeat(256));
    assert_eq!(partition_key("k".repeat(257)).len(), 64);
    assert_eq!(partition_key(String::new()), "unknown");
}
