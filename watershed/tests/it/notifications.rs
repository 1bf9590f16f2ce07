//! Notifications: NATS with and without JetStream, a broker that goes and comes, and the file.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Subscriber};
use futures::StreamExt as _;
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::Child;
use tokio::time::{Instant, timeout};
use watershed::connectors::notifications::Notifications;
use watershed::error::Remedy;
use watershed::privacy::Secret;

use crate::support::{environment, once, policy, unique};

fn open(url: &str) -> Notifications {
    Notifications::open(&Secret::new(url), policy()).unwrap()
}

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

/// A nats-server of the test's own.
struct Broker {
    folder: TempDir,
    port: u16,
    /// What stands in its configuration.
    configuration: String,
    process: Option<Child>,
}

impl Broker {
    async fn start(configuration: &str) -> Broker {
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

    async fn start_again(&mut self) {
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

    async fn stop(&mut self) {
        self.process.take().unwrap().kill().await.unwrap();
    }

    fn url(&self, login: &str) -> String {
        format!("nats://{login}@127.0.0.1:{}", self.port)
    }
}

const ONE_USER: &str = "authorization { user: watershed, password: \"p@ss/word\" }\n";
const WITH_STREAMS: &str = "jetstream { store_dir: \"@FOLDER@\" }\n";

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
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = listener.local_addr().unwrap();
    drop(listener);
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
