//! Rules for texts, as the old program had them.

use std::borrow::Cow;

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

/// The preferred name, where it is not the legal one written otherwise: case does not count, but
/// accents do, and `ß` is not `SS`.
pub(super) fn preferred<'a>(preferred: &'a str, legal: &str) -> &'a str {
    let same = match preferred.is_ascii() && legal.is_ascii() {
        true => preferred.eq_ignore_ascii_case(legal),
        false => preferred.to_lowercase() == legal.to_lowercase(),
    };
    if same { "" } else { preferred }
}

/// One line break at the end does not count, as the old program's regular expressions had it.
pub(super) fn without_line_break(text: &str) -> &str {
    text.strip_suffix('\n').unwrap_or(text)
}

/// Digits of a telephone number in one piece.
const DIGITS: usize = 10;

/// Every run of ten digits, from left to right, as `ddd-ddd-dddd`; all else as it is. Digits of
/// every script count.
pub(super) fn dashed(phone: &str) -> Cow<'_, str> {
    if phone.len() < DIGITS || longest_run(phone) < DIGITS {
        return Cow::Borrowed(phone);
    }
    let characters: Vec<char> = phone.chars().collect();
    let mut dashed = String::with_capacity(phone.len() + 2);
    let mut rest = &characters[..];
    while let Some((first, behind)) = rest.split_first() {
        match rest
            .get(..DIGITS)
            .filter(|run| run.iter().copied().all(is_digit))
        {
            Some(run) => {
                for (i, digit) in run.iter().enumerate() {
                    if i == 3 || i == 6 {
                        dashed.push('-');
                    }
                    dashed.push(*digit);
                }
                rest = &rest[DIGITS..];
            }
            None => {
                dashed.push(*first);
                rest = behind;
            }
        }
    }
    Cow::Owned(dashed)
}

fn longest_run(phone: &str) -> usize {
    let (mut run, mut longest) = (0, 0);
    for character in phone.chars() {
        run = if is_digit(character) { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    longest
}

fn is_digit(character: char) -> bool {
    match character.is_ascii() {
        true => character.is_ascii_digit(),
        false => character.general_category() == GeneralCategory::DecimalNumber,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_digits_are_parted() {
        for (phone, expected) in [
            ("6172531000", "617-253-1000"),
            ("16172531000", "161-725-31000"),
            ("(617) 253-1000", "(617) 253-1000"),
            ("x6172531000y6172532000", "x617-253-1000y617-253-2000"),
            ("61725310006172532000", "617-253-1000617-253-2000"),
            ("123456789", "123456789"),
            ("", ""),
            ("   ", "   "),
            // Arabic-Indic, fullwidth and mixed digits; ² and Ⅻ are none.
            ("٦١٧٢٥٣١٠٠٠", "٦١٧-٢٥٣-١٠٠٠"),
            ("６１７253１０００", "６１７-253-１０００"),
            ("617253100²", "617253100²"),
            ("Ⅻ617253100", "Ⅻ617253100"),
        ] {
            assert_eq!(dashed(phone), expected);
        }
    }

    #[test]
    fn a_preferred_name_that_is_the_legal_one_is_none() {
        for (wanted, legal, expected) in [
            ("PAT", "pat", ""),
            ("Pat", "Patricia", "Pat"),
            ("", "Patricia", ""),
            ("Pat", "", "Pat"),
            ("ÉLODIE", "Élodie", ""),
            ("Elodie", "Élodie", "Elodie"),
            ("Strauß", "STRAUSS", "Strauß"),
            ("ΣΊΣΥΦΟΣ", "Σίσυφος", ""),
            ("\u{212a}arl", "karl", ""),
        ] {
            assert_eq!(preferred(wanted, legal), expected, "{wanted} {legal}");
        }
    }

    #[test]
    fn one_line_break_at_the_end_does_not_count() {
        for (text, expected) in [
            ("G\n", "G"),
            ("G\n\n", "G\n"),
            ("\nG", "\nG"),
            ("G\r\n", "G\r"),
            ("G ", "G "),
        ] {
            assert_eq!(without_line_break(text), expected);
        }
    }
}
