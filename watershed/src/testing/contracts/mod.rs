//! What a backend has to keep, as functions that assert: each panics at the first rule that is
//! broken, and says which.

mod geocoder;
mod sql;
mod state;

pub use geocoder::geocoder;
pub use sql::{SQL_FIXTURE, sql};
pub use state::state;
