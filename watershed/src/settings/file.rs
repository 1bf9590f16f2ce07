use std::path::Path;

use yaml_serde::{Mapping, Value};

use crate::connectors::kms::Kms;
use crate::error::{Error, OrFail as _, Remedy, Result};

/// The mappings of the old programs' files.
const PLAINTEXT: &str = "PLAINTEXT_VARIABLES";
const ENCRYPTED: &str = "ENCRYPTED_VARIABLES";

/// A settings file: YAML, flat or with `PLAINTEXT_VARIABLES` and `ENCRYPTED_VARIABLES`.
// No `Debug`: it would print secrets.
#[derive(Clone)]
pub struct SettingsFile {
    entries: Vec<Entry>,
    /// Entries whose text is still base64 of a KMS ciphertext.
    encrypted: Vec<Entry>,
    faults: Vec<String>,
}

// No `Debug`: it would print secrets.
#[derive(Clone)]
struct Entry {
    name: String,
    value: EntryValue,
    origin: String,
}

/// Lists stay lists until they are asked for.
#[derive(Clone)]
enum EntryValue {
    One(String),
    List(Vec<String>),
}

impl SettingsFile {
    /// Reads a file.
    pub(super) fn read(path: &Path) -> Result<SettingsFile> {
        let what = || format!("reading the settings file {}", path.display());
        let text = std::fs::read_to_string(path).or_fail(Remedy::FixSettings, what)?;
        SettingsFile::parse(&text, &path.display().to_string())
    }

    /// Reads a file's text; `place` names it in messages.
    ///
    /// # Errors
    /// [`Remedy::FixSettings`] when it is no YAML mapping.
    pub fn parse(text: &str, place: &str) -> Result<SettingsFile> {
        let what = || format!("reading the settings file {place}");
        let parsed: Value = yaml_serde::from_str(text)
            .map_err(|error| Error::new(Remedy::FixSettings, what()).caused_by(words(&error)))?;
        let mapping = match parsed {
            Value::Null => Mapping::new(),
            Value::Mapping(mapping) => mapping,
            _ => {
                return Err(Error::new(Remedy::FixSettings, what())
                    .caused_by("it must be a mapping of names to values"));
            }
        };
        let mut file = SettingsFile {
            entries: Vec::new(),
            encrypted: Vec::new(),
            faults: Vec::new(),
        };
        let lines: Vec<&str> = text.lines().collect();
        for (name, value) in &mapping {
            match (name.as_str(), value) {
                (Some(PLAINTEXT | ENCRYPTED), Value::Null) => {}
                (Some(PLAINTEXT), Value::Mapping(inner)) => {
                    inner
                        .iter()
                        .for_each(|(name, value)| file.take(name, value, &lines, place, false));
                }
                (Some(ENCRYPTED), Value::Mapping(inner)) => {
                    inner
                        .iter()
                        .for_each(|(name, value)| file.take(name, value, &lines, place, true));
                }
                (Some(group @ (PLAINTEXT | ENCRYPTED)), _) => {
                    file.faults.push(format!(
                        "{group} ({place}): expected a mapping of names to values"
                    ));
                }
                _ => file.take(name, value, &lines, place, false),
            }
        }
        Ok(file)
    }

    fn take(&mut self, name: &Value, value: &Value, lines: &[&str], place: &str, encrypted: bool) {
        let Some(name) = name.as_str() else {
            self.faults
                .push(format!("{place}: a setting's name must be text"));
            return;
        };
        // The parser keeps no places; a name stands at the start of its line.
        let line = lines.iter().position(|line| {
            let line = line.trim_start().trim_start_matches(['"', '\'']);
            let rest = line
                .strip_prefix(name)
                .map(|rest| rest.trim_start_matches(['"', '\'']));
            rest.is_some_and(|rest| rest.trim_start().starts_with(':'))
        });
        let origin = match line {
            Some(line) => format!("{place}, line {}", line + 1),
            None => place.to_owned(),
        };
        let twice = self
            .entries
            .iter()
            .chain(&self.encrypted)
            .any(|entry| entry.name == name);
        if twice {
            self.faults
                .push(format!("{name} ({place}): it stands there twice"));
        }
        match value_of(value) {
            Some(value) => {
                let entry = Entry {
                    name: name.to_owned(),
                    value,
                    origin,
                };
                if encrypted {
                    self.encrypted.push(entry)
                } else {
                    self.entries.push(entry)
                }
            }
            None => self.faults.push(format!(
                "{name} ({origin}): expected one value or a list of values, with quotes around what looks like a decimal number"
            )),
        }
    }

    /// Whether there are values to decrypt.
    pub fn is_encrypted(&self) -> bool {
        !self.encrypted.is_empty()
    }

    /// Decrypts the values of `ENCRYPTED_VARIABLES`, lists entry by entry. Those that cannot be
    /// are faults, reported with all others.
    pub async fn decrypt(&mut self, kms: &Kms) {
        for mut entry in std::mem::take(&mut self.encrypted) {
            match decrypted(kms, &entry).await {
                Ok(value) => {
                    entry.value = value;
                    self.entries.push(entry);
                }
                Err(error) => self.faults.push(error.in_one_line()),
            }
        }
    }

    /// Faults of the file's form.
    pub(super) fn faults(&self) -> &[String] {
        &self.faults
    }

    /// Names and places of all entries.
    pub(super) fn names(&self) -> impl Iterator<Item = (String, String)> {
        let all = self.entries.iter().chain(&self.encrypted);
        all.map(|entry| (entry.name.clone(), entry.origin.clone()))
    }

    /// Text and place of one entry; a list is a JSON array of texts.
    pub(super) fn get(&self, name: &str) -> Option<(String, String)> {
        let entry = self.entries.iter().find(|entry| entry.name == name)?;
        let text = match &entry.value {
            EntryValue::One(text) => text.clone(),
            EntryValue::List(texts) => serde_json::to_string(texts).ok()?,
        };
        Some((text, entry.origin.clone()))
    }
}

async fn decrypted(kms: &Kms, entry: &Entry) -> Result<EntryValue> {
    let name = format!("{} ({})", entry.name, entry.origin);
    match &entry.value {
        EntryValue::One(text) if text.trim().is_empty() => Ok(EntryValue::One(String::new())),
        EntryValue::One(text) => Ok(EntryValue::One(
            kms.decrypt(&name, text).await?.expose().to_owned(),
        )),
        EntryValue::List(texts) => {
            let mut plain = Vec::with_capacity(texts.len());
            for text in texts {
                plain.push(kms.decrypt(&name, text).await?.expose().to_owned());
            }
            Ok(EntryValue::List(plain))
        }
    }
}

fn value_of(value: &Value) -> Option<EntryValue> {
    match value {
        Value::Sequence(values) => {
            let texts: Option<Vec<String>> = values.iter().map(text_of).collect();
            texts.map(EntryValue::List)
        }
        value => text_of(value).map(EntryValue::One),
    }
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::Bool(truth) => Some(truth.to_string()),
        // No setting is one; the text that stood there, perhaps of a password, is lost.
        Value::Number(number) if number.is_f64() => None,
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.clone()),
        _ => None,
    }
}

/// The parser's words up to the first value that they quote: it may be a secret.
fn words(error: &yaml_serde::Error) -> String {
    let words = error.to_string();
    let unquoted = words
        .split(['`', '"', '\''])
        .next()
        .unwrap_or_default()
        .trim_end();
    match error.location() {
        Some(place) => format!(
            "{unquoted} (line {}, column {})",
            place.line(),
            place.column()
        ),
        None => unquoted.to_owned(),
    }
}
