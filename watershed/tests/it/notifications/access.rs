//! Who may publish: passwords, tokens, permissions and certificates.

use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;
use watershed::connectors::notifications::Notifications;
use watershed::error::Remedy;
use watershed::privacy::Secret;

use super::broker::{Broker, ONE_USER};
use super::open;
use crate::support::once;

const WITH_STREAMS: &str = "jetstream { store_dir: \"@FOLDER@\" }\n";

#[tokio::test]
async fn a_wrong_password_is_for_a_person_to_mend() {
    let broker = Broker::start(ONE_USER).await;
    for login in ["watershed:Zerlina-7", "Quux:p%40ss%2Fword", "Zerlina-token"] {
        let error = open(&broker.url(login))
            .publish("meta.change", "p.o.1", b"one")
            .await;
        let error = error.unwrap_err();
        assert_eq!(error.remedy(), Remedy::FixAccess, "{error:?}");
        let words = format!("{error:?}");
        assert!(
            !words.contains("Zerlina") && !words.contains("Quux"),
            "{words}"
        );
    }
}

#[tokio::test]
async fn a_token_logs_in() {
    let broker = Broker::start("authorization { token: \"t%ken\" }\n").await;
    let notifications = open(&broker.url("t%25ken"));
    notifications
        .publish("meta.change", "p.o.1", b"one")
        .await
        .unwrap();
    assert!(
        notifications
            .summary()
            .await
            .unwrap()
            .starts_with("nats-server 2.")
    );
}

#[tokio::test]
async fn what_the_user_may_not_publish_is_refused_and_not_lost_unseen() {
    for streams in ["", WITH_STREAMS] {
        let users = r#"authorization { users: [
            {user: few, password: "Zerlina-7", permissions: {publish: ["allowed.>"], subscribe: ["_INBOX.>"]}}
            {user: deaf, password: "Zerlina-7", permissions: {publish: [">"], subscribe: ["meta"]}}
            {user: some, password: "Zerlina-7", permissions: {publish: ["allowed.>", "$JS.API.STREAM.NAMES"], subscribe: ["_INBOX.>"]}}
        ]}
        "#;
        let broker = Broker::start(&format!("{streams}{users}")).await;
        let deaf = open(&broker.url("deaf:Zerlina-7"));
        let error = deaf.publish("allowed.change", "p.o.1", b"one").await;
        let error = error.unwrap_err();
        assert_eq!(error.remedy(), Remedy::FixAccess, "{error:?}");
        assert!(error.in_one_line().contains("_INBOX.>"), "{error:?}");
        for user in ["few", "some"] {
            let notifications = open(&broker.url(&format!("{user}:Zerlina-7")));
            for id in ["p.o.1", "p.o.2"] {
                // Without leave to ask for streams the message counts when the server has it.
                notifications
                    .publish("allowed.change", id, b"one")
                    .await
                    .unwrap();
            }
            let error = notifications.publish("other.change", "p.o.3", b"two").await;
            assert_eq!(error.unwrap_err().remedy(), Remedy::FixAccess, "{user}");
            notifications
                .publish("allowed.change", "p.o.4", b"one")
                .await
                .unwrap();
        }
    }
}

/// A certificate for `localhost` that nobody vouches for.
fn certificate(folder: &Path) {
    let made = Command::new("openssl")
        .args("req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost -keyout server.key -out server.crt".split(' '))
        .current_dir(folder)
        .stderr(Stdio::null())
        .status();
    assert!(made.expect("openssl can be run").success());
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused_with_a_hint() {
    let keys = TempDir::new().unwrap();
    certificate(keys.path());
    let place = keys.path().display();
    let tls =
        format!("tls {{ cert_file: \"{place}/server.crt\", key_file: \"{place}/server.key\" }}\n");
    let broker = Broker::start(&format!("{tls}{ONE_USER}")).await;
    for scheme in ["nats", "tls"] {
        let url = format!(
            "{scheme}://watershed:p%40ss%2Fword@localhost:{}",
            broker.port
        );
        let error = open(&url).publish("meta.change", "p.o.1", b"one").await;
        let error = error.unwrap_err();
        assert_eq!(error.remedy(), Remedy::FixAccess, "{scheme}: {error:?}");
        assert!(error.hint().unwrap().contains("SSL_CERT_FILE"), "{error:?}");
    }
}

#[tokio::test]
async fn tls_is_insisted_on_where_the_url_says_so() {
    let broker = Broker::start(ONE_USER).await;
    let url = format!("tls://watershed:p%40ss%2Fword@127.0.0.1:{}", broker.port);
    let notifications = Notifications::open(&Secret::new(url), once()).unwrap();
    let error = notifications.publish("meta.change", "p.o.1", b"one").await;
    let error = error.unwrap_err();
    assert!(!format!("{error:?}").contains("word"), "{error:?}");
}
