//! An address as tokens, cut as `usaddress` cuts it.

use std::borrow::Cow;

use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

/// Whether a character belongs to a word: a letter, a number or `_`.
///
/// The parser was trained with Python's `\w`, which counts `½` and `²` but no combining mark; the
/// `\w` of Rust's crates does the opposite, so the Unicode categories are asked directly.
pub(super) fn is_word(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphanumeric() || c == '_';
    }
    matches!(
        c.general_category_group(),
        GeneralCategoryGroup::Letter | GeneralCategoryGroup::Number
    )
}

/// Whether a character is white space to Python, which adds four separators to Unicode's list.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

/// The address with `&amp;` and `&#38;` as `&`, each replaced once.
pub(super) fn unescape(address: &str) -> Cow<'_, str> {
    const ESCAPES: [&str; 2] = ["&#38;", "&amp;"];
    if !ESCAPES.iter().any(|escape| address.contains(escape)) {
        return Cow::Borrowed(address);
    }
    let mut unescaped = String::with_capacity(address.len());
    let mut rest = address;
    while let Some((before, from)) = rest.find('&').map(|at| rest.split_at(at)) {
        unescaped.push_str(before);
        unescaped.push('&');
        rest = ESCAPES
            .iter()
            .find_map(|escape| from.strip_prefix(escape))
            .unwrap_or(&from[1..]);
    }
    unescaped.push_str(rest);
    Cow::Owned(unescaped)
}

/// Cuts an [unescaped](unescape) address into tokens, in their order.
///
/// A token is `#`, or `&`, or: opening brackets, a character of a word, whatever follows up to
/// white space or one of `,;#&()`, and then any of `.,;)` and line feeds. All else is left out.
pub(super) fn tokenise(address: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = address;
    while let Some(first) = rest.chars().next() {
        let brackets = rest.len() - rest.trim_start_matches('(').len();
        let length = if rest[brackets..].starts_with(is_word) {
            brackets + word_length(&rest[brackets..])
        } else if matches!(first, '#' | '&') {
            1
        } else {
            rest = &rest[brackets.max(first.len_utf8())..];
            continue;
        };
        let (token, after) = rest.split_at(length);
        tokens.push(token);
        rest = after;
    }
    tokens
}

/// The bytes of a token that begins, brackets aside, with a word.
fn word_length(text: &str) -> usize {
    let word_ends = |c: char| is_space(c) || matches!(c, ',' | ';' | '#' | '&' | '(' | ')');
    let word = text.find(word_ends).unwrap_or(text.len());
    let tail_ends = |c: char| !matches!(c, '.' | ',' | ';' | ')' | '\n');
    let tail = text[word..].find(tail_ends);
    tail.map_or(text.len(), |tail| word + tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_keep_their_brackets_and_closing_punctuation() {
        assert_eq!(
            tokenise("((Apt #5), W. 40th St.;\nc/o O-K & ½ - ("),
            [
                "((Apt", "#", "5),", "W.", "40th", "St.;\n", "c/o", "O-K", "&", "½"
            ]
        );
        assert_eq!(tokenise("a(b)c"), ["a", "(b)", "c"]);
        assert_eq!(
            tokenise("x\u{1c}y e\u{301} \u{301}e"),
            ["x", "y", "e\u{301}", "e"]
        );
    }

    #[test]
    fn nothing_but_punctuation_gives_no_token() {
        for text in ["", " ", "...", "((((", "-,;)", "\u{0}", "👍🏽", "\u{202e}"] {
            assert_eq!(tokenise(text), Vec::<&str>::new());
        }
    }

    #[test]
    fn an_escape_is_replaced_once() {
        assert_eq!(unescape("A &amp; B&#38;C & D"), "A & B&C & D");
        assert_eq!(unescape("&#38;amp; &amp;#38; &&amp;"), "&amp; &#38; &&");
        assert!(matches!(unescape("A & B"), Cow::Borrowed("A & B")));
    }
}
