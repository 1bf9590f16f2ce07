//! Invented sessions for the demo: an Envisionware, a Sierra and a Redshift as SQLite files.

use std::fs;
use std::path::Path;

use fastrand::Rng;
use jiff::ToSpan as _;
use jiff::civil::date;
use rusqlite::{Connection, params};
use watershed::error::{OrFail as _, Remedy, Result};
use watershed::privacy::{Personal, Pseudonymiser, Secret};

const SALT: &str = "$2b$04$DemoSaltOfTheWatershe.";
const SESSIONS: i64 = 1_800;
const PATRONS: i64 = 600;
/// Every so many-th session has minutes that are no number, and is set aside.
const UNREADABLE: i64 = 700;

const ENVISIONWARE: &str = "
    CREATE TABLE strad_bci (pcrKey INTEGER PRIMARY KEY, pcrUserID TEXT, pcrMinutesUsed ANY, pcrDateTime TEXT,
        pcrBranch TEXT, pcrArea TEXT, pcrUserData1 TEXT);
    CREATE INDEX in_order ON strad_bci (pcrDateTime, pcrKey);";
const SIERRA: &str = "
    CREATE TABLE phrase_entry (record_id INTEGER, index_tag TEXT, index_entry TEXT);
    CREATE TABLE patron_view (id INTEGER, barcode TEXT, ptype_code INTEGER, pcode3 INTEGER, home_library_code TEXT);
    CREATE INDEX barcode ON phrase_entry ((index_tag || index_entry));
    CREATE INDEX patron ON patron_view (id);";
const REDSHIFT: &str = "
    CREATE TABLE patron_info (patron_id TEXT, postal_code TEXT, geoid TEXT);
    CREATE INDEX patron ON patron_info (patron_id);";

/// Writes everything that a run needs below `folder`.
pub(super) async fn prepare(folder: &Path) -> Result<()> {
    let mut rng = Rng::with_seed(11);
    fs::create_dir_all(folder)
        .or_fail(Remedy::FixAccess, || format!("making {}", folder.display()))?;
    envisionware(&folder.join("envisionware.db"), &mut rng).or_fail(Remedy::FixAccess, || {
        "making the demo's Envisionware".into()
    })?;
    sierra(&folder.join("sierra.db"), &mut rng)
        .or_fail(Remedy::FixAccess, || "making the demo's Sierra".into())?;
    redshift(&folder.join("redshift.db"), &mut rng).await?;
    let place = folder.display();
    let settings = format!(
        "\
# The demo's settings. Again: watershed run pc-reserve --config {place}/settings.yaml
ENVISIONWARE_URL: sqlite:{place}/envisionware.db
SIERRA_URL: sqlite:{place}/sierra.db
REDSHIFT_URL: sqlite:{place}/redshift.db
PC_RESERVE_SCHEMA_URL: file:{place}/PcReserve.avsc
STATE_URL: file:{place}/state.json
STREAM_URL: file:{place}/stream
# Cost 4 is bcrypt's lowest, for a demo alone.
BCRYPT_SALT: {SALT}
ENVISIONWARE_BATCH_SIZE: 500
AS_OF: 2026-03-02 12:00:00-05
"
    );
    let state = r#"{"pcr_date_time":"2026-02-28 09:00:00","pcr_key":"5000000"}"#;
    for (name, text) in [
        ("PcReserve.avsc", include_str!("PcReserve.avsc")),
        ("state.json", state),
        ("settings.yaml", &settings),
    ] {
        fs::write(folder.join(name), text)
            .or_fail(Remedy::FixAccess, || format!("writing {place}/{name}"))?;
    }
    Ok(())
}

fn barcode(patron: i64) -> String {
    format!("2333{:010}", patron * 37)
}

fn id(patron: i64) -> i64 {
    481_036_000_337 + patron * 337
}

/// Two days of sessions, of which the first is the one where the state stands.
fn envisionware(path: &Path, rng: &mut Rng) -> rusqlite::Result<()> {
    let mut connection = Connection::open(path)?;
    connection.execute_batch(ENVISIONWARE)?;
    let transaction = connection.transaction()?;
    let opening = date(2026, 2, 28).at(9, 0, 0, 0);
    for i in 0..=SESSIONS {
        // A minute has several sessions now and then, which only their keys tell apart.
        let at = opening + (i * 90 / 60).minutes();
        // Some are patrons of Sierra, some have a card that it does not know, some are guests.
        let user = match rng.u32(0..100) {
            0..80 => Some(barcode(rng.i64(0..PATRONS))),
            80..88 => Some(barcode(PATRONS + rng.i64(0..200))),
            88..99 => Some(format!("25555{:09}", rng.u32(0..300))),
            _ => None,
        };
        let minutes = match i % UNREADABLE {
            0 if i > 0 => "many".to_owned(),
            _ => rng.u32(0..120).to_string(),
        };
        let branch = ["Tidewater", "Harbor View", "Millrace"][rng.usize(0..3)];
        let area = ["Adult", "Teen", "Children"][rng.usize(0..3)];
        let staff_override = ["N", "N", "N", "Y"][rng.usize(0..4)];
        transaction
            .prepare_cached("INSERT INTO strad_bci VALUES (?, ?, ?, ?, ?, ?, ?)")?
            .execute(params![
                5_000_000 + i * 7,
                user,
                minutes,
                at.strftime("%Y-%m-%d %H:%M:%S.%6f").to_string(),
                branch,
                area,
                staff_override
            ])?;
    }
    transaction.commit()
}

fn sierra(path: &Path, rng: &mut Rng) -> rusqlite::Result<()> {
    let mut connection = Connection::open(path)?;
    connection.execute_batch(SIERRA)?;
    let transaction = connection.transaction()?;
    for patron in 0..PATRONS {
        transaction
            .prepare_cached("INSERT INTO phrase_entry VALUES (?, 'b', ?)")?
            .execute(params![id(patron), barcode(patron)])?;
        let library = ["aa", "bb   ", "cc", "none"][rng.usize(0..4)];
        transaction
            .prepare_cached("INSERT INTO patron_view VALUES (?, ?, ?, ?, ?)")?
            .execute(params![
                id(patron),
                barcode(patron),
                rng.i32(0..80),
                rng.i32(0..200),
                library
            ])?;
    }
    transaction.commit()
}

/// Where three quarters of the patrons live; a few are stored twice.
async fn redshift(path: &Path, rng: &mut Rng) -> Result<()> {
    let pseudonymiser = Pseudonymiser::new(&Secret::new(SALT))?;
    let ids: Vec<_> = (0..PATRONS)
        .map(|patron| Personal::new(id(patron).to_string()))
        .collect();
    let pseudonyms = pseudonymiser.pseudonyms(&ids).await?;
    let mut insert = || -> rusqlite::Result<()> {
        let mut connection = Connection::open(path)?;
        connection.execute_batch(REDSHIFT)?;
        let transaction = connection.transaction()?;
        for (i, pseudonym) in pseudonyms.iter().enumerate().filter(|(i, _)| i % 4 > 0) {
            let times = if i % 199 == 0 { 2 } else { 1 };
            for _ in 0..times {
                let postal_code = format!("1090{}", rng.u32(1..7));
                let geoid = format!("36087{:06}", rng.u32(100..20_000));
                transaction
                    .prepare_cached("INSERT INTO patron_info VALUES (?, ?, ?)")?
                    .execute(params![pseudonym.as_str(), postal_code, geoid])?;
            }
        }
        transaction.commit()
    };
    insert().or_fail(Remedy::FixAccess, || "making the demo's Redshift".into())
}
