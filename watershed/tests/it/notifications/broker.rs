//! Brokers of a test's own, which may go and come.

use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;
use tokio::time::timeout;

use crate::support::environment;

pub(super) const ONE_USER: &str = "authorization { user: watershed, password: \"p@ss/word\" }\n";

/// A nats-server of the test's own.
pub(super) struct Broker {
    folder: TempDir,
    pub(super) port: u16,
    /// What stands in its configuration.
    configuration: String,
    process: Option<Child>,
}

impl Broker {
    pub(super) async fn start(configuration: &str) -> Broker {
        // Below 32768: above it the kernel hands ports to outgoing connections.
        let free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
        let mut ports = std::iter::repeat_with(|| fastrand::u16(20_000..32_768));
        let mut broker = Broker {
            folder: TempDir::new().unwrap(),
            port: ports.find(free).unwrap(),
            configuration: configuration.to_owned(),
            process: None,
        };
        broker.start_again().await;
        broker
    }

    pub(super) async fn start_again(&mut self) {
        let file = self.folder.path().join("nats.conf");
        let store = self.folder.path().display();
        let configuration = format!(
            "host: 127.0.0.1\nport: {}\n{}",
            self.port,
            self.configuration.replace("@FOLDER@", &store.to_string())
        );
        std::fs::write(&file, configuration).unwrap();
        let mut process = tokio::process::Command::new(environment("WATERSHED_TEST_NATS_SERVER"))
            .arg("-c")
            .arg(&file)
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let ready = async {
            let mut log = String::new();
            while let Some(line) = lines.next_line().await.unwrap() {
                if line.contains("Server is ready") {
                    return;
                }
                log.push_str(&line);
            }
            panic!("nats-server does not start: {log}");
        };
        timeout(Duration::from_secs(20), ready)
            .await
            .expect("ready");
        // Whoever does not read its log stops it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        self.process = Some(process);
    }

    pub(super) async fn stop(&mut self) {
        self.process.take().unwrap().kill().await.unwrap();
    }

    pub(super) fn url(&self, login: &str) -> String {
        format!("nats://{login}@127.0.0.1:{}", self.port)
    }
}
