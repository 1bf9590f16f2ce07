//! Servers, unique names and policies.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use watershed::connectors::aws::{Aws, AwsSettings};
use watershed::connectors::sql::{Database, Value};
use watershed::error::Error;
use watershed::privacy::Secret;
use watershed::retry::Policy;

/// The address of a server, as `scripts/services` prints it.
pub fn environment(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run scripts/test"))
}

/// A name that no other test and no other run on the same servers has.
pub fn unique(prefix: &str) -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let start = std::time::SystemTime::UNIX_EPOCH.elapsed();
    let start = start.expect("the clock is set").as_nanos() % 1_000_000_000_000;
    format!("{prefix}-{}-{start}-{number}", std::process::id())
}

/// The AWS account behind this endpoint.
pub async fn aws(endpoint: &str) -> Aws {
    let settings = AwsSettings {
        region: "us-east-1".into(),
        keys: Some((Secret::new("test"), Secret::new("test"))),
        endpoints: BTreeMap::from([(String::new(), endpoint.to_owned())]),
        ..AwsSettings::default()
    };
    Aws::new(settings).await
}

/// Serves the routes on a free port for as long as the test runs, and gives their address.
pub async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

/// An address at which nobody listens: its port is free again when the listener is gone.
pub async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// Tries quickly, and not for long.
pub fn policy() -> Policy {
    Policy {
        tries: u32::MAX,
        first_wait: Duration::from_millis(5),
        longest_wait: Duration::from_millis(50),
        each: Duration::from_secs(10),
        total: Duration::from_secs(20),
    }
}

/// Tries once.
pub fn once() -> Policy {
    Policy {
        total: Duration::ZERO,
        ..policy()
    }
}

/// The column `answer` of a query's first row.
pub async fn text(database: &Database, sql: &str) -> String {
    let rows = database.query(sql, &[]).await.unwrap();
    rows[0].text("answer").unwrap().unwrap()
}

/// The error of a query.
pub async fn failure(database: &Database, sql: &str, values: &[Value]) -> Error {
    database.query(sql, values).await.unwrap_err()
}

/// A table `numbers` with the ids from 1 to 20,000, each with a text, so that no buffer on the way
/// holds all of them.
pub const NUMBERS: &str = "CREATE TABLE numbers (id bigint PRIMARY KEY, filler varchar(300));
    INSERT INTO numbers WITH RECURSIVE n (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < 20000)
    SELECT id, repeat('n', 300) FROM n;";

/// Reads a stream of [`NUMBERS`] to its end while `change` writes behind its first rows, and asserts
/// that it sees nothing of that.
pub async fn reads_from_one_snapshot(database: &Database, change: impl Future<Output = ()>) {
    let mut rows = database.stream("SELECT id, filler FROM numbers ORDER BY id", &[]);
    let mut read = rows.next().await.unwrap().unwrap().len();
    change.await;
    while let Some(batch) = rows.next().await.unwrap() {
        read += batch.len();
        let last = batch.last().unwrap().integer("id").unwrap();
        assert_eq!(last, Some(read as i64));
    }
    assert_eq!(read, 20_000);
    let left = database.query("SELECT count(*) AS id FROM numbers", &[]);
    assert_eq!(left.await.unwrap()[0].integer("id").unwrap(), Some(1));
}

/// What others write meanwhile.
pub const CHANGES: [&str; 2] = [
    "DELETE FROM numbers WHERE id > 1",
    "UPDATE numbers SET id = 30000",
];
