//! The library against real servers, and against servers that fail as told. One binary, because
//! each would link everything again.

mod engine;
mod folder;
mod geocoder;
mod kinesis;
mod mail;
mod mysql;
mod objects;
mod postgres;
mod schema;
mod support;
