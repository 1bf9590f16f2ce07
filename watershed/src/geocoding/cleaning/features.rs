//! What the model looks at in a token.

use std::collections::HashSet;
use std::fmt::Write;
use std::sync::LazyLock;

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};
use zeroize::Zeroizing;

use super::tokens::is_word;

/// The words for kinds of streets that the model was trained with, mostly those of Publication 28
/// of the United States Postal Service.
static STREET_WORDS: LazyLock<HashSet<&str>> =
    LazyLock::new(|| include_str!("model/street_words.txt").lines().collect());

/// Calls `each` with the name of every attribute that holds for a token alone, as the model writes
/// it, in the order of `usaddress`. Attributes that do not hold weigh nothing and are left out.
pub(super) fn for_each_attribute(token: &str, mut each: impl FnMut(&str)) {
    let bare = without_punctuation(token);
    let word = Zeroizing::new(bare.to_lowercase().replace('.', ""));
    let is_number = is_digits(&word);

    if bare.ends_with('.') {
        each("abbrev");
    }
    each(digits(bare));

    // Long enough for nearly all tokens, so that growing leaves no copy of one in memory (P6).
    let mut name = Zeroizing::new(String::with_capacity(64));
    let mut written = |attribute: std::fmt::Arguments<'_>| {
        name.clear();
        // Writing to a string cannot fail.
        let _ = name.write_fmt(attribute);
        each(&name);
    };
    if is_number {
        let zeros = word.len() - word.trim_end_matches('0').len();
        written(format_args!("trailing.zeros:{:0<zeros$}", ""));
        written(format_args!("length:d:{}", word.chars().count()));
    } else {
        written(format_args!("word:{}", *word));
        written(format_args!("length:w:{}", word.chars().count()));
    }
    if let Some(last) = last_if_punctuated(token) {
        written(format_args!("endsinpunc:{last}"));
    }

    if is_direction(&word) {
        each("directional");
    }
    if STREET_WORDS.contains(word.as_str()) {
        each("street_name");
    }
    // The first character does not count: the vowel of `a` or `e` says nothing.
    if word.chars().skip(1).any(|c| "aeiou".contains(c)) {
        each("has.vowels");
    }
}

/// The token from its first word on, without punctuation at its end other than full stops.
fn without_punctuation(token: &str) -> &str {
    if matches!(token, "&" | "#" | "½") {
        return token;
    }
    token
        .trim_start_matches(|c| !is_word(c))
        .trim_end_matches(|c| c != '.' && !is_word(c))
}

fn is_direction(word: &str) -> bool {
    matches!(word, "n" | "s" | "e" | "w" | "ne" | "nw" | "se" | "sw")
        || matches!(word, "north" | "south" | "east" | "west")
        || matches!(word, "northeast" | "northwest" | "southeast" | "southwest")
}

fn digits(bare: &str) -> &'static str {
    if is_digits(bare) {
        "digits:all_digits"
    } else if bare.contains(|c: char| c.is_ascii_digit()) {
        "digits:some_digits"
    } else {
        "digits:no_digits"
    }
}

/// The last character of a token that has punctuation other than full stops behind its first
/// character. That need not be its last: `11427-12` ends in `2`.
fn last_if_punctuated(token: &str) -> Option<char> {
    let punctuated = token.chars().skip(1).any(|c| c != '.' && !is_word(c));
    token.chars().next_back().filter(|_| punctuated)
}

/// Whether there is text, and nothing but digits as Python's `isdigit` counts them.
fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_digit)
}

/// A decimal digit of any script, or one of the raised, lowered and encircled ones that Unicode
/// gives the numeric type "digit".
fn is_digit(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_digit();
    }
    c.general_category() == GeneralCategory::DecimalNumber
        || matches!(c,
            '²' | '³' | '¹' | '\u{1369}'..='\u{1371}' | '\u{19da}' | '⁰' | '⁴'..='⁹' | '₀'..='₉'
            | '①'..='⑨' | '⑴'..='⑼' | '⒈'..='⒐' | '⓪' | '⓵'..='⓽' | '⓿' | '❶'..='❾' | '➀'..='➈'
            | '➊'..='➒' | '\u{10a40}'..='\u{10a43}' | '\u{10e60}'..='\u{10e68}'
            | '\u{11052}'..='\u{1105a}' | '\u{1f100}'..='\u{1f10a}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(token: &str) -> String {
        let mut names = Vec::new();
        for_each_attribute(token, |name| names.push(name.to_owned()));
        names.join(" ")
    }

    #[test]
    fn tokens_have_the_attributes_that_the_model_knows() {
        for (token, expected) in [
            (
                "Ave.,",
                "abbrev digits:no_digits word:ave length:w:3 endsinpunc:, street_name has.vowels",
            ),
            (
                "(N.W.)",
                "abbrev digits:no_digits word:nw length:w:2 endsinpunc:) directional",
            ),
            ("100", "digits:all_digits trailing.zeros:00 length:d:3"),
            (
                "11427-12",
                "digits:some_digits word:11427-12 length:w:8 endsinpunc:2",
            ),
            ("#", "digits:no_digits word:# length:w:1"),
            ("½", "digits:no_digits word:½ length:w:1"),
            ("②", "digits:all_digits trailing.zeros: length:d:1"),
            (
                "Ñandú;",
                "digits:no_digits word:ñandú length:w:5 endsinpunc:; has.vowels",
            ),
        ] {
            assert_eq!(attributes(token), expected);
        }
    }
}
