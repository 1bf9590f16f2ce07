//! What you implement: one incremental load.
//!
//! A [`Pipeline`] says what to read past a cursor, what becomes of it and where it goes; the
//! [engine](crate::engine) owns the order of these calls, and nothing else does. Records never
//! travel without the stretch of the source that they stand for: a [`Page`] is a list of records
//! and the cursor behind the last of them.

use std::collections::BTreeMap;
use std::future::Future;

use crate::error::{Error, Remedy, Result};
use crate::state::Members;

/// One incremental load: what to read past a cursor, what becomes of it, where it goes.
///
/// It is constructed for a stretch of its source, from a cursor up to a bound, and cheaply: a
/// backfill over many machines is many stretches of one pipeline.
pub trait Pipeline: Send + Sync {
    /// What the pipeline, or this mode of it, is called in reports and logs.
    const NAME: &'static str;

    /// Pages that may be read before the one in hand is saved: with 2, one is delivered while the
    /// next is transformed and the one behind it read. 0 where a page costs a scarce request.
    const READ_AHEAD: usize = 0;

    /// Where a page ends.
    type Cursor: Cursor;
    /// A record as the source has it.
    type Input: Send;
    /// A record as the destination takes it.
    type Output: Send;

    /// Reads the next page behind `after`, in strict order.
    fn poll(
        &self,
        after: &Self::Cursor,
    ) -> impl Future<Output = Result<Page<Self::Input, Self::Cursor>>> + Send;

    /// Shapes and enriches a page. Every input becomes one output, or is skipped, or set aside
    /// (P3); the engine checks the sum. Must change nothing outside: the page may be abandoned.
    fn transform(
        &self,
        inputs: Vec<Self::Input>,
    ) -> impl Future<Output = Result<Transformed<Self::Output>>> + Send;

    /// Writes the outputs. `Ok` means that they are durable at the destination (P1), in their
    /// order for each subject (P4).
    fn deliver(&self, outputs: Vec<Self::Output>)
    -> impl Future<Output = Result<Delivered>> + Send;
}

/// A place in a source: constant in size, in a strict order that no two records share, which
/// normally takes a pair of a column and a unique key.
pub trait Cursor: Clone + Ord + Send + Sync {
    /// Writes the members of the state document that this cursor owns.
    fn write(&self, members: &mut Members);
}

/// Records in the order of the source, and the cursor behind the last of them.
///
/// Where each record has a place of its own, [`Page::new`] makes one. Where the source is read by
/// stretches, such as a day, that hold as many records as they do, [`Page::stretch`] does.
#[derive(Debug)]
pub struct Page<R, C> {
    records: Vec<R>,
    next: C,
    more: bool,
}

impl<R, C: Cursor> Page<R, C> {
    /// Takes the records behind `after`, each with its place. `more` is false when the source
    /// has nothing behind the last of them for now.
    ///
    /// # Errors
    /// [`Remedy::ReportBug`] when the places do not rise strictly from `after` on: saving such a
    /// cursor would lose or repeat records (P2); and when an empty page claims that there is
    /// more, which would be asked for again for ever.
    pub fn new(after: &C, records: Vec<(C, R)>, more: bool) -> Result<Page<R, C>> {
        let mut next = after.clone();
        let mut in_order = Vec::with_capacity(records.len());
        for (place, record) in records {
            if place <= next {
                return Err(Error::new(
                    Remedy::ReportBug,
                    format!(
                        "reading a page: record {} does not lie behind the one before it",
                        in_order.len() + 1
                    ),
                ));
            }
            next = place;
            in_order.push(record);
        }
        if in_order.is_empty() && more {
            return Err(Error::new(
                Remedy::ReportBug,
                "reading a page: it is empty and yet not the last",
            ));
        }
        Ok(Page {
            records: in_order,
            next,
            more,
        })
    }

    /// Takes all records of the stretch behind `after` that ends at `next`. There may be none: the
    /// stretch is then done all the same, and the cursor moves. `more` is false when the source
    /// has nothing behind it for now.
    ///
    /// # Errors
    /// [`Remedy::ReportBug`] when the stretch does not end behind `after`: saving such a cursor
    /// would repeat it for ever (P2).
    pub fn stretch(after: &C, records: Vec<R>, next: C, more: bool) -> Result<Page<R, C>> {
        if next <= *after {
            return Err(Error::new(
                Remedy::ReportBug,
                "reading a page: its stretch does not end behind the cursor",
            ));
        }
        Ok(Page {
            records,
            next,
            more,
        })
    }

    /// How many records the page has.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether the page has no records.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The records, the cursor behind the last of them, and whether there is more.
    pub fn into_parts(self) -> (Vec<R>, C, bool) {
        (self.records, self.next, self.more)
    }
}

/// What became of a page's records.
#[derive(Debug)]
pub struct Transformed<T> {
    /// Records to deliver, in order.
    pub outputs: Vec<T>,
    /// Records that need not be delivered, counted by reason.
    pub skipped: Counts,
    /// Records that could not be made.
    pub set_aside: Vec<DeadLetter>,
    /// Anything else worth counting in the report, such as geocoded addresses.
    pub noted: Counts,
}

// By hand, because a derived one would ask it of `T`.
impl<T> Default for Transformed<T> {
    fn default() -> Transformed<T> {
        Transformed {
            outputs: Vec::new(),
            skipped: Counts::default(),
            set_aside: Vec::new(),
            noted: Counts::default(),
        }
    }
}

/// What became of a page's outputs; all others are durable at the destination.
#[derive(Debug, Default)]
pub struct Delivered {
    /// Outputs that were not sent on purpose, counted by reason.
    pub skipped: Counts,
    /// Outputs that the destination will never take.
    pub set_aside: Vec<DeadLetter>,
}

/// A record set aside, as it is kept for a person to mend. Nothing in it is personal (P6).
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The record's pseudonym, or nothing when not even that could be made.
    pub key: Option<String>,
    /// Where the source has it, such as the time of its change.
    pub position: String,
    /// Why it was set aside: place and what was expected.
    pub reason: String,
    /// The pseudonymised record, when it could be made.
    pub record: Option<serde_json::Value>,
}

/// Numbers by name, in the order of the names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<&'static str, u64>);

impl Counts {
    /// Counts `number` more of `name`; a zero leaves no trace.
    pub fn add(&mut self, name: &'static str, number: u64) {
        if number > 0 {
            *self.0.entry(name).or_default() += number;
        }
    }

    /// Adds all of `other`.
    pub fn add_all(&mut self, other: &Counts) {
        for (name, number) in other.iter() {
            self.add(name, number);
        }
    }

    /// The number of `name`.
    pub fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// All numbers together.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Names and numbers.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|(name, number)| (*name, *number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    struct Place(u64);

    impl Cursor for Place {
        fn write(&self, _members: &mut Members) {}
    }

    #[test]
    fn a_page_takes_records_in_strict_order_alone() {
        let page = Page::new(&Place(1), vec![(Place(2), 'a'), (Place(5), 'b')], true).unwrap();
        assert_eq!(page.into_parts(), (vec!['a', 'b'], Place(5), true));
        for places in [[1, 2], [2, 2], [3, 2]] {
            let records = places.map(|place| (Place(place), ())).to_vec();
            assert!(Page::new(&Place(1), records, false).is_err(), "{places:?}");
        }
    }

    #[test]
    fn a_page_without_progress_is_an_error_and_not_a_loop() {
        assert!(Page::<(), _>::new(&Place(1), vec![], true).is_err());
        assert_eq!(
            Page::<(), _>::new(&Place(1), vec![], false)
                .unwrap()
                .into_parts()
                .1,
            Place(1)
        );
    }

    #[test]
    fn a_stretch_ends_behind_the_cursor_whatever_it_holds() {
        for records in [vec![], vec!['a', 'b']] {
            let page = Page::stretch(&Place(1), records.clone(), Place(2), true).unwrap();
            assert_eq!(page.into_parts(), (records, Place(2), true));
        }
        for next in [0, 1] {
            assert!(Page::stretch(&Place(1), vec!['a'], Place(next), false).is_err());
        }
    }
}
