//! Instants and dates as text: read as PostgreSQL would read them, written as ISO 8601.

use std::time::Duration;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{Offset, TimeZone};
use jiff::{Span, SpanRelativeTo, Timestamp, Unit};

/// Reads an instant: `T` or blanks between date and time, with or without an offset, a date
/// alone, an offset of hours alone, a trailing ` +0000`. Without an offset it is in `zone`.
/// Fractions are cut to microseconds, which is what databases keep.
///
/// An hour that comes twice is taken as the first one: a cursor may then repeat but not lose.
pub fn parse_instant(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    let text = text.trim();
    let (date, rest) = text.split_at_checked(10)?;
    let date = parse_date(date)?;
    let rest = rest
        .strip_prefix(['T', 't', ' '])
        .unwrap_or(rest)
        .trim_start();
    let offset_start = rest.find(['+', '-', 'Z', 'z', 'U']).unwrap_or(rest.len());
    let (time, offset) = rest.split_at(offset_start);
    let time = match time.trim() {
        "" => Time::midnight(),
        time if time.len() >= 5 => time.parse().ok()?,
        _ => return None,
    };
    let local = date.to_datetime(time);
    let instant = match offset.trim() {
        "" => zone.to_timestamp(local).ok()?,
        offset => parse_offset(offset)?.to_timestamp(local).ok()?,
    };
    Timestamp::from_microsecond(instant.as_nanosecond().div_euclid(1000) as i64).ok()
}

/// Reads `YYYY-MM-DD`.
pub fn parse_date(text: &str) -> Option<Date> {
    let text = text.trim();
    let digits = |range: std::ops::Range<usize>| {
        text.get(range)
            .is_some_and(|part| part.bytes().all(|b| b.is_ascii_digit()))
    };
    let form = text.len() == 10
        && digits(0..4)
        && digits(5..7)
        && digits(8..10)
        && text.as_bytes()[4] == b'-'
        && text.as_bytes()[7] == b'-';
    if form { text.parse().ok() } else { None }
}

/// Reads a time without a zone: as [`parse_instant`], and a trailing offset of nothing is taken and
/// means nothing. Another zone is refused, since whoever ignored it would read another time.
pub fn parse_wall_time(text: &str) -> Option<DateTime> {
    let text = text.trim();
    let offset_start = text
        .get(10..)?
        .find(['+', '-', 'Z', 'z', 'U'])
        .map_or(text.len(), |place| place + 10);
    let (local, offset) = text.split_at(offset_start);
    let names_no_zone = match offset.strip_prefix(['+', '-']) {
        Some(digits) => digits.bytes().all(|byte| matches!(byte, b'0' | b':')),
        None => offset.is_empty(),
    };
    let instant = parse_instant(local, &TimeZone::UTC).filter(|_| names_no_zone)?;
    Some(TimeZone::UTC.to_datetime(instant))
}

/// A time without a zone: `2024-06-14 23:30:00`; a fraction only when there is one, then of six
/// digits.
pub fn format_wall_time(at: DateTime) -> String {
    let seconds = at.strftime("%Y-%m-%d %H:%M:%S");
    match at.subsec_nanosecond() / 1000 {
        0 => seconds.to_string(),
        micros => format!("{seconds}.{micros:06}"),
    }
}

/// Reads a length of time: `15m`, `1h 30m`, `90 seconds`, `PT15M`. A day has 24 hours; nothing is
/// no length.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let span: Span = text.parse().ok()?;
    let length = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    Duration::try_from(length)
        .ok()
        .filter(|length| !length.is_zero())
}

fn parse_offset(text: &str) -> Option<Offset> {
    if matches!(text, "Z" | "z" | "UTC") {
        return Some(Offset::UTC);
    }
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let digits: String = text[1..].chars().filter(|c| *c != ':').collect();
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part = |range: std::ops::Range<usize>| {
        digits
            .get(range)
            .map_or(Some(0), |part| part.parse::<i32>().ok())
    };
    let (hours, minutes) = match digits.len() {
        1 => (part(0..1)?, 0),
        2 => (part(0..2)?, 0),
        4 => (part(0..2)?, part(2..4)?),
        _ => return None,
    };
    Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()
}

/// An instant with the offset of `zone`, as the state holds it: `2024-06-14T23:30:00-04:00`; a
/// fraction only when there is one, then of six digits.
pub fn format_instant(instant: Timestamp, zone: &TimeZone) -> String {
    let seconds = zone.to_offset(instant).seconds();
    if seconds % 60 != 0 {
        // Local mean time, before there were zones: its offset cannot be written so that it is
        // read back as it was.
        return format_instant(instant, &TimeZone::UTC);
    }
    let local = zone.to_datetime(instant);
    let fraction = match instant.subsec_nanosecond().rem_euclid(1_000_000_000) / 1000 {
        0 => String::new(),
        micros => format!(".{micros:06}"),
    };
    let sign = if seconds < 0 { '-' } else { '+' };
    let minutes = seconds.abs() / 60;
    format!(
        "{}{fraction}{sign}{:02}:{:02}",
        local.strftime("%Y-%m-%dT%H:%M:%S"),
        minutes / 60,
        minutes % 60
    )
}

/// An instant in UTC with six decimals, as SQLite files hold it: `2024-06-15 03:30:00.000000`.
pub fn format_utc(instant: Timestamp) -> String {
    let rounded = instant.round(Unit::Microsecond).unwrap_or(instant);
    rounded.strftime("%Y-%m-%d %H:%M:%S.%6f").to_string()
}

/// The date that an instant has in `zone`.
pub fn local_date(instant: Timestamp, zone: &TimeZone) -> Date {
    zone.to_datetime(instant).date()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new_york() -> TimeZone {
        TimeZone::get("America/New_York").unwrap()
    }

    #[test]
    fn instants_are_read_as_postgresql_reads_them() {
        for (text, utc) in [
            ("2024-06-14T23:30:00-04:00", "2024-06-15 03:30:00.000000"),
            ("2024-06-14 23:30:00-04", "2024-06-15 03:30:00.000000"),
            ("2024-06-14 23:30:00.5-0400", "2024-06-15 03:30:00.500000"),
            ("2024-06-14 23:30", "2024-06-15 03:30:00.000000"),
            ("2024-06-14", "2024-06-14 04:00:00.000000"),
            ("2024-06-14T23:30:00Z", "2024-06-14 23:30:00.000000"),
            ("2023-01-01 00:00:00 +0000", "2023-01-01 00:00:00.000000"),
            ("2020-01-01 00:00:00-05", "2020-01-01 05:00:00.000000"),
            (
                "  2024-07-01T07:59:59.999999-04:00 ",
                "2024-07-01 11:59:59.999999",
            ),
            (
                "2024-07-01T07:59:59.9999999-04:00",
                "2024-07-01 11:59:59.999999",
            ),
            ("2024-11-03 01:30:00", "2024-11-03 05:30:00.000000"),
        ] {
            let read = parse_instant(text, &new_york()).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(format_utc(read), utc, "{text}");
        }
        for text in [
            "",
            "yesterday",
            "2024-13-01",
            "2024-06-14 25:00:00",
            "2024-06-14 1:2",
            "14.06.2024",
            "2024-06-14 23:30:00 CET",
            "2024-06-14 23:30:00+1x",
        ] {
            assert_eq!(parse_instant(text, &new_york()), None, "{text}");
        }
    }

    #[test]
    fn a_time_has_no_zone() {
        for (text, read) in [
            ("2024-05-01 00:00:00", "2024-05-01 00:00:00"),
            ("2024-05-01T10:11:12.5", "2024-05-01 10:11:12.500000"),
            ("2024-05-01 10:11:12.000001", "2024-05-01 10:11:12.000001"),
            ("2023-01-01 00:00:00 +0000", "2023-01-01 00:00:00"),
            ("2023-01-01 00:00:00+00:00", "2023-01-01 00:00:00"),
            // An hour that New York does not have is still a place in the order.
            ("2024-03-10 02:30:00", "2024-03-10 02:30:00"),
            ("2024-05-01", "2024-05-01 00:00:00"),
        ] {
            let at = parse_wall_time(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(format_wall_time(at), read, "{text}");
        }
        for text in [
            "",
            "yesterday",
            "2024-05-01 00:00:00-04",
            "2024-05-01 00:00:00-04:00",
            "2024-05-01 00:00:00 -0400",
            "2024-05-01T00:00:00Z",
            "2024-05-01 00:00:00 UTC",
            "2024-05-01 00:00:00 EST",
        ] {
            assert_eq!(parse_wall_time(text), None, "{text}");
        }
    }

    #[test]
    fn lengths_of_time_are_read_as_people_write_them() {
        for (text, seconds) in [
            ("15m", 900),
            ("15 minutes", 900),
            ("1h 30m", 5_400),
            ("1h30m", 5_400),
            ("90s", 90),
            ("PT15M", 900),
            ("1d", 86_400),
        ] {
            let expected = Some(Duration::from_secs(seconds));
            assert_eq!(parse_duration(text), expected, "{text}");
        }
        for text in ["", "15", "0s", "-15m", "1 month", "soon"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn instants_are_written_with_the_offset_of_their_zone() {
        for text in [
            "2024-06-14T23:30:00-04:00",
            "2024-07-01T07:59:59.999999-04:00",
            "2024-01-14T23:30:00.000001-05:00",
            "1969-12-31T18:59:59.900000-05:00",
            "1800-01-01T00:00:00+00:00",
        ] {
            let instant = parse_instant(text, &TimeZone::UTC).unwrap();
            assert_eq!(format_instant(instant, &new_york()), text);
        }
        assert_eq!(
            format_instant(Timestamp::UNIX_EPOCH, &TimeZone::UTC),
            "1970-01-01T00:00:00+00:00"
        );
    }

    #[test]
    fn an_evening_belongs_to_the_day_in_new_york() {
        for (utc, day) in [
            ("2024-06-15 03:30:00Z", "2024-06-14"),
            ("2024-06-15 04:30:00Z", "2024-06-15"),
        ] {
            let instant = parse_instant(utc, &TimeZone::UTC).unwrap();
            assert_eq!(local_date(instant, &new_york()).to_string(), day);
        }
    }
}
