//! The privacy boundary: personal values come in as [`Personal`] and leave as [`Pseudonym`]s.
//!
//! - [`Personal<T>`] cannot be displayed, serialised or debug-printed. Its ways out are few and
//!   named: a pseudonym, the geocoder, Alma's file, and a postal code cut to its area.
//! - [`Pseudonymiser`] is bcrypt with the institution's salt, the same for every pipeline.
//! - [`Seen`] tells whether a personal text was met before, and keeps none.
//! - [`Secret`] is for passwords, keys and salts.
//! - [`Seal`] encrypts a tie-break id for the state document, which people and backups read.

mod personal;
mod pseudonyms;
mod seal;
mod secret;
mod seen;

pub use personal::{Personal, legal_in_xml};
pub use pseudonyms::{Pseudonym, Pseudonymiser};
pub use seal::Seal;
pub use secret::Secret;
pub use seen::{Seen, Shortened};
