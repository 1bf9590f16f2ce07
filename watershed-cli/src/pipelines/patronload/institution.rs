//! What Alma is told about the institution: one YAML, built in, or another in its place.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use watershed::error::{Error, OrFail as _, Remedy, Result};
use watershed::privacy::legal_in_xml;
use yaml_serde::Value;

/// The built-in one.
pub const BUILT_IN: &str = include_str!("../../../../config/patronload/alma.yaml");

const BUILT_IN_NAME: &str = "config/patronload/alma.yaml";

/// The institution, its codes and its fixed texts.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Institution {
    pub primary_id_suffix: String,
    pub expires_after_months: u16,
    pub purged_after_months: u16,
    pub identifiers: Identifiers,
    pub record: Record,
    pub role: Role,
    pub contact: Contact,
    pub department_type: Code,
    pub staff: Staff,
    pub student: Student,
}

/// What Alma works with, and what people see beside it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Code {
    pub code: String,
    pub name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Identifiers {
    pub institution: Code,
    pub barcode: Code,
    pub no_barcode: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    pub record_type: Code,
    pub cataloger_level: Code,
    pub preferred_language: Code,
    pub account_type: Code,
    pub external_id: String,
    pub status: Code,
    pub segment_type: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Role {
    pub status: Code,
    pub scope: Code,
    pub role_type: Code,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Contact {
    pub address_type: Code,
    pub address_note: String,
    pub no_address: String,
    pub email_type: Code,
    pub office_phone_type: Code,
    pub home_phone_type: Code,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Staff {
    pub line3: String,
    pub postal_code: String,
    pub is_researcher: String,
    pub no_department_name: String,
    pub other_department: String,
    pub departments: Codes,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Student {
    pub is_researcher: String,
    pub groups_of_years: Codes,
    pub groups_of_departments: Codes,
    pub other_department: String,
    pub departments: Codes,
}

/// Codes by the institution's own words.
pub(super) struct Codes(HashMap<String, String>);

impl Codes {
    /// The code of exactly this word.
    pub(super) fn get(&self, word: &str) -> Option<&str> {
        self.0.get(word).map(String::as_str)
    }
}

impl<'de> Deserialize<'de> for Codes {
    /// A word that comes twice is refused: nobody could tell which of the two was meant.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Codes, D::Error> {
        struct Words;
        impl<'de> Visitor<'de> for Words {
            type Value = Codes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("codes by words")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Codes, A::Error> {
                let mut codes = HashMap::new();
                while let Some(word) = map.next_key_seed(NewWord(&codes))? {
                    codes.insert(word, map.next_value()?);
                }
                Ok(Codes(codes))
            }
        }
        deserializer.deserialize_map(Words)
    }
}

/// A word that is not among those before it. Refused while it is read, so that the parser knows its
/// line.
struct NewWord<'a>(&'a HashMap<String, String>);

impl<'de> DeserializeSeed<'de> for NewWord<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NewWord<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a word")
    }

    fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<String, E> {
        match self.0.contains_key(word) {
            true => Err(E::custom(format!("`{word}` comes twice"))),
            false => Ok(word.to_owned()),
        }
    }
}

impl Institution {
    /// Reads the file, or the built-in text where none is named.
    ///
    /// # Errors
    /// [`Remedy::FixSettings`], with file, line and word.
    pub(super) fn read(path: Option<&Path>) -> Result<Institution> {
        let Some(path) = path else {
            return Institution::parse(BUILT_IN, BUILT_IN_NAME);
        };
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .or_fail(Remedy::FixSettings, || format!("reading {name}"))?;
        Institution::parse(&text, &name)
    }

    fn parse(text: &str, name: &str) -> Result<Institution> {
        let refused = |line: Option<usize>, why: String| {
            let place = line
                .map(|line| format!(", line {line}"))
                .unwrap_or_default();
            Error::new(Remedy::FixSettings, format!("reading {name}{place}: {why}")).with_hint(
                "`watershed patronload alma-config` prints the one that is built in, with all its entries",
            )
        };
        // Before anything else, because the parser would not tell the word.
        for (number, line) in (1..).zip(text.lines()) {
            if let Some(character) = line.chars().find(|c| c.is_control() && *c != '\t') {
                let word = character.escape_unicode();
                return Err(refused(
                    Some(number),
                    format!("a control character, {word}"),
                ));
            }
        }
        let read: Result<Institution, _> = yaml_serde::from_str(text);
        let institution = read.map_err(|cause| {
            let line = cause.location().map(|location| location.line());
            let words = cause.to_string();
            // The parser's own words for the place say the same once more.
            let why = words.split(" at line ").next().unwrap_or_default();
            refused(line, why.to_owned())
        })?;
        // Neither is a fault to the parser: nothing would be read as an empty text, or as the word
        // `null`, and a file with such a character as no XML.
        let whole: Value = yaml_serde::from_str(text).unwrap_or_default();
        if let Some((entry, why)) = flaw(&whole) {
            return Err(refused(None, format!("{entry}: {why}")));
        }
        for (entry, months) in [
            ("expires_after_months", institution.expires_after_months),
            ("purged_after_months", institution.purged_after_months),
        ] {
            // Alma would take a patron that has expired already; a century is a slip of the hand.
            if !(1..=1_200).contains(&months) {
                let line = line_of(text, entry);
                let why = format!("{entry}: `{months}`: expected a whole number from 1 to 1200");
                return Err(refused(line, why));
            }
        }
        let (expires, purged) = (
            institution.expires_after_months,
            institution.purged_after_months,
        );
        if purged < expires {
            let line = line_of(text, "purged_after_months");
            let why = format!(
                "purged_after_months: `{purged}`: expected no fewer than the {expires} of expires_after_months"
            );
            return Err(refused(line, why));
        }
        Ok(institution)
    }
}

/// The first entry without a text, or with a character that XML cannot hold, and why it is none.
fn flaw(value: &Value) -> Option<(String, String)> {
    match value {
        Value::Null => Some((String::new(), "expected a text".to_owned())),
        Value::String(text) => {
            let illegal = text.chars().find(|c| !legal_in_xml(*c))?;
            let why = format!(
                "{}: XML cannot hold this character",
                illegal.escape_unicode()
            );
            Some((String::new(), why))
        }
        Value::Mapping(entries) => entries.iter().find_map(|(key, value)| {
            let (below, why) = flaw(value).or_else(|| flaw(key))?;
            let word = key.as_str().unwrap_or("?").escape_debug().to_string();
            let entry = match below.is_empty() {
                true => word,
                false => format!("{word}.{below}"),
            };
            Some((entry, why))
        }),
        _ => None,
    }
}

fn line_of(text: &str, entry: &str) -> Option<usize> {
    let mut lines = (1..).zip(text.lines());
    Some(lines.find(|(_, line)| line.starts_with(entry))?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_one_is_well_formed() {
        let institution = Institution::read(None).unwrap();
        assert_eq!(institution.staff.departments.0.len(), 347);
        assert_eq!(institution.student.departments.0.len(), 67);
        // Where the old configuration lists a unit twice, its last entry counted.
        assert_eq!(institution.staff.departments.get("10000554"), Some("WC"));
        assert_eq!(institution.student.departments.get("6"), Some("UH"));
    }

    #[test]
    fn a_fault_is_told_with_file_line_and_word() {
        let line = |text: &str, fault: &str| {
            (1..)
                .zip(text.lines())
                .find(|(_, line)| line.contains(fault))
                .unwrap()
                .0
        };
        for (right, wrong, word) in [
            ("external_id: SIS", "externl_id: SIS", "externl_id"),
            (
                "expires_after_months: 6",
                "expires_after_months: six",
                "six",
            ),
            ("expires_after_months: 6", "expires_after_months: 0", "`0`"),
            ("    \"2\": \"31\"", "    \"1\": \"32\"", "`1` comes twice"),
            (
                "barcode: {code: \"01\", name: Barcode}",
                "barcode: {code: \"01\"}",
                "name",
            ),
            ("line3: MIT", "line3: [MIT]", "sequence"),
            ("line3: MIT", "line3: \"M\u{7}T\"", r"\u{7}"),
        ] {
            let text = BUILT_IN.replacen(right, wrong, 1);
            assert_ne!(text, BUILT_IN, "{right}");
            let error = Institution::parse(&text, "ours.yaml").err().expect(wrong);
            assert_eq!(error.remedy(), Remedy::FixSettings);
            let told = error.to_string();
            assert!(told.starts_with("reading ours.yaml, line "), "{told}");
            assert!(told.contains(word), "{wrong}: {told}");
            if word != "name" {
                let number = line(&text, wrong.trim());
                assert!(
                    told.contains(&format!("line {number}:")),
                    "{number}: {told}"
                );
            }
        }
        for (right, wrong, words) in [
            (
                "name: MIT ID",
                r#"name: "MIT\u0007 ID""#,
                r"identifiers.institution.name: \u{7}: XML",
            ),
            (
                "name: MIT ID",
                r#"name: "MIT\uFFFE ID""#,
                r"identifiers.institution.name: \u{fffe}: XML",
            ),
            (
                "\"10000574\":",
                r#""1000\u00057":"#,
                r"staff.departments.1000\u{5}7: \u{5}: XML",
            ),
            (
                "no_barcode: NONE",
                "no_barcode:",
                "identifiers.no_barcode: expected a text",
            ),
            (
                "code: PUBLIC",
                "code: null",
                "record.record_type.code: expected a text",
            ),
            (
                "\"10000574\": \"YA\"",
                "\"10000574\": ~",
                "staff.departments.10000574: expected a text",
            ),
            (
                "purged_after_months: 30",
                "purged_after_months: 3",
                "purged_after_months: `3`: expected no fewer than the 6",
            ),
        ] {
            let text = BUILT_IN.replacen(right, wrong, 1);
            assert_ne!(text, BUILT_IN, "{right}");
            let error = Institution::parse(&text, "ours.yaml").err().expect(wrong);
            assert_eq!(error.remedy(), Remedy::FixSettings);
            assert!(error.to_string().contains(words), "{wrong}: {error}");
        }
        let missing = BUILT_IN.replacen("primary_id_suffix: \"@MIT.EDU\"", "", 1);
        let error = Institution::parse(&missing, "ours.yaml").err().unwrap();
        assert!(error.to_string().contains("primary_id_suffix"), "{error}");
    }
}
