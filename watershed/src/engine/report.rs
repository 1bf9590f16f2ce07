use crate::pipeline::Counts;

/// What a run did: a part for each mode, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// One part a mode that was begun.
    pub modes: Vec<ModeReport>,
    /// Whether a signal ended the run before the source was empty.
    pub stopped: bool,
}

/// What one mode of a run did. `read = delivered + skipped + set aside` (P3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModeReport {
    /// The mode's name.
    pub name: &'static str,
    /// Pages saved.
    pub pages: u64,
    /// Records read.
    pub read: u64,
    /// Records durable at the destination.
    pub delivered: u64,
    /// Records that were not sent on purpose, by reason.
    pub skipped: Counts,
    /// Records in the dead letters.
    pub set_aside: u64,
    /// Whatever else the pipeline counts.
    pub noted: Counts,
}

impl Report {
    /// Records set aside in all modes.
    pub fn set_aside(&self) -> u64 {
        self.modes.iter().map(|mode| mode.set_aside).sum()
    }
}
