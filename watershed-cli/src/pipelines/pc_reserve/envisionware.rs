//! Envisionware: pages of sessions.

use std::collections::HashMap;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use watershed::connectors::sql::{Database, Row, Unfit, Value};
use watershed::error::{Error, OrFail as _, Remedy, Result};
use watershed::pipeline::Page;
use watershed::privacy::Personal;
use watershed::time::format_utc;

use super::cursor::SessionCursor;

const RESERVATIONS: &str = include_str!("reservations.sql");
const OLDEST: &str = "SELECT MIN(pcrDateTime) AS oldest FROM strad_bci";

/// Columns of unique keys, by key.
const MYSQL_KEYS: &str = "SELECT index_name AS name, column_name AS part \
     FROM information_schema.statistics \
     WHERE table_schema = DATABASE() AND table_name = 'strad_bci' AND non_unique = 0";
const SQLITE_KEYS: &str = "SELECT keys.name AS name, parts.name AS part \
     FROM pragma_index_list('strad_bci') AS keys, pragma_index_info(keys.name) AS parts \
     WHERE keys.\"unique\" = 1 AND keys.partial = 0 \
     UNION ALL SELECT '', name FROM pragma_table_info('strad_bci') WHERE pk > 0";

/// Columns that are read; for `check`.
const COLUMNS: &[&str] = &[
    "pcrKey",
    "pcrUserID",
    "pcrMinutesUsed",
    "pcrDateTime",
    "pcrBranch",
    "pcrArea",
    "pcrUserData1",
];

/// A session at a PC.
pub(super) struct Session {
    /// Its place, of which the key names the session.
    pub place: SessionCursor,
    /// What Envisionware says, or the column that could not be read.
    pub details: Result<Details, Unfit>,
}

/// What Envisionware says about a session.
pub(super) struct Details {
    pub barcode: Option<Personal<String>>,
    pub minutes_used: Option<i32>,
    pub branch: Option<String>,
    pub area: Option<String>,
    pub staff_override: Option<String>,
}

pub(super) struct Envisionware {
    pub database: Database,
    /// Exclusive upper bound of every page, if there is one.
    pub bound: Option<DateTime>,
}

impl Envisionware {
    /// A page of sessions behind the cursor.
    pub async fn sessions(
        &self,
        after: &SessionCursor,
        limit: usize,
    ) -> Result<Page<Session, SessionCursor>> {
        let mut parameters = vec![
            wall_time_value(after.at)?,
            Value::Integer(after.key),
            Value::Integer(limit as i64),
        ];
        let mut bound = "";
        if let Some(at) = self.bound {
            parameters.push(wall_time_value(at)?);
            bound = "AND pcrDateTime < $4";
        }
        let sql = RESERVATIONS.replace("{bound}", bound);
        let rows = self.database.query(&sql, &parameters).await?;
        let mut sessions: Vec<(SessionCursor, Session)> = Vec::with_capacity(rows.len());
        for row in &rows {
            let place = place(row)?;
            if sessions.last().is_some_and(|(last, _)| *last == place) {
                return Err(without_place("two of one pcrDateTime share a pcrKey"));
            }
            let details = details(row);
            let session = Session {
                place: place.clone(),
                details,
            };
            sessions.push((place, session));
        }
        let more = sessions.len() == limit;
        Page::new(after, sessions, more)
    }

    /// The time of the oldest session that is still there.
    pub async fn oldest(&self) -> Result<Option<DateTime>> {
        let rows = self.database.query(OLDEST, &[]).await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        // A time that cannot be read is the matter of its own page.
        Ok(row.instant("oldest").ok().flatten().map(civil))
    }

    /// Version, columns and the unique key; for `check`.
    pub async fn check(&self) -> Result<String> {
        let version = self.database.version().await?;
        self.database.check_columns("strad_bci", COLUMNS).await?;
        if self.has_unique_key().await? {
            return Ok(version);
        }
        Ok(format!(
            "{version}; (pcrDateTime, pcrKey) has no unique key, and sessions that share both would stop a run"
        ))
    }

    async fn has_unique_key(&self) -> Result<bool> {
        let sql = match &self.database {
            Database::Mysql(_) => MYSQL_KEYS,
            Database::Sqlite(_) => SQLITE_KEYS,
            Database::Postgres(_) | Database::Oracle(_) => return Ok(false),
        };
        let mut keys: HashMap<String, bool> = HashMap::new();
        for row in self.database.query(sql, &[]).await? {
            let what = || "reading the keys of Envisionware's strad_bci".to_owned();
            let text = |column| row.text(column).or_fail(Remedy::FixData, what);
            let part = text("part")?.unwrap_or_default().to_lowercase();
            let ours = matches!(part.as_str(), "pcrdatetime" | "pcrkey");
            *keys
                .entry(text("name")?.unwrap_or_default())
                .or_insert(true) &= ours;
        }
        Ok(keys.into_values().any(|ours_alone| ours_alone))
    }
}

fn details(row: &Row) -> Result<Details, Unfit> {
    Ok(Details {
        barcode: row.personal_text("pcrUserID")?,
        minutes_used: row.integer32("pcrMinutesUsed")?,
        branch: row.text("pcrBranch")?,
        area: row.text("pcrArea")?,
        staff_override: row.text("pcrUserData1")?,
    })
}

/// Time and key of a row: without them there is no cursor, so that such a row stops the run.
fn place(row: &Row) -> Result<SessionCursor> {
    let what = || "reading a session of Envisionware without a place in the order".to_owned();
    let at = row.instant("pcrDateTime").or_fail(Remedy::FixData, what)?;
    let key = row.integer("pcrKey").or_fail(Remedy::FixData, what)?;
    let (Some(at), Some(key)) = (at, key) else {
        return Err(without_place("its pcrDateTime or pcrKey is NULL"));
    };
    // SQLite holds and compares texts: written in another way, their order is not that of the times,
    // and sessions in between would be lost.
    let text = row.text("pcrDateTime");
    if text.is_ok_and(|text| text != Some(format_utc(at))) {
        return Err(without_place(
            "its pcrDateTime is not written as 2024-06-14 23:30:00.000000",
        ));
    }
    let at = civil(at);
    Ok(SessionCursor { at, key })
}

fn without_place(why: &'static str) -> Error {
    Error::new(
        Remedy::FixData,
        "reading a session of Envisionware without a place in the order",
    )
    .caused_by(why)
}

/// Connectors hand over a time without a zone as if it were in UTC, and take it the same way.
fn civil(instant: jiff::Timestamp) -> DateTime {
    TimeZone::UTC.to_datetime(instant)
}

fn wall_time_value(at: DateTime) -> Result<Value> {
    let instant = TimeZone::UTC.to_timestamp(at);
    let what = || "comparing sessions with a time beyond the calendar".to_owned();
    instant
        .map(Value::Instant)
        .or_fail(Remedy::FixSettings, what)
}
