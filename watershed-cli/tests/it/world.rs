//! The outside world of one test, in two forms: embedded files, or real servers with databases,
//! a stream and a bucket of the test's own.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use aws_sdk_kinesis::types::ShardIteratorType;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use rusqlite::Connection;
use serde_avro_fast::object_container_file_encoding::Reader;
use serde_avro_fast::{Schema, from_datum_slice};
use serde_json::{Map, Value as Json, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_postgres::{Client, NoTls};
use watershed::connectors::aws::{Aws, AwsSettings};
use watershed::connectors::objects::Object;
use watershed::geocoding::Ranges;
use watershed::privacy::{Personal, Pseudonymiser, Secret};
use watershed::retry::Policy;

use crate::fixture::{self, Patron, RANGES, REDSHIFT, SIERRA, Stored};
use crate::program::{Ended, Program, files};

pub const SALT: &str = "$2b$04$GoldenTestSaltForNYPLu";
pub const SCHEMA: &str = include_str!("../../src/pipelines/patron_info/PatronInfo.avsc");
/// The present of most tests.
pub const NOW: &str = "2024-07-01T12:00:00+00:00";

pub struct World {
    pub program: Program,
    systems: Systems,
    _folder: TempDir,
}

enum Systems {
    Embedded,
    Servers(Box<Servers>),
}

struct Servers {
    sierra: Client,
    redshift: Client,
    aws: Aws,
    bucket: String,
    stream: String,
    answer: SchemaAnswer,
}

/// What the schema API answers.
type SchemaAnswer = Arc<Mutex<(StatusCode, String)>>;

/// The address of a server that `scripts/test` started.
pub fn server(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run scripts/test, which starts the servers"))
}

pub fn own_name() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!(
        "t{}x{}",
        std::process::id(),
        NUMBER.fetch_add(1, Ordering::Relaxed)
    )
}

impl World {
    /// Embedded twins alone.
    pub fn embedded() -> World {
        let (folder, mut program) = World::program();
        let sources = folder.path().join("sources");
        let sierra = Connection::open(sources.join("sierra.db")).expect("a file for Sierra");
        for table in SIERRA {
            sierra
                .execute_batch(&table.replace("sierra_view.", ""))
                .expect("Sierra's schema");
        }
        let redshift = Connection::open(sources.join("redshift.db")).expect("a file for Redshift");
        redshift.execute_batch(REDSHIFT).expect("Redshift's schema");
        std::fs::write(sources.join("schema.avsc"), SCHEMA).expect("the schema");
        for (name, text) in [
            ("SIERRA_URL", "sqlite:sources/sierra.db"),
            ("REDSHIFT_URL", "sqlite:sources/redshift.db"),
            ("PATRON_INFO_SCHEMA_URL", "file:sources/schema.avsc"),
            ("STATE_URL", "file:state/state.json"),
            ("STREAM_URL", "file:stream"),
        ] {
            program.settings.insert(name.into(), text.into());
        }
        World {
            program,
            systems: Systems::Embedded,
            _folder: folder,
        }
    }

    /// Real servers.
    pub async fn servers() -> World {
        let (folder, mut program) = World::program();
        let name = own_name();
        let postgres = server("WATERSHED_TEST_POSTGRES");
        let endpoint = server("WATERSHED_TEST_AWS");
        let (sierra_name, redshift_name) = (format!("sierra_{name}"), format!("redshift_{name}"));
        let admin = connect(&format!("{postgres}/postgres?sslmode=disable")).await;
        for database in [&sierra_name, &redshift_name] {
            // Redshift has no certificate here; Sierra's zone is not the program's, on purpose.
            admin
                .batch_execute(&format!("CREATE DATABASE {database}"))
                .await
                .expect("a database");
        }
        let sierra = connect(&format!("{postgres}/{sierra_name}?sslmode=disable")).await;
        sierra
            .batch_execute("CREATE SCHEMA sierra_view")
            .await
            .expect("a schema");
        for table in SIERRA {
            sierra.batch_execute(table).await.expect("Sierra's schema");
        }
        let redshift = connect(&format!("{postgres}/{redshift_name}?sslmode=disable")).await;
        redshift
            .batch_execute(REDSHIFT)
            .await
            .expect("Redshift's schema");

        let aws = Aws::new(AwsSettings {
            region: "us-east-1".into(),
            keys: Some((Secret::new("testing"), Secret::new("testing-secret-key"))),
            endpoints: BTreeMap::from([(String::new(), endpoint.clone())]),
            ..AwsSettings::default()
        })
        .await;
        let (bucket, stream) = (format!("bucket-{name}"), format!("PatronInfo-{name}"));
        http(&endpoint, "PUT", &format!("/{bucket}"), &[], "").await;
        let kinesis = aws_sdk_kinesis::Client::from_conf(
            aws_sdk_kinesis::config::Builder::from(aws.config())
                .endpoint_url(&endpoint)
                .build(),
        );
        kinesis
            .create_stream()
            .stream_name(&stream)
            .shard_count(2)
            .send()
            .await
            .expect("a stream");
        let answer = Arc::new(Mutex::new((
            StatusCode::OK,
            json!({"data": {"schema": SCHEMA}}).to_string(),
        )));
        let schema_url = serve_schema(answer.clone()).await;

        let user_and_host = postgres.trim_start_matches("postgres://");
        let (user, host) = user_and_host.split_once('@').expect("user@host");
        let (user, password) = user.split_once(':').expect("user:password");
        let (host, port) = host.split_once(':').expect("host:port");
        program
            .hidden
            .extend([password.to_owned(), "testing-secret-key".to_owned()]);
        for (name, text) in [
            ("SIERRA_DB_HOST", host),
            ("SIERRA_DB_PORT", port),
            ("SIERRA_DB_NAME", &sierra_name),
            ("SIERRA_DB_USER", user),
            ("SIERRA_DB_PASSWORD", password),
            ("REDSHIFT_DB_HOST", host),
            ("REDSHIFT_DB_PORT", port),
            ("REDSHIFT_DB_NAME", &redshift_name),
            ("REDSHIFT_DB_USER", user),
            ("REDSHIFT_DB_PASSWORD", password),
            ("REDSHIFT_SSLMODE", "disable"),
            ("PATRON_INFO_SCHEMA_URL", &schema_url),
            ("S3_BUCKET", &bucket),
            ("S3_RESOURCE", "states/patron_info.json"),
            (
                "KINESIS_STREAM_ARN",
                &format!("arn:aws:kinesis:us-east-1:123456789012:stream/{stream}"),
            ),
            ("AWS_ENDPOINT_URL", &endpoint),
            ("AWS_ACCESS_KEY_ID", "testing"),
            ("AWS_SECRET_ACCESS_KEY", "testing-secret-key"),
        ] {
            program.settings.insert(name.into(), text.into());
        }
        let servers = Servers {
            sierra,
            redshift,
            aws,
            bucket,
            stream,
            answer,
        };
        World {
            program,
            systems: Systems::Servers(Box::new(servers)),
            _folder: folder,
        }
    }

    fn program() -> (TempDir, Program) {
        let folder = TempDir::new().expect("a folder");
        let sources = folder.path().join("sources");
        std::fs::create_dir(&sources).expect("a folder for the sources");
        Ranges::build(RANGES.as_bytes(), "ranges.csv", &sources.join("ranges.db"))
            .expect("a geocoder");
        let settings = [
            ("REDSHIFT_TABLE", "patron_info_qa"),
            ("GEOCODER_URL", "ranges:sources/ranges.db"),
            ("BCRYPT_SALT", SALT),
            ("AS_OF", NOW),
            ("SETTLE_SECONDS", "0"),
            ("RETRY_SECONDS", "5"),
        ];
        let settings = settings.map(|(name, text)| (name.to_owned(), text.to_owned()));
        let program = Program {
            folder: folder.path().to_owned(),
            settings: settings.into(),
            hidden: vec![SALT.to_owned()],
        };
        (folder, program)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.program.folder.join(name)
    }

    pub fn set(&mut self, name: &str, text: &str) {
        self.program.settings.insert(name.into(), text.into());
    }

    /// Adds patrons to Sierra; whatever is personal about them must not come to light from now on.
    pub async fn add(&mut self, patrons: &[Patron]) {
        self.program
            .hidden
            .extend(patrons.iter().flat_map(Patron::hidden));
        match &self.systems {
            Systems::Embedded => {
                let sierra = Connection::open(self.path("sources/sierra.db")).expect("Sierra");
                fixture::insert_embedded(&sierra, patrons).expect("patrons");
            }
            Systems::Servers(servers) => {
                servers
                    .sierra
                    .batch_execute(&fixture::insert_patrons(patrons))
                    .await
                    .expect("patrons");
            }
        }
    }

    /// Adds rows to Redshift.
    pub async fn store(&self, rows: &[Stored]) {
        self.in_redshift(&fixture::insert_stored(rows)).await;
    }

    pub async fn in_sierra(&self, sql: &str) {
        match &self.systems {
            Systems::Embedded => {
                let sierra = Connection::open(self.path("sources/sierra.db")).expect("Sierra");
                sierra
                    .execute_batch(&sql.replace("sierra_view.", ""))
                    .expect(sql);
            }
            Systems::Servers(servers) => servers.sierra.batch_execute(sql).await.expect(sql),
        }
    }

    pub async fn in_redshift(&self, sql: &str) {
        match &self.systems {
            Systems::Embedded => {
                let redshift =
                    Connection::open(self.path("sources/redshift.db")).expect("Redshift");
                redshift.execute_batch(sql).expect(sql);
            }
            Systems::Servers(servers) => servers.redshift.batch_execute(sql).await.expect(sql),
        }
    }

    /// Makes the first patron's street invalid UTF-8, as an old database in SQL_ASCII may hold it.
    pub async fn break_utf8(&mut self, patrons: &[Patron]) {
        let id = patrons[0].id;
        if let Systems::Embedded = &self.systems {
            let street = "CAST(x'4dfc6c6c' AS TEXT)";
            let sql = format!(
                "UPDATE patron_record_address SET addr1 = {street} WHERE patron_record_id = {id}"
            );
            return self.in_sierra(&sql).await;
        }
        let name = format!("{}_ascii", self.program.settings["SIERRA_DB_NAME"]);
        let postgres = server("WATERSHED_TEST_POSTGRES");
        let admin = connect(&format!("{postgres}/postgres?sslmode=disable")).await;
        let encoding = "ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0";
        admin
            .batch_execute(&format!("CREATE DATABASE {name} {encoding}"))
            .await
            .expect("a database");
        let sierra = connect(&format!("{postgres}/{name}?sslmode=disable")).await;
        sierra
            .batch_execute("CREATE SCHEMA sierra_view")
            .await
            .expect("a schema");
        for table in SIERRA {
            sierra.batch_execute(table).await.expect("Sierra's schema");
        }
        sierra
            .batch_execute(&fixture::insert_patrons(patrons))
            .await
            .expect("patrons");
        let street = r"E'M\xfcll'";
        let sql = format!(
            "UPDATE sierra_view.patron_record_address SET addr1 = {street} WHERE patron_record_id = {id}"
        );
        sierra.batch_execute(&sql).await.expect("a street");
        self.set("SIERRA_DB_NAME", &name);
    }

    /// What the schema API, or the schema's file, says from now on.
    pub fn answer_schema(&self, status: u16, answer: &str) {
        match &self.systems {
            Systems::Embedded => {
                std::fs::write(self.path("sources/schema.avsc"), answer).expect("the schema")
            }
            Systems::Servers(servers) => {
                *servers.answer.lock().unwrap() =
                    (StatusCode::from_u16(status).unwrap(), answer.to_owned());
            }
        }
    }

    fn state_object(&self) -> (PathBuf, Option<Object>) {
        match &self.systems {
            Systems::Embedded => (self.path("state/state.json"), None),
            Systems::Servers(servers) => {
                let url = format!("s3://{}/states/patron_info.json", servers.bucket);
                let policy = Policy::within(std::time::Duration::from_secs(10));
                (
                    PathBuf::new(),
                    Some(Object::open(&url, &servers.aws, policy).expect("an object")),
                )
            }
        }
    }

    /// Writes the state document as it stands.
    pub async fn write_state(&self, text: &str) {
        match self.state_object() {
            (_, Some(object)) => object
                .write(text.to_owned().into())
                .await
                .expect("the state is written"),
            (path, None) => {
                std::fs::create_dir_all(path.parent().unwrap()).expect("a folder for the state");
                std::fs::write(path, text).expect("the state is written");
            }
        }
    }

    /// The state document's text, if there is one.
    pub async fn state_text(&self) -> Option<String> {
        let bytes = match self.state_object() {
            (_, Some(object)) => object.read().await.expect("the state is read")?.0.to_vec(),
            (path, None) => std::fs::read(path).ok()?,
        };
        Some(String::from_utf8(bytes).expect("the state is UTF-8"))
    }

    pub async fn state(&self) -> Map<String, Json> {
        let text = self.state_text().await.expect("there is a state");
        for hidden in &self.program.hidden {
            assert!(
                !text.contains(hidden.as_str()),
                "P6 is broken: `{hidden}` in the state"
            );
        }
        serde_json::from_str(&text).expect("the state is JSON")
    }

    /// Starts all three modes at these places.
    pub async fn start_at(&self, created: &str, updated: &str, deleted: &str) {
        let state = json!({"creation_dt": created, "update_dt": updated, "deletion_date": deleted});
        self.write_state(&state.to_string()).await;
    }

    /// Starts all three modes where nothing is new.
    pub async fn start_at_the_end(&self) {
        self.start_at(
            "2099-01-01T00:00:00-05:00",
            "2099-01-01T00:00:00-05:00",
            "2099-01-01",
        )
        .await;
    }

    pub async fn poll(&self) -> Ended {
        self.program.poll().await
    }

    /// The bytes of all records delivered so far; on Kinesis in the order of their shards.
    pub async fn delivered_bytes(&self) -> Vec<Vec<u8>> {
        let Systems::Servers(servers) = &self.systems else {
            panic!("embedded records have containers")
        };
        let endpoint = server("WATERSHED_TEST_AWS");
        let config =
            aws_sdk_kinesis::config::Builder::from(servers.aws.config()).endpoint_url(endpoint);
        let kinesis = aws_sdk_kinesis::Client::from_conf(config.build());
        let shards = kinesis
            .list_shards()
            .stream_name(&servers.stream)
            .send()
            .await
            .expect("shards");
        let mut records = Vec::new();
        for shard in shards.shards() {
            let iterator = kinesis
                .get_shard_iterator()
                .stream_name(&servers.stream)
                .shard_id(shard.shard_id())
                .shard_iterator_type(ShardIteratorType::TrimHorizon);
            let mut next = iterator.send().await.expect("an iterator").shard_iterator;
            while let Some(iterator) = next.take() {
                let page = kinesis
                    .get_records()
                    .shard_iterator(iterator)
                    .send()
                    .await
                    .expect("records");
                if page.records().is_empty() {
                    break;
                }
                records.extend(
                    page.records()
                        .iter()
                        .map(|record| record.data().as_ref().to_vec()),
                );
                next = page.next_shard_iterator;
            }
        }
        for record in &records {
            for hidden in &self.program.hidden {
                let found = record
                    .windows(hidden.len())
                    .any(|window| window == hidden.as_bytes());
                assert!(!found, "P6 is broken: `{hidden}` in a record");
            }
        }
        records
    }

    /// All records delivered so far; from files in their order.
    pub async fn delivered(&self) -> Vec<Json> {
        let schema: Schema = SCHEMA.parse().expect("the schema");
        match &self.systems {
            Systems::Embedded => {
                let mut records = Vec::new();
                for path in files(&self.path("stream")) {
                    let bytes = std::fs::read(path).expect("a file of records");
                    let mut reader = Reader::from_slice(&bytes).expect("an Avro file");
                    records.extend(
                        reader
                            .deserialize::<Json>()
                            .map(|record| record.expect("a record")),
                    );
                }
                records
            }
            Systems::Servers(_) => {
                let records = self.delivered_bytes().await;
                records
                    .iter()
                    .map(|record| from_datum_slice(record, &schema).expect("a record"))
                    .collect()
            }
        }
    }

    /// Lines of all dead letters.
    pub fn dead_letters(&self) -> Vec<Json> {
        let folder = self.path("state/dead-letters");
        let lines = files(&folder).into_iter().flat_map(|path| {
            let text = std::fs::read_to_string(path).expect("dead letters are UTF-8");
            text.lines()
                .map(|line| serde_json::from_str(line).expect("a line of JSON"))
                .collect::<Vec<Json>>()
        });
        lines.collect()
    }

    /// The schema that both twins answer with.
    pub fn schema_answer(&self, schema: &str) -> String {
        match &self.systems {
            Systems::Embedded => schema.to_owned(),
            Systems::Servers(_) => json!({"data": {"schema": schema}}).to_string(),
        }
    }
}

/// The pseudonym of a text with the tests' salt.
pub async fn pseudonym(text: &str) -> String {
    let pseudonymiser = Pseudonymiser::new(&Secret::new(SALT)).expect("the salt is well-formed");
    pseudonymiser
        .pseudonyms(&[Personal::new(text.to_owned())])
        .await
        .expect("a pseudonym")[0]
        .to_string()
}

pub async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .expect("PostgreSQL");
    tokio::spawn(connection);
    client
}

/// One HTTP/1.1 request as it stands on the wire; gives the body of the answer.
pub async fn http(
    endpoint: &str,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &str,
) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let host = endpoint.trim_start_matches("http://");
    let mut connection = tokio::net::TcpStream::connect(host)
        .await
        .expect("the endpoint");
    let headers: String = headers
        .iter()
        .map(|header| format!("{header}\r\n"))
        .collect();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    connection
        .write_all(request.as_bytes())
        .await
        .expect("a request");
    let mut answer = String::new();
    connection
        .read_to_string(&mut answer)
        .await
        .expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer
        .split_once("\r\n\r\n")
        .expect("headers and a body")
        .1
        .to_owned()
}

async fn serve_schema(answer: SchemaAnswer) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let app = Router::new().route(
        "/api/v0.1/current-schemas/PatronInfo",
        get(move || {
            let answer = answer.lock().unwrap().clone();
            async move { answer }
        }),
    );
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}/api/v0.1/current-schemas/PatronInfo")
}

/// Writes a test once and runs it on the embedded twins and on real servers.
macro_rules! in_both_worlds {
    ($(async fn $name:ident($world:ident) $body:block)*) => {
        mod embedded {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() { super::$name(World::embedded()).await })*
        }
        mod servers {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() { super::$name(World::servers().await).await })*
        }
        $(async fn $name(mut $world: World) {
            // Some tests only read their world.
            let _ = &mut $world;
            $body
        })*
    };
}
pub(crate) use in_both_worlds;
