//! The loader as a service, looked at from outside: its metrics, its readiness, and what Sentry is
//! told.

use serde_json::Value as Json;

use super::Desk;
use super::loading::full_loads;
use super::process::{Looked, Process};
use super::running::ten_files;
use crate::patronload::reports::sentry;
use crate::service::value;

/// A line of the metrics of an entity's rows.
fn rows(entity: &str, operation: &str, number: u64) -> String {
    format!(
        r#"watershed_rows_total{{pipeline="orders",entity="{entity}",operation="{operation}"}} {number}"#
    )
}

fn deliveries(entity: &str, number: u64) -> String {
    format!(r#"watershed_deliveries_total{{pipeline="orders",entity="{entity}"}} {number}"#)
}

/// A line without further labels.
fn line(name: &str, number: impl std::fmt::Display) -> String {
    format!(r#"watershed_{name}{{pipeline="orders"}} {number}"#)
}

fn outcome(outcome: &str, number: u64) -> String {
    format!(
        r#"watershed_records_total{{pipeline="orders",mode="deliveries",outcome="{outcome}"}} {number}"#
    )
}

const NOTHING_YET: (u16, &str) = (503, "no pass has ended yet\n");

async fn is_well(service: &Looked) {
    assert_eq!(service.answer("/healthz").await, (200, "ok\n".into()));
}

#[tokio::test]
async fn everything_is_counted_exactly_before_a_load_in_it_and_after_it() {
    let mut desk = Desk::servers().await;
    ten_files(&desk).await;
    for (name, text) in [
        ("RUN_AS_SERVICE", "True"),
        ("METRICS_ADDRESS", "127.0.0.1:0"),
        ("ON_BAD_ROW", "quarantine"),
    ] {
        desk.set(name, text);
    }
    let at = "listed:1,committed:4";
    let child = desk
        .program
        .interrupted(at, "pause", &["run", "orders"])
        .spawn();
    let mut service = Looked::at(child.expect("it starts")).await;

    service.process.pauses().await;
    let (status, why) = service.answer("/readyz").await;
    assert_eq!((status, &*why), NOTHING_YET);
    is_well(&service).await;
    let mut nothing = vec![
        line("files_waiting", 10),
        line("notifications_pending", 0),
        line("notification_failures_total", 0),
        line("delivered_bytes_total", 0),
        outcome("delivered", 0),
    ];
    for entity in ["strategy", "broker", "order", "execution"] {
        nothing.push(deliveries(entity, 0));
        for operation in ["create", "amend", "remove", "unchanged", "set_aside"] {
            nothing.push(rows(entity, operation, 0));
        }
    }
    service.counts(&nothing).await;

    // The fourth file is committed and not counted yet.
    service.process.go_on().await;
    let twice = |all: &str| all.matches("paused\n").count() == 2;
    assert!(service.process.wrote(twice).await);
    let (status, why) = service.answer("/readyz").await;
    assert_eq!((status, &*why), NOTHING_YET);
    is_well(&service).await;
    service
        .counts(&[
            line("files_waiting", 7),
            line("delivery_duration_seconds_count", 3),
            rows("strategy", "create", 2),
            rows("broker", "create", 3),
            rows("order", "create", 2),
            rows("execution", "create", 0),
            deliveries("order", 1),
            deliveries("execution", 0),
            outcome("delivered", 7),
        ])
        .await;

    service.process.go_on().await;
    service.is_ready().await;
    is_well(&service).await;
    let bytes = "SELECT sum(bytes)::text AS line FROM loader_deliveries";
    let bytes = desk.query(bytes).await.remove(0);
    let all = [
        line("files_waiting", 0),
        line("notifications_pending", 0),
        line("notification_failures_total", 0),
        line("delivered_bytes_total", bytes),
        line("delivery_duration_seconds_count", 10),
        deliveries("strategy", 2),
        deliveries("broker", 1),
        deliveries("order", 4),
        deliveries("execution", 3),
        rows("strategy", "create", 3),
        rows("broker", "create", 3),
        rows("order", "create", 5),
        rows("order", "amend", 1),
        rows("order", "remove", 1),
        rows("order", "unchanged", 3),
        rows("execution", "create", 2),
        rows("execution", "amend", 1),
        rows("execution", "remove", 1),
        rows("execution", "unchanged", 0),
        r#"watershed_records_read_total{pipeline="orders",mode="deliveries"} 27"#.into(),
    ];
    service.counts(&all).await;
    let (_, page) = service.answer("/metrics").await;
    let since = value(
        &page,
        r#"watershed_seconds_since_last_success{pipeline="orders"}"#,
    );
    assert!((0.0..60.0).contains(&since), "{since}");
    for hidden in &desk.program.hidden {
        assert!(!page.contains(hidden), "{page}");
    }

    // Of two rows one is set aside.
    desk.put(
        "order/20220923-000000000.csv",
        "I,1000,1,1,1\nI,1001,1,many,1\n",
    )
    .await;
    service
        .counts(&[
            rows("order", "create", 6),
            rows("order", "set_aside", 1),
            outcome("set_aside", 1),
            deliveries("order", 5),
        ])
        .await;
    service.is_ready().await;

    // A file that is late stops every pass, until somebody takes it away.
    desk.put("order/20220922-000000000.csv", "D,1000,1,1,1\n")
        .await;
    let why = service.is_not_ready().await;
    assert!(why.ends_with("data must be mended\n"), "{why}");
    is_well(&service).await;
    service
        .counts(&[
            line("files_waiting", 1),
            rows("order", "remove", 1),
            deliveries("order", 5),
        ])
        .await;
    desk.remove("order/20220922-000000000.csv").await;
    service.is_ready().await;
    service
        .counts(&[line("files_waiting", 0), line("failed_passes_in_a_row", 0)])
        .await;

    assert_eq!(service.process.ended_by("-TERM").await, Some(0));
    assert!(service.is_gone().await);
}

#[tokio::test]
async fn a_standby_is_well_and_not_ready_until_it_takes_over() {
    let mut desk = Desk::postgres().await;
    full_loads(&desk).await;
    desk.set("RUN_AS_SERVICE", "True");
    desk.set("METRICS_ADDRESS", "127.0.0.1:0");
    let mut first = Looked::at(desk.program.start(&["run", "orders"])).await;
    first.is_ready().await;
    let mut second = Looked::at(desk.program.start(&["run", "orders"])).await;
    let standby = "standing by for another runner\n";
    second
        .until("/readyz", |status, why| (status, why) == (503, standby))
        .await;
    is_well(&second).await;
    assert_eq!(first.process.ended_by("-KILL").await, None);
    second.is_ready().await;
    second.counts(&[deliveries("order", 0)]).await;
    assert_eq!(second.process.ended_by("-TERM").await, Some(0));
}

#[tokio::test]
async fn sentry_is_told_each_failure_of_a_service_once_and_nothing_that_is_hidden() {
    let mut desk = Desk::servers().await;
    let (dsn, told) = sentry().await;
    let told = || told.lock().unwrap().clone();
    full_loads(&desk).await;
    for (name, text) in [
        ("RUN_AS_SERVICE", "True"),
        ("METRICS_ADDRESS", "127.0.0.1:0"),
        ("SENTRY_DSN", &*dsn),
        // Waits after failures grow from here.
        ("MAX_SLEEP", "0"),
    ] {
        desk.set(name, text);
    }
    let mut service = Looked::at(desk.program.start(&["run", "orders"])).await;
    service.is_ready().await;
    assert_eq!(told(), []);
    let fails = async |times: f64| {
        let failed = |_, page: &str| {
            value(
                page,
                r#"watershed_failed_passes_in_a_row{pipeline="orders"}"#,
            ) >= times
        };
        service.until("/metrics", failed).await;
    };

    // Of several tries it is told one.
    let file = "order/20220922-095853123.csv";
    desk.put(file, "I,7,1,1,1\nX,8,1,1,1\n").await;
    fails(3.0).await;
    assert_eq!(told().len(), 1, "{:?}", told());
    let (key, envelope) = told().remove(0);
    assert!(key.contains("sentry_key=thekey"), "{key}");
    let event: Json = serde_json::from_str(envelope.lines().nth(2).unwrap()).unwrap();
    assert_eq!(event["tags"]["pipeline"], "orders");
    assert_eq!(event["tags"]["exit_code"], "7");
    let message = event["message"].as_str().expect("a message");
    let place = format!("{}: line 2, column operation", desk.key(file));
    assert!(message.contains(&place), "{message}");
    let host = desk
        .query("SELECT DISTINCT host AS line FROM loader_deliveries")
        .await;
    for hidden in desk.program.hidden.iter().chain(&host) {
        assert!(!envelope.contains(hidden), "{hidden} in {envelope}");
    }

    // Another failure in the same row of them, and the first one once more.
    desk.put(file, "I,7,1,many,1\n").await;
    fails(4.0).await;
    service.process.says("`many`").await;
    desk.put(file, "I,7,1,1,1\nX,8,1,1,1\n").await;
    fails(5.0).await;

    // Somebody else stands by: that is no failure.
    let mut standby = Process::of(desk.program.start(&["run", "orders"]));
    standby.says("standing by").await;
    assert_eq!(standby.ended_by("-TERM").await, Some(0));
    let messages = || -> Vec<String> {
        let told = told();
        let words = ["column operation", "column price"].into_iter();
        let has = |(_, envelope): &(String, String)| {
            words
                .clone()
                .find(|words| envelope.contains(words))
                .map(str::to_owned)
        };
        told.iter().filter_map(has).collect()
    };
    assert_eq!(messages(), ["column operation", "column price"]);
    assert_eq!(told().len(), 2);

    // After a good pass the same failure is news.
    desk.put(file, "I,7,1,1,1\n").await;
    service.is_ready().await;
    assert_eq!(told().len(), 2);
    desk.put("order/20220922-095853124.csv", "X,8,1,1,1\n")
        .await;
    fails(2.0).await;
    assert_eq!(
        messages(),
        ["column operation", "column price", "column operation"]
    );
    assert_eq!(service.process.ended_by("-TERM").await, Some(0));
    assert_eq!(told().len(), 3);
}
