//! The library against real servers, and against servers that fail as told. One binary, because
//! each would link everything again.

mod engine;
mod folder;
mod geocoder;
mod kinesis;
mod mail;
mod mysql;
mod notifications;
mod objects;
mod oracle;
#[path = "../oracle_stub/mod.rs"]
mod oracle_stub;
mod postgres;
mod schema;
mod support;
mod values;
