//! ShopperTrak's texts as values.

use jiff::civil::{Date, Time};

/// What a text is that should be a whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    /// A whole number of 32 bits.
    Is(i32),
    /// A whole number that 32 bits do not hold.
    TooLarge,
    /// Absent, blank or something else.
    IsNot,
}

impl Number {
    /// The number, if it is one.
    pub fn known(self) -> Option<i32> {
        match self {
            Number::Is(number) => Some(number),
            Number::TooLarge | Number::IsNot => None,
        }
    }
}

/// Reads a whole number: blanks around it, leading zeros, `+` and `-` are fine.
pub(super) fn number(text: &str) -> Number {
    let text = text.trim();
    let (sign, digits) = match text.as_bytes() {
        [b'-', digits @ ..] => (-1, digits),
        [b'+', digits @ ..] => (1, digits),
        digits => (1, digits),
    };
    if digits.is_empty() {
        return Number::IsNot;
    }
    let mut value: i64 = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return Number::IsNot;
        }
        value = value
            .saturating_mul(10)
            .saturating_add(i64::from(digit - b'0'));
    }
    i32::try_from(sign * value).map_or(Number::TooLarge, Number::Is)
}

/// The door that an entrance's name ends with: `EP 01` is 1.
pub(super) fn orbit(name: &str) -> Number {
    number(name.trim().trim_start_matches(['E', 'P']))
}

/// Reads `YYYYMMDD`.
pub(super) fn date(text: &str) -> Option<Date> {
    let [a, b, c, d, e, f, g, h] = digits(text)?;
    let year = a * 1000 + b * 100 + c * 10 + d;
    Date::new(year, (e * 10 + f) as i8, (g * 10 + h) as i8).ok()
}

/// Reads `HHMMSS`.
pub(super) fn time(text: &str) -> Option<Time> {
    let [a, b, c, d, e, f] = digits(text)?;
    let part = |tens: i16, ones: i16| (tens * 10 + ones) as i8;
    Time::new(part(a, b), part(c, d), part(e, f), 0).ok()
}

fn digits<const N: usize>(text: &str) -> Option<[i16; N]> {
    let text: [u8; N] = text.trim().as_bytes().try_into().ok()?;
    text.iter()
        .all(u8::is_ascii_digit)
        .then(|| text.map(|digit| i16::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_whole_numbers_with_what_python_forgives() {
        for (text, expected) in [
            ("5", Number::Is(5)),
            (" 5 ", Number::Is(5)),
            ("-2", Number::Is(-2)),
            ("+3", Number::Is(3)),
            ("00012", Number::Is(12)),
            ("-2147483648", Number::Is(i32::MIN)),
            ("2147483648", Number::TooLarge),
            ("99999999999999999999999", Number::TooLarge),
            ("", Number::IsNot),
            (" ", Number::IsNot),
            ("+", Number::IsNot),
            ("- 2", Number::IsNot),
            ("3.0", Number::IsNot),
            ("1,5", Number::IsNot),
            ("n/a", Number::IsNot),
        ] {
            assert_eq!(number(text), expected, "`{text}`");
        }
    }

    #[test]
    fn an_orbit_is_the_number_behind_any_e_and_p() {
        for (name, expected) in [
            ("EP 01", Number::Is(1)),
            (" EP02 ", Number::Is(2)),
            ("PEEP 7", Number::Is(7)),
            ("12", Number::Is(12)),
            ("EP X1", Number::IsNot),
            ("Main", Number::IsNot),
            ("", Number::IsNot),
            ("EP", Number::IsNot),
        ] {
            assert_eq!(orbit(name), expected, "`{name}`");
        }
    }

    #[test]
    fn dates_and_times_are_digits() {
        assert_eq!(date(" 20240329 "), Some(jiff::civil::date(2024, 3, 29)));
        assert_eq!(time("234500"), Some(jiff::civil::time(23, 45, 0, 0)));
        for text in ["", "2024-03-29", "20240230", "2024032", "202403291"] {
            assert_eq!(date(text), None, "`{text}`");
        }
        for text in ["", "240000", "236000", "9:00", "90000", "0900001", "+90000"] {
            assert_eq!(time(text), None, "`{text}`");
        }
    }
}
