//! Records in, bytes out.

pub mod avro;
