//! Notifications: NATS with and without JetStream, a broker that goes and comes, and the file.

mod access;
mod broker;
mod delivery;
mod lines;
mod outages;

use tempfile::TempDir;
use watershed::connectors::notifications::Notifications;
use watershed::error::Remedy;
use watershed::privacy::Secret;

use crate::support::{environment, policy};

fn open(url: &str) -> Notifications {
    Notifications::open(&Secret::new(url), policy()).unwrap()
}

#[test]
fn a_url_of_another_form_is_refused_and_not_repeated() {
    for (url, why) in [
        ("nats://", "it has no host"),
        ("nats://u:Zerlina-7@h:99999", "it is no URL"),
        ("https://u:Zerlina-7@h", "neither nats nor tls"),
        ("nats://u:Zerlina-7@h/Zerlina", "it has more"),
        ("nats://h?password=Zerlina", "it has more"),
        (
            "nats://u:Zerlina-7@h,nats://u:Zerlina-8@i",
            "different users",
        ),
        ("file:", "neither nats nor tls"),
    ] {
        let error = Notifications::open(&Secret::new(url), policy()).unwrap_err();
        assert_eq!(error.remedy(), Remedy::FixSettings);
        assert!(error.in_one_line().contains(why), "{url}: {error:?}");
        assert!(!format!("{error:?}").contains("Zerlina"), "{error:?}");
    }
}

#[tokio::test]
async fn a_subject_that_nats_does_not_know_is_refused() {
    let folder = TempDir::new().unwrap();
    let file = format!("file:{}/changes.jsonl", folder.path().display());
    for url in [environment("WATERSHED_TEST_NATS"), file] {
        for subject in ["", "a..b", ".a", "a.", "a b", "a.*", "a.>", "a\r\nPUB b 0"] {
            let error = open(&url).publish(subject, "p.o.1", b"one").await;
            assert_eq!(
                error.unwrap_err().remedy(),
                Remedy::FixSettings,
                "{subject:?}"
            );
        }
    }
}
