use std::fmt;

use zeroize::Zeroize;

/// A value about a person (P6): an id, a barcode, a part of an address, a name.
///
/// It has no `Display` and no `Serialize`, its `Debug` prints nothing of it, and its memory is
/// wiped when it is dropped. The only ways out are named functions, so that a search for them
/// finds every place where a personal value leaves:
/// [`Pseudonymiser::pseudonyms`](super::Pseudonymiser::pseudonyms),
/// [`Personal::for_geocoder`], [`Personal::for_alma`], [`Personal::area`], [`Seal::seal`](super::Seal::seal), and, back
/// to the system of record, [`Value::personal_id`](crate::connectors::sql::Value::personal_id)
/// and [`Value::personal_text`](crate::connectors::sql::Value::personal_text).
///
/// ```
/// let id = watershed::privacy::Personal::new(481036337_i64);
/// assert_eq!(format!("{id:?}"), "Personal");
/// ```
/// ```compile_fail
/// let id = watershed::privacy::Personal::new(481036337_i64);
/// println!("{id}");
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Personal<T: Zeroize>(T);

impl<T: Zeroize> Personal<T> {
    /// Takes a personal value in; connectors do this as they read.
    pub fn new(value: T) -> Personal<T> {
        Personal(value)
    }

    /// The value, for the library's own named ways out.
    pub(crate) fn inner(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> Drop for Personal<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> fmt::Debug for Personal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Personal")
    }
}

impl Personal<i64> {
    /// The number as plain decimal text, still personal.
    pub fn to_text(&self) -> Personal<String> {
        Personal(self.0.to_string())
    }
}

impl Personal<String> {
    /// Several personal texts as one, still personal.
    pub fn join(parts: &[&Personal<String>], separator: &str) -> Personal<String> {
        let length = parts
            .iter()
            .map(|part| part.0.len() + separator.len())
            .sum();
        let mut joined = String::with_capacity(length);
        for (i, part) in parts.iter().enumerate() {
            if i > 0 {
                joined.push_str(separator);
            }
            joined.push_str(&part.0);
        }
        Personal(joined)
    }

    /// The text without blanks (U+0020) at its ends, still personal.
    pub fn trimmed(&self) -> Personal<String> {
        Personal(self.0.trim_matches(' ').to_owned())
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the text begins with these characters, which name a kind and not a person.
    pub fn starts_with(&self, characters: &str) -> bool {
        self.0.starts_with(characters)
    }

    /// Whether the text holds a NUL, which PostgreSQL cannot hold.
    pub fn has_nul(&self) -> bool {
        self.0.contains('\0')
    }

    /// The text without the characters that XML 1.0 cannot hold, still personal, and their number.
    ///
    /// Those are the control characters but tab, line feed and carriage return, and U+FFFE and
    /// U+FFFF ([XML 1.0, 2.2](https://www.w3.org/TR/xml/#charsets)).
    pub fn legal_in_xml(mut self) -> (Personal<String>, u64) {
        // 0xEF is the first byte of U+FFFE; most texts have neither, and are not looked at twice.
        let suspicious = |byte: u8| byte < 0x20 || byte == 0xEF;
        if !self.0.bytes().any(suspicious) {
            return (self, 0);
        }
        let mut dropped = 0;
        self.0.retain(|character| {
            let legal = legal_in_xml(character);
            dropped += u64::from(!legal);
            legal
        });
        (self, dropped)
    }

    /// A way out: the first `characters` of a postal code, which name an area and not a person.
    pub fn area(&self, characters: usize) -> String {
        self.0.chars().take(characters).collect()
    }

    /// A way out: the text as it is written into Alma's file of patrons, and nowhere else.
    pub fn for_alma(&self) -> &str {
        &self.0
    }

    /// A way out: the text as it goes to the geocoder, and nowhere else.
    pub fn for_geocoder(&self) -> &str {
        &self.0
    }
}

/// Whether XML 1.0 can hold the character (its production `Char`).
pub fn legal_in_xml(character: char) -> bool {
    match character {
        '\t' | '\n' | '\r' => true,
        '\u{FFFE}' | '\u{FFFF}' => false,
        _ => character >= ' ',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_personal_value_is_printed() {
        let id = Personal::new(481_036_337_i64);
        let street = Personal::new("476 5th Ave".to_owned());
        assert_eq!(
            format!("{id:?} {street:?} {:?}", id.to_text()),
            "Personal Personal Personal"
        );
    }

    #[test]
    fn only_blanks_are_trimmed() {
        let street = Personal::new("  \t1 Main St\u{a0} ".to_owned());
        assert_eq!(
            street.trimmed(),
            Personal::new("\t1 Main St\u{a0}".to_owned())
        );
    }

    #[test]
    fn what_xml_cannot_hold_is_dropped_and_counted() {
        let name =
            Personal::new("\0Zer\u{1f}li\u{FFFE}\u{FFFD}na\t\r\n\u{7f}\u{85}\u{FFFF}".to_owned());
        let (legal, dropped) = name.legal_in_xml();
        assert_eq!(dropped, 4);
        assert_eq!(
            legal,
            Personal::new("Zerli\u{FFFD}na\t\r\n\u{7f}\u{85}".to_owned())
        );
        let plain = Personal::new("Zerlina ｅ".to_owned());
        assert_eq!(plain.clone().legal_in_xml(), (plain, 0));
    }

    #[test]
    fn an_area_is_cut_at_characters_not_bytes() {
        assert_eq!(
            Personal::new("１００１３-1234".to_owned()).area(5),
            "１００１３"
        );
        assert_eq!(Personal::new("NY 10013".to_owned()).area(5), "NY 10");
        assert_eq!(Personal::new(String::new()).area(5), "");
    }
}
