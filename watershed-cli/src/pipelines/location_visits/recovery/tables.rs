//! The tables of Redshift that the recovery reads, and marks rows of. Each text runs on Redshift,
//! PostgreSQL and SQLite as it is.

use jiff::ToSpan as _;
use jiff::tz::TimeZone;
use watershed::connectors::sql::{Database, Row, Value};
use watershed::error::{Error, OrFail as _, Remedy, Result};

use super::mend::Known;
use super::plan::{Closures, SiteDay, Stored, Window};

/// Columns that are read; for `check`.
const VISITS_COLUMNS: &[&str] = &[
    "id",
    "shoppertrak_site_id",
    "orbit",
    "increment_start",
    "enters",
    "exits",
    "is_healthy_data",
    "is_fresh",
];
const CLOSURES_COLUMNS: &[&str] = &["location_id", "closure_date", "is_full_day"];

/// The date is cut from the text of the time: every system writes it in the same way, and there
/// is no cast to a date that all of them know.
const STORED: &str = "SELECT shoppertrak_site_id, \
     substr(CAST(increment_start AS varchar(32)), 1, 10) AS increment_date, \
     MAX(CASE WHEN is_fresh = TRUE AND is_healthy_data = FALSE THEN 1 ELSE 0 END) AS unhealthy \
     FROM {table} WHERE shoppertrak_site_id IS NOT NULL \
     AND increment_start >= $1 AND increment_start < $2 GROUP BY 1, 2";

const CLOSURES: &str = "SELECT location_id, closure_date FROM {table} \
     WHERE is_full_day = TRUE AND closure_date >= $1 AND closure_date < $2";

const KNOWN: &str = "SELECT id, orbit, increment_start, is_healthy_data, enters, exits \
     FROM {table} WHERE shoppertrak_site_id = $1 \
     AND increment_start >= $2 AND increment_start < $3 AND is_fresh = TRUE ORDER BY id";

const MARK_STALE: &str = "UPDATE {table} SET is_fresh = FALSE WHERE id IN ({list})";

/// Visits and closures.
pub struct Tables {
    /// Redshift.
    pub database: Database,
    /// `location_visits` with its suffix, quoted.
    pub visits: String,
    /// `location_closures_v2` with its suffix, quoted.
    pub closures: String,
}

impl Tables {
    /// What is stored of the window: a line for each site and day, and not for each row.
    pub async fn stored(&self, window: Window) -> Result<Stored> {
        let days = [Value::Date(window.start), Value::Date(window.end)];
        let mut stored = Stored {
            closures: self.closures(&days).await?,
            ..Stored::default()
        };
        let what = || Tables::reading(&self.visits);
        let sql = STORED.replace("{table}", &self.visits);
        for row in self.database.query(&sql, &days).await? {
            let site = row
                .text("shoppertrak_site_id")
                .or_fail(Remedy::FixData, what)?;
            let day = row.date("increment_date").or_fail(Remedy::FixData, what)?;
            let unhealthy = row.integer("unhealthy").or_fail(Remedy::FixData, what)?;
            // A blank site cannot be asked for, either.
            let site = site.filter(|site| !site.trim().is_empty());
            let Some((site, day)) = site.zip(day) else {
                continue;
            };
            let at = SiteDay { day, site };
            if unhealthy == Some(1) {
                stored.unhealthy.insert(at.clone());
            }
            stored.found.insert(at);
        }
        Ok(stored)
    }

    async fn closures(&self, days: &[Value]) -> Result<Closures> {
        let what = || Tables::reading(&self.closures);
        let sql = CLOSURES.replace("{table}", &self.closures);
        let mut closures = Closures::default();
        for row in self.database.query(&sql, days).await? {
            let location = row.text("location_id").or_fail(Remedy::FixData, what)?;
            let day = row.date("closure_date").or_fail(Remedy::FixData, what)?;
            let Some(day) = day else { continue };
            match location {
                // A column of fixed width fills up with blanks.
                Some(location) => drop(closures.at.insert((day, location.trim_end().to_owned()))),
                None => drop(closures.everywhere.insert(day)),
            }
        }
        Ok(closures)
    }

    /// The fresh rows of a site and day.
    pub async fn known(&self, at: &SiteDay) -> Result<Vec<Known>> {
        let next_day = at.day.saturating_add(1.day());
        let parameters = [
            Value::Text(at.site.clone()),
            Value::Date(at.day),
            Value::Date(next_day),
        ];
        let sql = KNOWN.replace("{table}", &self.visits);
        let rows = self.database.query(&sql, &parameters).await?;
        rows.iter().map(|row| self.row(row)).collect()
    }

    fn row(&self, row: &Row) -> Result<Known> {
        let what = || Tables::reading(&self.visits);
        let missing = || Error::new(Remedy::FixData, what()).caused_by("a row without an id");
        let start = row
            .instant("increment_start")
            .or_fail(Remedy::FixData, what)?;
        let healthy = row
            .boolean("is_healthy_data")
            .or_fail(Remedy::FixData, what)?;
        Ok(Known {
            id: row
                .integer("id")
                .or_fail(Remedy::FixData, what)?
                .ok_or_else(missing)?,
            orbit: row.integer32("orbit").or_fail(Remedy::FixData, what)?,
            // The query gives no row without a start.
            start: TimeZone::UTC.to_datetime(start.ok_or_else(missing)?),
            healthy: healthy.unwrap_or(false),
            enters: row.integer32("enters").or_fail(Remedy::FixData, what)?,
            exits: row.integer32("exits").or_fail(Remedy::FixData, what)?,
        })
    }

    /// Marks rows stale; gives the number of rows there were.
    pub async fn mark_stale(&self, ids: &[i64]) -> Result<u64> {
        let ids: Vec<Value> = ids.iter().copied().map(Value::Integer).collect();
        let sql = MARK_STALE.replace("{table}", &self.visits);
        self.database.execute_lists(&sql, &ids).await
    }

    /// Looks for the columns; for `check`.
    pub async fn check(&self) -> Result<()> {
        let (visits, closures) = (&self.visits, &self.closures);
        self.database.check_columns(visits, VISITS_COLUMNS).await?;
        self.database
            .check_columns(closures, CLOSURES_COLUMNS)
            .await
    }

    fn reading(table: &str) -> String {
        format!("reading the table {table} of Redshift")
    }
}
