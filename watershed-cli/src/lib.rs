#![warn(missing_docs)]
#![forbid(unsafe_code)]
//! The program `watershed`: the built-in pipelines and the command line.
//!
//! It is the library's first customer: whatever a pipeline here needs is public there.

pub mod cli;
pub mod journal;
pub mod pipelines;
mod sentry;
pub mod service;

pub use cli::main;
