//! What goes into a SQL text and cannot be bound: names, and on Redshift values.

use super::rows::Value;
use crate::error::{Error, Remedy, Result};

/// Quotes the name of a table, schema-qualified or not, after checking that it is one. Names are
/// folded to lower case, as both PostgreSQL and Redshift do with unquoted ones.
///
/// # Errors
/// [`Remedy::FixSettings`] when it is no plain name.
pub fn identifier(name: &str) -> Result<String> {
    let plain = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'$')
    };
    let parts: Vec<&str> = name.split('.').collect();
    if parts.len() > 3 || !parts.iter().all(|part| plain(part)) {
        return Err(Error::new(
            Remedy::FixSettings,
            format!(
                "naming the table `{name}`: expected letters, digits and _, with a schema and a dot before it or without"
            ),
        ));
    }
    let quoted: Vec<String> = parts
        .iter()
        .map(|part| format!("\"{}\"", part.to_lowercase()))
        .collect();
    Ok(quoted.join("."))
}

/// Writes a value as a SQL literal, for the one protocol that cannot bind (Redshift's simple one).
///
/// A backslash is an escape on Redshift and an ordinary character on PostgreSQL, so that it is
/// written as `chr(92)`, which means the same on both.
pub(crate) fn literal(value: &Value) -> Result<String> {
    Ok(match value {
        Value::Null => "NULL".into(),
        Value::Integer(number) => number.to_string(),
        Value::Boolean(truth) => truth.to_string(),
        Value::Date(date) => format!("'{date}'"),
        Value::Instant(instant) => format!("'{}+00'", crate::time::format_utc(*instant)),
        Value::Text(text) if !text.contains('\0') => {
            let quoted = text.replace('\'', "''").replace('\\', "' || chr(92) || '");
            if text.contains('\\') {
                format!("('{quoted}')")
            } else {
                format!("'{quoted}'")
            }
        }
        Value::Text(_) | Value::Unreadable(_) => {
            return Err(Error::new(
                Remedy::FixData,
                "quoting a value: a text with a NUL byte",
            ));
        }
    })
}

/// Replaces `$1`, `$2`, … by literals. Our SQL texts have no `$` elsewhere.
pub(crate) fn with_literals(sql: &str, parameters: &[Value]) -> Result<String> {
    let mut text = String::with_capacity(sql.len() + parameters.len() * 36);
    let mut pieces = sql.split('$');
    text.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let digits = piece.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = piece.split_at(digits);
        let value = number
            .parse::<usize>()
            .ok()
            .and_then(|n| parameters.get(n.checked_sub(1)?));
        let value =
            value.ok_or_else(|| Error::new(Remedy::ReportBug, "binding: no such parameter"))?;
        text.push_str(&literal(value)?);
        text.push_str(rest);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::Text(text.into())
    }

    #[test]
    fn a_literal_cannot_be_left_from_within() {
        for (value, expected) in [
            (text("plain"), "'plain'"),
            (text("O'Brien"), "'O''Brien'"),
            (
                text("'; DROP TABLE patrons; --"),
                "'''; DROP TABLE patrons; --'",
            ),
            (text(r"back\slash"), r"('back' || chr(92) || 'slash')"),
            (text(r"\'"), r"('' || chr(92) || '''')"),
            (text("$1"), "'$1'"),
            (Value::Null, "NULL"),
            (Value::Integer(-7), "-7"),
        ] {
            assert_eq!(literal(&value).unwrap(), expected);
        }
        assert!(literal(&text("nul\0byte")).is_err());
    }

    #[test]
    fn placeholders_are_replaced_by_their_numbers() {
        let values: Vec<Value> = (1..=12).map(Value::Integer).collect();
        let sql = with_literals("SELECT $2, $12, $1", &values).unwrap();
        assert_eq!(sql, "SELECT 2, 12, 1");
        let quoted = with_literals("SELECT $1", &[text("$2")]).unwrap();
        assert_eq!(quoted, "SELECT '$2'");
        assert!(with_literals("SELECT $3", &values[..2]).is_err());
        assert!(with_literals("SELECT $x", &values).is_err());
    }

    #[test]
    fn identifiers_are_plain_names() {
        assert_eq!(identifier("Patron_Info_QA").unwrap(), "\"patron_info_qa\"");
        assert_eq!(
            identifier("public.patron_info").unwrap(),
            "\"public\".\"patron_info\""
        );
        for name in ["", "a b", "a;b", "a\"b", "1a", "a.", "a.b.c.d"] {
            assert!(identifier(name).is_err(), "{name}");
        }
    }
}
