//! Records in, bytes out; and text files in, records out.

pub mod avro;
pub mod copy;
pub mod csv;
pub mod values;
pub mod zip;
