//! One module a system, both directions together, and the embedded twin of each.
//!
//! Every connector takes its place from a URL; the scheme picks the system. Each wraps its single
//! calls in [`retry`](crate::retry::retry) and tells by [`Remedy`](crate::error::Remedy) what
//! may pass and what a person must fix.

pub mod aws;
mod aws_query;
pub mod http;
pub mod kms;
pub mod mail;
pub mod mysql;
pub mod notifications;
pub mod objects;
pub mod oracle;
pub mod postgres;
pub mod redshift;
pub mod sentry;
pub mod sql;
pub mod sqlite;
pub mod stream;
