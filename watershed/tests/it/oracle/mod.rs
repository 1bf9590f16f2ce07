//! Oracle, through ODPI-C and a stand-in for the client library.
//!
//! A process loads one client library, so that every test here runs in a process of its own: the
//! test binary runs itself again with that test alone.

mod connections;
mod rows;
mod statements;

use std::mem::ManuallyDrop;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use watershed::connectors::postgres::Tls;
use watershed::connectors::sql::{Database, Protocol, Role, Row};
use watershed::error::Error;
use watershed::privacy::Secret;
use watershed::retry::Policy;

use crate::oracle_stub::{Stub, library, row};

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

/// Runs the body in a process of its own, with a server that behaves as the fixture says. The test
/// is named with its module, such as `rows::values_arrive_as_they_are`.
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
