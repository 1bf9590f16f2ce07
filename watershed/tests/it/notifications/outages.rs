//! A broker that goes and comes, says nothing, or forgets.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::Instant;
use watershed::connectors::notifications::Notifications;
use watershed::error::Remedy;
use watershed::privacy::Secret;

use super::broker::{Broker, ONE_USER};
use super::open;
use crate::support::{nobody, once};

#[tokio::test]
async fn a_broker_that_was_down_is_found_again() {
    let mut broker = Broker::start(ONE_USER).await;
    let url = broker.url("watershed:p%40ss%2Fword");
    let impatient = Notifications::open(&Secret::new(&url), once()).unwrap();
    let patient = open(&url);
    impatient
        .publish("meta.change", "p.o.1", b"one")
        .await
        .unwrap();

    broker.stop().await;
    let start = Instant::now();
    for _ in 0..2 {
        let error = impatient.publish("meta.change", "p.o.2", b"two").await;
        let error = error.unwrap_err();
        assert_eq!(error.remedy(), Remedy::TryAgain, "{error:?}");
        assert!(
            error
                .to_string()
                .contains(&format!("127.0.0.1:{}", broker.port))
        );
        assert!(!format!("{error:?}").contains("word"), "{error:?}");
    }
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );

    let waiting = patient.publish("meta.change", "p.o.2", b"two");
    let (published, ()) = tokio::join!(waiting, broker.start_again());
    published.unwrap();
    impatient
        .publish("meta.change", "p.o.3", b"three")
        .await
        .unwrap();
}

#[tokio::test]
async fn a_connection_that_was_lost_between_two_messages_costs_no_try() {
    let mut broker = Broker::start(ONE_USER).await;
    let url = Secret::new(broker.url("watershed:p%40ss%2Fword"));
    let notifications = Notifications::open(&url, once()).unwrap();
    for id in ["p.o.1", "p.o.2", "p.o.3"] {
        let published = notifications.publish("meta.change", id, b"one");
        published.await.unwrap();
        broker.stop().await;
        broker.start_again().await;
    }
}

#[tokio::test]
async fn a_broker_that_says_nothing_is_given_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let url = Secret::new(format!("nats://u:Zerlina-7@{address}"));
    let notifications = Notifications::open(&url, once()).unwrap();
    let start = Instant::now();
    let error = notifications.publish("meta.change", "p.o.1", b"one").await;
    let error = error.unwrap_err();
    assert_eq!(error.remedy(), Remedy::TryAgain, "{error:?}");
    assert!(!format!("{error:?}").contains("Zerlina"), "{error:?}");
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn of_a_cluster_the_server_that_answers_is_taken() {
    let broker = Broker::start(ONE_USER).await;
    let nobody = nobody().await;
    let (url, port) = (broker.url("watershed:p%40ss%2Fword"), broker.port);
    for urls in [
        format!("nats://watershed:p%40ss%2Fword@{nobody},127.0.0.1:{port}"),
        format!("{url},nats://{nobody}"),
    ] {
        open(&urls)
            .publish("meta.change", "p.o.1", b"one")
            .await
            .unwrap();
    }
}

/// A server that drops its first connection when a message comes, and answers every question with
/// "nobody listens"; the messages that it took.
async fn forgetful() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    let taken = Arc::new(Mutex::new(Vec::new()));
    let kept = taken.clone();
    tokio::spawn(async move {
        for connection in 1.. {
            let (socket, _) = listener.accept().await.unwrap();
            tokio::spawn(answer(socket, connection == 1, kept.clone()));
        }
    });
    (url, taken)
}

async fn answer(socket: TcpStream, forgets: bool, taken: Arc<Mutex<Vec<String>>>) {
    let (input, mut output) = socket.into_split();
    let mut input = BufReader::new(input);
    let greeting = "INFO {\"max_payload\":1000000,\"headers\":true,\"proto\":1}\r\n";
    let _ = output.write_all(greeting.as_bytes()).await;
    let mut inbox = String::new();
    let mut line = String::new();
    while input
        .read_line(&mut line)
        .await
        .is_ok_and(|bytes| bytes > 0)
    {
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut reply = String::new();
        match words[..] {
            ["PING"] => reply = "PONG\r\n".into(),
            ["SUB", _, sid] => inbox = sid.to_owned(),
            ["PUB" | "HPUB", subject, .., length] => {
                let mut payload = vec![0; length.parse::<usize>().unwrap() + 2];
                input.read_exact(&mut payload).await.unwrap();
                if subject.starts_with('$') {
                    // A question: behind the subject stands where the answer goes.
                    let to = words[2];
                    reply = format!("HMSG {to} {inbox} 16 16\r\nNATS/1.0 503\r\n\r\n\r\n");
                } else if forgets {
                    return;
                } else {
                    taken.lock().unwrap().push(subject.to_owned());
                }
            }
            _ => {}
        }
        if output.write_all(reply.as_bytes()).await.is_err() {
            return;
        }
        line.clear();
    }
}

#[tokio::test]
async fn a_message_that_was_lost_with_its_connection_is_published_again() {
    let (url, taken) = forgetful().await;
    open(&url)
        .publish("meta.change", "p.o.1", b"one")
        .await
        .unwrap();
    assert_eq!(*taken.lock().unwrap(), ["meta.change"]);
    let (url, taken) = forgetful().await;
    let notifications = Notifications::open(&Secret::new(url), once()).unwrap();
    let error = notifications.publish("meta.change", "p.o.1", b"one").await;
    assert_eq!(error.unwrap_err().remedy(), Remedy::TryAgain);
    assert!(taken.lock().unwrap().is_empty());
}
