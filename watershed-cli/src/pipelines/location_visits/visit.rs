use std::sync::Arc;

use jiff::civil::DateTime;

/// One door's count in one quarter of an hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Visit {
    /// The site; the visits of one site share its text.
    pub site: Option<Arc<str>>,
    /// The door.
    pub orbit: Option<i32>,
    /// Start of the quarter, wall time of the site.
    pub start: DateTime,
    pub enters: Option<i32>,
    pub exits: Option<i32>,
    /// Whether the counter worked.
    pub healthy: bool,
    /// Whether it did not, in the opening hours, and nobody was counted.
    pub missing: bool,
}

impl Visit {
    /// Whether anybody was counted; a count that is absent is 0 here.
    pub(super) fn has_visitors(&self) -> bool {
        [self.enters, self.exits]
            .into_iter()
            .any(|count| count.is_some_and(|count| count > 0))
    }
}
