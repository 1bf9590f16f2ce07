//! Servers, unique names and policies.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use watershed::connectors::aws::{Aws, AwsSettings};
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
