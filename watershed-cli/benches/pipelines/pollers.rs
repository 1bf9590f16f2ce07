//! The two pollers that pseudonymise: their floor is the hashing itself.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::{get, post};
use rusqlite::{Connection, params};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::time::sleep;
use watershed::privacy::{Personal, Pseudonymiser, Secret};

use super::measure::{AgainstFloor, Found, watershed};

const SALT: &str = "$2b$07$GoldenTestSaltForNYPLu";
const PATRONS: i64 = 20_000;
const SESSIONS: i64 = 50_000;
const PATRONS_OF_SESSIONS: i64 = 8_000;
/// How long Census takes for one request.
const CENSUS: Duration = Duration::from_secs(2);

/// New patrons, each with an address of their own, in pages of 5,000: Census answers after two
/// seconds and knows half of them, NYC answers at once.
pub fn patron_info() -> Found {
    let folder = TempDir::new().expect("a folder");
    let runtime = Runtime::new().expect("a runtime");
    let address = runtime.block_on(serve_geocoders());
    sierra_with_patrons(&folder.path().join("sierra.db")).expect("Sierra");
    let redshift = Connection::open(folder.path().join("redshift.db")).expect("Redshift");
    redshift
        .execute_batch(
            "CREATE TABLE patron_info (patron_id TEXT, address_hash TEXT, postal_code TEXT, geoid TEXT,
                creation_date_et TEXT, deletion_date_et TEXT, circ_active_date_et TEXT, ptype_code INTEGER,
                pcode3 INTEGER, patron_home_library_code TEXT, initial_patron_home_library_code TEXT)",
        )
        .expect("Redshift's table");
    write(
        folder.path(),
        "schema.avsc",
        include_str!("../../src/pipelines/patron_info/PatronInfo.avsc"),
    );
    write(
        folder.path(),
        "state.json",
        r#"{"creation_dt":"2024-01-01T00:00:00-05:00","update_dt":"2025-01-01T00:00:00-05:00","deletion_date":"2025-01-01"}"#,
    );
    write(
        folder.path(),
        "settings.yaml",
        &format!(
            "SIERRA_URL: sqlite:sierra.db\nREDSHIFT_URL: sqlite:redshift.db\nREDSHIFT_TABLE: patron_info\n\
             PATRON_INFO_SCHEMA_URL: file:schema.avsc\nGEOCODER_API_BASE_URL: {address}/census\n\
             NYC_GEOCODER_URL: {address}/nyc\nNYC_GEOCODER_KEY: key\nSTATE_URL: file:state.json\n\
             STREAM_URL: file:stream\nBCRYPT_SALT: {SALT}\nACTIVE_PATRON_BATCH_SIZE: 5000\nAS_OF: 2024-12-01\n"
        ),
    );
    let values = (0..PATRONS).flat_map(|i| {
        let id = patron(i).to_string();
        let address = format!("{id}_{} MAIN STREET_NEW YORK_NY_10018", i + 1);
        [id, address]
    });
    let floor = hashing(&runtime, values.collect());
    let taken = watershed(
        folder.path(),
        &[
            "run",
            "patron-info",
            "--only",
            "new",
            "--config",
            "settings.yaml",
        ],
    );
    AgainstFloor {
        pipeline: "patron-info",
        what: format!(
            "{PATRONS} new patrons at cost 7 ({:.0} a second), Census answering in {} s",
            PATRONS as f64 / taken.seconds,
            CENSUS.as_secs()
        ),
        seconds: taken.seconds,
        peak_mib: taken.peak_mib,
        floor,
        of: format!("hashing {} values on all cores", 2 * PATRONS),
    }
    .into()
}

/// Sessions of fewer patrons: each patron and each session has one pseudonym.
pub fn pc_reserve() -> Found {
    let folder = TempDir::new().expect("a folder");
    let runtime = Runtime::new().expect("a runtime");
    envisionware_with_sessions(folder.path()).expect("Envisionware and Sierra");
    write(
        folder.path(),
        "schema.avsc",
        include_str!("../../src/pipelines/pc_reserve/PcReserve.avsc"),
    );
    write(
        folder.path(),
        "state.json",
        r#"{"pcr_date_time":"2024-01-01 00:00:00","pcr_key":"0"}"#,
    );
    write(
        folder.path(),
        "settings.yaml",
        &format!(
            "ENVISIONWARE_URL: sqlite:envisionware.db\nSIERRA_URL: sqlite:sierra.db\nREDSHIFT_URL: sqlite:redshift.db\n\
             PC_RESERVE_SCHEMA_URL: file:schema.avsc\nSTATE_URL: file:state.json\nSTREAM_URL: file:stream\n\
             BCRYPT_SALT: {SALT}\n"
        ),
    );
    let keys = (0..SESSIONS).map(|i| key(i).to_string());
    let patrons = (0..PATRONS_OF_SESSIONS).map(|i| patron(i).to_string());
    let values: Vec<String> = keys.chain(patrons).collect();
    let number = values.len();
    let floor = hashing(&runtime, values);
    let taken = watershed(
        folder.path(),
        &["run", "pc-reserve", "--config", "settings.yaml"],
    );
    AgainstFloor {
        pipeline: "pc-reserve",
        what: format!(
            "{SESSIONS} sessions of {PATRONS_OF_SESSIONS} patrons at cost 7 ({:.0} a second)",
            SESSIONS as f64 / taken.seconds
        ),
        seconds: taken.seconds,
        peak_mib: taken.peak_mib,
        floor,
        of: format!("hashing {number} values on all cores"),
    }
    .into()
}

/// How long the values take to be hashed, and nothing else.
fn hashing(runtime: &Runtime, values: Vec<String>) -> f64 {
    let values: Vec<Personal<String>> = values.into_iter().map(Personal::new).collect();
    let pseudonymiser = Pseudonymiser::new(&Secret::new(SALT)).expect("the salt is well-formed");
    let start = Instant::now();
    runtime
        .block_on(pseudonymiser.pseudonyms(&values))
        .expect("pseudonyms");
    start.elapsed().as_secs_f64()
}

fn patron(i: i64) -> i64 {
    481_036_000_337 + i * 337
}

fn key(i: i64) -> i64 {
    5_000_000 + i * 7
}

/// A second after the other, on one day.
fn instant(i: i64) -> String {
    let (hour, minute, second) = (i / 3600, i / 60 % 60, i % 60);
    format!("2024-06-01 {hour:02}:{minute:02}:{second:02}.000000")
}

fn write(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).expect("a file in a folder of our own");
}

fn sierra_with_patrons(path: &Path) -> rusqlite::Result<()> {
    let mut sierra = Connection::open(path)?;
    sierra.execute_batch(
        "CREATE TABLE record_metadata (id INTEGER PRIMARY KEY, record_type_code TEXT, creation_date_gmt TEXT,
            record_last_updated_gmt TEXT, deletion_date_gmt TEXT);
        CREATE TABLE patron_record_address (patron_record_id INTEGER, display_order INTEGER,
            patron_record_address_type_id INTEGER, addr1 TEXT, city TEXT, region TEXT, postal_code TEXT);
        CREATE TABLE patron_view (id INTEGER, ptype_code INTEGER, pcode3 INTEGER, home_library_code TEXT, activity_gmt TEXT);
        CREATE INDEX created ON record_metadata (creation_date_gmt, id);
        CREATE INDEX address ON patron_record_address (patron_record_id);
        CREATE INDEX detail ON patron_view (id);",
    )?;
    let transaction = sierra.transaction()?;
    for i in 0..PATRONS {
        let at = instant(i);
        transaction
            .prepare_cached("INSERT INTO record_metadata VALUES (?, 'p', ?, ?, NULL)")?
            .execute(params![patron(i), at, at])?;
        transaction
            .prepare_cached(
                "INSERT INTO patron_record_address VALUES (?, 0, 1, ?, 'NEW YORK', 'NY', '10018')",
            )?
            .execute(params![patron(i), format!("{} MAIN STREET", i + 1)])?;
        transaction
            .prepare_cached("INSERT INTO patron_view VALUES (?, 10, 4, 'aa', NULL)")?
            .execute(params![patron(i)])?;
    }
    transaction.commit()
}

fn envisionware_with_sessions(folder: &Path) -> rusqlite::Result<()> {
    let mut envisionware = Connection::open(folder.join("envisionware.db"))?;
    envisionware.execute_batch(
        "CREATE TABLE strad_bci (pcrKey INTEGER PRIMARY KEY, pcrUserID TEXT, pcrMinutesUsed INTEGER,
            pcrDateTime TEXT, pcrBranch TEXT, pcrArea TEXT, pcrUserData1 TEXT);
        CREATE INDEX in_order ON strad_bci (pcrDateTime, pcrKey);",
    )?;
    let transaction = envisionware.transaction()?;
    for i in 0..SESSIONS {
        let at = instant(i);
        transaction
            .prepare_cached(
                "INSERT INTO strad_bci VALUES (?, ?, 30, ?, 'Tidewater', 'Adult', NULL)",
            )?
            .execute(params![key(i), barcode(i % PATRONS_OF_SESSIONS), at])?;
    }
    transaction.commit()?;
    let mut sierra = Connection::open(folder.join("sierra.db"))?;
    sierra.execute_batch(
        "CREATE TABLE phrase_entry (record_id INTEGER, index_tag TEXT, index_entry TEXT);
        CREATE TABLE patron_view (id INTEGER, barcode TEXT, ptype_code INTEGER, pcode3 INTEGER, home_library_code TEXT);
        CREATE INDEX barcode ON phrase_entry ((index_tag || index_entry));
        CREATE INDEX patron ON patron_view (id);",
    )?;
    let transaction = sierra.transaction()?;
    for i in 0..PATRONS_OF_SESSIONS {
        transaction
            .prepare_cached("INSERT INTO phrase_entry VALUES (?, 'b', ?)")?
            .execute(params![patron(i), barcode(i)])?;
        transaction
            .prepare_cached("INSERT INTO patron_view VALUES (?, ?, 10, 4, 'aa')")?
            .execute(params![patron(i), barcode(i)])?;
    }
    transaction.commit()?;
    Connection::open(folder.join("redshift.db"))?.execute_batch(
        "CREATE TABLE patron_info (patron_id TEXT, postal_code TEXT, geoid TEXT);
        CREATE INDEX patron ON patron_info (patron_id);",
    )
}

fn barcode(i: i64) -> String {
    format!("2333{:010}", i * 37)
}

/// Serves Census and NYC; gives their address.
async fn serve_geocoders() -> String {
    let app = Router::new().route("/census", post(census)).route(
        "/nyc/address.json",
        get(|| async { r#"{"address": {"message": "not recognised"}}"# }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// Matches every second address, after a while.
async fn census(body: String) -> String {
    sleep(CENSUS).await;
    let csv = body.split("\r\n\r\n").nth(1).unwrap_or_default();
    let csv = csv.split("\r\n--").next().unwrap_or_default();
    let rows = csv.lines().enumerate().map(|(i, row)| {
        let number = row.split(',').next().unwrap_or_default();
        if i % 2 == 0 {
            format!("\"{number}\",\"echo\",\"Match\",\"Exact\",\"MAIN ST\",\"-73.9,40.7\",\"1\",\"L\",\"36\",\"061\",\"000100\",\"1000\"\n")
        } else {
            format!("\"{number}\",\"echo\",\"No_Match\"\n")
        }
    });
    rows.collect()
}
