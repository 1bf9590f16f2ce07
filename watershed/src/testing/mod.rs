//! For tests, behind the cargo feature `testing`: the contracts that a backend keeps, and a
//! pipeline with faults.
//!
//! - [`contracts`] are functions that assert. The tests of a backend, ours or yours, open it and
//!   call the one that it should keep.
//! - [`Faulty`] wraps a pipeline and fails, hangs or calls you in a chosen room on a chosen page:
//!   what becomes of the cursor then is the question that every pipeline has to answer.

pub mod contracts;
mod faulty;

pub use faulty::{Fault, Faulty, Room};
