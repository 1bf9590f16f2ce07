//! Records in, bytes out.

pub mod avro;
pub mod zip;
