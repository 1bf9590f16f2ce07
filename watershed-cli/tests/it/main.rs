//! The program, run as its users run it: as a process, on the embedded twins and on real servers.
//!
//! Servers are started by `scripts/test`, which tells where they are in the environment.

mod bad_input;
mod demo;
mod fixture;
mod interrupted;
mod interruption;
mod location_visits;
mod modes;
mod oracle;
#[path = "../../../watershed/tests/oracle_stub/mod.rs"]
mod oracle_stub;
mod orders;
mod patronload;
mod pc_reserve;
mod pressure;
mod production;
mod program;
mod reading;
mod screens;
mod service;
mod world;
