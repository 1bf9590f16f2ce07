//! Where the pipeline stands, and how the state document says so.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use serde_json::Value as Json;
use watershed::error::{Error, Remedy, Result};
use watershed::pipeline::Cursor;
use watershed::state::Members;
use watershed::time::{format_wall_time, parse_wall_time};

/// The last session of a page by its time, and among those of one time by its key. Both members
/// are those of the old program, so that either goes on where the other stopped.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SessionCursor {
    /// Wall time in the source's zone, as the source has it.
    pub at: DateTime,
    pub key: i64,
}

pub(super) const AT: &str = "pcr_date_time";
pub(super) const KEY: &str = "pcr_key";

impl SessionCursor {
    /// Reads the cursor from the state; nothing when it has none.
    pub fn read(members: &Members) -> Result<Option<SessionCursor>> {
        let at = match members.get(AT) {
            None | Some(Json::Null) => return Ok(None),
            Some(Json::String(text)) => parse_wall_time(text),
            Some(_) => None,
        };
        let at = at.ok_or_else(|| unfit(AT, "a time without a zone"))?;
        let key = match members.get(KEY) {
            // A person has set the time alone: all sessions of that time are read.
            None | Some(Json::Null) => Some(i64::MIN),
            Some(Json::String(text)) => text.trim().parse().ok(),
            Some(Json::Number(number)) => number.as_i64(),
            Some(_) => None,
        };
        let key = key.ok_or_else(|| unfit(KEY, "a whole number"))?;
        Ok(Some(SessionCursor { at, key }))
    }
}

impl Cursor for SessionCursor {
    fn write(&self, members: &mut Members) {
        members.insert(AT.into(), format_wall_time(self.at).into());
        members.insert(KEY.into(), self.key.to_string().into());
    }
}

/// Exclusive upper bound of every page, if there is one: the settled time, where rows must
/// settle; and the hour that comes twice in the night when clocks go back, until its second pass
/// is over. Read earlier, its sessions would put the cursor behind others that are yet to come.
pub(super) fn upper_bound(bound: Timestamp, settles: bool, zone: &TimeZone) -> Option<DateTime> {
    let settled = settles.then(|| zone.to_datetime(bound));
    // A run that starts before that hour may go on into it, though not for more than a day.
    let (from, until) = (bound - 24.hours(), bound + 24.hours());
    let repeated = zone.following(from).find_map(|transition| {
        let at = transition.timestamp();
        let lost = zone.to_offset(at - 1.second()).seconds() - transition.offset().seconds();
        let second_pass_ends = at + i64::from(lost).seconds();
        let concerns_us = lost > 0 && bound < second_pass_ends;
        (at > until || concerns_us)
            .then(|| (at <= until).then(|| transition.offset().to_datetime(at)))
    });
    settled.into_iter().chain(repeated.flatten()).min()
}

fn unfit(member: &str, expected: &str) -> Error {
    Error::new(
        Remedy::FixData,
        format!("reading the state: its member {member} is not {expected}"),
    )
    .with_hint(format!(
        "mend it with `watershed state set pc-reserve {member}=…`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repeated_hour_is_left_until_its_second_pass_is_over() {
        let zone = TimeZone::get("America/New_York").unwrap();
        let bound = |utc: &str, settles| {
            let bound = upper_bound(utc.parse().unwrap(), settles, &zone);
            bound.map(format_wall_time)
        };
        let hour = Some("2024-11-03 01:00:00".to_owned());
        for (utc, expected) in [
            // An ordinary day, and the night when clocks go forward.
            ("2024-07-01T12:00:00Z", None),
            ("2024-03-10T06:59:59Z", None),
            ("2024-03-10T07:00:00Z", None),
            // The day before; the first pass; the second one.
            ("2024-11-02T03:00:00Z", None),
            ("2024-11-02T12:00:00Z", hour.clone()),
            ("2024-11-03T05:00:00Z", hour.clone()),
            ("2024-11-03T06:00:00Z", hour.clone()),
            ("2024-11-03T06:59:59Z", hour),
            ("2024-11-03T07:00:00Z", None),
            ("2024-11-04T07:00:00Z", None),
        ] {
            assert_eq!(bound(utc, false), expected, "{utc}");
        }
        let settled = |utc| bound(utc, true).unwrap();
        assert_eq!(settled("2024-07-01T12:00:00Z"), "2024-07-01 08:00:00");
        assert_eq!(settled("2024-11-03T04:30:00Z"), "2024-11-03 00:30:00");
        assert_eq!(settled("2024-11-03T05:30:00Z"), "2024-11-03 01:00:00");
        assert_eq!(settled("2024-11-03T07:30:00Z"), "2024-11-03 02:30:00");
        let utc = upper_bound(
            "2024-11-03T05:30:00Z".parse().unwrap(),
            false,
            &TimeZone::UTC,
        );
        assert_eq!(utc, None);
    }
}
