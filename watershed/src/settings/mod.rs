//! Settings: one declaration each; parsing, checking and the reference come from it.
//!
//! A [`Setting`] says name, type, default and one sentence. [`Settings::gather`] reads all
//! declared ones from their sources (`--set` and flags, environment, file; in this order) and
//! collects every fault with the place it came from, so that [`Settings::complete`] reports all
//! at once. Secrets are never printed.

mod database;
mod file;
mod reference;
mod setting;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

pub use database::{Parts, database_name, database_url};
pub use file::SettingsFile;
pub use reference::reference;
pub use setting::{Kind, Setting};

use setting::parse_flag;

use crate::connectors::aws::AwsSettings;
use crate::error::{Error, Remedy, Result};
use crate::privacy::Secret;
use crate::time::{parse_date, parse_duration, parse_instant, parse_wall_time};

/// Where settings come from, strongest first.
// No `Debug`: it would print secrets.
#[derive(Clone, Default)]
pub struct Sources {
    /// `--set NAME=value` and flags, each with the words that stand for it in messages.
    pub given: Vec<(String, String, String)>,
    /// The process environment. It is not searched for unknown names.
    pub environment: BTreeMap<String, String>,
    /// The settings file.
    pub file: Option<SettingsFile>,
}

/// A value and the place it came from.
#[derive(Clone)]
struct Found {
    text: String,
    origin: String,
}

/// The settings of one run.
pub struct Settings {
    declared: BTreeMap<&'static str, &'static Setting>,
    found: BTreeMap<&'static str, Found>,
    faults: RefCell<Vec<String>>,
}

impl Settings {
    /// Reads the declared settings. `known` are the names of all the program's pipelines: a file
    /// may serve several of them, so that only a name which none has is unknown.
    pub fn gather(
        declared: impl IntoIterator<Item = &'static Setting>,
        known: &[&'static str],
        sources: &Sources,
    ) -> Settings {
        let declared: BTreeMap<_, _> = declared
            .into_iter()
            .map(|setting| (setting.name, setting))
            .collect();
        let mut settings = Settings {
            declared,
            found: BTreeMap::new(),
            faults: RefCell::default(),
        };
        for (name, origin) in sources.names() {
            if !known.contains(&name.as_str()) && !settings.declared.contains_key(name.as_str()) {
                settings.fault(unknown(&name, &origin, known));
            }
        }
        if let Some(file) = &sources.file {
            settings
                .faults
                .borrow_mut()
                .extend(file.faults().iter().cloned());
        }
        for (name, setting) in settings.declared.clone() {
            let Some(found) = sources.find(name) else {
                continue;
            };
            if let Some(expected) = setting.unfit(&found.text) {
                let shown = if setting.secret { "****" } else { &*found.text };
                settings.fault(format!(
                    "{name} ({}): `{shown}`: expected {expected}",
                    found.origin
                ));
            }
            settings.found.insert(name, found);
        }
        settings
    }

    /// Notes a fault, to be reported with all others.
    pub fn fault(&self, fault: impl Into<String>) {
        self.faults.borrow_mut().push(fault.into());
    }

    /// Notes as a fault that one setting contradicts another.
    pub fn contradiction(&self, one: &str, other: &str) {
        let (one, other) = (self.origin(one), self.origin(other));
        self.fault(format!("{one} contradicts {other}"));
    }

    /// Notes an error about a setting as a fault.
    pub fn check<T>(&self, result: Result<T>) -> Option<T> {
        result
            .map_err(|error| {
                let hint = error
                    .hint()
                    .map(|hint| format!(" ({hint})"))
                    .unwrap_or_default();
                self.fault(format!("{}{hint}", error.in_one_line()));
            })
            .ok()
    }

    /// Gives `value`, which was made from these settings, if they are free of faults.
    ///
    /// # Errors
    /// [`Remedy::FixSettings`], with every fault and where it came from.
    pub fn complete<T>(&self, value: T) -> Result<T> {
        let faults = self.faults.borrow();
        if faults.is_empty() {
            return Ok(value);
        }
        let lines: String = faults.iter().map(|fault| format!("\n  {fault}")).collect();
        let number = match faults.len() {
            1 => "1 setting".to_owned(),
            n => format!("{n} settings"),
        };
        Err(Error::new(
            Remedy::FixSettings,
            format!("{number} to fix:{lines}"),
        ))
    }

    fn setting(&self, name: &str) -> &'static Setting {
        self.declared
            .get(name)
            .unwrap_or_else(|| panic!("the setting {name} is read and not declared"))
    }

    /// Whether a value was given, whatever the default.
    pub fn is_given(&self, name: &str) -> bool {
        self.found.contains_key(self.setting(name).name)
    }

    /// Where a value came from, for messages: `NAME (place)`.
    pub fn origin(&self, name: &str) -> String {
        match self.found.get(name) {
            Some(found) => format!("{name} ({})", found.origin),
            None => name.to_owned(),
        }
    }

    /// A value's text, or the default.
    pub fn text(&self, name: &str) -> Option<String> {
        let setting = self.setting(name);
        let found = self.found.get(name).map(|found| found.text.clone());
        found.or_else(|| setting.default.map(str::to_owned))
    }

    /// The text of a setting without which a run cannot be; a fault and the empty text if it is
    /// not set.
    pub fn required(&self, name: &str) -> String {
        self.text(name).unwrap_or_else(|| {
            self.fault(format!("{name}: not set: {}", self.setting(name).help));
            String::new()
        })
    }

    /// A secret.
    pub fn secret(&self, name: &str) -> Option<Secret> {
        self.text(name).map(Secret::new)
    }

    /// A secret without which a run cannot be.
    pub fn required_secret(&self, name: &str) -> Secret {
        Secret::new(self.required(name))
    }

    /// A whole number.
    pub fn integer(&self, name: &str) -> Option<i64> {
        // A text that does not fit is a fault already.
        self.text(name).and_then(|text| text.parse().ok())
    }

    /// A whole number that has a default.
    pub fn count(&self, name: &str) -> u64 {
        self.integer(name)
            .and_then(|number| number.try_into().ok())
            .unwrap_or_default()
    }

    /// True or false.
    pub fn flag(&self, name: &str) -> bool {
        self.text(name)
            .and_then(|text| parse_flag(&text))
            .unwrap_or(false)
    }

    /// A time zone that has a default.
    pub fn zone(&self, name: &str) -> TimeZone {
        self.text(name)
            .and_then(|text| TimeZone::get(&text).ok())
            .unwrap_or(TimeZone::UTC)
    }

    /// A point in time; without an offset it is in `zone`.
    pub fn instant(&self, name: &str, zone: &TimeZone) -> Option<Timestamp> {
        self.text(name).and_then(|text| parse_instant(&text, zone))
    }

    /// A time without a zone.
    pub fn wall_time(&self, name: &str) -> Option<DateTime> {
        self.text(name).and_then(|text| parse_wall_time(&text))
    }

    /// A calendar date.
    pub fn date(&self, name: &str) -> Option<Date> {
        self.text(name).and_then(|text| parse_date(&text))
    }

    /// A length of time.
    pub fn duration(&self, name: &str) -> Option<Duration> {
        self.text(name).and_then(|text| parse_duration(&text))
    }

    /// The `AWS_…` settings together.
    pub fn aws(&self) -> AwsSettings {
        let both = match (
            self.secret("AWS_ACCESS_KEY_ID"),
            self.secret("AWS_SECRET_ACCESS_KEY"),
        ) {
            (Some(key), Some(secret)) => Some((key, secret)),
            (None, None) => None,
            (Some(_), None) => {
                self.fault(format!(
                    "AWS_SECRET_ACCESS_KEY: not set, beside {}",
                    self.origin("AWS_ACCESS_KEY_ID")
                ));
                None
            }
            (None, Some(_)) => {
                self.fault(format!(
                    "AWS_ACCESS_KEY_ID: not set, beside {}",
                    self.origin("AWS_SECRET_ACCESS_KEY")
                ));
                None
            }
        };
        let services = [
            ("", "AWS_ENDPOINT_URL"),
            ("s3", "AWS_ENDPOINT_URL_S3"),
            ("kinesis", "AWS_ENDPOINT_URL_KINESIS"),
            ("kms", "AWS_ENDPOINT_URL_KMS"),
            ("ses", "AWS_ENDPOINT_URL_SES"),
            ("redshift", "AWS_ENDPOINT_URL_REDSHIFT"),
        ];
        let endpoints = services
            .into_iter()
            .filter_map(|(service, name)| Some((service.to_owned(), self.text(name)?)))
            .collect();
        AwsSettings {
            region: self.text("AWS_REGION").unwrap_or_default(),
            keys: both,
            session_token: self.secret("AWS_SESSION_TOKEN"),
            profile: self.text("AWS_PROFILE"),
            endpoints,
        }
    }
}

impl Sources {
    /// Names that a person wrote down for us, with their places.
    fn names(&self) -> Vec<(String, String)> {
        let given = self
            .given
            .iter()
            .map(|(name, _, origin)| (name.clone(), origin.clone()));
        let file = self.file.iter().flat_map(|file| file.names());
        given.chain(file).collect()
    }

    fn find(&self, name: &'static str) -> Option<Found> {
        let set = |text: &str| !text.trim().is_empty();
        let given = self
            .given
            .iter()
            .rev()
            .find(|(given, text, _)| given == name && set(text));
        let given = given.map(|(_, text, origin)| Found {
            text: text.clone(),
            origin: origin.clone(),
        });
        let environment = self.environment.get(name).filter(|text| set(text));
        let environment = environment.map(|text| Found {
            text: text.clone(),
            origin: "environment".into(),
        });
        let file = self
            .file
            .as_ref()
            .and_then(|file| file.get(name))
            .filter(|(text, _)| set(text));
        let file = file.map(|(text, origin)| Found { text, origin });
        if name == "AWS_REGION" {
            // Container platforms put their own region into the environment.
            return given.or(file).or(environment);
        }
        given.or(environment).or(file)
    }
}

fn unknown(name: &str, origin: &str, known: &[&str]) -> String {
    let distance = |known: &&&str| strsim::damerau_levenshtein(known, &name.to_uppercase());
    let nearest = known
        .iter()
        .min_by_key(distance)
        .filter(|nearest| distance(nearest) <= name.len() / 2);
    let hint = nearest
        .map(|nearest| format!("; did you mean {nearest}?"))
        .unwrap_or_default();
    format!("{name} ({origin}): unknown setting{hint}")
}

/// Reads the settings file that `path` names.
///
/// # Errors
/// [`Remedy::FixSettings`] when it cannot be read or is no YAML mapping.
pub fn read_file(path: &Path) -> Result<SettingsFile> {
    SettingsFile::read(path)
}

#[cfg(test)]
mod tests;
