use std::path::Path;

use yaml_serde::{Mapping, Value};

use crate::error::{Error, OrFail as _, Remedy, Result};

/// The mappings of the old programs' files.
const PLAINTEXT: &str = "PLAINTEXT_VARIABLES";
const ENCRYPTED: &str = "ENCRYPTED_VARIABLES";

/// A settings file: YAML, flat or with `PLAINTEXT_VARIABLES` and `ENCRYPTED_VARIABLES`.
// No `Debug`: it would print secrets.
#[derive(Clone)]
pub struct SettingsFile {
    entries: Vec<Entry>,
    faults: Vec<String>,
}

#[derive(Clone)]
struct Entry {
    name: String,
    text: String,
    origin: String,
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
        let parsed: Value = yaml_serde::from_str(text).or_fail(Remedy::FixSettings, what)?;
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
            faults: Vec::new(),
        };
        let lines: Vec<&str> = text.lines().collect();
        for (name, value) in &mapping {
            match (name.as_str(), value) {
                (Some(PLAINTEXT), Value::Mapping(inner)) => file.take_all(inner, &lines, place),
                (Some(PLAINTEXT | ENCRYPTED), Value::Null) => {}
                (Some(ENCRYPTED), Value::Mapping(inner)) if inner.is_empty() => {}
                (Some(ENCRYPTED), _) => file.faults.push(format!(
                    "{ENCRYPTED} ({place}): encrypted values cannot be read by this version; give them in the environment"
                )),
                (Some(PLAINTEXT), _) => file.faults.push(format!("{PLAINTEXT} ({place}): expected a mapping of names to values")),
                _ => file.take(name, value, &lines, place),
            }
        }
        Ok(file)
    }

    fn take_all(&mut self, mapping: &Mapping, lines: &[&str], place: &str) {
        for (name, value) in mapping {
            self.take(name, value, lines, place);
        }
    }

    fn take(&mut self, name: &Value, value: &Value, lines: &[&str], place: &str) {
        let Some(name) = name.as_str() else {
            self.faults
                .push(format!("{place}: a setting's name must be text"));
            return;
        };
        // The parser keeps no places; a name stands at the start of its line.
        let line = lines.iter().position(|line| {
            let line = line.trim_start().trim_start_matches(['"', '\'']);
            line.strip_prefix(name).is_some_and(|rest| {
                rest.trim_start_matches(['"', '\''])
                    .trim_start()
                    .starts_with(':')
            })
        });
        let origin = match line {
            Some(line) => format!("{place}, line {}", line + 1),
            None => place.to_owned(),
        };
        match text_of(value) {
            Some(text) => self.entries.push(Entry {
                name: name.to_owned(),
                text,
                origin,
            }),
            None => self.faults.push(format!(
                "{name} ({origin}): expected one value or a list of values"
            )),
        }
    }

    /// Faults of the file's form.
    pub(super) fn faults(&self) -> &[String] {
        &self.faults
    }

    /// Names and places of all entries.
    pub(super) fn names(&self) -> impl Iterator<Item = (String, String)> {
        self.entries
            .iter()
            .map(|entry| (entry.name.clone(), entry.origin.clone()))
    }

    /// Text and place of one entry.
    pub(super) fn get(&self, name: &str) -> Option<(String, String)> {
        let entry = self.entries.iter().find(|entry| entry.name == name)?;
        Some((entry.text.clone(), entry.origin.clone()))
    }

    /// The text of one entry.
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(|(text, _)| text)
    }
}

/// A scalar as text; a list as a JSON array of texts.
fn text_of(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => String::new(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Sequence(values) => {
            let texts: Option<Vec<String>> = values.iter().map(text_of).collect();
            serde_json::to_string(&texts?).ok()?
        }
        _ => return None,
    })
}
