//! The library against real servers, and against servers that fail as told. One binary, because
//! each would link everything again.

mod engine;
mod geocoder;
mod kinesis;
mod mysql;
mod notifications;
mod objects;
mod postgres;
mod schema;
mod support;
mod values;
