//! A process whose words are read while it runs.

use std::process::Command;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::Child;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::service::answer;

/// How long a test waits for what must happen.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A process, and what it has written so far, stdout and stderr together.
pub struct Process {
    pub child: Child,
    written: watch::Receiver<String>,
}

impl Process {
    pub fn of(mut child: Child) -> Process {
        let (writer, written) = watch::channel(String::new());
        let outputs: [Option<Box<dyn AsyncRead + Send + Unpin>>; 2] = [
            child.stdout.take().map(|output| Box::new(output) as _),
            child.stderr.take().map(|output| Box::new(output) as _),
        ];
        for output in outputs.into_iter().flatten() {
            let mut lines = BufReader::new(output).lines();
            let writer = writer.clone();
            // Whoever does not read its words stops it.
            tokio::spawn(async move {
                while let Ok(Some(line)) = lines.next_line().await {
                    writer.send_modify(|all| {
                        all.push_str(&line);
                        all.push('\n');
                    });
                }
            });
        }
        Process { child, written }
    }

    /// What it has written so far.
    pub fn written(&self) -> String {
        self.written.borrow().clone()
    }

    /// Waits until it has written what is wanted; false when it ended without.
    pub async fn wrote(&self, wanted: impl Fn(&str) -> bool) -> bool {
        let mut written = self.written.clone();
        let found = written.wait_for(|all| wanted(all));
        let found = timeout(PATIENCE, found).await.map(|found| found.is_ok());
        found.unwrap_or_else(|_| panic!("it does not go on:\n{}", self.written()))
    }

    /// Waits until it has written these words.
    #[track_caller]
    pub fn says(&self, words: &str) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let found = self.wrote(|all| all.contains(words)).await;
            assert!(
                found,
                "{caller}: it ended without `{words}`:\n{}",
                self.written()
            );
        }
    }

    /// Where a process that pauses itself waits for [`Process::go_on`].
    pub async fn pauses(&self) {
        self.says("paused\n").await;
    }

    pub async fn go_on(&mut self) {
        let input = self.child.stdin.as_mut().expect("stdin is piped");
        input.write_all(b"\n").await.expect("it reads");
    }

    pub fn signal(&self, name: &str) {
        let id = self.child.id().expect("it runs").to_string();
        let sent = Command::new("kill").args([name, &id]).status();
        assert!(sent.expect("kill can be run").success());
    }

    /// Sends a signal, and waits for the end; gives the exit code, unless the signal was the end.
    pub async fn ended_by(&mut self, name: &str) -> Option<i32> {
        self.signal(name);
        self.ended().await
    }

    /// Waits for the end.
    pub async fn ended(&mut self) -> Option<i32> {
        match timeout(PATIENCE, self.child.wait()).await {
            Ok(status) => status.expect("it can be waited for").code(),
            Err(_) => panic!("it does not end:\n{}", self.written()),
        }
    }
}

/// A service that is looked at from outside.
pub struct Looked {
    pub process: Process,
    address: String,
}

impl Looked {
    /// Reads in its log where it is looked at.
    pub async fn at(child: Child) -> Looked {
        let process = Process::of(child);
        process.says("metrics are at http://").await;
        let written = process.written();
        let (_, rest) = written.split_once("metrics are at http://").expect("where");
        let (address, _) = rest.split_once("/metrics").expect("an address");
        Looked {
            process,
            address: address.to_owned(),
        }
    }

    pub async fn answer(&self, path: &str) -> (u16, String) {
        answer(&self.address, path).await
    }

    /// Waits until an answer is as wanted, and gives it.
    pub async fn until(&self, path: &str, wanted: impl Fn(u16, &str) -> bool) -> String {
        let asking = async {
            loop {
                let (status, body) = self.answer(path).await;
                if wanted(status, &body) {
                    return body;
                }
                tokio::task::yield_now().await;
            }
        };
        let answered = timeout(PATIENCE, asking).await;
        match answered {
            Ok(body) => body,
            Err(_) => panic!(
                "{path} says {:?}; log:\n{}",
                self.answer(path).await,
                self.process.written()
            ),
        }
    }

    pub async fn is_ready(&self) {
        self.until("/readyz", |status, _| status == 200).await;
    }

    /// Waits until it is not ready, and gives why.
    pub async fn is_not_ready(&self) -> String {
        self.until("/readyz", |status, _| status == 503).await
    }

    /// Waits until these lines stand in the metrics, all of them at once.
    pub async fn counts(&self, lines: &[impl AsRef<str>]) {
        let there = |page: &str| {
            let has = |line: &str| page.lines().any(|there| there == line);
            lines.iter().all(|line| has(line.as_ref()))
        };
        self.until("/metrics", |_, page| there(page)).await;
    }

    /// Whether anybody answers there.
    pub async fn is_gone(&self) -> bool {
        TcpStream::connect(&self.address).await.is_err()
    }
}
