//! Regular hours: whether a quarter without visitors is one without data.

use std::collections::{BTreeSet, HashMap};

use jiff::civil::{Time, Weekday};
use watershed::connectors::sql::{Database, Row};
use watershed::error::{OrFail as _, Remedy, Result};
use watershed::pipeline::Counts;

use super::visit::Visit;

/// Columns that are read; for `check`.
const COLUMNS: &[&str] = &[
    "location_id",
    "weekday",
    "regular_open",
    "regular_close",
    "is_current",
];

const CURRENT: &str = "SELECT location_id, weekday, regular_open, regular_close FROM {table} \
     WHERE is_current";

/// The regular hours of every location and weekday that has known ones.
#[derive(Debug, Default)]
pub(super) struct Hours(HashMap<String, [Option<Opening>; 7]>);

/// The hours of one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opening {
    Closed,
    /// Seconds of the day; the end is exclusive, and may be midnight.
    Open(u32, u32),
}

impl Hours {
    /// Reads the current hours from a table, whose name is quoted.
    pub async fn read(redshift: &Database, table: &str) -> Result<Hours> {
        let sql = CURRENT.replace("{table}", table);
        let what = || format!("reading the table {table} of Redshift");
        let mut hours = Hours::default();
        for row in redshift.query(&sql, &[]).await? {
            let text = |column| text(&row, column).or_fail(Remedy::FixData, what);
            let (location, weekday) = (text("location_id")?, text("weekday")?);
            let (open, close) = (text("regular_open")?, text("regular_close")?);
            hours.add(location, weekday, open, close);
        }
        Ok(hours)
    }

    /// Of two rows for one location and weekday the last one counts.
    fn add(
        &mut self,
        location: Option<String>,
        weekday: Option<String>,
        open: Option<String>,
        close: Option<String>,
    ) {
        let weekday = weekday.as_deref().and_then(weekday_of);
        let Some((location, weekday)) = location.zip(weekday) else {
            return;
        };
        let opening = match (open.as_deref(), close.as_deref()) {
            (None, None) => Some(Opening::Closed),
            // Half-known hours are unknown ones.
            (open, close) => {
                let open = open.and_then(second_of_day);
                let close = close.and_then(second_of_day);
                open.zip(close)
                    .map(|(open, close)| Opening::Open(open, close))
            }
        };
        let week = self.0.entry(location).or_default();
        week[weekday.to_monday_zero_offset() as usize] = opening;
    }

    fn at(&self, visit: &Visit) -> Option<Opening> {
        let location = location(visit)?;
        let day = visit.start.date().weekday().to_monday_zero_offset();
        *self.0.get(location)?.get(day as usize)?
    }

    /// Says of each visit whether it stands for missing data: the counter did not work, nobody was
    /// counted, and the site was open, or its hours are not known.
    pub fn mark_missing(&self, visits: &mut [Visit], noted: &mut Counts) {
        let mut unknown = BTreeSet::new();
        for visit in visits {
            if visit.healthy || visit.has_visitors() {
                continue;
            }
            visit.missing = match self.at(visit) {
                Some(Opening::Closed) => false,
                Some(Opening::Open(open, close)) => {
                    (open..close).contains(&second(visit.start.time()))
                }
                None => {
                    if let Some(location) = location(visit).filter(|one| !unknown.contains(*one)) {
                        unknown.insert(location.to_owned());
                    }
                    noted.add("unhealthy, of unknown hours", 1);
                    true
                }
            };
            noted.add("missing data", visit.missing.into());
        }
        if !unknown.is_empty() {
            let unknown: Vec<String> = unknown.into_iter().collect();
            tracing::warn!(
                "hours are not known, and unhealthy increments count as missing data: {}",
                unknown.join(", ")
            );
        }
    }

    /// Version and columns; for `check`.
    pub async fn check(redshift: &Database, table: &str) -> Result<String> {
        let version = redshift.version().await?;
        redshift.check_columns(table, COLUMNS).await?;
        Ok(version)
    }
}

/// A site's hours are those of the first word of its id.
fn location(visit: &Visit) -> Option<&str> {
    visit.site.as_deref()?.split_whitespace().next()
}

fn text(row: &Row, column: &str) -> Result<Option<String>, watershed::connectors::sql::Unfit> {
    let text = row.text(column)?;
    Ok(text.map(|text| text.trim().to_owned()))
}

fn weekday_of(name: &str) -> Option<Weekday> {
    let days = Weekday::Monday.cycle_forward().take(7);
    days.into_iter()
        .find(|day| name.eq_ignore_ascii_case(&format!("{day:?}")))
}

/// Seconds since midnight; `24:00` is the end of the day.
fn second_of_day(text: &str) -> Option<u32> {
    if matches!(text, "24:00" | "24:00:00") {
        return Some(86_400);
    }
    text.parse().ok().map(second)
}

fn second(time: Time) -> u32 {
    (time.hour() as u32 * 60 + time.minute() as u32) * 60 + time.second() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::{DateTime, date};

    fn hours(rows: &[(&str, &str, Option<&str>, Option<&str>)]) -> Hours {
        let mut hours = Hours::default();
        for (location, weekday, open, close) in rows {
            let owned = |text: &str| text.to_owned();
            hours.add(
                Some(owned(location)),
                Some(owned(weekday)),
                open.map(owned),
                close.map(owned),
            );
        }
        hours
    }

    /// A Friday.
    fn at(hour: i8, minute: i8) -> DateTime {
        date(2024, 3, 29).at(hour, minute, 0, 0)
    }

    fn empty(site: Option<&str>, start: DateTime) -> Visit {
        Visit {
            site: site.map(Into::into),
            orbit: Some(1),
            start,
            enters: Some(0),
            exits: Some(0),
            healthy: false,
            missing: false,
        }
    }

    #[test]
    fn a_quarter_is_missing_by_the_hours_of_its_site() {
        let hours = hours(&[
            ("aa", "Friday", Some("12:00"), Some("13:00")),
            ("aa", "Friday", Some("10:00"), Some("18:00:00")),
            ("aa", "saturday", Some("00:00"), Some("24:00")),
            ("bb", "Friday", None, None),
            ("cc", "Friday", Some("10:00"), None),
            ("dd", "Friday", Some("10:00"), Some("10:15")),
            ("ee", "Monday", Some("10:00"), Some("18:00")),
            ("ff", "Friday", Some("18:00"), Some("02:00")),
            ("gg", "Fri", Some("10:00"), Some("18:00")),
        ]);
        for (name, visit, missing) in [
            ("open", empty(Some("aa"), at(10, 0)), true),
            ("before the opening", empty(Some("aa"), at(9, 45)), false),
            ("the last quarter", empty(Some("aa"), at(17, 45)), true),
            ("the closing", empty(Some("aa"), at(18, 0)), false),
            (
                "open until midnight",
                empty(Some("aa"), date(2024, 3, 30).at(23, 45, 0, 0)),
                true,
            ),
            ("closed", empty(Some("bb"), at(12, 0)), false),
            ("half-known hours", empty(Some("cc"), at(2, 0)), true),
            (
                "the first word",
                empty(Some("dd north; wing"), at(10, 0)),
                true,
            ),
            (
                "the first word, closed",
                empty(Some("dd north"), at(11, 0)),
                false,
            ),
            ("another weekday", empty(Some("ee"), at(2, 0)), true),
            ("an unknown site", empty(Some("zz"), at(2, 0)), true),
            ("no site", empty(None, at(2, 0)), true),
            (
                "closing before opening",
                empty(Some("ff"), at(19, 0)),
                false,
            ),
            ("no weekday", empty(Some("gg"), at(2, 0)), true),
            (
                "somebody entered",
                Visit {
                    enters: Some(3),
                    ..empty(Some("aa"), at(12, 0))
                },
                false,
            ),
            (
                "somebody left",
                Visit {
                    exits: Some(1),
                    ..empty(Some("aa"), at(12, 0))
                },
                false,
            ),
            (
                "absent counts are 0",
                Visit {
                    enters: None,
                    exits: None,
                    ..empty(Some("aa"), at(12, 0))
                },
                true,
            ),
            (
                "negative counts",
                Visit {
                    enters: Some(-2),
                    ..empty(Some("aa"), at(12, 0))
                },
                true,
            ),
            (
                "healthy",
                Visit {
                    healthy: true,
                    ..empty(Some("aa"), at(12, 0))
                },
                false,
            ),
        ] {
            let mut visits = [visit];
            let mut noted = Counts::default();
            hours.mark_missing(&mut visits, &mut noted);
            assert_eq!(visits[0].missing, missing, "{name}");
            assert_eq!(noted.get("missing data"), u64::from(missing), "{name}");
        }
    }
}
