//! A real NATS, with and without a stream: what others receive.

use std::collections::BTreeMap;

use async_nats::{Client, ConnectOptions, Subscriber};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::{FutureExt as _, StreamExt as _};
use serde_json::{Value as Json, json};

use super::Desk;
use super::loading::{changes, full_loads};
use super::process::Process;
use crate::world::server;

/// A message as it arrived: the id in its header, and its payload.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub id: String,
    pub payload: Json,
}

/// Somebody else at the broker, who listens to one subject.
pub struct Listener {
    client: Client,
    subject: String,
    subscriber: Subscriber,
}

impl Listener {
    pub async fn of(url: &str, subject: &str) -> Listener {
        let (login, host) = url.trim_start_matches("nats://").split_once('@').unwrap();
        let (user, password) = login.split_once(':').unwrap();
        let options = ConnectOptions::new().user_and_password(user.into(), password.into());
        let client = options.connect(host).await.expect("the broker");
        let subscriber = client.subscribe(subject.to_owned()).await.unwrap();
        let listener = Listener {
            client,
            subject: subject.to_owned(),
            subscriber,
        };
        // The server answers in order: when it has answered this, it has heard of the subscription.
        let _ = listener.api("INFO", json!({})).await;
        listener
    }

    /// Calls JetStream.
    async fn api(&self, call: &str, question: Json) -> Json {
        let subject = format!("$JS.API.{call}");
        let answer = self.client.request(subject, question.to_string().into());
        let answer = answer.await.expect("JetStream answers");
        serde_json::from_slice(&answer.payload).expect("JSON")
    }

    /// The name of a stream for the subject.
    fn stream(&self) -> String {
        self.subject.replace('.', "-")
    }

    /// Makes a stream of the subject, which outlives the broker.
    pub async fn keep(&self) {
        let name = self.stream();
        let stream = json!({"name": name, "subjects": [self.subject], "storage": "file", "retention": "limits"});
        let made = self.api(&format!("STREAM.CREATE.{name}"), stream).await;
        assert_eq!(made["error"], Json::Null, "{made}");
    }

    /// What the stream keeps, in its order.
    pub async fn kept(&self) -> Vec<Message> {
        let name = self.stream();
        let info = self.api(&format!("STREAM.INFO.{name}"), json!({})).await;
        let mut messages = Vec::new();
        for number in 1..=info["state"]["last_seq"].as_u64().expect("a number") {
            let question = json!({ "seq": number });
            let answer = self.api(&format!("STREAM.MSG.GET.{name}"), question).await;
            let text = |member: &str| {
                let text = answer["message"][member].as_str().expect("base64");
                String::from_utf8(BASE64_STANDARD.decode(text).unwrap()).unwrap()
            };
            let headers = text("hdrs");
            let id = headers
                .lines()
                .find_map(|line| line.strip_prefix("Nats-Msg-Id:"));
            messages.push(Message {
                id: id.expect("the id").trim().to_owned(),
                payload: serde_json::from_str(&text("data")).unwrap(),
            });
        }
        messages
    }

    /// Everything that has come since it was asked last, in the order in which it came.
    pub async fn heard(&mut self) -> Vec<Message> {
        // What the server had before this has come before its answer.
        let _ = self.api("INFO", json!({})).await;
        let mut messages = Vec::new();
        while let Some(Some(message)) = self.subscriber.next().now_or_never() {
            let headers = message.headers.expect("it has headers");
            messages.push(Message {
                id: headers.get("Nats-Msg-Id").expect("the id").to_string(),
                payload: serde_json::from_slice(&message.payload).unwrap(),
            });
        }
        messages
    }
}

/// By delivery; the same delivery told twice must have the same message, which is what is kept.
pub fn by_delivery(messages: &[Message]) -> BTreeMap<String, Json> {
    let mut told = BTreeMap::new();
    for message in messages {
        let before = told.insert(message.id.clone(), message.payload.clone());
        assert!(
            before.is_none_or(|before| before == message.payload),
            "{message:?}"
        );
    }
    told
}

/// Counts of one entity, all others 0: CREATE, AMEND, REMOVE.
fn stats(entity: &str, counts: [u64; 3]) -> Json {
    let of = |name: &str| {
        let [create, amend, remove] = if name == entity { counts } else { [0; 3] };
        json!({"AMEND": amend, "CREATE": create, "REMOVE": remove})
    };
    json!({
        "strategy": of("strategy"), "broker": of("broker"), "order": of("order"),
        "execution": of("execution"),
    })
}

/// The messages of `full_loads`, and of `changes` and the file that changes nothing, which is the
/// ninth delivery.
fn expected() -> Vec<(u32, Json, Json)> {
    vec![
        (1, stats("strategy", [2, 0, 0]), Json::Null),
        (2, stats("broker", [3, 0, 0]), Json::Null),
        (3, stats("order", [2, 0, 0]), 1002.into()),
        (4, stats("order", [1, 0, 0]), 1003.into()),
        (5, stats("execution", [1, 0, 0]), 1004.into()),
        (6, stats("order", [1, 1, 1]), 1014.into()),
        (7, stats("execution", [1, 0, 0]), 1014.into()),
        (8, stats("order", [1, 0, 0]), 1020.into()),
        (10, stats("order", [1, 1, 1]), 1024.into()),
    ]
}

/// Three rows as they are in the table, the second one twice, and a key that is not there.
const UNCHANGED: &str =
    "U,101,1,1.50,1001\nU,102,2,1,7\nU,102,2,9.99,1010\nD,999,1,1,1\nI,103,2,8.0000,1020\n";
/// Several changes of one key: made and removed, removed and made, changed and back again.
const SEVERAL: &str = "I,106,1,1,1021\nD,106,1,1,1021\nD,101,1,1,1022\nI,101,1,2,1022\n\
    U,102,2,1,1023\nU,102,2,9.99,1010\nI,107,2,1,1024\nD,104,1,2,1012\n";

async fn check(streams: bool) {
    let mut desk = Desk::servers().await;
    desk.use_own_subject();
    let subject = desk.subject.clone();
    let source = subject.split('.').next().unwrap().to_owned();
    let url = server("WATERSHED_TEST_NATS");
    let mut listener = Listener::of(&url, &subject).await;
    if streams {
        listener.keep().await;
    }
    desk.set("NATS", &url);
    full_loads(&desk).await;
    desk.run().await.expect(0).says("Delivery 5: notified");
    changes(&desk).await;
    desk.put("order/20220922-095853125.csv.gz", UNCHANGED).await;
    desk.put("order/20220922-095853126.csv", SEVERAL).await;
    let ended = desk.run().await.expect(0);
    assert!(!ended.stderr.contains("Delivery 9: notified"));
    desk.run().await.expect(0).says("0 read, 0 delivered");

    assert_eq!(
        desk.tables().await[5..9],
        [
            "order: 101 1 2.0000 1022",
            "order: 102 2 9.9900 1010",
            "order: 103 2 8.0000 1020",
            "order: 107 2 1.0000 1024",
        ]
    );
    assert_eq!(
        desk.deliveries().await[5..],
        [
            "6 order/20220922-095853123.csv.gz 8 1/1/1/3 1014",
            "7 execution/20220922-0958531230.csv 1 1/0/0/0 1014",
            "8 order/20220922-095853124.csv.gz 3 1/0/0/0 1020",
            "9 order/20220922-095853125.csv.gz 5 0/0/0/4 1020",
            "10 order/20220922-095853126.csv 8 1/1/1/2 1024",
        ]
    );
    let heard = listener.heard().await;
    if streams {
        assert_eq!(listener.kept().await, heard);
    }
    let expected = expected();
    assert_eq!(heard.len(), expected.len(), "{heard:#?}");
    for (message, (delivery, stats, max_event_id)) in heard.iter().zip(expected) {
        assert_eq!(message.id, format!("{source}.orders.{delivery}"));
        let utcts = message.payload["utcts"].as_str().expect("a time");
        let form: String = utcts
            .chars()
            .map(|c| if c.is_ascii_digit() { '9' } else { c })
            .collect();
        assert_eq!(form, "9999-99-99T99:99:99.999999");
        let host = desk.query(&format!("SELECT host AS line FROM loader_deliveries WHERE id = {delivery} AND '{utcts}Z'::timestamptz BETWEEN started_at AND finished_at")).await;
        let whole = json!({
            "v": 1, "ds": source, "id": "orders", "host": host[0], "utcts": utcts,
            "stats": stats, "max_event_id": max_event_id,
        });
        assert_eq!(message.payload, whole);
    }

    // What the table of deliveries has beside the counts.
    let faults = desk
        .query(&format!(
            "SELECT id::text AS line FROM loader_deliveries WHERE source <> '{source}' OR process <> 'orders' \
             OR host = '' OR version <> '{}' OR started_at > finished_at OR last_modified > started_at \
             OR (notified_at IS NULL) <> (id = 9) OR notified_at < finished_at \
             OR entity <> split_part(key, '/', 3) OR key NOT LIKE 'data/dbo/%'",
            env!("CARGO_PKG_VERSION")
        ))
        .await;
    assert_eq!(faults, [""; 0]);
    let file = format!(
        "SELECT bytes || ' ' || (trim('\"' from etag) = md5('{SEVERAL}')) AS line FROM loader_deliveries WHERE id = 10"
    );
    assert_eq!(desk.query(&file).await, [format!("{} true", SEVERAL.len())]);
}

#[tokio::test]
async fn who_listens_is_told_every_change_and_nothing_else() {
    check(false).await;
}

#[tokio::test]
async fn a_stream_keeps_every_change_and_nothing_else() {
    check(true).await;
}

/// What the stream has not stored is not marked, and the load goes on.
#[tokio::test]
async fn a_message_is_marked_when_the_stream_has_it() {
    let mut desk = Desk::postgres().await;
    desk.use_own_subject();
    let subject = desk.subject.clone();
    let url = server("WATERSHED_TEST_NATS");
    let listener = Listener::of(&url, &subject).await;
    listener.keep().await;
    let name = listener.stream();
    let most = |most: i32| json!({"name": name, "subjects": [subject], "storage": "file", "retention": "limits", "discard": "new", "max_msgs": most});
    let update = format!("STREAM.UPDATE.{name}");
    let updated = listener.api(&update, most(2)).await;
    assert_eq!(updated["error"], Json::Null, "{updated}");
    desk.set("NATS", &url);
    desk.set("RUN_AS_SERVICE", "True");
    full_loads(&desk).await;
    let mut service = Process::of(desk.program.start(&["run", "orders"]));
    service.says("maximum messages exceeded").await;
    service.says("Delivery 5: done").await;
    let waiting =
        "SELECT id::text AS line FROM loader_deliveries WHERE notified_at IS NULL ORDER BY id";
    assert_eq!(desk.query(waiting).await, ["3", "4", "5"]);
    listener.api(&update, most(-1)).await;
    service.says("Delivery 5: notified").await;
    assert_eq!(service.ended_by("-TERM").await, Some(0));
    assert_eq!(desk.query(waiting).await, [""; 0]);
    let kept = listener.kept().await;
    let ids: Vec<&str> = kept
        .iter()
        .filter_map(|message| message.id.rsplit('.').next())
        .collect();
    assert_eq!(ids, ["1", "2", "3", "4", "5"]);
}
