//! Invented patrons for the demo: a Sierra, a Redshift and a geocoder as SQLite files.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use fastrand::Rng;
use jiff::civil::{Date, date};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use rusqlite::{Connection, params};
use watershed::error::{OrFail as _, Remedy, Result};
use watershed::geocoding::Ranges;
use watershed::privacy::{Personal, Pseudonymiser, Secret};
use watershed::time::format_utc;

const SALT: &str = "$2b$04$DemoSaltOfTheWatershe.";
const NEW: usize = 3_200;
const UPDATED: usize = 1_400;
const DELETED: usize = 400;
/// Every so many-th patron has a type that is no number, and is set aside.
const UNREADABLE: usize = 1_300;

const STREETS: &[&str] = &[
    "ALDER ST",
    "ANCHOR LN",
    "BEECH AVE",
    "BELLTOWER PL",
    "CANDLE ST",
    "CEDAR CT",
    "CHANDLER AVE",
    "COBBLE HILL RD",
    "DRYDOCK ST",
    "EAST MEADOW ST",
    "ELM TER",
    "FERRY SLIP",
    "FOUNDRY AVE",
    "GARNET ST",
    "HARBOR VIEW PL",
    "HAZEL ST",
    "IRONWORKS AVE",
    "JUNIPER ST",
    "KILN ST",
    "LANTERN AVE",
    "LINDEN BLVD",
    "MAPLE PL",
    "MILLRACE RD",
    "NORTH MEADOW ST",
    "ORCHARD WALK",
    "PEARTREE LN",
    "QUARRY RD",
    "ROPEWALK ST",
    "SPRUCE ST",
    "TANNERY ROW",
    "UPLAND DR",
    "WEST MEADOW ST",
];
const ZIPS: &[&str] = &["10901", "10902", "10903", "10904", "10905", "10906"];
const LIBRARIES: &[&str] = &["aa", "bb   ", "cc", "dd", "none", ""];

const SIERRA: &str = "
    CREATE TABLE record_metadata (id INTEGER PRIMARY KEY, record_type_code TEXT, creation_date_gmt TEXT,
        record_last_updated_gmt TEXT, deletion_date_gmt TEXT);
    CREATE TABLE patron_record_address (patron_record_id INTEGER, display_order INTEGER,
        patron_record_address_type_id INTEGER, addr1 TEXT, city TEXT, region TEXT, postal_code TEXT);
    CREATE TABLE patron_view (id INTEGER, ptype_code ANY, pcode3 INTEGER, home_library_code TEXT, activity_gmt TEXT);
    CREATE INDEX created ON record_metadata (creation_date_gmt, id);
    CREATE INDEX updated ON record_metadata (record_last_updated_gmt, id);
    CREATE INDEX deleted ON record_metadata (deletion_date_gmt, id);
    CREATE INDEX address ON patron_record_address (patron_record_id);
    CREATE INDEX detail ON patron_view (id);";

const REDSHIFT: &str = "
    CREATE TABLE patron_info (patron_id TEXT, address_hash TEXT, postal_code TEXT, geoid TEXT, creation_date_et TEXT,
        deletion_date_et TEXT, circ_active_date_et TEXT, ptype_code INTEGER, pcode3 INTEGER,
        patron_home_library_code TEXT, initial_patron_home_library_code TEXT);
    CREATE INDEX patron ON patron_info (patron_id);
    CREATE INDEX address ON patron_info (address_hash);";

/// A patron as Sierra has them.
struct Invented {
    id: i64,
    created: Timestamp,
    updated: Timestamp,
    deleted: Option<Date>,
    street: Option<String>,
    zip: &'static str,
    library: &'static str,
}

/// Writes everything that a run needs below `folder`.
pub(super) async fn prepare(folder: &Path) -> Result<()> {
    let mut rng = Rng::with_seed(7);
    fs::create_dir_all(folder)
        .or_fail(Remedy::FixAccess, || format!("making {}", folder.display()))?;
    let patrons = invent(&mut rng);
    sierra(&folder.join("sierra.db"), &patrons, &mut rng)
        .or_fail(Remedy::FixAccess, || "making the demo's Sierra".into())?;
    redshift(&folder.join("redshift.db"), &patrons, &mut rng).await?;
    let ranges = ranges(&mut rng);
    Ranges::build(
        ranges.as_bytes(),
        "the demo's address ranges",
        &folder.join("ranges.db"),
    )?;
    let place = folder.display();
    let files = [
        ("ranges.csv", ranges),
        ("PatronInfo.avsc", include_str!("PatronInfo.avsc").to_owned()),
        ("state.json", r#"{"creation_dt":"2026-02-23T00:00:00-05:00","update_dt":"2026-02-23T00:00:00-05:00","deletion_date":"2026-02-23"}"#.to_owned()),
        ("settings.yaml", format!("\
# The demo's settings. Again: watershed run patron-info --config {place}/settings.yaml
SIERRA_URL: sqlite:{place}/sierra.db
REDSHIFT_URL: sqlite:{place}/redshift.db
REDSHIFT_TABLE: patron_info
PATRON_INFO_SCHEMA_URL: file:{place}/PatronInfo.avsc
GEOCODER_URL: ranges:{place}/ranges.db
STATE_URL: file:{place}/state.json
STREAM_URL: file:{place}/stream
# Cost 4 is bcrypt's lowest, for a demo alone.
BCRYPT_SALT: {SALT}
ACTIVE_PATRON_BATCH_SIZE: 1000
AS_OF: 2026-03-02 12:00:00-05
")),
    ];
    for (name, text) in files {
        fs::write(folder.join(name), text)
            .or_fail(Remedy::FixAccess, || format!("writing {place}/{name}"))?;
    }
    Ok(())
}

fn instant(year: i16, month: i8, day: i8) -> Timestamp {
    TimeZone::UTC
        .to_timestamp(date(year, month, day).at(5, 0, 0, 0))
        .expect("the date exists")
}

fn invent(rng: &mut Rng) -> Vec<Invented> {
    let (long_ago, window) = (instant(2015, 1, 1), instant(2026, 2, 23));
    let within = |rng: &mut Rng, start: Timestamp, days: i64| {
        start + rng.i64(0..days * 86_400_000).milliseconds()
    };
    let mut patrons = Vec::with_capacity(NEW + UPDATED + DELETED);
    for i in 0..NEW + UPDATED + DELETED {
        let (created, updated, deleted) = if i < NEW {
            // Many are created in one batch, so that their instants are equal.
            let created = within(rng, window, 7);
            let created = if i % 8 == 0 {
                window + 12.hours()
            } else {
                created
            };
            (created, created, None)
        } else if i < NEW + UPDATED {
            (within(rng, long_ago, 4_000), within(rng, window, 7), None)
        } else {
            let created = within(rng, long_ago, 4_000);
            (created, created, Some(date(2026, 2, 23 + rng.i8(0..6))))
        };
        let street = rng.usize(0..STREETS.len());
        let number = rng.u32(1..1_100);
        let unit = ["", "", "", " APT 3B", " # 12", ", FL 2"][rng.usize(0..6)];
        let typed = match rng.u32(0..100) {
            0..4 => None,
            4..8 => Some(format!("PO BOX {number}")),
            8..30 => Some(format!("{number} {}{unit}", STREETS[street].to_lowercase())),
            _ => Some(format!("{number} {}{unit}", STREETS[street])),
        };
        patrons.push(Invented {
            id: 481_036_000_337 + i as i64 * 337,
            created,
            updated,
            deleted,
            street: typed,
            zip: ZIPS[street % ZIPS.len()],
            library: LIBRARIES[rng.usize(0..LIBRARIES.len())],
        });
    }
    patrons
}

fn sierra(path: &Path, patrons: &[Invented], rng: &mut Rng) -> rusqlite::Result<()> {
    let mut connection = Connection::open(path)?;
    connection.execute_batch(SIERRA)?;
    let transaction = connection.transaction()?;
    {
        let mut metadata =
            transaction.prepare("INSERT INTO record_metadata VALUES (?, 'p', ?, ?, ?)")?;
        let mut address = transaction
            .prepare("INSERT INTO patron_record_address VALUES (?, ?, ?, ?, ?, ?, ?)")?;
        let mut detail = transaction.prepare("INSERT INTO patron_view VALUES (?, ?, ?, ?, ?)")?;
        for (i, patron) in patrons.iter().enumerate() {
            let deleted = patron.deleted.map(|date| date.to_string());
            metadata.execute(params![
                patron.id,
                format_utc(patron.created),
                format_utc(patron.updated),
                deleted
            ])?;
            if let Some(street) = &patron.street {
                address.execute(params![
                    patron.id,
                    0,
                    1,
                    street,
                    " Tidewater",
                    "NY",
                    patron.zip
                ])?;
                if i % 5 == 0 {
                    address.execute(params![
                        patron.id,
                        1,
                        2,
                        "1 OLD ADDRESS RD",
                        "Elsewhere",
                        "NY",
                        "10999"
                    ])?;
                }
            }
            if patron.deleted.is_some() {
                continue;
            }
            let active = (i % 3 > 0).then(|| format_utc(patron.updated));
            if i % UNREADABLE == UNREADABLE - 1 {
                detail.execute(params![patron.id, "many", 1, patron.library, active])?;
            } else {
                detail.execute(params![
                    patron.id,
                    rng.i32(0..80),
                    rng.i32(0..200),
                    patron.library,
                    active
                ])?;
            }
        }
    }
    transaction.commit()
}

/// What was delivered about the older patrons: two thirds still live at the address.
async fn redshift(path: &Path, patrons: &[Invented], rng: &mut Rng) -> Result<()> {
    let pseudonymiser = Pseudonymiser::new(&Secret::new(SALT))?;
    let known: Vec<&Invented> = patrons[NEW..]
        .iter()
        .filter(|patron| patron.id % 500 > 0)
        .collect();
    let mut texts = Vec::with_capacity(known.len() * 2);
    for patron in &known {
        texts.push(Personal::new(patron.id.to_string()));
        let street = patron.street.as_deref().unwrap_or_default();
        let (city, region, zip) = if street.is_empty() {
            ("", "", "")
        } else {
            ("Tidewater", "NY", patron.zip)
        };
        let street = if patron.id % 3 == 0 {
            "1 FORMER ADDRESS RD"
        } else {
            street
        };
        texts.push(Personal::new(format!(
            "{}_{street}_{city}_{region}_{zip}",
            patron.id
        )));
    }
    let pseudonyms = pseudonymiser.pseudonyms(&texts).await?;
    let mut insert = || -> rusqlite::Result<()> {
        let mut connection = Connection::open(path)?;
        connection.execute_batch(REDSHIFT)?;
        let transaction = connection.transaction()?;
        let sql =
            "INSERT INTO patron_info VALUES (?, ?, ?, ?, ?, NULL, '2026-01-15', ?, ?, 'aa', ?)";
        for (i, patron) in known.iter().enumerate() {
            let tract = format!("36087{:06}", rng.u32(100..20_000));
            let initial = (i % 600 > 0).then_some("bb");
            let created = patron.created.strftime("%Y-%m-%d").to_string();
            transaction.prepare_cached(sql)?.execute(params![
                pseudonyms[2 * i].as_str(),
                pseudonyms[2 * i + 1].as_str(),
                patron.zip,
                tract,
                created,
                rng.i32(0..80),
                rng.i32(0..200),
                initial
            ])?;
        }
        transaction.commit()
    };
    insert().or_fail(Remedy::FixAccess, || "making the demo's Redshift".into())
}

/// Each street lies in one ZIP, in blocks of a hundred numbers with a tract on each side.
fn ranges(rng: &mut Rng) -> String {
    let mut csv = String::from("street,zip,side,from,to,tract\n");
    for (i, street) in STREETS.iter().enumerate() {
        for block in 0..10 {
            for (side, offset) in [("odd", 1), ("even", 2)] {
                let (from, to) = (block * 100 + offset, block * 100 + 98 + offset);
                let tract = rng.u32(100..20_000);
                let _ = writeln!(
                    csv,
                    "{street},{},{side},{from},{to},36087{tract:06}",
                    ZIPS[i % ZIPS.len()]
                );
            }
        }
    }
    csv
}
