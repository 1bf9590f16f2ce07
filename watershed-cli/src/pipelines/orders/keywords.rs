//! Texts such as `user=me password='it''s secret' host=db`, as libpq has them.

/// Reads words and values: blanks around `=` are allowed, a value with blanks stands in single
/// quotes, and a backslash takes the next character as it is.
///
/// # Errors
/// What is wrong, without a value, which may be a secret.
pub(super) fn read(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut rest = text.trim_start();
    let mut pairs: Vec<(String, String)> = Vec::new();
    while !rest.is_empty() {
        let end = rest.find(|c: char| c == '=' || c.is_whitespace());
        let (word, behind) = rest.split_at(end.unwrap_or(rest.len()));
        let behind = behind.trim_start().strip_prefix('=');
        let behind = behind.ok_or_else(|| match pairs.last() {
            // The word may be a piece of a value that wanted quotes.
            Some((last, _)) => format!("expected a word and `=` behind the value of `{last}`; a value with blanks stands in single quotes"),
            None => "expected words and values such as `host=…`".to_owned(),
        })?;
        let (value, behind) = value(behind.trim_start())
            .ok_or_else(|| format!("the quote of `{word}` is not closed"))?;
        if pairs.iter().any(|(there, _)| there == word) {
            return Err(format!("`{word}` stands there twice"));
        }
        pairs.push((word.to_owned(), value));
        rest = behind.trim_start();
    }
    Ok(pairs)
}

/// A value and what stands behind it.
fn value(text: &str) -> Option<(String, &str)> {
    let quoted = text.strip_prefix('\'');
    let rest = quoted.unwrap_or(text);
    let mut value = String::new();
    let mut characters = rest.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => value.extend(characters.next().map(|(_, character)| character)),
            '\'' if quoted.is_some() => return Some((value, &rest[at + 1..])),
            blank if quoted.is_none() && blank.is_whitespace() => {
                return Some((value, &rest[at..]));
            }
            other => value.push(other),
        }
    }
    match quoted {
        Some(_) => None,
        None => Some((value, "")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Result<String, String> {
        let pairs = read(text)?;
        let pairs = pairs.iter().map(|(word, value)| format!("{word}<{value}>"));
        Ok(pairs.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn values_are_quoted_as_libpq_has_it() {
        for (text, expected) in [
            ("user=me host=db", "user<me> host<db>"),
            ("  user = me\thost\n=db ", "user<me> host<db>"),
            (
                r"password='a b' user='it\'s' x=''",
                "password<a b> user<it's> x<>",
            ),
            (r"password=a\ b\\c", r"password<a b\c>"),
            ("password=a=b", "password<a=b>"),
            ("password= host=db", "password<host=db>"),
            ("", ""),
        ] {
            assert_eq!(pairs(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn a_fault_tells_no_value() {
        for (text, expected) in [
            ("hunter2", "expected words and values such as `host=…`"),
            (
                "password=hunter 2",
                "expected a word and `=` behind the value of `password`; a value with blanks stands in single quotes",
            ),
            ("password='hunter2", "the quote of `password` is not closed"),
            ("a=1 a=2", "`a` stands there twice"),
        ] {
            assert_eq!(pairs(text).unwrap_err(), expected, "{text}");
        }
    }
}
