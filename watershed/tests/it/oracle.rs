//! Oracle, through ODPI-C and a stand-in for the client library.
//!
//! A process loads one client library, so that every test here runs in a process of its own: the
//! test binary runs itself again with that test alone.

use std::mem::ManuallyDrop;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use watershed::connectors::postgres::Tls;
use watershed::connectors::sql::{Database, Protocol, Role, Row, Value};
use watershed::error::{Error, Remedy};
use watershed::privacy::Secret;
use watershed::retry::Policy;

use crate::oracle_stub::{Stub, library, row};
use crate::support::{once, policy};

const ROLE: Role = Role {
    name: "the warehouse",
    schema: None,
    protocol: Protocol::Extended,
    tls: Tls::Prefer,
};

const URL: &str = "oracle://READER:Zerlina-7@warehouse.example.org:1522/DW";

/// Says which test this process is for.
const ALONE: &str = "WATERSHED_TEST_ALONE";

const TIME_LIMIT: Duration = Duration::from_secs(60);

/// Runs the body in a process of its own, with a server that behaves as the fixture says.
fn alone(test: &str, fixture: &str, body: impl AsyncFnOnce()) {
    if std::env::var(ALONE).is_ok_and(|this| this == test) {
        // Never dropped: it would wait for a call that nobody interrupts.
        let runtime = ManuallyDrop::new(tokio::runtime::Runtime::new().unwrap());
        runtime
            .block_on(async { timeout(TIME_LIMIT, body()).await })
            .expect("in time");
        return;
    }
    let stub = Stub::new(fixture);
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("oracle::{test}"), "--nocapture"])
        .env(ALONE, test)
        .env("ORACLE_LIB_DIR", library())
        .envs(stub.environment())
        .env_remove("ORACLE_HOME")
        .env_remove("LD_LIBRARY_PATH")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    // A name that is no test's would pass, too.
    let passed = output.status.success() && said.contains("1 passed");
    assert!(passed, "{said}{complained}");
}

fn open(url: &str, policy: Policy) -> Database {
    let folder = PathBuf::from(std::env::var_os("ORACLE_LIB_DIR").unwrap());
    let database = Database::open(&Secret::new(url), ROLE, policy).unwrap();
    database.with_oracle_client(folder)
}

/// What was asked of the server so far.
fn log() -> Vec<String> {
    let log = std::fs::read_to_string(std::env::var_os("ORACLE_STUB_LOG").unwrap());
    let log = log.unwrap_or_default();
    log.lines().map(str::to_owned).collect()
}

fn count(start: &str) -> usize {
    log().iter().filter(|line| line.starts_with(start)).count()
}

/// Until the server was asked for this so many times; the test's own time limit ends the wait.
async fn asked(start: &str, times: usize) {
    while count(start) < times {
        sleep(Duration::from_millis(5)).await;
    }
}

async fn failure(database: &Database, sql: &str) -> Error {
    database.query(sql, &[]).await.unwrap_err()
}

fn numbers(rows: &[Row]) -> Vec<i64> {
    let numbers = rows.iter().map(|row| row.integer("id").unwrap().unwrap());
    numbers.collect()
}

/// A table of rows numbered from 0, and what stands behind them.
fn numbered(rows: usize, behind: &str) -> String {
    let mut table = "table\tPEOPLE\ncolumn\tID\tNUMBER\t9\ncolumn\tNAME\tVARCHAR2\t20\n".to_owned();
    for number in 0..rows {
        table += &row(&[Some(&number.to_string()), Some("Zoë")]);
    }
    table + behind + "\n"
}

#[test]
fn without_a_client_the_error_says_what_to_install_and_where_to_point() {
    let test = "without_a_client_the_error_says_what_to_install_and_where_to_point";
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
        "a_client_that_is_too_old_is_refused",
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
        "it_connects_as_the_url_says_and_tells_the_version",
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
fn values_arrive_as_they_are() {
    let fixture = "table\tKINDS
column\tNAME\tVARCHAR2\t40
column\tNATIONAL\tNVARCHAR2\t40
column\tCODE\tCHAR\t4
column\tNATIONAL_CODE\tNCHAR\t4
column\tSMALL\tNUMBER\t9\t0
column\tAMOUNT\tNUMBER\t38\t10
column\tANY_NUMBER\tNUMBER
column\tENDS\tDATE
column\tAT\tTIMESTAMP
column\tAT_ZONE\tTIMESTAMP_TZ
column\tAT_LOCAL\tTIMESTAMP_LTZ
column\tquoted Name\tVARCHAR2\t9
column\tSHARE\tBINARY_DOUBLE
column\tRAW\tRAW\t9
row\tŽofie 🦦 O'Brien \\\\ $1\tŽofie 🦦\tAB\tÉ\t-481036337\t-12345678901234567890.0123456789\t0.000001\t2024-02-29 23:59:58\t2024-06-15 03:30:00.000001\t2024-06-15 03:30:00.5-04:00\t1969-12-31 23:59:59.999999999+00:00\tq\t1.5\t\\x00\\xff
row\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N
row\t\\xff\t \tABCD\tabcd\t0\t0\t9900000000000000000000000000000000000000\t-4712-01-01 00:00:00\t9999-12-31 23:59:59\t2024-06-15 03:30:00+05:30\t2024-06-15 03:30:00+00:00\tx\t0\tx
";
    alone("values_arrive_as_they_are", fixture, async || {
        let database = open(URL, policy());
        let rows = database.query("SELECT * FROM kinds", &[]).await.unwrap();
        assert_eq!(rows.len(), 3);
        for (column, text) in [
            ("name", "Žofie 🦦 O'Brien \\ $1"),
            ("national", "Žofie 🦦"),
            ("code", "AB  "),
            ("small", "-481036337"),
            ("amount", "-12345678901234567890.0123456789"),
            ("any_number", "0.000001"),
            ("ends", "2024-02-29 23:59:58"),
            ("quoted Name", "q"),
        ] {
            assert_eq!(rows[0].text(column), Ok(Some(text.into())), "{column}");
        }
        assert_eq!(rows[0].integer32("small"), Ok(Some(-481_036_337)));
        assert_eq!(
            rows[0].date("ends").unwrap().unwrap().to_string(),
            "2024-02-29"
        );
        for (row, column, instant) in [
            (0, "ends", "2024-02-29T23:59:58Z"),
            (0, "at", "2024-06-15T03:30:00.000001Z"),
            (0, "at_zone", "2024-06-15T07:30:00.5Z"),
            (0, "at_local", "1969-12-31T23:59:59.999999999Z"),
            (2, "at_zone", "2024-06-14T22:00:00Z"),
        ] {
            let read = rows[row].instant(column).unwrap().unwrap();
            assert_eq!(read.to_string(), instant, "{column}");
        }
        for column in ["name", "national", "code", "small", "amount", "ends", "raw"] {
            assert_eq!(rows[1].text(column), Ok(None), "{column}");
        }
        assert_eq!(rows[1].instant("at"), Ok(None));
        // What is no text, no number and no date spoils itself alone.
        for (row, column) in [(2, "name"), (2, "ends"), (0, "share"), (0, "raw")] {
            assert!(rows[row].text(column).is_err(), "{column}");
        }
        assert_eq!(rows[2].text("national"), Ok(Some(" ".into())));
        assert_eq!(rows[2].integer("small"), Ok(Some(0)));
        assert_eq!(rows[2].text("amount"), Ok(Some("0".into())));
        let large = "9900000000000000000000000000000000000000";
        assert_eq!(rows[2].text("any_number"), Ok(Some(large.into())));
    });
}

#[test]
fn thousands_of_rows_come_in_order_and_once() {
    alone(
        "thousands_of_rows_come_in_order_and_once",
        &numbered(5_000, ""),
        async || {
            let database = open(URL, policy());
            let expected: Vec<i64> = (0..5_000).collect();
            let sql = "SELECT id, name FROM people";
            assert_eq!(numbers(&database.query(sql, &[]).await.unwrap()), expected);

            let mut stream = database.stream(sql, &[]);
            let mut streamed = Vec::new();
            let mut batches = 0;
            while let Some(rows) = stream.next().await.unwrap() {
                assert_eq!(rows[0].text("name"), Ok(Some("Zoë".into())));
                streamed.extend(numbers(&rows));
                batches += 1;
            }
            assert_eq!(streamed, expected);
            assert!(batches >= 10, "{batches} batches");
            assert_eq!(count("fetch 250 of 250"), 2 * 20);
            assert!(stream.next().await.unwrap().is_none());

            let mut nothing = database.stream("SELECT id FROM people WHERE 1 = 0", &[]);
            assert!(nothing.next().await.unwrap().is_none());
        },
    );
}

#[test]
fn a_stream_that_is_left_reads_no_further() {
    let fixture = numbered(20_000, "");
    alone(
        "a_stream_that_is_left_reads_no_further",
        &fixture,
        async || {
            let database = open(URL, policy());
            let mut stream = database.stream("SELECT id FROM people", &[]);
            let rows = stream.next().await.unwrap().unwrap();
            assert_eq!(numbers(&rows)[..3], [0, 1, 2]);
            // Another query need not wait for it.
            let absent = "SELECT id FROM people WHERE 1 = 0";
            assert!(database.query(absent, &[]).await.unwrap().is_empty());
            drop(stream);
            asked("detach", 1).await;
            let fetched = count("fetch 250 of 250");
            assert!(fetched < 20, "{fetched} of 80 fetches for one batch");
        },
    );
}

#[test]
fn p3_rows_that_fail_half_way_are_an_error_and_not_the_end() {
    let fixture = numbered(
        1_100,
        "fail\t1555\tsnapshot too old: rollback segment number 5",
    );
    let test = "p3_rows_that_fail_half_way_are_an_error_and_not_the_end";
    alone(test, &fixture, async || {
        let database = open(URL, once());
        let sql = "SELECT id FROM people";
        let error = failure(&database, sql).await;
        assert_eq!(error.remedy(), Remedy::TryAgain);
        assert!(
            error.in_one_line().contains("ORA-01555: snapshot too old"),
            "{error:?}"
        );

        let mut stream = database.stream(sql, &[]);
        let mut read = 0;
        let error = loop {
            match stream.next().await {
                Ok(Some(rows)) => read += rows.len(),
                Ok(None) => panic!("the end after {read} rows"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.remedy(), Remedy::TryAgain);
        assert!(read < 1_100, "{read}");
    });
}

#[test]
fn a_connection_that_was_lost_is_made_again() {
    let fixture = numbered(600, "fail\t3113\tend-of-file on communication channel\t1");
    alone(
        "a_connection_that_was_lost_is_made_again",
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
        "nobody_at_the_address_is_an_outage_that_may_pass",
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
        "p6_a_wrong_password_names_neither_it_nor_the_user",
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
        "a_server_that_lets_nobody_in_says_why",
        fixture,
        async || {
            let error = failure(&open(URL, once()), "SELECT id FROM people").await;
            assert_eq!(error.remedy(), Remedy::TryAgain);
            assert!(error.in_one_line().contains("ORA-01033"), "{error:?}");
        },
    );
}

#[test]
fn what_does_not_exist_is_named() {
    alone(
        "what_does_not_exist_is_named",
        &numbered(1, ""),
        async || {
            let database = open(URL, policy());
            database
                .check_columns("people", &["id", "name"])
                .await
                .unwrap();
            let error = database.check_columns("people", &["id", "krb"]).await;
            let error = error.unwrap_err();
            assert_eq!(error.remedy(), Remedy::FixAccess);
            assert!(
                error.in_one_line().contains("ORA-00904: \"KRB\""),
                "{error:?}"
            );

            let error = failure(&database, "SELECT id FROM absent").await;
            assert_eq!(error.remedy(), Remedy::FixAccess);
            assert!(error.in_one_line().contains("ORA-00942"), "{error:?}");
            assert!(error.hint().unwrap().contains("may this user read it"));
        },
    );
}

#[test]
fn values_are_bound() {
    let fixture = numbered(3_000, "");
    alone("values_are_bound", &fixture, async || {
        let database = open(URL, policy());
        let instant = "2024-06-15T03:30:00.000001Z".parse().unwrap();
        let values = [
            Value::Text("'; DROP TABLE people; --".into()),
            Value::Integer(2_718),
            Value::Null,
            Value::Instant(instant),
            Value::Date(jiff::civil::date(2024, 2, 29)),
            Value::Boolean(true),
        ];
        let sql = "SELECT id FROM people WHERE id IN ($2, $1, $3, $4, $5, $6, $2)";
        let rows = database.query(sql, &values).await.unwrap();
        assert_eq!(numbers(&rows), [1, 2_718]);
        let log = log();
        assert!(
            log.contains(
                &"prepare SELECT id FROM people WHERE id IN (:p2, :p1, :p3, :p4, :p5, :p6, :p2)"
                    .to_owned()
            ),
            "{log:?}"
        );
        for bound in [
            // Texts are bound as VARCHAR2.
            "bind P1 type 1 '; DROP TABLE people; --",
            "bind P2 type 6 2718",
            "bind P3 type 1 NULL",
            "bind P4 type 187 2024-06-15 03:30:00.000001000",
            "bind P5 type 156 2024-02-29 00:00:00",
            "bind P6 type 6 1",
        ] {
            assert!(log.contains(&bound.to_owned()), "{bound}: {log:?}");
        }
        let rows = database
            .query("SELECT id FROM people WHERE id = $1", &[])
            .await;
        assert_eq!(rows.unwrap_err().remedy(), Remedy::ReportBug);

        // The server takes lists of a thousand.
        let ids: Vec<Value> = (500..3_100).map(Value::Integer).collect();
        let by_list = "SELECT id FROM people WHERE id IN ({list})";
        let rows = database.query_lists(by_list, &ids).await.unwrap();
        assert_eq!(numbers(&rows), (500..3_000).collect::<Vec<i64>>());
        assert_eq!(count("prepare SELECT id FROM people WHERE id IN"), 1 + 3);
    });
}

#[test]
fn rows_are_changed_and_counted() {
    alone("rows_are_changed_and_counted", "changes\t7", async || {
        let database = open(URL, policy());
        let update = "UPDATE people SET name = $2 WHERE id = $1";
        let values = [Value::Integer(-100), Value::Text("Zoë".into())];
        assert_eq!(database.execute(update, &values).await.unwrap(), 7);
        let ids: Vec<Value> = (0..2_001).map(Value::Integer).collect();
        let delete = "DELETE FROM people WHERE id IN ({list})";
        assert_eq!(database.execute_lists(delete, &ids).await.unwrap(), 21);
        let log = log();
        let start = log.iter().position(|line| line.contains("UPDATE")).unwrap();
        assert_eq!(
            log[start..start + 4],
            [
                "prepare UPDATE people SET name = :p2 WHERE id = :p1",
                "bind P2 type 1 Zoë",
                "bind P1 type 6 -100",
                "commit"
            ]
        );
    });
}

#[test]
fn a_large_object_is_refused_by_name() {
    let fixture = "table\tPEOPLE\ncolumn\tID\tNUMBER\t9\ncolumn\tPHOTO\tBLOB\ncolumn\tNOTES\tCLOB\nrow\t1\tx\tx";
    alone("a_large_object_is_refused_by_name", fixture, async || {
        let database = open(URL, policy());
        for (column, kind) in [("PHOTO", "BLOB"), ("NOTES", "CLOB")] {
            let error = failure(&database, &format!("SELECT id, {column} FROM people")).await;
            assert_eq!(error.remedy(), Remedy::FixAccess);
            let why = format!("column {column} is of type {kind}, which is not read");
            assert!(error.in_one_line().contains(&why), "{error:?}");
        }
        assert_eq!(count("fetch"), 0);
        assert_eq!(
            database
                .query("SELECT id FROM people", &[])
                .await
                .unwrap()
                .len(),
            1
        );
    });
}

#[test]
fn p6_data_that_cannot_be_read_is_for_a_person_to_mend_and_is_not_repeated() {
    let fixture = "table\tSHORT\ncolumn\tNAME\tVARCHAR2\t1\nrow\tZerlina Quux
table\tODD\ncolumn\tNAME\tVARCHAR2\t9\nfail\t1722\tunable to convert string value containing 'Zerlina' to a number";
    let test = "p6_data_that_cannot_be_read_is_for_a_person_to_mend_and_is_not_repeated";
    alone(test, fixture, async || {
        let database = open(URL, policy());
        for (table, code) in [
            ("short", "DPI-1037"),
            ("odd", "ORA-01722: see the server's log"),
        ] {
            let error = failure(&database, &format!("SELECT name FROM {table}")).await;
            assert_eq!(error.remedy(), Remedy::FixData);
            let words = format!("{error:?}");
            assert!(
                words.contains(code) && !words.contains("Zerlina"),
                "{words}"
            );
        }
    });
}

#[test]
fn a_query_that_is_dropped_is_interrupted_and_its_connection_closed() {
    let fixture = numbered(10, "wait") + "table\tOTHERS\ncolumn\tID\tNUMBER\t9\nrow\t7\n";
    let test = "a_query_that_is_dropped_is_interrupted_and_its_connection_closed";
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
        "a_server_that_falls_silent_is_an_outage",
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
