//! `location-visits`: door counters by the quarter of an hour, with repair of bad days.

pub mod recovery;
pub mod visit;
