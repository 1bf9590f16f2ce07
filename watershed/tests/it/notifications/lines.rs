//! The file of JSON lines.

use std::io::Write as _;

use serde_json::Value as Json;
use tempfile::TempDir;
use watershed::connectors::notifications::Notifications;

use super::open;

/// The file and what stands in it.
struct Lines(TempDir);

impl Lines {
    fn path(&self) -> std::path::PathBuf {
        self.0.path().join("new/changes.jsonl")
    }

    fn open(&self) -> Notifications {
        open(&format!("file:{}", self.path().display()))
    }

    async fn publish(&self, id: &str, payload: &str) {
        let notifications = self.open();
        let published = notifications.publish("a.meta.change", id, payload.as_bytes());
        published.await.unwrap();
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.path()).unwrap()
    }
}

#[tokio::test]
async fn a_file_keeps_a_message_once_as_a_line_of_json() {
    let lines = Lines(TempDir::new().unwrap());
    lines.publish("p.o.1", r#"{"v":1,"n":0.10}"#).await;
    lines.publish("p.o.10", "no\njson").await;
    lines.publish("p.o.1", r#"{"v":1,"n":0.10}"#).await;
    let expected = r#"{"message_id":"p.o.1","subject":"a.meta.change","payload":{"v":1,"n":0.10}}
{"message_id":"p.o.10","subject":"a.meta.change","payload":"no\njson"}
"#;
    assert_eq!(lines.text(), expected);
}

#[tokio::test]
async fn what_a_crash_left_of_a_line_is_written_over() {
    let lines = Lines(TempDir::new().unwrap());
    lines.publish("p.o.1", "1").await;
    let whole = lines.text();
    // Within the searched end of the file, and longer than it.
    for torn in [
        r#"{"message_id":"p.o.2","subj"#.to_owned(),
        "x".repeat(3 << 20),
    ] {
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .open(lines.path())
            .unwrap();
        file.write_all(torn.as_bytes()).unwrap();
        lines.publish("p.o.1", "1").await;
        assert!(lines.text().starts_with(&whole), "it is not there twice");
        lines.publish("p.o.2", "2").await;
        let second = r#"{"message_id":"p.o.2","subject":"a.meta.change","payload":2}"#;
        assert_eq!(lines.text(), format!("{whole}{second}\n"));
        std::fs::write(lines.path(), &whole).unwrap();
    }
}

#[tokio::test]
async fn several_writers_of_one_file_do_not_disturb_each_other() {
    let lines = Lines(TempDir::new().unwrap());
    let writers = (0..8).map(|i| {
        let lines = &lines;
        async move {
            for id in 0..5 {
                // Each message is published by two of them.
                lines
                    .publish(&format!("p.o.{}", (i / 2) * 5 + id), "1")
                    .await;
            }
        }
    });
    futures::future::join_all(writers).await;
    let text = lines.text();
    let mut ids: Vec<Json> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    ids.sort_by_key(|line| line["message_id"].to_string());
    ids.dedup_by_key(|line| line["message_id"].clone());
    assert_eq!((ids.len(), text.lines().count()), (20, 20));
}
