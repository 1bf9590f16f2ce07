//! Invented doors for the demo: recorded answers of ShopperTrak, and a Redshift as a SQLite file.
//!
//! The last poll was on 26 February, three days are waiting, and two things are to be mended in the
//! month before: a day of broken counters at one site, and a day without any data at another.

use std::fs;
use std::path::Path;

use fastrand::Rng;
use jiff::ToSpan as _;
use jiff::civil::{Date, date};
use rusqlite::{Connection, params};
use watershed::error::{OrFail as _, Remedy, Result};

/// Ids begin with the location; those of one location share its hours.
const SITES: &[&str] = &[
    "aa",
    "bb",
    "cc - Annex",
    "dd",
    "ee",
    "ff - Garden Wing",
    "gg",
    "hh",
    "ii",
    "jj",
];
const DOORS: u8 = 2;
const LAST_POLL: Date = date(2026, 2, 26);
const POLLED: [Date; 3] = [date(2026, 2, 27), date(2026, 2, 28), date(2026, 3, 1)];
/// First day of the month that may be mended.
const WINDOW: Date = date(2026, 1, 31);
/// The site and the day of its broken counters, which have been read out since.
const BROKEN: (&str, Date) = ("bb", date(2026, 2, 20));
/// The site and the day without any data.
const ABSENT: (&str, Date) = ("dd", date(2026, 2, 18));
/// A site whose counters are broken while the demo polls.
const BREAKING: &str = "gg";

const REDSHIFT: &str = "
    CREATE TABLE location_visits (id INTEGER PRIMARY KEY, shoppertrak_site_id TEXT, orbit INTEGER,
        increment_start TEXT, enters INTEGER, exits INTEGER, is_healthy_data INTEGER,
        is_missing_data INTEGER, is_fresh INTEGER, poll_date TEXT);
    CREATE TABLE location_hours_v2 (location_id TEXT, weekday TEXT, regular_open TEXT,
        regular_close TEXT, is_current INTEGER);
    CREATE TABLE location_closures_v2 (location_id TEXT, closure_date TEXT, is_full_day INTEGER);
    INSERT INTO location_closures_v2 VALUES (NULL, '2026-02-16', 1);";

/// Writes everything that a run needs below `folder`.
pub(super) async fn prepare(folder: &Path) -> Result<()> {
    let place = folder.display();
    let what = || format!("making the demo's doors in {place}");
    let mut rng = Rng::with_seed(17);
    for inner in ["shoppertrak/allsites", "shoppertrak/site"] {
        fs::create_dir_all(folder.join(inner)).or_fail(Remedy::FixAccess, what)?;
    }
    record_answers(&folder.join("shoppertrak"), &mut rng).or_fail(Remedy::FixAccess, what)?;
    redshift(&folder.join("redshift.db")).or_fail(Remedy::FixAccess, what)?;
    let sites = serde_json::to_string(SITES).or_fail(Remedy::ReportBug, what)?;
    let settings = format!(
        "\
# The demo's settings. Again: watershed run location-visits --config {place}/settings.yaml
SHOPPERTRAK_API_BASE_URL: file:{place}/shoppertrak
REDSHIFT_URL: sqlite:{place}/redshift.db
LOCATION_VISITS_SCHEMA_URL: file:{place}/LocationVisits.avsc
ALL_SITES_URL: file:{place}/sites.json
STATE_URL: file:{place}/state.json
STREAM_URL: file:{place}/stream
AS_OF: 2026-03-02 12:00:00-05
"
    );
    let state = format!("{{\"last_poll_date\":\"{LAST_POLL}\"}}");
    for (name, text) in [
        ("LocationVisits.avsc", include_str!("LocationVisits.avsc")),
        ("sites.json", &sites),
        ("state.json", &state),
        ("settings.yaml", &settings),
    ] {
        fs::write(folder.join(name), text)
            .or_fail(Remedy::FixAccess, || format!("writing {place}/{name}"))?;
    }
    Ok(())
}

/// The answers of the days that are polled, and of those that are mended.
fn record_answers(folder: &Path, rng: &mut Rng) -> std::io::Result<()> {
    for day in POLLED {
        let sites = SITES.iter().map(|site| {
            let works = *site != BREAKING;
            let answer = visits(site, day, works, rng);
            // One increment is about no time of the day.
            if (*site, day) == ("hh", POLLED[1]) {
                answer.replacen("startTime=\"120000\"", "startTime=\"noon\"", 1)
            } else {
                answer
            }
        });
        let answer = document(&sites.collect::<String>());
        fs::write(folder.join("allsites").join(file_name(day)), answer)?;
    }
    for (site, day) in [BROKEN, ABSENT] {
        let folder = folder.join("site").join(site);
        fs::create_dir_all(&folder)?;
        let answer = document(&visits(site, day, true, rng));
        fs::write(folder.join(file_name(day)), answer)?;
    }
    Ok(())
}

fn file_name(day: Date) -> String {
    format!("{}.xml", day.strftime("%Y%m%d"))
}

fn document(sites: &str) -> String {
    format!("<?xml version=\"1.0\"?>\n<sites>\n{sites}</sites>\n")
}

/// What the doors of a site have counted on a day.
fn visits(site: &str, day: Date, works: bool, rng: &mut Rng) -> String {
    let date = day.strftime("%Y%m%d");
    let mut xml = format!("<site siteID=\"{site}\"><date dateValue=\"{date}\">\n");
    for door in 1..=DOORS {
        xml.push_str(&format!("<entrance entranceName=\"EP 0{door}\">\n"));
        for quarter in 0..96u32 {
            let (hour, minute) = (quarter / 4, quarter % 4 * 15);
            let is_open = (10..18).contains(&hour);
            let mut people = || match works && is_open {
                true => rng.u32(0..30),
                false => 0,
            };
            let (enters, exits) = (people(), people());
            let code = if works { "01" } else { "02" };
            xml.push_str(&format!(
                "<traffic code=\"{code}\" enters=\"{enters}\" exits=\"{exits}\" startTime=\"{hour:02}{minute:02}00\"/>\n"
            ));
        }
        xml.push_str("</entrance>\n");
    }
    xml.push_str("</date></site>\n");
    xml
}

/// What was delivered in the month before: a healthy row a site and day, but for what is mended.
fn redshift(path: &Path) -> rusqlite::Result<()> {
    let mut connection = Connection::open(path)?;
    connection.execute_batch(REDSHIFT)?;
    let transaction = connection.transaction()?;
    for site in SITES {
        let location = site.split(' ').next();
        for weekday in [
            "Monday",
            "Tuesday",
            "Wednesday",
            "Thursday",
            "Friday",
            "Saturday",
        ] {
            transaction
                .prepare_cached("INSERT INTO location_hours_v2 VALUES (?, ?, '10:00', '18:00', 1)")?
                .execute(params![location, weekday])?;
        }
        transaction
            .prepare_cached("INSERT INTO location_hours_v2 VALUES (?, 'Sunday', NULL, NULL, 1)")?
            .execute(params![location])?;
        let mut day = WINDOW;
        while day <= LAST_POLL {
            let healthy = (*site, day) != BROKEN;
            let quarters = match ((*site, day) == ABSENT, healthy) {
                (true, _) => 0,
                (_, true) => 1,
                (_, false) => 8,
            };
            for quarter in 0..quarters {
                let start = day.at(12, 0, 0, 0) + (quarter * 15).minutes();
                let count = if healthy { 5 } else { 0 };
                transaction
                    .prepare_cached("INSERT INTO location_visits VALUES (NULL, ?1, 1, ?2, ?3, ?3, ?4, ?5, 1, ?6)")?
                    .execute(params![
                        site,
                        start.strftime("%Y-%m-%d %H:%M:%S.%6f").to_string(),
                        count,
                        healthy,
                        !healthy,
                        (day + 1.day()).to_string()
                    ])?;
            }
            day += 1.day();
        }
    }
    transaction.commit()
}
