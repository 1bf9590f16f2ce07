#![warn(missing_docs)]
#![forbid(unsafe_code)]
//! Watershed
pub mod connectors;
pub mod dead_letters;
pub mod engine;
pub mod error;
pub mod formats;
pub mod geocoding;
pub mod pipeline;
pub mod privacy;
pub mod retry;
pub mod settings;
pub mod state;
pub mod time;
