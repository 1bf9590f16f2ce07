//! PostgreSQL over both protocols, its TLS modes, and what its errors say. The contract also
//! against SQLite, the embedded twin.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use tokio_postgres::{Client, NoTls};
use watershed::connectors::postgres::Tls;
use watershed::connectors::sql::{Database, Protocol, Role, Value};
use watershed::error::Remedy;
use watershed::privacy::Secret;
use watershed::testing::contracts;

use crate::support::{
    CHANGES, NUMBERS, environment, failure, nobody, once, policy, reads_from_one_snapshot, text,
    unique,
};

const PROTOCOLS: [Protocol; 2] = [Protocol::Extended, Protocol::Simple];

fn role(protocol: Protocol) -> Role {
    Role {
        name: "Sierra",
        schema: None,
        protocol,
        tls: Tls::Prefer,
    }
}

fn open(url: &str, protocol: Protocol) -> Database {
    Database::open(&Secret::new(url), role(protocol), policy()).unwrap()
}

async fn client(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// A database of the test's own, and its URL.
async fn database(fill: &str) -> String {
    let server = environment("WATERSHED_TEST_POSTGRES");
    let name = unique("it").replace('-', "_");
    let admin = client(&format!("{server}/postgres")).await;
    admin
        .batch_execute(&format!("CREATE DATABASE {name}"))
        .await
        .unwrap();
    let url = format!("{server}/{name}");
    client(&url).await.batch_execute(fill).await.unwrap();
    url
}

#[tokio::test]
async fn postgresql_keeps_the_contract_of_a_database_with_bound_values() {
    let url = database(contracts::SQL_FIXTURE).await;
    // A byte that is no character; a text of the database's own encoding cannot hold one.
    let unreadable = Some(r#"'\377'::"char""#);
    contracts::sql(&open(&url, Protocol::Extended), unreadable).await;
}

#[tokio::test]
async fn postgresql_keeps_the_contract_of_a_database_with_quoted_values() {
    let url = database(contracts::SQL_FIXTURE).await;
    contracts::sql(&open(&url, Protocol::Simple), None).await;
}

#[tokio::test]
async fn sqlite_keeps_the_contract_of_a_database() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("twin.sqlite");
    let file = rusqlite::Connection::open(&path).unwrap();
    file.execute_batch(contracts::SQL_FIXTURE).unwrap();
    drop(file);
    for schema in [None, Some("sierra_view")] {
        let role = Role {
            schema,
            ..role(Protocol::Extended)
        };
        let url = Secret::new(format!("sqlite:{}", path.display()));
        let database = Database::open(&url, role, policy()).unwrap();
        contracts::sql(&database, Some("CAST(x'ff' AS TEXT)")).await;
    }
}

#[tokio::test]
async fn one_value_out_of_range_spoils_itself_alone() {
    let url = database("").await;
    for protocol in PROTOCOLS {
        let sql = "SELECT 'infinity'::timestamptz AS spoiled, 7 AS number";
        let rows = open(&url, protocol).query(sql, &[]).await.unwrap();
        assert!(rows[0].instant("spoiled").is_err(), "{protocol:?}");
        assert_eq!(rows[0].integer("number"), Ok(Some(7)));
    }
}

#[tokio::test]
async fn a_number_that_its_column_cannot_hold_is_not_tried_again() {
    let url = database(contracts::SQL_FIXTURE).await;
    let sql = "SELECT id FROM contract_values WHERE small = $1";
    let database = open(&url, Protocol::Extended);
    let error = failure(&database, sql, &[Value::Integer(70_001)]).await;
    assert_eq!(error.remedy(), Remedy::FixData, "{error:?}");
    assert!(!format!("{error:?}").contains("70001"), "{error:?}");
}

// TLS

const ENCRYPTED: &str = "SELECT ssl::text AS answer FROM pg_stat_ssl WHERE pid = pg_backend_pid()";

/// The SHA-256 of the server's certificate.
fn fingerprint() -> String {
    let path = environment("WATERSHED_TEST_POSTGRES_CERT");
    let pem = std::fs::read_to_string(path).unwrap();
    let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let hash = digest(&SHA256, &STANDARD.decode(base64).unwrap());
    hash.as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[tokio::test]
async fn the_mode_decides_whether_the_connection_is_encrypted() {
    let url = database("").await;
    for (query, encrypted) in [
        ("sslmode=disable".to_owned(), "false"),
        ("sslmode=prefer".to_owned(), "true"),
        ("sslmode=require".to_owned(), "true"),
        (format!("sslfingerprint={}", fingerprint()), "true"),
    ] {
        for protocol in PROTOCOLS {
            let database = open(&format!("{url}?{query}"), protocol);
            assert_eq!(text(&database, ENCRYPTED).await, encrypted, "{query}");
        }
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused_with_a_hint() {
    let url = database("").await;
    for mode in ["verify-full", "verify-ca"] {
        let database = open(&format!("{url}?sslmode={mode}"), Protocol::Extended);
        let error = failure(&database, ENCRYPTED, &[]).await;
        assert_eq!(error.remedy(), Remedy::FixAccess, "{mode}: {error:?}");
        assert!(error.hint().unwrap().contains("sslfingerprint"));
    }
}

#[tokio::test]
async fn a_certificate_with_another_fingerprint_is_refused_and_named() {
    let url = format!("{}?sslfingerprint={}", database("").await, "00".repeat(32));
    let error = failure(&open(&url, Protocol::Extended), ENCRYPTED, &[]).await;
    assert_eq!(error.remedy(), Remedy::FixAccess);
    assert!(error.in_one_line().contains(&fingerprint()), "{error:?}");
}

// What may pass and what a person must mend.

#[tokio::test]
async fn a_connection_that_was_cut_is_made_again() {
    let url = database("").await;
    let admin = client(&url).await;
    for protocol in PROTOCOLS {
        let database = open(&url, protocol);
        let sql = "SELECT pg_backend_pid() AS answer";
        let first = text(&database, sql).await;
        let cut = format!("SELECT pg_terminate_backend({first})");
        admin.execute(&cut, &[]).await.unwrap();
        let second = text(&database, sql).await;
        assert_ne!(first, second, "{protocol:?}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_for_a_person_to_mend_and_is_not_repeated() {
    let url = database("").await;
    let (start, rest) = url.split_once("watershed:").unwrap();
    let (_, host) = rest.split_once('@').unwrap();
    let url = format!("{start}watershed:Zerlina-7@{host}");
    for protocol in PROTOCOLS {
        let error = failure(&open(&url, protocol), "SELECT 1", &[]).await;
        assert_eq!(error.remedy(), Remedy::FixAccess);
        assert!(error.in_one_line().contains("28P01"), "{error:?}");
        assert!(!format!("{error:?}").contains("Zerlina"), "{error:?}");
    }
}

#[tokio::test]
async fn what_does_not_exist_is_named() {
    let server = environment("WATERSHED_TEST_POSTGRES");
    let database = open(&format!("{server}/nowhere"), Protocol::Extended);
    let error = failure(&database, "SELECT 1", &[]).await;
    assert_eq!(error.remedy(), Remedy::FixAccess);
    assert!(
        error
            .in_one_line()
            .contains("database \"nowhere\" does not exist"),
        "{error:?}"
    );

    let url = self::database(contracts::SQL_FIXTURE).await;
    for protocol in PROTOCOLS {
        let database = open(&url, protocol);
        database
            .check_columns("contract_values", &["id", "name"])
            .await
            .unwrap();
        for (table, column) in [("contract_values", "absent"), ("absent", "id")] {
            let error = database.check_columns(table, &[column]).await.unwrap_err();
            assert_eq!(error.remedy(), Remedy::FixAccess);
            assert!(error.in_one_line().contains("absent"), "{error:?}");
        }
        assert!(database.version().await.unwrap().contains("PostgreSQL"));
    }
}

#[tokio::test]
async fn nobody_at_the_address_is_an_outage() {
    let address = nobody().await;
    let url = Secret::new(format!("postgres://u:Zerlina-7@{address}/db"));
    let database = Database::open(&url, role(Protocol::Extended), once()).unwrap();
    let error = failure(&database, "SELECT 1", &[]).await;
    assert_eq!(error.remedy(), Remedy::TryAgain);
    assert!(!format!("{error:?}").contains("Zerlina"), "{error:?}");
}

#[tokio::test]
async fn p6_an_error_about_a_value_does_not_repeat_it() {
    let fill = "CREATE TABLE people (name text, born text);
        INSERT INTO people VALUES ('Zerlina Quux', '31 Zerlina 1999')";
    let url = database(fill).await;
    for protocol in PROTOCOLS {
        let database = open(&url, protocol);
        for sql in [
            "SELECT name::integer AS number FROM people",
            "SELECT born::date AS day FROM people",
            "SELECT born::timestamptz AS at FROM people",
            "SELECT name::boolean AS truth FROM people",
            "SELECT ('{' || name)::json AS json FROM people",
            "SELECT $1::text::integer AS number",
            "SELECT name FROM people WHERE length(name) = $1::text::integer",
        ] {
            let values = [Value::Text("Zerlina Quux".into())];
            let values = if sql.contains("$1") { &values[..] } else { &[] };
            let error = failure(&database, sql, values).await;
            assert_eq!(error.remedy(), Remedy::FixData, "{sql}: {error:?}");
            assert!(
                !format!("{error:?}").contains("Zerlina"),
                "{sql}: {error:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_stream_reads_from_one_snapshot() {
    for protocol in PROTOCOLS {
        let url = database(NUMBERS).await;
        let writer = client(&url).await;
        reads_from_one_snapshot(&open(&url, protocol), async {
            for change in CHANGES {
                writer.batch_execute(change).await.unwrap();
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_stream_of_the_embedded_twin_reads_from_one_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("numbers.db");
    let writer = rusqlite::Connection::open(&path).unwrap();
    // Else the writer would wait for the reader.
    writer.pragma_update(None, "journal_mode", "WAL").unwrap();
    let numbers = NUMBERS.replace("repeat('n', 300)", "hex(zeroblob(150))");
    writer.execute_batch(&numbers).unwrap();
    let url = format!("sqlite:{}", path.display());
    reads_from_one_snapshot(&open(&url, Protocol::Extended), async {
        for change in CHANGES {
            writer.execute_batch(change).unwrap();
        }
    })
    .await;
}

/// A stream that is dropped leaves no statement running on the server.
#[tokio::test]
async fn a_stream_that_is_dropped_ends_its_statement() {
    let url = database("").await;
    let database = open(&url, Protocol::Extended);
    let endless = "SELECT repeat('n', 1000) AS text, generate_series(1, 1000000000) AS number";
    let mut rows = database.stream(endless, &[]);
    assert!(rows.next().await.unwrap().is_some());
    drop(rows);
    let running = "SELECT count(*)::text AS answer FROM pg_stat_activity \
         WHERE datname = current_database() AND pid <> pg_backend_pid() AND state = 'active'";
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while text(&database, running).await != "0" {
        assert!(std::time::Instant::now() < deadline, "it runs on");
    }
}
