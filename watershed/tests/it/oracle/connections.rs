//! The client library, the login, and what becomes of a connection that fails.

use std::time::Duration;

use tokio::time::Instant;
use watershed::connectors::sql::Database;
use watershed::error::Remedy;
use watershed::privacy::Secret;
use watershed::retry::Policy;

use super::{ROLE, URL, alone, asked, count, failure, log, numbered, numbers, open};
use crate::support::{once, policy};

#[test]
fn without_a_client_the_error_says_what_to_install_and_where_to_point() {
    let test = "connections::without_a_client_the_error_says_what_to_install_and_where_to_point";
    alone(test, &numbered(1, ""), async || {
        let url = Secret::new(URL);
        let bare = Database::open(&url, ROLE, policy()).unwrap();
        let empty = tempfile::tempdir().unwrap();
        let missing = bare.clone().with_oracle_client(empty.path());
        for database in [&bare, &missing] {
            let error = failure(database, "SELECT id FROM people").await;
            assert_eq!(error.remedy(), Remedy::FixSettings);
            assert!(error.in_one_line().contains("DPI-1047"), "{error:?}");
            let hint = error.hint().unwrap();
            for word in ["Oracle Instant Client", "ORACLE_LIB_DIR", "libclntsh.so"] {
                assert!(hint.contains(word), "{hint}");
            }
        }
        assert!(missing.version().await.is_err());

        // What was not found may be found elsewhere, but then that is the one of the process.
        let rows = open(URL, policy())
            .query("SELECT id FROM people", &[])
            .await;
        assert_eq!(rows.unwrap().len(), 1);
        bare.version().await.unwrap();
        let error = failure(&missing, "SELECT id FROM people").await;
        assert_eq!(error.remedy(), Remedy::FixSettings);
        assert!(
            error.in_one_line().contains("it can have only one"),
            "{error:?}"
        );
    });
}

#[test]
fn a_client_that_is_too_old_is_refused() {
    alone(
        "connections::a_client_that_is_too_old_is_refused",
        "client\t11.1.0.7.0",
        async || {
            let error = failure(&open(URL, policy()), "SELECT id FROM people").await;
            assert_eq!(error.remedy(), Remedy::FixSettings);
            assert!(error.in_one_line().contains("DPI-1050"), "{error:?}");
        },
    );
}

#[test]
fn it_connects_as_the_url_says_and_tells_the_version() {
    let fixture = "server\t11.2.0.4.0\nlogin\tREADER\tZerlina-7";
    alone(
        "connections::it_connects_as_the_url_says_and_tells_the_version",
        fixture,
        async || {
            let database = open(URL, policy());
            assert_eq!(
                database.version().await.unwrap(),
                "Oracle Database 11.2.0.4.0"
            );
            assert!(database.tls().await.unwrap().is_none());
            drop(database);
            let log = log();
            assert!(
                log[0].contains("(HOST=warehouse.example.org)(PORT=1522)")
                    && log[0].ends_with("(CONNECT_DATA=(SERVICE_NAME=DW)))"),
                "{log:?}"
            );
            assert_eq!(
                log[1..],
                [
                    "login READER",
                    "prepare ALTER SESSION SET TIME_ZONE = '+00:00'",
                    "logout",
                    "detach"
                ]
            );
        },
    );
}

#[test]
fn a_connection_that_was_lost_is_made_again() {
    let fixture = numbered(600, "fail\t3113\tend-of-file on communication channel\t1");
    alone(
        "connections::a_connection_that_was_lost_is_made_again",
        &fixture,
        async || {
            let database = open(URL, policy());
            let rows = database.query("SELECT id FROM people", &[]).await.unwrap();
            assert_eq!(numbers(&rows), (0..600).collect::<Vec<i64>>());
            assert_eq!(count("attach"), 2);
            // A connection that works is used again.
            database.query("SELECT id FROM people", &[]).await.unwrap();
            assert_eq!(count("attach"), 2);
        },
    );
}

#[test]
fn nobody_at_the_address_is_an_outage_that_may_pass() {
    let fixture = numbered(1, "") + "fail-attach\t12541\tTNS:no listener\t3";
    alone(
        "connections::nobody_at_the_address_is_an_outage_that_may_pass",
        &fixture,
        async || {
            let error = failure(&open(URL, once()), "SELECT id FROM people").await;
            assert_eq!(error.remedy(), Remedy::TryAgain);
            assert!(
                error.in_one_line().contains("ORA-12541: TNS:no listener"),
                "{error:?}"
            );
            assert!(error.hint().unwrap().contains("host and port"));

            let mut stream = open(URL, policy()).stream("SELECT id FROM people", &[]);
            assert_eq!(stream.next().await.unwrap().unwrap().len(), 1);
            assert_eq!(count("attach"), 4);
        },
    );
}

#[test]
fn p6_a_wrong_password_names_neither_it_nor_the_user() {
    let fixture = "login\tREADER\tsecret";
    alone(
        "connections::p6_a_wrong_password_names_neither_it_nor_the_user",
        fixture,
        async || {
            let database = open(URL, policy());
            let mut stream = database.stream("SELECT id FROM people", &[]);
            for error in [
                failure(&database, "SELECT id FROM people").await,
                database.version().await.unwrap_err(),
                stream.next().await.unwrap_err(),
            ] {
                assert_eq!(error.remedy(), Remedy::FixAccess);
                let words = format!("{error:?}");
                assert!(
                    words.contains("ORA-01017: the user or the password is wrong"),
                    "{words}"
                );
                assert!(
                    !words.contains("Zerlina") && !words.contains("READER"),
                    "{words}"
                );
            }
            assert_eq!(
                count("attach"),
                3,
                "a wrong password locks accounts: it is tried once"
            );
        },
    );
}

#[test]
fn a_server_that_lets_nobody_in_says_why() {
    let fixture = "fail-login\t1033\tORACLE initialization or shutdown in progress";
    alone(
        "connections::a_server_that_lets_nobody_in_says_why",
        fixture,
        async || {
            let error = failure(&open(URL, once()), "SELECT id FROM people").await;
            assert_eq!(error.remedy(), Remedy::TryAgain);
            assert!(error.in_one_line().contains("ORA-01033"), "{error:?}");
        },
    );
}

#[test]
fn a_query_that_is_dropped_is_interrupted_and_its_connection_closed() {
    let fixture = numbered(10, "wait") + "table\tOTHERS\ncolumn\tID\tNUMBER\t9\nrow\t7\n";
    let test = "connections::a_query_that_is_dropped_is_interrupted_and_its_connection_closed";
    alone(test, &fixture, async || {
        let database = open(URL, policy());
        for left in 1..=2 {
            tokio::select! {
                _ = database.query("SELECT id FROM people", &[]) => panic!("it hangs"),
                () = asked("waiting", left) => {}
            }
            asked("detach", left).await;
            assert_eq!(count("break"), left);
            let rows = database.query("SELECT id FROM others", &[]).await.unwrap();
            assert_eq!(numbers(&rows), [7]);
        }
        let mut stream = database.stream("SELECT id FROM people", &[]);
        tokio::select! {
            _ = stream.next() => panic!("it hangs"),
            () = asked("waiting", 3) => {}
        }
        drop(stream);
        asked("break", 3).await;
    });
}

#[test]
fn a_server_that_falls_silent_is_an_outage() {
    let fixture = numbered(10, "wait");
    alone(
        "connections::a_server_that_falls_silent_is_an_outage",
        &fixture,
        async || {
            let policy = Policy {
                each: Duration::from_millis(500),
                ..once()
            };
            let started = Instant::now();
            let error = failure(&open(URL, policy.clone()), "SELECT id FROM people").await;
            assert_eq!(error.remedy(), Remedy::TryAgain);
            let mut stream = open(URL, policy).stream("SELECT id FROM people", &[]);
            assert_eq!(stream.next().await.unwrap_err().remedy(), Remedy::TryAgain);
            assert!(started.elapsed() < Duration::from_secs(20));
            drop(stream);
            asked("break", 2).await;
        },
    );
}
