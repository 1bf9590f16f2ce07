//! Texts of columns, read as PostgreSQL reads them.
//!
//! Two things are wider than PostgreSQL's own: a timestamp with an offset is turned into UTC, also
//! for a column without zone, and bytes are hexadecimal with `\x`, with `0x` or with nothing before
//! them. Two are narrower: dates are of the ISO 8601 kind (`2022-09-22`, `2022/9/2`, `20220922`,
//! `infinity`, `… BC`), because what else a server makes of `01/02/2022` is for its settings to
//! say; and offsets are numbers, `Z`, `UTC` or `GMT`, not names of zones.

mod moments;
mod numeric;

use std::fmt;

pub use moments::{date_text, time_text, timestamp_text};
pub use numeric::Numeric;

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// 2 bytes.
    SmallInt,
    /// 4 bytes.
    Int,
    /// 8 bytes.
    BigInt,
    /// Precision and scale, if it has them.
    Numeric(Option<(u16, u16)>),
    /// 8 bytes.
    Double,
    /// Any length.
    Text,
    /// At most so many characters.
    Varchar(u32),
    /// True or false.
    Boolean,
    /// A calendar date.
    Date,
    /// A time of day.
    Time,
    /// A point in time, in UTC.
    Timestamp,
    /// A point in time.
    TimestampTz,
    /// 16 bytes.
    Uuid,
    /// JSON.
    Jsonb,
    /// Bytes.
    Bytea,
}

/// A value in the form in which it is encoded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar<'a> {
    /// A whole number within the column's range.
    Integer(i64),
    /// Rounded to the column's scale and within its precision.
    Numeric(Numeric<'a>),
    /// A floating-point number.
    Double(f64),
    /// Text without NUL; JSON, too.
    Text(&'a str),
    /// True or false.
    Boolean(bool),
    /// Days since 2000-01-01; `i32::MAX` and `i32::MIN` are infinite.
    Date(i32),
    /// Microseconds since midnight.
    Time(i64),
    /// Microseconds since 2000-01-01 in UTC; `i64::MAX` and `i64::MIN` are infinite.
    Timestamp(i64),
    /// 16 bytes.
    Uuid([u8; 16]),
    /// Bytes.
    Bytes(&'a [u8]),
}

/// Why a text is no value of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It has another form.
    Form,
    /// Its form is right, and the value beyond what the type holds.
    Range,
    /// It is not UTF-8.
    NotUtf8,
    /// It has a NUL byte, which PostgreSQL's texts cannot hold.
    Nul,
}

impl ColumnType {
    /// Reads a type as entities name it: `numeric(12, 4)`, in any case.
    pub fn parse(text: &str) -> Option<ColumnType> {
        let text = text.trim().to_ascii_lowercase();
        let (name, arguments) = match text.split_once('(') {
            Some((name, rest)) => (name.trim_end(), Some(rest.strip_suffix(')')?)),
            None => (&*text, None),
        };
        let number = |text: &str| text.trim().parse::<u32>().ok();
        Some(match (name, arguments) {
            ("smallint", None) => ColumnType::SmallInt,
            ("int", None) => ColumnType::Int,
            ("bigint", None) => ColumnType::BigInt,
            ("numeric", None) => ColumnType::Numeric(None),
            ("numeric", Some(arguments)) => {
                let (precision, scale) = arguments.split_once(',').unwrap_or((arguments, "0"));
                let (precision, scale) = (number(precision)?, number(scale)?);
                if !(1..=1000).contains(&precision) || scale > precision {
                    return None;
                }
                ColumnType::Numeric(Some((precision as u16, scale as u16)))
            }
            ("double", None) => ColumnType::Double,
            ("text", None) => ColumnType::Text,
            ("varchar", Some(length)) => ColumnType::Varchar(
                number(length).filter(|length| (1..=10_485_760).contains(length))?,
            ),
            ("boolean", None) => ColumnType::Boolean,
            ("date", None) => ColumnType::Date,
            ("time", None) => ColumnType::Time,
            ("timestamp", None) => ColumnType::Timestamp,
            ("timestamptz", None) => ColumnType::TimestampTz,
            ("uuid", None) => ColumnType::Uuid,
            ("jsonb", None) => ColumnType::Jsonb,
            ("bytea", None) => ColumnType::Bytea,
            _ => return None,
        })
    }

    /// The type as PostgreSQL's `format_type` writes it.
    pub fn in_postgres(self) -> String {
        match self {
            ColumnType::SmallInt => "smallint".into(),
            ColumnType::Int => "integer".into(),
            ColumnType::BigInt => "bigint".into(),
            ColumnType::Numeric(None) => "numeric".into(),
            ColumnType::Numeric(Some((precision, scale))) => {
                format!("numeric({precision},{scale})")
            }
            ColumnType::Double => "double precision".into(),
            ColumnType::Text => "text".into(),
            ColumnType::Varchar(length) => format!("character varying({length})"),
            ColumnType::Boolean => "boolean".into(),
            ColumnType::Date => "date".into(),
            ColumnType::Time => "time without time zone".into(),
            ColumnType::Timestamp => "timestamp without time zone".into(),
            ColumnType::TimestampTz => "timestamp with time zone".into(),
            ColumnType::Uuid => "uuid".into(),
            ColumnType::Jsonb => "jsonb".into(),
            ColumnType::Bytea => "bytea".into(),
        }
    }

    /// Whether it is a whole number.
    pub fn is_integer(self) -> bool {
        matches!(
            self,
            ColumnType::SmallInt | ColumnType::Int | ColumnType::BigInt
        )
    }

    /// What a text of this type must be, for the message about one that is not.
    pub fn expected(self, unfit: Unfit) -> String {
        match (unfit, self) {
            (Unfit::NotUtf8, _) => "UTF-8".into(),
            (Unfit::Nul, _) => "text without a NUL byte".into(),
            (_, ColumnType::SmallInt) => "a whole number from -32768 to 32767 (smallint)".into(),
            (_, ColumnType::Int) => "a whole number from -2147483648 to 2147483647 (int)".into(),
            (_, ColumnType::BigInt) => {
                "a whole number from -9223372036854775808 to 9223372036854775807 (bigint)".into()
            }
            (_, ColumnType::Numeric(None)) => "a decimal number (numeric)".into(),
            (_, ColumnType::Numeric(Some((precision, scale)))) => format!(
                "a decimal number of at most {} digits before the point (numeric({precision},{scale}))",
                precision - scale
            ),
            (_, ColumnType::Double) => "a number (double)".into(),
            (_, ColumnType::Text) => "text".into(),
            (_, ColumnType::Varchar(length)) => {
                format!("at most {length} characters (varchar({length}))")
            }
            (_, ColumnType::Boolean) => "true or false (boolean)".into(),
            (_, ColumnType::Date) => "a date such as 2022-09-22 (date)".into(),
            (_, ColumnType::Time) => "a time such as 09:58:53.123 (time)".into(),
            (_, ColumnType::Timestamp) => {
                "a time such as 2022-09-22 09:58:53.123 (timestamp)".into()
            }
            (_, ColumnType::TimestampTz) => {
                "a time such as 2022-09-22 09:58:53.123+02 (timestamptz)".into()
            }
            (_, ColumnType::Uuid) => "32 hexadecimal digits (uuid)".into(),
            (_, ColumnType::Jsonb) => "JSON (jsonb)".into(),
            (_, ColumnType::Bytea) => "pairs of hexadecimal digits (bytea)".into(),
        }
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ColumnType::Int => f.write_str("int"),
            ColumnType::Double => f.write_str("double"),
            ColumnType::Varchar(length) => write!(f, "varchar({length})"),
            ColumnType::Time => f.write_str("time"),
            ColumnType::Timestamp => f.write_str("timestamp"),
            ColumnType::TimestampTz => f.write_str("timestamptz"),
            other => f.write_str(&other.in_postgres()),
        }
    }
}

/// Reads values; its memory is used again for each.
#[derive(Default)]
pub struct ValueReader {
    digits: Vec<u8>,
    bytes: Vec<u8>,
}

impl ValueReader {
    /// Reads a text as a value of this type.
    ///
    /// # Errors
    /// Why it is none; [`ColumnType::expected`] says what it should be.
    pub fn read<'a>(&'a mut self, kind: ColumnType, text: &'a [u8]) -> Result<Scalar<'a>, Unfit> {
        match kind {
            ColumnType::SmallInt => integer(text, i16::MIN.into(), i16::MAX.into()),
            ColumnType::Int => integer(text, i32::MIN.into(), i32::MAX.into()),
            ColumnType::BigInt => integer(text, i64::MIN, i64::MAX),
            ColumnType::Numeric(limits) => {
                numeric::read(trimmed(text), limits, &mut self.digits).map(Scalar::Numeric)
            }
            ColumnType::Double => double(trimmed(text)),
            ColumnType::Text => plain(text).map(Scalar::Text),
            ColumnType::Varchar(length) => varchar(plain(text)?, length as usize),
            ColumnType::Boolean => boolean(trimmed(text)),
            ColumnType::Date => moments::date(trimmed(text)).map(Scalar::Date),
            ColumnType::Time => moments::time(trimmed(text)).map(Scalar::Time),
            ColumnType::Timestamp | ColumnType::TimestampTz => {
                moments::timestamp(trimmed(text)).map(Scalar::Timestamp)
            }
            ColumnType::Uuid => uuid(text),
            ColumnType::Jsonb => json(plain(text)?),
            ColumnType::Bytea => self.bytea(text),
        }
    }

    fn bytea<'a>(&'a mut self, text: &[u8]) -> Result<Scalar<'a>, Unfit> {
        let digits = text
            .strip_prefix(b"\\x")
            .or_else(|| text.strip_prefix(b"0x"))
            .or_else(|| text.strip_prefix(b"0X"))
            .unwrap_or(text);
        self.bytes.clear();
        let (pairs, rest) = digits.as_chunks::<2>();
        for [high, low] in pairs {
            self.bytes.push(nibble(*high)? << 4 | nibble(*low)?);
        }
        match rest {
            [] => Ok(Scalar::Bytes(&self.bytes)),
            _ => Err(Unfit::Form),
        }
    }
}

/// Without what C's `isspace` takes for a blank.
fn trimmed(text: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let Some(start) = text.iter().position(|byte| !blank(byte)) else {
        return &[];
    };
    let end = text.iter().rposition(|byte| !blank(byte));
    &text[start..=end.unwrap_or(start)]
}

fn integer<'a>(text: &[u8], least: i64, most: i64) -> Result<Scalar<'a>, Unfit> {
    let text = trimmed(text);
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Unfit::Form);
    }
    // Downward, because there is one more number below zero than above.
    let mut number = 0_i64;
    for digit in digits {
        number = number
            .checked_mul(10)
            .and_then(|number| number.checked_sub(i64::from(digit - b'0')))
            .ok_or(Unfit::Range)?;
    }
    if !negative {
        number = number.checked_neg().ok_or(Unfit::Range)?;
    }
    if (least..=most).contains(&number) {
        Ok(Scalar::Integer(number))
    } else {
        Err(Unfit::Range)
    }
}

fn double<'a>(text: &[u8]) -> Result<Scalar<'a>, Unfit> {
    let text = std::str::from_utf8(text).map_err(|_| Unfit::Form)?;
    let number: f64 = text.parse().map_err(|_| Unfit::Form)?;
    let has_digits = |from: char| {
        text.chars()
            .take_while(|c| !matches!(c, 'e' | 'E'))
            .any(|c| (from..='9').contains(&c))
    };
    // PostgreSQL refuses a number that only rounding makes infinite, or nothing.
    if (number.is_infinite() && has_digits('0')) || (number == 0.0 && has_digits('1')) {
        return Err(Unfit::Range);
    }
    Ok(Scalar::Double(number))
}

fn plain(text: &[u8]) -> Result<&str, Unfit> {
    let text = std::str::from_utf8(text).map_err(|_| Unfit::NotUtf8)?;
    if memchr::memchr(0, text.as_bytes()).is_some() {
        return Err(Unfit::Nul);
    }
    Ok(text)
}

/// Too long a text may lose blanks at its end, and nothing else.
fn varchar(text: &str, length: usize) -> Result<Scalar<'_>, Unfit> {
    if text.len() <= length {
        return Ok(Scalar::Text(text));
    }
    match text.char_indices().nth(length) {
        None => Ok(Scalar::Text(text)),
        Some((end, _)) if text[end..].bytes().all(|byte| byte == b' ') => {
            Ok(Scalar::Text(&text[..end]))
        }
        Some(_) => Err(Unfit::Range),
    }
}

/// PostgreSQL takes any beginning that tells the words apart.
fn boolean<'a>(text: &[u8]) -> Result<Scalar<'a>, Unfit> {
    let begins =
        |word: &[u8]| text.len() <= word.len() && text.eq_ignore_ascii_case(&word[..text.len()]);
    let truth = match text {
        [] => return Err(Unfit::Form),
        b"1" => true,
        b"0" => false,
        _ if begins(b"true") || begins(b"yes") => true,
        _ if begins(b"false") || begins(b"no") => false,
        [_] => return Err(Unfit::Form),
        _ if begins(b"on") => true,
        _ if begins(b"off") => false,
        _ => return Err(Unfit::Form),
    };
    Ok(Scalar::Boolean(truth))
}

fn nibble(digit: u8) -> Result<u8, Unfit> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(Unfit::Form),
    }
}

/// In braces or not, with a hyphen behind any group of four digits.
fn uuid<'a>(text: &[u8]) -> Result<Scalar<'a>, Unfit> {
    let text = match text {
        [b'{', inner @ .., b'}'] => inner,
        text => text,
    };
    let mut bytes = [0; 16];
    let mut rest = text;
    for (i, byte) in bytes.iter_mut().enumerate() {
        let [high, low, behind @ ..] = rest else {
            return Err(Unfit::Form);
        };
        *byte = nibble(*high)? << 4 | nibble(*low)?;
        rest = match behind {
            [b'-', behind @ ..] if i % 2 == 1 && i < 15 => behind,
            behind => behind,
        };
    }
    match rest {
        [] => Ok(Scalar::Uuid(bytes)),
        _ => Err(Unfit::Form),
    }
}

/// JSON that PostgreSQL can hold: without the character NUL and without halves of surrogates.
fn json(text: &str) -> Result<Scalar<'_>, Unfit> {
    let valid = if text.contains("\\u") {
        // Only the whole reading looks into escapes.
        serde_json::from_str::<serde_json::Value>(text).is_ok() && !has_escaped_nul(text.as_bytes())
    } else {
        serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
    };
    if valid {
        Ok(Scalar::Text(text))
    } else {
        Err(Unfit::Form)
    }
}

/// In what was read already: of members with one name only the last one is there. A backslash
/// stands in JSON within texts alone, and takes the next character with it.
fn has_escaped_nul(mut text: &[u8]) -> bool {
    while let Some(at) = memchr::memchr(b'\\', text) {
        if text[at..].starts_with(b"\\u0000") {
            return true;
        }
        text = text.get(at + 2..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests;
