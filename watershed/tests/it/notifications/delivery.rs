//! What arrives: at those who listen, and in a stream of JetStream.

use std::time::Duration;

use async_nats::{Client, ConnectOptions, Subscriber};
use futures::StreamExt as _;
use serde_json::{Value as Json, json};
use tokio::time::timeout;
use watershed::connectors::notifications::Notifications;
use watershed::error::Remedy;
use watershed::privacy::Secret;

use super::broker::{Broker, ONE_USER};
use super::open;
use crate::support::{environment, once, unique};

/// Another's connection to the broker, to look at what arrives.
async fn client(url: &str) -> Client {
    let (login, host) = url.trim_start_matches("nats://").split_once('@').unwrap();
    let (user, password) = login.split_once(':').unwrap();
    let options = ConnectOptions::new().user_and_password(user.into(), password.into());
    options.connect(host).await.unwrap()
}

async fn subscribe(client: &Client, subject: &str) -> Subscriber {
    let subscriber = client.subscribe(subject.to_owned()).await.unwrap();
    // The server answers in order: when it has answered this, it has heard of the subscription.
    let _ = api(client, "INFO", json!({})).await;
    subscriber
}

async fn api(client: &Client, call: &str, question: Json) -> Json {
    let subject = format!("$JS.API.{call}");
    match client.request(subject, question.to_string().into()).await {
        Ok(answer) => serde_json::from_slice(&answer.payload).unwrap(),
        Err(_) => Json::Null,
    }
}

/// The next message's id and payload.
async fn next(subscriber: &mut Subscriber) -> (String, String) {
    let message = timeout(Duration::from_secs(10), subscriber.next()).await;
    let message = message.expect("a message arrives").expect("it is open");
    let headers = message.headers.expect("it has headers");
    let id = headers.get("Nats-Msg-Id").unwrap().to_string();
    (id, String::from_utf8(message.payload.to_vec()).unwrap())
}

fn pair(id: &str, payload: &str) -> (String, String) {
    (id.to_owned(), payload.to_owned())
}

#[tokio::test]
async fn who_listens_gets_every_message_in_order_with_its_id() {
    let url = environment("WATERSHED_TEST_NATS");
    let subject = format!("{}.meta.change", unique("it"));
    let client = client(&url).await;
    let mut subscriber = subscribe(&client, &subject).await;
    let notifications = open(&url);
    for (id, payload) in [("p.o.1", r#"{"v":1}"#), ("p.o.2", "two"), ("p.o.3", "")] {
        let published = notifications.publish(&subject, id, payload.as_bytes());
        published.await.unwrap();
        assert_eq!(next(&mut subscriber).await, pair(id, payload));
    }
}

#[tokio::test]
async fn a_stream_keeps_a_message_once_however_often_it_is_published() {
    let url = environment("WATERSHED_TEST_NATS");
    let name = unique("it");
    let subject = format!("{name}.meta.change");
    let client = client(&url).await;
    let notifications = open(&url);
    // Nobody has a stream for it yet.
    notifications
        .publish(&subject, "p.o.0", b"none")
        .await
        .unwrap();
    let stream = json!({"name": name, "subjects": [format!("{name}.>")], "storage": "memory", "retention": "limits"});
    let made = api(&client, &format!("STREAM.CREATE.{name}"), stream).await;
    assert_eq!(made["error"], Json::Null, "{made}");
    for (id, payload) in [("p.o.1", "one"), ("p.o.2", "two")] {
        for _ in 0..2 {
            let published = notifications.publish(&subject, id, payload.as_bytes());
            published.await.unwrap();
        }
    }
    // As after a crash: another connection, the same id.
    open(&url).publish(&subject, "p.o.2", b"two").await.unwrap();
    let info = api(&client, &format!("STREAM.INFO.{name}"), json!({})).await;
    assert_eq!(info["state"]["messages"], 2, "{info}");
    let last = json!({"last_by_subj": subject});
    let last = api(&client, &format!("STREAM.MSG.GET.{name}"), last).await;
    assert_eq!(last["message"]["data"], "dHdv", "{last}");
    assert!(notifications.summary().await.unwrap().contains("JetStream"));
    let _ = api(&client, &format!("STREAM.DELETE.{name}"), json!({})).await;
    notifications
        .publish(&subject, "p.o.3", b"none")
        .await
        .unwrap();
}

#[tokio::test]
async fn a_stream_that_is_full_is_an_error_and_takes_the_message_when_it_has_room() {
    let url = environment("WATERSHED_TEST_NATS");
    let name = unique("it");
    let client = client(&url).await;
    let stream = json!({"name": name, "subjects": [name], "storage": "memory", "retention": "limits", "max_msgs": 1, "discard": "new"});
    let made = api(&client, &format!("STREAM.CREATE.{name}"), stream).await;
    assert_eq!(made["error"], Json::Null, "{made}");
    let notifications = Notifications::open(&Secret::new(url), once()).unwrap();
    notifications.publish(&name, "p.o.1", b"one").await.unwrap();
    let error = notifications.publish(&name, "p.o.2", b"two").await;
    let error = error.unwrap_err();
    assert_eq!(error.remedy(), Remedy::TryAgain);
    let words = error.in_one_line();
    assert!(words.contains("maximum messages exceeded"), "{words}");
    let _ = api(&client, &format!("STREAM.PURGE.{name}"), json!({})).await;
    notifications.publish(&name, "p.o.2", b"two").await.unwrap();
}

#[tokio::test]
async fn a_message_larger_than_the_server_takes_is_refused() {
    let broker = Broker::start(&format!("max_payload: 1000\n{ONE_USER}")).await;
    let notifications = open(&broker.url("watershed:p%40ss%2Fword"));
    let error = notifications
        .publish("meta.change", "p.o.1", &[b'x'; 2000])
        .await;
    let error = error.unwrap_err();
    assert_eq!(error.remedy(), Remedy::FixSettings, "{error:?}");
    assert!(error.in_one_line().contains("1000 bytes"), "{error:?}");
    notifications
        .publish("meta.change", "p.o.1", &[b'x'; 20])
        .await
        .unwrap();
}
