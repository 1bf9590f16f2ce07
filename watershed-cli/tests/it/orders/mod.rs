//! The pipeline `orders`: a bucket (S3 or a folder), a target (PostgreSQL or SQLite), a file of
//! notifications.

mod bad_input;
mod broker;
mod forms;
mod killed;
mod left;
mod loading;
mod looked_at;
mod outages;
mod process;
mod running;
mod servers;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use rusqlite::Connection;
use serde_json::Value as Json;
use tempfile::TempDir;
use tokio_postgres::Client;
use watershed::connectors::aws::{Aws, AwsSettings};
use watershed::connectors::objects::{Folder, Object};
use watershed::privacy::Secret;
use watershed::retry::Policy;

use crate::program::{Ended, Program};
use crate::world::{connect, http, own_name, server};

pub const ENTITIES: &str = "\
source: desk
process: orders
schema: dbo
event_id: event_id
entities:
  - name: strategy
    key: [strategy_id]
    columns: {strategy_id: bigint, code: text not null}
  - name: broker
    snapshot: true
    key: [broker_id]
    columns: {broker_id: int, name: text, fee: 'numeric(12,4)'}
  - name: order
    key: [order_id]
    columns: {order_id: bigint, strategy_id: bigint not null, price: 'numeric(12,4)', event_id: bigint}
  - name: execution
    key: [order_id, number]
    columns: {order_id: bigint, number: smallint, at: timestamptz, event_id: bigint}
";

/// A desk of its own for each test.
pub struct Desk {
    pub program: Program,
    /// Of its messages.
    pub subject: String,
    bucket: Bucket,
    target: Target,
    _folder: TempDir,
}

enum Bucket {
    Folder,
    S3 { name: String, aws: Box<Aws> },
}

enum Target {
    Sqlite,
    Postgres { client: Client, url: String },
}

impl Desk {
    /// A folder and SQLite.
    pub fn embedded() -> Desk {
        let (folder, mut program) = program();
        program
            .settings
            .insert("SOURCE".into(), "file:sources".into());
        program
            .settings
            .insert("TARGET".into(), "sqlite:target.db".into());
        Desk {
            program,
            subject: "desk.meta.orders.change".into(),
            bucket: Bucket::Folder,
            target: Target::Sqlite,
            _folder: folder,
        }
    }

    /// A folder and a database of PostgreSQL.
    pub async fn postgres() -> Desk {
        Desk::postgres_of(&server("WATERSHED_TEST_POSTGRES")).await
    }

    /// A folder and a database of this server.
    pub async fn postgres_of(postgres: &str) -> Desk {
        let mut desk = Desk::embedded();
        let name = format!("orders_{}", own_name());
        let admin = connect(&format!("{postgres}/postgres?sslmode=disable")).await;
        // Its zone is not UTC, on purpose.
        let sql =
            format!("CREATE DATABASE {name}; ALTER DATABASE {name} SET timezone TO 'Asia/Tokyo'");
        for sql in sql.split("; ") {
            admin.batch_execute(sql).await.expect("a database");
        }
        let (user, host) = postgres
            .trim_start_matches("postgres://")
            .split_once('@')
            .unwrap();
        let (user, password) = user.split_once(':').unwrap();
        let (host, port) = host.split_once(':').unwrap();
        desk.program.hidden.push(password.to_owned());
        desk.set(
            "TARGET",
            &format!("user={user} password='{password}' host={host} port={port} dbname={name}"),
        );
        let url = format!("{postgres}/{name}?sslmode=disable");
        let client = connect(&url).await;
        desk.target = Target::Postgres { client, url };
        desk
    }

    /// Looks at the target anew, whose server was started again.
    pub async fn connect_again(&mut self) {
        if let Target::Postgres { client, url } = &mut self.target {
            *client = connect(url).await;
        }
    }

    /// A bucket of S3 and a database of PostgreSQL.
    pub async fn servers() -> Desk {
        let mut desk = Desk::postgres().await;
        let (name, endpoint) = (
            format!("orders-{}", own_name()),
            server("WATERSHED_TEST_AWS"),
        );
        http(&endpoint, "PUT", &format!("/{name}"), &[], "").await;
        let aws = Aws::new(AwsSettings {
            region: "us-east-1".into(),
            keys: Some((Secret::new("testing"), Secret::new("testing-secret-key"))),
            endpoints: BTreeMap::from([(String::new(), endpoint.clone())]),
            ..AwsSettings::default()
        });
        desk.program.hidden.push("testing-secret-key".into());
        desk.set("SOURCE", &format!("bucket_endpoint={endpoint} bucket_id=testing bucket_key='testing-secret-key' bucket_name={name} bucket_path=data"));
        desk.bucket = Bucket::S3 {
            name,
            aws: Box::new(aws.await),
        };
        desk
    }

    /// Both kinds, for tests that hold for each.
    pub async fn both() -> [Desk; 2] {
        [Desk::embedded(), Desk::servers().await]
    }

    pub fn is_postgres(&self) -> bool {
        matches!(self.target, Target::Postgres { .. })
    }

    pub fn set(&mut self, name: &str, text: &str) {
        self.program.settings.insert(name.into(), text.into());
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.program.folder.join(name)
    }

    pub fn declare(&self, entities: &str) {
        std::fs::write(self.path("entities.yaml"), entities).unwrap();
    }

    /// Puts a file, `dbo/` in front of its name; gzip where it is called so.
    pub async fn put(&self, name: &str, rows: &str) {
        let bytes = match name.ends_with(".gz") {
            true => gzip(rows.as_bytes()),
            false => rows.as_bytes().to_vec(),
        };
        self.put_bytes(name, bytes).await;
    }

    pub async fn put_bytes(&self, name: &str, bytes: Vec<u8>) {
        match &self.bucket {
            Bucket::Folder => {
                let path = self.path("sources/dbo").join(name);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, bytes).unwrap();
            }
            Bucket::S3 { name: bucket, aws } => {
                let url = format!("s3://{bucket}/data/dbo/{name}");
                let policy = Policy::within(std::time::Duration::from_secs(20));
                Object::open(&url, aws, policy)
                    .unwrap()
                    .write(bytes.into())
                    .await
                    .unwrap();
            }
        }
    }

    pub async fn remove(&self, name: &str) {
        match &self.bucket {
            Bucket::Folder => std::fs::remove_file(self.path("sources/dbo").join(name)).unwrap(),
            Bucket::S3 { name: bucket, aws } => {
                let policy = Policy::within(std::time::Duration::from_secs(20));
                Folder::open(&format!("s3://{bucket}/data/dbo"), aws, policy)
                    .unwrap()
                    .remove(&[name.to_owned()])
                    .await
                    .unwrap();
            }
        }
    }

    /// Gives the source a name of its own, where a broker is shared.
    pub fn use_own_subject(&mut self) {
        let source = own_name();
        self.declare(&ENTITIES.replace("source: desk", &format!("source: {source}")));
        self.subject = format!("{source}.meta.orders.change");
    }

    /// The key that a file has in messages.
    pub fn key(&self, name: &str) -> String {
        match &self.bucket {
            Bucket::Folder => format!("dbo/{name}"),
            Bucket::S3 { .. } => format!("data/dbo/{name}"),
        }
    }

    pub async fn run(&self) -> Ended {
        self.program.run(&["run", "orders"]).await
    }

    /// The first column of a query's rows, as text.
    pub async fn query(&self, sql: &str) -> Vec<String> {
        match &self.target {
            Target::Postgres { client, .. } => {
                let rows = client
                    .query(&format!("SELECT q.*::text FROM ({sql}) q"), &[])
                    .await;
                let text = |row: &tokio_postgres::Row| {
                    let text: String = row.get(0);
                    let text = text.trim_start_matches('(').trim_end_matches(')');
                    text.trim_matches('"').to_owned()
                };
                rows.expect(sql).iter().map(text).collect()
            }
            Target::Sqlite => {
                let connection = Connection::open(self.path("target.db")).unwrap();
                let mut statement = connection.prepare(sql).expect(sql);
                let rows = statement.query_map([], |row| row.get(0)).unwrap();
                rows.map(Result::unwrap).collect()
            }
        }
    }

    pub async fn execute(&self, sql: &str) {
        match &self.target {
            Target::Postgres { client, .. } => client.batch_execute(sql).await.expect(sql),
            Target::Sqlite => {
                let connection = Connection::open(self.path("target.db")).unwrap();
                connection.execute_batch(sql).expect(sql);
            }
        }
    }

    /// Everything in the four tables, a line a row.
    pub async fn tables(&self) -> Vec<String> {
        let at = match self.is_postgres() {
            true => "to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')",
            false => "at",
        };
        let mut lines = Vec::new();
        for (table, line, key) in [
            ("strategy", "strategy_id || ' ' || code".to_owned(), "strategy_id"),
            (
                "broker",
                "broker_id || ' ' || coalesce(name, '-') || ' ' || coalesce(CAST(fee AS text), '-')".into(),
                "broker_id",
            ),
            (
                "order",
                "order_id || ' ' || strategy_id || ' ' || coalesce(CAST(price AS text), '-') || ' ' || coalesce(CAST(event_id AS text), '-')".into(),
                "order_id",
            ),
            (
                "execution",
                format!("order_id || ' ' || number || ' ' || coalesce({at}, '-') || ' ' || coalesce(CAST(event_id AS text), '-')"),
                "order_id, number",
            ),
        ] {
            let sql = format!("SELECT {line} AS line FROM \"{table}\" ORDER BY {key}");
            for row in self.query(&sql).await {
                lines.push(format!("{table}: {row}"));
            }
        }
        lines
    }

    /// Id, file, rows, created/amended/removed/unchanged, and the highest event id.
    pub async fn deliveries(&self) -> Vec<String> {
        let sql = "SELECT id || ' ' || key || ' ' || \"rows\" || ' ' || created || '/' || amended || '/' \
            || removed || '/' || unchanged || ' ' || coalesce(CAST(max_event_id AS text), '-') AS line \
            FROM loader_deliveries ORDER BY id";
        let lines = self.query(sql).await;
        lines
            .iter()
            .map(|line| line.replace("data/dbo/", "").replace("dbo/", ""))
            .collect()
    }

    /// The messages that are stored with the deliveries of a target in PostgreSQL.
    pub async fn stored_messages(&self) -> Vec<Json> {
        let Target::Postgres { client, .. } = &self.target else {
            panic!("the target is SQLite");
        };
        let sql = "SELECT message FROM loader_deliveries WHERE message IS NOT NULL ORDER BY id";
        let rows = client.query(sql, &[]).await.unwrap();
        let messages = rows.iter().map(|row| serde_json::from_str(row.get(0)));
        messages.map(Result::unwrap).collect()
    }

    /// Line, raw text and reason of what was set aside.
    pub async fn rejects(&self) -> Vec<String> {
        let sql = "SELECT delivery || '/' || line || ' [' || raw || '] ' || reason AS line \
            FROM loader_rejects ORDER BY delivery, line";
        match &self.target {
            // Quotes in a row's text would be doubled by the cast of a whole row.
            Target::Postgres { client, .. } => {
                let rows = client.query(sql, &[]).await.unwrap();
                rows.iter().map(|row| row.get(0)).collect()
            }
            Target::Sqlite => self.query(sql).await,
        }
    }

    /// The notifications: id, and operations that are not 0.
    pub fn messages(&self) -> Vec<String> {
        let lines = std::fs::read_to_string(self.path("notifications.jsonl")).unwrap_or_default();
        let messages = lines.lines().map(|line| {
            let message: Json = serde_json::from_str(line).unwrap();
            assert_eq!(message["subject"], *self.subject);
            let payload = &message["payload"];
            assert_eq!(
                (&payload["v"], &payload["ds"], &payload["id"]),
                (&1.into(), &"desk".into(), &"orders".into())
            );
            let mut line = message["message_id"].as_str().unwrap().to_owned();
            for (entity, stats) in payload["stats"].as_object().unwrap() {
                for (operation, number) in stats.as_object().unwrap() {
                    if *number != 0 {
                        line.push_str(&format!(" {entity}.{operation}={number}"));
                    }
                }
            }
            format!("{line} max={}", payload["max_event_id"])
        });
        messages.collect()
    }
}

fn program() -> (TempDir, Program) {
    let folder = TempDir::new().expect("a folder");
    std::fs::create_dir(folder.path().join("sources")).unwrap();
    std::fs::write(folder.path().join("entities.yaml"), ENTITIES).unwrap();
    let settings = [
        ("ENTITIES", "entities.yaml"),
        ("NATS", "file:notifications.jsonl"),
        ("RUN_AS_SERVICE", "False"),
        ("RETRY_SECONDS", "30"),
        ("LOG_LEVEL", "info"),
        ("MIN_SLEEP", "0"),
        ("MAX_SLEEP", "1"),
    ];
    let settings = settings.map(|(name, text)| (name.to_owned(), text.to_owned()));
    let program = Program {
        folder: folder.path().to_owned(),
        settings: settings.into(),
        hidden: Vec::new(),
    };
    (folder, program)
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
