//! PostgreSQL, NATS and S3, stopped in the middle of a load and started again: the service goes on by
//! itself, nothing is lost, and nothing comes twice.

use super::left::{Left, prepare, undisturbed};
use super::process::{Looked, Process};
use super::servers;
use super::{Desk, broker::Listener};
use crate::service::value;
use crate::world::server;

/// Starts the service so that it waits in a room.
fn paused(desk: &Desk, at: &str) -> Process {
    let child = desk
        .program
        .interrupted(at, "pause", &["run", "orders"])
        .spawn();
    Process::of(child.expect("it starts"))
}

#[tokio::test]
async fn postgres_is_started_again_in_mid_load() {
    let expected = undisturbed().await;
    let (mut postgres, url) = servers::postgres().await;
    // Once within the time of one pass, once for longer.
    for (room, retry_seconds) in [("merged:3", "60"), ("committed:6", "0")] {
        let mut desk = Desk::postgres_of(&url).await;
        let mut listener = prepare(&mut desk, &server("WATERSHED_TEST_NATS")).await;
        desk.set("RUN_AS_SERVICE", "True");
        desk.set("RETRY_SECONDS", retry_seconds);
        let mut service = paused(&desk, room);
        service.pauses().await;
        postgres.stop().await;
        service.go_on().await;
        service
            .says(match retry_seconds {
                "0" => "the next pass begins in",
                _ => "trying again",
            })
            .await;
        postgres.start_again().await;
        service.says("Delivery 10: notified").await;
        assert_eq!(service.ended_by("-TERM").await, Some(0));
        desk.connect_again().await;
        assert_eq!(Left::of(&desk, &mut listener).await, expected, "{room}");
    }
}

#[tokio::test]
async fn nats_is_started_again_in_mid_load() {
    let expected = undisturbed().await;
    let (mut nats, url) = servers::nats().await;
    // Before the third message was sent, and before it was marked.
    for (room, waiting) in [("committed:3", 8), ("published:3", 7)] {
        let mut desk = Desk::postgres().await;
        drop(prepare(&mut desk, &url).await);
        desk.set("RUN_AS_SERVICE", "True");
        desk.set("METRICS_ADDRESS", "127.0.0.1:0");
        let child = desk
            .program
            .interrupted(room, "pause", &["run", "orders"])
            .spawn();
        let mut service = Looked::at(child.expect("it starts")).await;
        service.process.pauses().await;
        nats.stop().await;
        service.process.go_on().await;
        // The load does not wait, and is well.
        service.process.says("Delivery 10: done").await;
        let pending = r#"watershed_notifications_pending{pipeline="orders"}"#;
        service.counts(&[format!("{pending} {waiting}")]).await;
        service.is_ready().await;
        let failures = r#"watershed_notification_failures_total{pipeline="orders"}"#;
        let (_, page) = service.answer("/metrics").await;
        assert!(value(&page, failures) >= 1.0, "{page}");

        nats.start_again().await;
        service.process.says("Delivery 10: notified").await;
        service.counts(&[format!("{pending} 0")]).await;
        assert_eq!(service.process.ended_by("-TERM").await, Some(0));
        let left = Left::in_stream(&desk, &Listener::of(&url, &desk.subject).await).await;
        assert_eq!(left, expected, "{room}");
    }
}

/// Texts enough that the file is read in four pieces, and who reads it does not come to its end
/// before the store is gone.
fn large_file() -> String {
    let row = |number| {
        let text = std::iter::repeat_with(fastrand::alphanumeric).take(1 << 20);
        format!("{},{}\n", 1_000 + number, text.collect::<String>())
    };
    (0..16).map(row).collect()
}

const LARGE_FILE: &str = "strategy/LOAD00000002.csv";

#[tokio::test]
async fn s3_is_started_again_in_mid_load() {
    let large = large_file();
    let undisturbed = async {
        let mut desk = Desk::postgres().await;
        let mut listener = prepare(&mut desk, &server("WATERSHED_TEST_NATS")).await;
        desk.put(LARGE_FILE, &large).await;
        desk.run().await.expect(0);
        Left::of(&desk, &mut listener).await
    };
    let disturbed = async {
        let mut desk = Desk::postgres().await;
        let mut listener = prepare(&mut desk, &server("WATERSHED_TEST_NATS")).await;
        desk.put(LARGE_FILE, &large).await;
        let (mut store, endpoint) = servers::store(&desk.path("sources")).await;
        desk.set("SOURCE", &format!("bucket_endpoint={endpoint} bucket_id=testing bucket_key='testing-secret-key' bucket_name=orders bucket_path=data"));
        desk.set("RUN_AS_SERVICE", "True");
        let mut service = paused(&desk, "begun:7");
        let tries = |all: &str| all.matches("trying again").count();

        // In the middle of a file that is read piece by piece.
        let read = format!("GET /orders/data/dbo/{LARGE_FILE} HTTP");
        store.process().says(&read).await;
        store.stop().await;
        service.says("trying again").await;
        let written = service.written();
        assert!(written.contains("Delivery 1: done"), "{written}");
        assert!(!written.contains("Delivery 2: committed"), "{written}");
        store.start_again().await;

        // Before a file is read, a transaction for it begun.
        service.pauses().await;
        let before = tries(&service.written());
        store.stop().await;
        service.go_on().await;
        assert!(service.wrote(|all| tries(all) > before).await);
        store.start_again().await;
        service.says("Delivery 11: notified").await;
        assert_eq!(service.ended_by("-TERM").await, Some(0));
        Left::of(&desk, &mut listener).await
    };
    let (undisturbed, disturbed) = tokio::join!(undisturbed, disturbed);
    // Not shown: it is large.
    assert!(disturbed == undisturbed);
}
