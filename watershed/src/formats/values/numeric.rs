//! Decimals, digit by digit: never through a floating-point number.

use std::fmt;

use super::Unfit;

/// A decimal: its digits, where the point stands among them, and how many places are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numeric<'a> {
    /// A number.
    Finite {
        /// Whether it is below zero.
        negative: bool,
        /// Digits from 0 to 9, none of them a zero at the beginning or at the end.
        digits: &'a [u8],
        /// How many digits stand before the point: below zero when zeros follow it first, and
        /// more than there are digits when zeros stand before it.
        point: i32,
        /// Places behind the point that are shown.
        scale: u16,
    },
    /// Not a number.
    NaN,
    /// Beyond all numbers; below them when `true`.
    Infinite(bool),
}

/// What PostgreSQL holds without a declared precision.
const DIGITS_BEFORE: i32 = 131_072;
const DIGITS_BEHIND: i64 = 16_383;

/// Reads a decimal, rounds it half away from zero to the declared scale, and refuses one that
/// then has too many digits.
pub(super) fn read<'a>(
    text: &[u8],
    limits: Option<(u16, u16)>,
    digits: &'a mut Vec<u8>,
) -> Result<Numeric<'a>, Unfit> {
    let (negative, rest) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if rest.first().is_some_and(u8::is_ascii_alphabetic) {
        return special(text, negative, rest, limits);
    }
    digits.clear();
    let (before, rest) = split_digits(rest);
    let (behind, rest) = match rest {
        [b'.', rest @ ..] => split_digits(rest),
        rest => (&[][..], rest),
    };
    if before.is_empty() && behind.is_empty() {
        return Err(Unfit::Form);
    }
    let exponent = exponent(rest)?;
    digits.extend(before.iter().chain(behind).map(|digit| digit - b'0'));
    let mut point = i64::try_from(before.len()).map_err(|_| Unfit::Range)? + exponent;
    let natural = (behind.len() as i64 - exponent).max(0);
    let scale = match limits {
        Some((_, scale)) => i64::from(scale),
        None if natural > DIGITS_BEHIND => return Err(Unfit::Range),
        None => natural,
    };
    round(digits, &mut point, scale);
    normalise(digits, &mut point);
    let most = limits.map_or(DIGITS_BEFORE, |(precision, scale)| {
        i32::from(precision - scale)
    });
    if point > i64::from(most) {
        return Err(Unfit::Range);
    }
    Ok(Numeric::Finite {
        negative: negative && !digits.is_empty(),
        digits,
        point: point as i32,
        scale: scale as u16,
    })
}

fn special<'a>(
    text: &[u8],
    negative: bool,
    rest: &[u8],
    limits: Option<(u16, u16)>,
) -> Result<Numeric<'a>, Unfit> {
    if text.eq_ignore_ascii_case(b"nan") {
        return Ok(Numeric::NaN);
    }
    let infinite = [&b"infinity"[..], b"inf"]
        .iter()
        .any(|word| rest.eq_ignore_ascii_case(word));
    match limits {
        _ if !infinite => Err(Unfit::Form),
        // No precision holds it.
        Some(_) => Err(Unfit::Range),
        None => Ok(Numeric::Infinite(negative)),
    }
}

fn split_digits(text: &[u8]) -> (&[u8], &[u8]) {
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    text.split_at(length)
}

fn exponent(rest: &[u8]) -> Result<i64, Unfit> {
    let [b'e' | b'E', rest @ ..] = rest else {
        return if rest.is_empty() {
            Ok(0)
        } else {
            Err(Unfit::Form)
        };
    };
    let (negative, digits) = match rest {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Unfit::Form);
    }
    let mut exponent = 0_i64;
    for digit in digits {
        exponent = exponent * 10 + i64::from(digit - b'0');
        // Half of what PostgreSQL's integers hold is where it gives up, too.
        if exponent >= i64::from(i32::MAX / 2) {
            return Err(Unfit::Range);
        }
    }
    Ok(if negative { -exponent } else { exponent })
}

/// Keeps `scale` places behind the point.
fn round(digits: &mut Vec<u8>, point: &mut i64, scale: i64) {
    let keep = *point + scale;
    if keep >= digits.len() as i64 {
        return;
    }
    if keep < 0 {
        digits.clear();
        return;
    }
    let keep = keep as usize;
    let up = digits[keep] >= 5;
    digits.truncate(keep);
    if !up {
        return;
    }
    for digit in digits.iter_mut().rev() {
        if *digit < 9 {
            *digit += 1;
            return;
        }
        *digit = 0;
    }
    digits.insert(0, 1);
    *point += 1;
}

/// Removes zeros at both ends.
fn normalise(digits: &mut Vec<u8>, point: &mut i64) {
    let zeros = digits.iter().take_while(|digit| **digit == 0).count();
    if zeros > 0 {
        digits.drain(..zeros);
        *point -= zeros as i64;
    }
    while digits.last() == Some(&0) {
        digits.pop();
    }
    if digits.is_empty() {
        *point = 0;
    }
}

impl fmt::Display for Numeric<'_> {
    /// As PostgreSQL writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (negative, digits, point, scale) = match *self {
            Numeric::NaN => return f.write_str("NaN"),
            Numeric::Infinite(negative) => {
                return f.write_str(if negative { "-Infinity" } else { "Infinity" });
            }
            Numeric::Finite {
                negative,
                digits,
                point,
                scale,
            } => (negative, digits, point, scale),
        };
        let digit = |place: i32| {
            let digit = usize::try_from(place)
                .ok()
                .and_then(|place| digits.get(place));
            char::from(b'0' + digit.copied().unwrap_or(0))
        };
        let mut text = String::with_capacity(digits.len() + usize::from(scale) + 3);
        if negative {
            text.push('-');
        }
        match point {
            ..=0 => text.push('0'),
            _ => (0..point).for_each(|place| text.push(digit(place))),
        }
        if scale > 0 {
            text.push('.');
            (point..point + i32::from(scale)).for_each(|place| text.push(digit(place)));
        }
        f.write_str(&text)
    }
}
