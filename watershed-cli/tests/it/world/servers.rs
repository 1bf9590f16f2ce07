//! Real servers: databases, a stream and a bucket of the test's own, and an API that gives schemas.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_postgres::{Client, NoTls};
use watershed::connectors::aws::{Aws, AwsSettings};
use watershed::privacy::Secret;

use super::SCHEMA;
use crate::fixture::{REDSHIFT, SIERRA};
use crate::program::Program;

pub(super) struct Servers {
    pub(super) sierra: Client,
    pub(super) redshift: Client,
    pub(super) aws: Aws,
    pub(super) bucket: String,
    pub(super) stream: String,
    pub(super) answer: SchemaAnswer,
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

impl Servers {
    /// Makes all that belongs to the test, and tells the program where it is.
    pub(super) async fn start(program: &mut Program) -> Servers {
        let name = own_name();
        let postgres = server("WATERSHED_TEST_POSTGRES");
        let endpoint = server("WATERSHED_TEST_AWS");
        let (sierra_name, redshift_name) = (format!("sierra_{name}"), format!("redshift_{name}"));
        let admin = connect(&format!("{postgres}/postgres?sslmode=disable")).await;
        for database in [&sierra_name, &redshift_name] {
            admin
                .batch_execute(&format!("CREATE DATABASE {database}"))
                .await
                .expect("a database");
        }
        let sierra = empty_sierra(&format!("{postgres}/{sierra_name}?sslmode=disable")).await;
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
        Servers {
            sierra,
            redshift,
            aws,
            bucket,
            stream,
            answer,
        }
    }
}

/// The tables of Sierra, without a row.
pub(super) async fn empty_sierra(url: &str) -> Client {
    let sierra = connect(url).await;
    sierra
        .batch_execute("CREATE SCHEMA sierra_view")
        .await
        .expect("a schema");
    for table in SIERRA {
        sierra.batch_execute(table).await.expect("Sierra's schema");
    }
    sierra
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

/// Lets SES (moto) know a sender.
pub async fn verify_sender(sender: &str) {
    let body = format!("Action=VerifyEmailIdentity&EmailAddress={sender}&Version=2010-12-01");
    let headers = [
        "Content-Type: application/x-www-form-urlencoded",
        "Authorization: AWS4-HMAC-SHA256 Credential=testing/20240229/us-east-1/ses/aws4_request",
    ];
    http(&server("WATERSHED_TEST_AWS"), "POST", "/", &headers, &body).await;
}
