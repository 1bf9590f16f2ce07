//! What an answer mends: which of its increments are sent, and which rows are marked stale.

use std::collections::{HashMap, HashSet};

use jiff::civil::DateTime;
use watershed::pipeline::Counts;

use super::super::visit::Visit;

/// A fresh row of the site and day that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The row's key.
    pub id: i64,
    /// Number of the door; no number is a door of its own.
    pub orbit: Option<i32>,
    /// Begin of the increment.
    pub start: DateTime,
    /// Whether the counter worked.
    pub healthy: bool,
    /// People who came in.
    pub enters: Option<i32>,
    /// People who went out.
    pub exits: Option<i32>,
}

/// What becomes of an answer.
#[derive(Debug, Default, PartialEq)]
pub struct Mending {
    /// Increments to send, in the order of the answer.
    pub send: Vec<Visit>,
    /// Rows whose replacement is in `send`: they are stale once it is durable.
    pub replaced: Vec<i64>,
    /// Rows whose replacement is in the table already.
    pub outdated: Vec<i64>,
    /// Increments that are not sent, by reason.
    pub skipped: Counts,
    /// Increments that are stored as healthy with other counts.
    pub different: u64,
}

/// A row's key beside its site and day.
type Key = (Option<i32>, DateTime);

/// Decides what becomes of healthy increments. Known rows of a key are all its fresh rows: if one
/// of them is healthy, nothing is sent and every unhealthy one is outdated; otherwise the increment
/// is sent once and replaces them all. A run that died between sending and marking is so mended by
/// the next one.
pub fn mend(known: &[Known], answer: Vec<Visit>) -> Mending {
    let mut rows: HashMap<Key, Vec<&Known>> = HashMap::new();
    for row in known {
        rows.entry((row.orbit, row.start)).or_default().push(row);
    }
    let mut mending = Mending::default();
    let mut seen: HashSet<Key> = HashSet::new();
    for visit in answer {
        let key = (visit.orbit, visit.start);
        if !seen.insert(key) {
            mending.skipped.add("double in the answer", 1);
            continue;
        }
        let (healthy, unhealthy): (Vec<&Known>, Vec<&Known>) = rows
            .remove(&key)
            .unwrap_or_default()
            .into_iter()
            .partition(|row| row.healthy);
        let ids = unhealthy.iter().map(|row| row.id);
        if healthy.is_empty() {
            mending.replaced.extend(ids);
            mending.send.push(visit);
            continue;
        }
        mending.outdated.extend(ids);
        mending.skipped.add("already healthy", 1);
        let same = |row: &&Known| (row.enters, row.exits) == (visit.enters, visit.exits);
        mending.different += u64::from(!healthy.iter().any(same));
    }
    mending
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    const NINE: i8 = 9;

    fn start(hour: i8) -> DateTime {
        date(2024, 6, 15).at(hour, 0, 0, 0)
    }

    fn visit(orbit: Option<i32>, hour: i8, enters: i32) -> Visit {
        Visit {
            site: Some("aa".into()),
            orbit,
            start: start(hour),
            enters: Some(enters),
            exits: Some(0),
            healthy: true,
            missing: false,
        }
    }

    fn row(id: i64, orbit: Option<i32>, hour: i8, healthy: bool, enters: i32) -> Known {
        Known {
            id,
            orbit,
            start: start(hour),
            healthy,
            enters: Some(enters),
            exits: Some(0),
        }
    }

    #[test]
    fn an_unknown_increment_is_sent() {
        let known = [
            row(1, Some(2), NINE, false, 0),
            row(2, Some(1), 10, false, 0),
        ];
        let mending = mend(&known, vec![visit(Some(1), NINE, 4)]);
        let expected = Mending {
            send: vec![visit(Some(1), NINE, 4)],
            ..Mending::default()
        };
        assert_eq!(mending, expected);
    }

    #[test]
    fn an_unhealthy_one_is_replaced_with_all_its_rows() {
        let known = [7, 3, 5].map(|id| row(id, Some(1), NINE, false, 0));
        let mending = mend(&known, vec![visit(Some(1), NINE, 4)]);
        assert_eq!(mending.send, [visit(Some(1), NINE, 4)]);
        assert_eq!(mending.replaced, [7, 3, 5]);
        assert_eq!(mending.outdated, [0; 0]);
        assert_eq!(mending.skipped.total(), 0);
    }

    #[test]
    fn beside_a_healthy_row_nothing_is_sent_and_the_unhealthy_ones_are_outdated() {
        let known = [
            row(1, Some(1), NINE, false, 0),
            row(2, Some(1), NINE, true, 4),
            row(3, Some(1), NINE, false, 0),
        ];
        for (enters, different) in [(4, 0), (5, 1)] {
            let mending = mend(&known, vec![visit(Some(1), NINE, enters)]);
            assert_eq!(mending.send, []);
            assert_eq!(mending.replaced, [0; 0]);
            assert_eq!(mending.outdated, [1, 3]);
            assert_eq!(mending.skipped.get("already healthy"), 1);
            assert_eq!(mending.different, different);
        }
    }

    #[test]
    fn absent_counts_differ_from_a_zero() {
        let known = [row(1, Some(1), NINE, true, 0)];
        let mut absent = visit(Some(1), NINE, 0);
        absent.enters = None;
        assert_eq!(mend(&known, vec![absent]).different, 1);
    }

    #[test]
    fn a_door_without_a_number_is_a_door_of_its_own() {
        let known = [row(1, None, NINE, false, 0), row(2, Some(1), NINE, true, 4)];
        let mending = mend(&known, vec![visit(None, NINE, 1), visit(Some(1), NINE, 4)]);
        assert_eq!(mending.send, [visit(None, NINE, 1)]);
        assert_eq!(mending.replaced, [1]);
        assert_eq!(mending.skipped.get("already healthy"), 1);
    }

    #[test]
    fn a_double_in_the_answer_is_sent_once_and_marks_once() {
        let known = [row(1, Some(1), NINE, false, 0)];
        let answer = vec![visit(Some(1), NINE, 4), visit(Some(1), NINE, 5)];
        let mending = mend(&known, answer);
        assert_eq!(mending.send, [visit(Some(1), NINE, 4)]);
        assert_eq!(mending.replaced, [1]);
        assert_eq!(mending.skipped.get("double in the answer"), 1);
    }

    #[test]
    fn a_repeat_after_a_crash_between_sending_and_marking_mends_itself() {
        // What the first run sent has arrived, and its marks are missing.
        let mut known = vec![
            row(1, Some(1), NINE, false, 0),
            row(2, Some(1), NINE, false, 0),
        ];
        let answer = vec![visit(Some(1), NINE, 4)];
        let first = mend(&known, answer.clone());
        known.push(row(3, Some(1), NINE, true, first.send[0].enters.unwrap()));
        let second = mend(&known, answer);
        assert_eq!(second.send, []);
        assert_eq!(second.outdated, first.replaced);
    }
}
