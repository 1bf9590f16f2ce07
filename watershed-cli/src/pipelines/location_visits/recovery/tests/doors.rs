//! The outside world of a test: an embedded Redshift, a ShopperTrak that says what it is told, and
//! a stream.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use jiff::civil::{Date, DateTime};
use rusqlite::Connection;
use tempfile::TempDir;
use watershed::connectors::sql::Database;
use watershed::engine::Stop;
use watershed::error::{Error, Remedy, Result};
use watershed::pipeline::{DeadLetter, Delivered, Transformed};
use watershed::privacy::Secret;
use watershed::retry::Policy;

use super::super::{Answer, Ask, Exchange, Recovery, SiteDay, Tables, Visit, Window};
use crate::pipelines::databases::REDSHIFT;

const TABLES: &str =
    "CREATE TABLE location_visits (id INTEGER PRIMARY KEY, shoppertrak_site_id TEXT,
        orbit INTEGER, increment_start TEXT, enters INTEGER, exits INTEGER,
        is_healthy_data INTEGER, is_missing_data INTEGER, is_fresh INTEGER, poll_date TEXT);
    CREATE TABLE location_closures_v2 (location_id TEXT, closure_date TEXT, is_full_day INTEGER)";

pub const DAY: &str = "2024-06-15";

/// What the stream does with the records of the next delivery.
#[derive(Clone, Copy, PartialEq)]
pub enum Stream {
    Takes,
    Skips,
    SetsTheFirstAside,
    Fails,
}

/// The outside world of a test.
pub struct Doors {
    folder: TempDir,
    tables: Tables,
    /// What ShopperTrak answers, by day and site; nothing for others.
    pub answers: BTreeMap<(String, String), Vec<Visit>>,
    /// Stands in every answer.
    pub malformed: Vec<DeadLetter>,
    asked: RefCell<Vec<String>>,
    pub sent: RefCell<Vec<Visit>>,
    pub stream: Cell<Stream>,
    pub requests: Cell<u64>,
    pub stop: Stop,
    /// Asks for a stop while this site is being asked for.
    pub stop_at: Option<&'static str>,
    pub limit_at: Option<&'static str>,
    /// Sites at which the server fails.
    pub failing: Vec<&'static str>,
}

impl Exchange for Doors {
    async fn ask(&self, at: &SiteDay, ask: Ask) -> Result<Answer> {
        self.requests.set(self.requests.get() + 1);
        let kind = if ask == Ask::Missing {
            "missing"
        } else {
            "unhealthy"
        };
        self.asked.borrow_mut().push(format!("{at} {kind}"));
        if self.stop_at == Some(at.site.as_str()) {
            self.stop.request();
        }
        if self.limit_at == Some(at.site.as_str()) {
            return Ok(Answer::LimitReached);
        }
        if self.failing.contains(&at.site.as_str()) {
            return Ok(Answer::ServerError);
        }
        let answer = self.answers.get(&(at.day.to_string(), at.site.clone()));
        let Some(visits) = answer.cloned() else {
            return Ok(Answer::Nothing);
        };
        let mut answer = Transformed {
            outputs: visits,
            set_aside: self.malformed.clone(),
            ..Transformed::default()
        };
        let all = answer.outputs.len();
        let wanted = |visit: &Visit| ask == Ask::Missing || visit.healthy;
        answer.outputs.retain(wanted);
        let unhealthy = all - answer.outputs.len();
        answer.skipped.add("still unhealthy", unhealthy as u64);
        Ok(Answer::Visits(answer))
    }

    async fn send(&self, visits: Vec<Visit>) -> Result<Delivered> {
        let mut delivered = Delivered::default();
        match self.stream.get() {
            Stream::Takes => self.sent.borrow_mut().extend(visits),
            Stream::Skips => delivered.skipped.add("not sent", visits.len() as u64),
            Stream::SetsTheFirstAside => {
                self.sent.borrow_mut().extend(visits.into_iter().skip(1));
                delivered.set_aside.push(letter("too large"));
            }
            Stream::Fails => return Err(Error::new(Remedy::TryAgain, "sending")),
        }
        Ok(delivered)
    }

    fn requests(&self) -> u64 {
        self.requests.get()
    }
}

impl Doors {
    pub fn new() -> Doors {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("redshift.db");
        let url = Secret::new(format!("sqlite:{}", path.display()));
        let policy = Policy::within(Duration::from_secs(5));
        let doors = Doors {
            tables: Tables {
                database: Database::open(&url, REDSHIFT, policy).unwrap(),
                visits: "location_visits".into(),
                closures: "location_closures_v2".into(),
            },
            folder,
            answers: BTreeMap::new(),
            malformed: Vec::new(),
            asked: RefCell::default(),
            sent: RefCell::default(),
            stream: Cell::new(Stream::Takes),
            requests: Cell::new(0),
            stop: Stop::new(),
            stop_at: None,
            limit_at: None,
            failing: Vec::new(),
        };
        doors.in_redshift(TABLES);
        doors
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("redshift.db")
    }

    pub fn in_redshift(&self, sql: &str) {
        let redshift = Connection::open(self.path()).unwrap();
        redshift.execute_batch(sql).expect(sql);
    }

    /// Adds rows of `DAY`: door, hour, healthy, fresh, enters.
    pub fn rows(&self, site: &str, rows: &[(Option<i32>, u8, bool, bool, i32)]) {
        for (orbit, hour, healthy, fresh, enters) in rows {
            let orbit = orbit.map_or("NULL".into(), |orbit| orbit.to_string());
            self.in_redshift(&format!(
                "INSERT INTO location_visits (shoppertrak_site_id, orbit, increment_start, enters, exits, is_healthy_data, is_fresh) \
                 VALUES ('{site}', {orbit}, '{DAY} {hour:02}:00:00', {enters}, 0, {healthy}, {fresh})"
            ));
        }
    }

    /// Makes ShopperTrak answer for `DAY`: door, hour, enters.
    pub fn answers(&mut self, site: &str, visits: &[(Option<i32>, i8, i32)]) {
        let visit = |(orbit, hour, enters): &(Option<i32>, i8, i32)| Visit {
            site: Some(site.into()),
            orbit: *orbit,
            start: DAY.parse::<Date>().unwrap().at(*hour, 0, 0, 0),
            enters: Some(*enters),
            exits: Some(0),
            healthy: true,
            missing: false,
        };
        let visits = visits.iter().map(visit).collect();
        self.answers.insert((DAY.into(), site.into()), visits);
    }

    /// Puts what was sent into the table.
    pub fn consume(&self) {
        for visit in self.sent.borrow_mut().drain(..) {
            let (site, start): (_, DateTime) = (visit.site.unwrap(), visit.start);
            let orbit = visit.orbit.map_or("NULL".into(), |orbit| orbit.to_string());
            self.in_redshift(&format!(
                "INSERT INTO location_visits (shoppertrak_site_id, orbit, increment_start, enters, exits, is_healthy_data, is_fresh) \
                 VALUES ('{site}', {orbit}, '{}', {}, 0, {}, TRUE)",
                start.strftime("%Y-%m-%d %H:%M:%S"),
                visit.enters.unwrap(),
                visit.healthy
            ));
        }
    }

    /// Ids of the fresh rows, and those that are not.
    pub fn fresh(&self) -> (Vec<i64>, Vec<i64>) {
        let redshift = Connection::open(self.path()).unwrap();
        let sql = "SELECT id, is_fresh FROM location_visits ORDER BY id";
        let mut rows = redshift.prepare(sql).unwrap();
        let rows = rows.query_map((), |row| Ok((row.get(0)?, row.get(1)?)));
        let rows: Vec<(i64, bool)> = rows.unwrap().map(Result::unwrap).collect();
        let (fresh, stale): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.1);
        let ids = |rows: Vec<(i64, bool)>| rows.into_iter().map(|row| row.0).collect();
        (ids(fresh), ids(stale))
    }

    pub fn recovery(&self) -> Recovery<'_, Doors> {
        Recovery {
            exchange: self,
            tables: &self.tables,
            sites: None,
            window: Window {
                start: "2024-06-10".parse().unwrap(),
                end: "2024-06-20".parse().unwrap(),
            },
            today: "2024-06-20".parse().unwrap(),
            marks: true,
            limit: None,
        }
    }

    pub fn asked(&self) -> Vec<String> {
        self.asked.borrow_mut().drain(..).collect()
    }
}

pub fn letter(reason: &str) -> DeadLetter {
    DeadLetter {
        key: None,
        position: String::new(),
        reason: reason.into(),
        record: None,
    }
}
