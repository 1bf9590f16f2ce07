//! The program, run as its users run it: as a process, on the embedded twins and on real servers.
//!
//! Servers are started by `scripts/test`, which tells where they are in the environment.

mod bad_input;
mod demo;
mod fixture;
mod interrupted;
mod interruption;
mod modes;
mod patronload;
mod pc_reserve;
mod pressure;
mod production;
mod program;
mod reading;
mod screens;
mod world;
