//! Values in PostgreSQL's binary `COPY` format.
//!
//! A stream is [`HEADER`], rows, [`TRAILER`]. A row is [`begin_row`] and its values in order.

use super::values::{ColumnType, Numeric, Scalar};

/// The beginning of a stream: signature, no flags, no extension.
pub const HEADER: &[u8] = b"PGCOPY\n\xFF\r\n\0\0\0\0\0\0\0\0\0";

/// The end of a stream.
pub const TRAILER: &[u8] = &[0xFF, 0xFF];

/// Begins a row of so many columns; PostgreSQL has at most 1,600.
pub fn begin_row(columns: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&(columns as i16).to_be_bytes());
}

/// No value.
pub fn null(out: &mut Vec<u8>) {
    out.extend_from_slice(&(-1_i32).to_be_bytes());
}

/// A value of a column of this type; `scalar` was read as one of it.
pub fn value(kind: ColumnType, scalar: Scalar<'_>, out: &mut Vec<u8>) {
    match scalar {
        Scalar::Integer(number) => match kind {
            ColumnType::SmallInt => sized(&(number as i16).to_be_bytes(), out),
            ColumnType::Int => sized(&(number as i32).to_be_bytes(), out),
            _ => sized(&number.to_be_bytes(), out),
        },
        Scalar::Double(number) => sized(&number.to_be_bytes(), out),
        Scalar::Boolean(truth) => sized(&[truth.into()], out),
        Scalar::Date(days) => sized(&days.to_be_bytes(), out),
        Scalar::Time(micros) | Scalar::Timestamp(micros) => sized(&micros.to_be_bytes(), out),
        Scalar::Uuid(bytes) => sized(&bytes, out),
        Scalar::Bytes(bytes) => sized(bytes, out),
        Scalar::Text(text) if kind == ColumnType::Jsonb => {
            out.extend_from_slice(&(text.len() as i32 + 1).to_be_bytes());
            // The version of the format.
            out.push(1);
            out.extend_from_slice(text.as_bytes());
        }
        Scalar::Text(text) => sized(text.as_bytes(), out),
        Scalar::Numeric(number) => numeric(number, out),
    }
}

fn sized(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(bytes.len() as i32).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Groups of four digits, of which the first stands for 10,000 to the power of the weight.
fn numeric(number: Numeric<'_>, out: &mut Vec<u8>) {
    let (negative, digits, point, scale) = match number {
        Numeric::NaN => return numeric_parts(&[0, 0, 0xC000, 0], out),
        Numeric::Infinite(false) => return numeric_parts(&[0, 0, 0xD000, 0], out),
        Numeric::Infinite(true) => return numeric_parts(&[0, 0, 0xF000, 0], out),
        Numeric::Finite {
            negative,
            digits,
            point,
            scale,
        } => (negative, digits, point, scale),
    };
    let sign = if negative { 0x4000 } else { 0 };
    if digits.is_empty() {
        return numeric_parts(&[0, 0, sign, scale], out);
    }
    // The groups are counted from the point: the first one may begin with zeros.
    let groups_before = (point + 3).div_euclid(4);
    let lead = (groups_before * 4 - point) as usize;
    let count = (lead + digits.len()).div_ceil(4);
    let weight = (groups_before - 1) as i16;
    out.extend_from_slice(&(8 + 2 * count as i32).to_be_bytes());
    for part in [count as u16, weight as u16, sign, scale] {
        out.extend_from_slice(&part.to_be_bytes());
    }
    let (first, rest) = digits.split_at((4 - lead).min(digits.len()));
    let group = |digits: &[u8]| {
        digits
            .iter()
            .fold(0_u16, |value, digit| value * 10 + u16::from(*digit))
    };
    let padded =
        |digits: &[u8], length: usize| group(digits) * 10_u16.pow((length - digits.len()) as u32);
    out.extend_from_slice(&padded(first, 4 - lead).to_be_bytes());
    for digits in rest.chunks(4) {
        out.extend_from_slice(&padded(digits, 4).to_be_bytes());
    }
}

fn numeric_parts(parts: &[u16; 4], out: &mut Vec<u8>) {
    out.extend_from_slice(&8_i32.to_be_bytes());
    for part in parts {
        out.extend_from_slice(&part.to_be_bytes());
    }
}
