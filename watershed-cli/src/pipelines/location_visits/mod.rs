//! `location-visits`
mod shoppertrak;
mod visit;
