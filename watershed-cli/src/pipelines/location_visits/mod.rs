//! `location-visits`
mod recovery;
mod shoppertrak;
mod visit;
