//! `patronload`: rules, files, the change from the old ones to the new, and the report.

mod delivery;
pub mod reports;
mod rules;
mod world;
