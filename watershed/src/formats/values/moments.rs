//! Dates and times: ISO 8601, as PostgreSQL reads it.

use super::Unfit;

/// Microseconds of a day.
const MICROS_A_DAY: i64 = 86_400_000_000;

/// Days from 0000-03-01 to 2000-01-01, which is where PostgreSQL begins to count.
const DAYS_TO_2000: i64 = 730_425;

/// PostgreSQL's first and last dates, 4714-11-24 BC and 5874897-12-31, and the day behind its last
/// timestamp, which is of 294276-12-31.
const FIRST_DAY: i64 = -2_451_545;
const LAST_DAY: i64 = 2_145_031_948;
const TIMESTAMPS_END: i64 = 106_751_983;

struct Moment {
    days: i64,
    /// Since midnight, 24:00 included.
    micros: i64,
    /// Seconds east of UTC.
    offset: i64,
}

pub(super) fn date(text: &[u8]) -> Result<i32, Unfit> {
    if let Some(positive) = infinite(text) {
        return Ok(if positive { i32::MAX } else { i32::MIN });
    }
    let moment = moment(text)?;
    if (FIRST_DAY..=LAST_DAY).contains(&moment.days) {
        Ok(moment.days as i32)
    } else {
        Err(Unfit::Range)
    }
}

pub(super) fn timestamp(text: &[u8]) -> Result<i64, Unfit> {
    if let Some(positive) = infinite(text) {
        return Ok(if positive { i64::MAX } else { i64::MIN });
    }
    let moment = moment(text)?;
    let range = FIRST_DAY * MICROS_A_DAY..TIMESTAMPS_END * MICROS_A_DAY;
    moment
        .days
        .checked_mul(MICROS_A_DAY)
        .and_then(|micros| micros.checked_add(moment.micros))
        .and_then(|micros| micros.checked_sub(moment.offset * 1_000_000))
        .filter(|micros| range.contains(micros))
        .ok_or(Unfit::Range)
}

/// A time of day; an offset means nothing to one.
pub(super) fn time(text: &[u8]) -> Result<i64, Unfit> {
    let mut rest = text.strip_prefix(b"T").unwrap_or(text);
    let micros = clock(&mut rest)?;
    offset(rest)?;
    Ok(micros)
}

fn infinite(text: &[u8]) -> Option<bool> {
    let (positive, word) = match text {
        [b'-', word @ ..] => (false, word),
        word => (true, word),
    };
    word.eq_ignore_ascii_case(b"infinity").then_some(positive)
}

/// A date, a time behind it or none, an offset or none, `BC` or `AD` or none.
fn moment(text: &[u8]) -> Result<Moment, Unfit> {
    let (mut rest, before_christ) = era(text);
    let days = calendar(&mut rest, before_christ)?;
    let (micros, offset) = match rest {
        [] => (0, 0),
        [b'T' | b't', behind @ ..] => time_and_offset(behind)?,
        [b' ', behind @ ..] => time_and_offset(super::trimmed(behind))?,
        // A date alone may have an offset, too.
        rest => (0, self::offset(rest)?),
    };
    Ok(Moment {
        days,
        micros,
        offset,
    })
}

fn time_and_offset(mut rest: &[u8]) -> Result<(i64, i64), Unfit> {
    let micros = clock(&mut rest)?;
    Ok((micros, offset(rest)?))
}

fn era(text: &[u8]) -> (&[u8], bool) {
    if let [rest @ .., b' ', era @ (b'B' | b'b' | b'A' | b'a'), christ] = text {
        match (era.to_ascii_uppercase(), christ.to_ascii_uppercase()) {
            (b'B', b'C') => return (super::trimmed(rest), true),
            (b'A', b'D') => return (super::trimmed(rest), false),
            _ => {}
        }
    }
    (text, false)
}

fn calendar(rest: &mut &[u8], before_christ: bool) -> Result<i64, Unfit> {
    let (year, digits) = number(rest, 4, 8)?;
    let (year, month, day) = match (*rest, digits) {
        ([separator @ (b'-' | b'/'), behind @ ..], 4..=7) => {
            *rest = behind;
            let (month, _) = number(rest, 1, 2)?;
            *rest = rest.strip_prefix(&[*separator]).ok_or(Unfit::Form)?;
            (year, month, number(rest, 1, 2)?.0)
        }
        (_, 8) => (year / 10_000, year / 100 % 100, year % 100),
        _ => return Err(Unfit::Form),
    };
    // The year 1 BC is the year 0 here; there is no year 0 for PostgreSQL.
    let year = match (year, before_christ) {
        (0, _) => return Err(Unfit::Range),
        (year, true) => 1 - year,
        (year, false) => year,
    };
    if !(1..=12).contains(&month) || !(1..=days_of(year, month)).contains(&day) {
        return Err(Unfit::Range);
    }
    Ok(days_from_civil(year, month, day))
}

/// Reads from `least` to `most` digits, and no digit follows.
fn number(rest: &mut &[u8], least: usize, most: usize) -> Result<(i64, usize), Unfit> {
    let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(least..=most).contains(&length) {
        return Err(Unfit::Form);
    }
    let (digits, behind) = rest.split_at(length);
    *rest = behind;
    let value = digits
        .iter()
        .fold(0, |value, digit| value * 10 + i64::from(digit - b'0'));
    Ok((value, length))
}

/// Reads `9:58`, `09:58:53` or `09:58:53.123`; `24:00` and a second 60 are the next.
fn clock(rest: &mut &[u8]) -> Result<i64, Unfit> {
    let (hours, _) = number(rest, 1, 2)?;
    *rest = rest.strip_prefix(b":").ok_or(Unfit::Form)?;
    let (minutes, _) = number(rest, 1, 2)?;
    let mut seconds = 0;
    let mut fraction = 0;
    if let [b':', behind @ ..] = *rest {
        *rest = behind;
        (seconds, _) = number(rest, 1, 2)?;
        if let [b'.', behind @ ..] = *rest {
            fraction = micros(behind, rest);
        }
    }
    let total = ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + fraction;
    if minutes > 59 || seconds > 60 || hours > 24 || total > MICROS_A_DAY {
        return Err(Unfit::Range);
    }
    Ok(total)
}

/// The digits behind the point of a second. Beyond the sixth PostgreSQL rounds a double, half to
/// even, and so does this.
fn micros<'a>(digits: &'a [u8], rest: &mut &'a [u8]) -> i64 {
    let length = digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    *rest = &digits[length..];
    if length <= 6 {
        let value = digits[..length]
            .iter()
            .fold(0, |value, digit| value * 10 + i64::from(digit - b'0'));
        return value * 10_i64.pow(6 - length as u32);
    }
    let text = std::str::from_utf8(&digits[..length]).unwrap_or_default();
    let fraction: f64 = format!("0.{text}").parse().unwrap_or_default();
    (fraction * 1e6).round_ties_even() as i64
}

/// Seconds east of UTC: `Z`, `UTC`, `+2`, `+02`, `+0200`, `+02:00`, `+02:00:00`, or nothing.
fn offset(rest: &[u8]) -> Result<i64, Unfit> {
    let rest = super::trimmed(rest);
    for name in [&b""[..], b"Z", b"UTC", b"GMT"] {
        if rest.eq_ignore_ascii_case(name) {
            return Ok(0);
        }
    }
    let (sign, mut rest) = match rest {
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return Err(Unfit::Form),
    };
    let (first, digits) = number(&mut rest, 1, 4)?;
    let mut parts = [first, 0, 0];
    if digits > 2 {
        parts = [first / 100, first % 100, 0];
    } else {
        for part in &mut parts[1..] {
            if let [b':', behind @ ..] = rest {
                rest = behind;
                (*part, _) = number(&mut rest, 2, 2)?;
            }
        }
    }
    if !rest.is_empty() {
        return Err(Unfit::Form);
    }
    let [hours, minutes, seconds] = parts;
    if hours > 15 || minutes > 59 || seconds > 59 {
        return Err(Unfit::Range);
    }
    Ok(sign * (hours * 3600 + minutes * 60 + seconds))
}

fn days_of(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 2000-01-01. The year begins in March, so that the leap day is its last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year
        - DAYS_TO_2000
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + DAYS_TO_2000;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// `2022-09-22`, for databases that hold dates as text.
pub fn date_text(days: i32) -> String {
    match days {
        i32::MAX => "infinity".into(),
        i32::MIN => "-infinity".into(),
        days => {
            let (year, month, day) = civil_from_days(days.into());
            if year > 0 {
                format!("{year:04}-{month:02}-{day:02}")
            } else {
                format!("{:04}-{month:02}-{day:02} BC", 1 - year)
            }
        }
    }
}

/// `09:58:53.123000`.
pub fn time_text(micros: i64) -> String {
    let seconds = micros / 1_000_000;
    format!(
        "{:02}:{:02}:{:02}.{:06}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        micros % 1_000_000
    )
}

/// `2022-09-22 09:58:53.123000`, in UTC.
pub fn timestamp_text(micros: i64) -> String {
    if micros == i64::MAX || micros == i64::MIN {
        return if micros > 0 { "infinity" } else { "-infinity" }.into();
    }
    let (days, micros) = (
        micros.div_euclid(MICROS_A_DAY),
        micros.rem_euclid(MICROS_A_DAY),
    );
    let date = date_text(days as i32);
    match date.strip_suffix(" BC") {
        Some(date) => format!("{date} {} BC", time_text(micros)),
        None => format!("{date} {}", time_text(micros)),
    }
}
