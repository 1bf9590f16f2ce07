//! MariaDB: the contract of a database, TLS modes, and what its errors say.

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Opts};
use watershed::connectors::postgres::Tls;
use watershed::connectors::sql::{Database, Protocol, Role, Value};
use watershed::error::Remedy;
use watershed::privacy::Secret;
use watershed::retry::Policy;
use watershed::testing::contracts;

use crate::support::{
    CHANGES, NUMBERS, environment, failure, nobody, once, policy, reads_from_one_snapshot, text,
    unique,
};

const ROLE: Role = Role {
    name: "Envisionware",
    schema: None,
    protocol: Protocol::Extended,
    tls: Tls::Prefer,
};

fn open(url: &str, policy: Policy) -> Database {
    Database::open(&Secret::new(url), ROLE, policy).unwrap()
}

async fn client(url: &str) -> Conn {
    Conn::new(Opts::from_url(url).unwrap()).await.unwrap()
}

/// A database of the test's own, and its URL.
async fn database(fill: &str) -> String {
    let server = environment("WATERSHED_TEST_MYSQL");
    let name = unique("it").replace('-', "_");
    let mut admin = client(&server).await;
    let create = format!("CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin");
    admin.query_drop(create).await.unwrap();
    let url = format!("{server}/{name}");
    if !fill.is_empty() {
        let mut filling = client(&url).await;
        // As PostgreSQL and SQLite read it: a backslash is a character like any other.
        let mode = "SET sql_mode = 'NO_BACKSLASH_ESCAPES'";
        filling.query_drop(mode).await.unwrap();
        filling.query_drop(fill).await.unwrap();
    }
    url
}

#[tokio::test]
async fn mariadb_keeps_the_contract_of_a_database() {
    let fixture = contracts::SQL_FIXTURE
        .replace("timestamptz", "datetime(6)")
        .replace("timestamp,", "datetime(6),");
    let url = database(&fixture).await;
    let unreadable = Some("CAST(x'ff' AS BINARY)");
    contracts::sql(&open(&url, policy()), unreadable).await;
}

#[tokio::test]
async fn a_time_keeps_its_fraction_and_a_stamp_is_in_utc() {
    let fill = "SET time_zone = '-05:00';
        CREATE TABLE times (plain datetime, local datetime(6), stamp timestamp(6), nothing date);
        SET sql_mode = '';
        INSERT INTO times VALUES ('2024-06-15 03:30:00', '2024-06-15 03:30:00.000001', '2024-06-15 03:30:00.5', '0000-00-00')";
    let database = open(&database(fill).await, policy());
    let row = &database.query("SELECT * FROM times", &[]).await.unwrap()[0];
    for (column, utc) in [
        ("plain", "2024-06-15T03:30:00Z"),
        ("local", "2024-06-15T03:30:00.000001Z"),
        ("stamp", "2024-06-15T08:30:00.5Z"),
    ] {
        let read = row.instant(column).unwrap().unwrap();
        assert_eq!(read.to_string(), utc, "{column}");
    }
    // A date that no calendar has spoils itself alone.
    assert!(row.date("nothing").is_err());
}

#[tokio::test]
async fn the_mode_decides_whether_the_connection_is_encrypted() {
    let url = database("").await;
    let cipher = "SELECT variable_value AS answer FROM information_schema.session_status
        WHERE variable_name = 'Ssl_cipher'";
    for (mode, encrypted) in [("disable", false), ("prefer", true), ("require", true)] {
        let database = open(&format!("{url}?sslmode={mode}"), policy());
        assert_eq!(
            !text(&database, cipher).await.is_empty(),
            encrypted,
            "{mode}"
        );
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused_with_a_hint() {
    let url = database("").await;
    for mode in ["verify-full", "verify-ca"] {
        let database = open(&format!("{url}?sslmode={mode}"), policy());
        let error = failure(&database, "SELECT 1", &[]).await;
        assert_eq!(error.remedy(), Remedy::FixAccess, "{mode}: {error:?}");
        assert!(error.hint().unwrap().contains("sslmode"));
    }
}

#[test]
fn a_url_of_another_form_is_refused_and_not_repeated() {
    for (url, why) in [
        ("mysql://", "it has no host"),
        ("mysql://u:Zerlina-7@h:99999/db", "it is no URL"),
        (
            "mysql://u:Zerlina-7@h/db?sslmode=always",
            "sslmode must be disable",
        ),
        (
            "mysql://u:Zerlina-7@h/db?sslfingerprint=00",
            "pinned for PostgreSQL alone",
        ),
        (
            "mysql://u:Zerlina-7@h/db?pool_min=5",
            "unknown parameter `pool_min`",
        ),
    ] {
        let error = Database::open(&Secret::new(url), ROLE, policy()).unwrap_err();
        assert_eq!(error.remedy(), Remedy::FixSettings);
        assert!(error.in_one_line().contains(why), "{error:?}");
        assert!(!format!("{error:?}").contains("Zerlina"), "{error:?}");
    }
}

#[tokio::test]
async fn a_connection_that_was_cut_is_made_again() {
    let url = database("").await;
    let database = open(&url, policy());
    let sql = "SELECT CONNECTION_ID() AS answer";
    let first = text(&database, sql).await;
    let mut admin = client(&url).await;
    admin.query_drop(format!("KILL {first}")).await.unwrap();
    assert_ne!(text(&database, sql).await, first);
}

#[tokio::test]
async fn a_query_that_is_dropped_half_way_leaves_no_rows_to_the_next() {
    let url = database("").await;
    let name = url.rsplit_once('/').unwrap().1.to_owned();
    let mut admin = client(&url).await;
    let lock = format!("SELECT GET_LOCK('{name}', 0)");
    admin.query_drop(lock).await.unwrap();
    let waits = format!(
        "SELECT 1 FROM information_schema.processlist WHERE db = '{name}' AND state = 'User lock'"
    );
    let database = open(&url, policy());
    let blocked = format!("SELECT GET_LOCK('{name}', 100) AS answer");
    tokio::select! {
        _ = database.query(&blocked, &[]) => panic!("the lock is held"),
        () = async {
            while admin.query_first::<u8, _>(&waits).await.unwrap().is_none() {}
        } => {}
    }
    assert_eq!(text(&database, "SELECT 'next' AS answer").await, "next");
}

#[tokio::test]
async fn access_denied_is_for_a_person_to_mend_and_names_nobody() {
    let url = database("").await;
    let (start, rest) = url.split_once("watershed:").unwrap();
    let (_, host) = rest.split_once('@').unwrap();
    for user in ["watershed:Zerlina-7", "Quux:Zerlina-7"] {
        let database = open(&format!("{start}{user}@{host}"), policy());
        let error = failure(&database, "SELECT 1", &[]).await;
        assert_eq!(error.remedy(), Remedy::FixAccess);
        assert!(error.in_one_line().contains("error 1045"), "{error:?}");
        let words = format!("{error:?}");
        assert!(
            !words.contains("Zerlina") && !words.contains("Quux"),
            "{words}"
        );
    }
}

#[tokio::test]
async fn what_does_not_exist_is_named() {
    let server = environment("WATERSHED_TEST_MYSQL");
    let error = failure(
        &open(&format!("{server}/nowhere"), policy()),
        "SELECT 1",
        &[],
    )
    .await;
    assert_eq!(error.remedy(), Remedy::FixAccess);
    assert!(
        error.in_one_line().contains("Unknown database 'nowhere'"),
        "{error:?}"
    );

    let database = open(&database("CREATE TABLE sessions (id int)").await, policy());
    database.check_columns("sessions", &["id"]).await.unwrap();
    for (table, column) in [("sessions", "absent"), ("absent", "id")] {
        let error = database.check_columns(table, &[column]).await.unwrap_err();
        assert_eq!(error.remedy(), Remedy::FixAccess);
        assert!(error.in_one_line().contains("absent"), "{error:?}");
    }
    assert!(database.version().await.unwrap().contains("MariaDB"));
}

#[tokio::test]
async fn nobody_at_the_address_is_an_outage() {
    let address = nobody().await;
    let database = open(&format!("mysql://u:Zerlina-7@{address}/db"), once());
    let error = failure(&database, "SELECT 1", &[]).await;
    assert_eq!(error.remedy(), Remedy::TryAgain);
    assert!(!format!("{error:?}").contains("Zerlina"), "{error:?}");
}

#[tokio::test]
async fn p6_an_error_about_a_value_does_not_repeat_it() {
    let url = database("CREATE TABLE people (name text)").await;
    let database = open(&url, once());
    for sql in [
        "INSERT INTO people (name) SELECT CAST($1 AS DECIMAL(3)) + CAST('Zerlina' AS DATE)",
        "SELECT EXP($1) * 1e999 AS number",
        "SELECT EXTRACTVALUE('<a/>', $1) AS text",
    ] {
        let values = [Value::Text("710 Zerlina Quux".into())];
        if let Err(error) = database.query(sql, &values).await {
            assert!(
                !format!("{error:?}").contains("Zerlina"),
                "{sql}: {error:?}"
            );
        }
    }
    let duplicate = "INSERT INTO unique_people VALUES ($1)";
    client(&url)
        .await
        .query_drop("CREATE TABLE unique_people (name varchar(50) PRIMARY KEY)")
        .await
        .unwrap();
    let values = [Value::Text("Zerlina Quux".into())];
    database.query(duplicate, &values).await.unwrap();
    let error = failure(&database, duplicate, &values).await;
    assert!(error.in_one_line().contains("error 1062"), "{error:?}");
    assert!(!format!("{error:?}").contains("Zerlina"), "{error:?}");
}

#[tokio::test]
async fn a_stream_reads_from_one_snapshot() {
    let recursive = NUMBERS.replace(
        "INSERT INTO",
        "SET max_recursive_iterations = 30000; INSERT INTO",
    );
    let url = database(&recursive).await;
    let mut writer = client(&url).await;
    reads_from_one_snapshot(&open(&url, policy()), async {
        for change in CHANGES {
            writer.query_drop(change).await.unwrap();
        }
    })
    .await;
}
