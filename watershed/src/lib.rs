#![warn(missing_docs)]
#![forbid(unsafe_code)]
//! Watershed
pub mod error;
pub mod geocoding;
pub mod pipeline;
pub mod privacy;
pub mod retry;
pub mod state {
    pub type Members = serde_json::Map<String, serde_json::Value>;
}
