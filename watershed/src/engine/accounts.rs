//! What must hold of a page before and after it is delivered. Work that stands beside the engine,
//! because it has no cursor, is held to the same.

use std::collections::HashMap;

use crate::error::{Error, Remedy, Result};
use crate::pipeline::{Cursor, DeadLetter, Delivered};

/// P2: a page lies behind the cursor that it was asked for.
pub(super) fn forward<C: Cursor>(mode: &str, cursor: &C, next: &C) -> Result<()> {
    if next > cursor {
        return Ok(());
    }
    let what = format!("reading a page of {mode}: it lies before the cursor");
    Err(Error::new(Remedy::ReportBug, what))
}

/// P3, checked on every page and in every build: the sum must be that of the records read.
///
/// # Errors
/// [`Remedy::ReportBug`] when it is not.
pub fn add_up(mode: &str, read: u64, sum: u64) -> Result<()> {
    if read == sum {
        return Ok(());
    }
    let what =
        format!("transforming a page of {mode}: {read} records went in, {sum} are accounted for");
    Err(Error::new(Remedy::ReportBug, what))
}

/// P3: a delivery leaves out no more than it was given.
///
/// # Errors
/// [`Remedy::ReportBug`] when it does.
pub fn left_out(mode: &str, sent: u64, delivered: &Delivered) -> Result<()> {
    let left_out = delivered.skipped.total() + delivered.set_aside.len() as u64;
    if left_out <= sent {
        return Ok(());
    }
    let what =
        format!("delivering a page of {mode}: {sent} records went in, {left_out} are left out");
    Err(Error::new(Remedy::ReportBug, what))
}

/// Refuses a page of which all records, or more than a tenth and at least ten, would be set aside
/// for one reason: that is a changed source or schema, and not a bad record. A page of a single
/// record cannot tell the two apart, and must not keep the other modes from running.
///
/// # Errors
/// [`Remedy::FixSettings`] with the reason.
pub fn one_off(mode: &str, all: u64, set_aside: &[DeadLetter]) -> Result<()> {
    let mut reasons: HashMap<&str, u64> = HashMap::new();
    for letter in set_aside {
        *reasons.entry(&letter.reason).or_default() += 1;
    }
    match reasons.into_iter().max_by_key(|(_, number)| *number) {
        Some((reason, number)) => few(mode, all, number, reason),
        None => Ok(()),
    }
}

/// [`one_off`] of one reason: whoever knows the number before the letters are made need not make
/// them, which are many times their records.
///
/// # Errors
/// [`Remedy::FixSettings`] with the reason.
pub fn few(mode: &str, all: u64, number: u64, reason: &str) -> Result<()> {
    if all > 1 && (number == all || (number >= 10 && number * 10 > all)) {
        let what = format!("setting aside {number} of the {all} records of a page of {mode}");
        return Err(Error::new(Remedy::FixSettings, what).caused_by(reason).with_hint(
            "so many for one reason are a changed source or schema; nothing of the page was sent, and the cursor was not moved",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_must_add_up() {
        assert!(add_up("new", 3, 3).is_ok());
        assert_eq!(add_up("new", 3, 2).unwrap_err().remedy(), Remedy::ReportBug);
    }

    #[test]
    fn a_changed_source_stops_the_run_and_a_bad_record_does_not() {
        let letter = |reason: &str| DeadLetter {
            key: None,
            position: String::new(),
            reason: reason.into(),
            record: None,
        };
        for (bad, all, stops) in [
            (0, 5, false),
            (1, 1, false),
            (2, 2, true),
            (9, 20, false),
            (10, 100, false),
            (11, 100, true),
            (10, 99, true),
        ] {
            let letters: Vec<DeadLetter> = (0..bad).map(|_| letter("field geoid")).collect();
            assert_eq!(
                one_off("new", all, &letters).is_err(),
                stops,
                "{bad} of {all}"
            );
        }
        let mixed: Vec<DeadLetter> = (0..20)
            .map(|i| letter(if i % 2 == 0 { "a" } else { "b" }))
            .collect();
        assert!(one_off("new", 100, &mixed).is_ok());
    }
}
