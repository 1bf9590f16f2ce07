//! Settings: one declaration each; parsing, checking and the reference come from it.
//!
//! A [`Setting`] says name, type, default and one sentence. [`Settings::gather`] reads all
//! declared ones from their sources (`--set` and flags, environment, file; in this order) and
//! collects every fault with the place it came from, so that [`Settings::complete`] reports all
//! at once. Secrets are never printed.

mod database;
mod file;
mod reference;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::Path;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

pub use database::{Parts, database_url};
pub use file::SettingsFile;
pub use reference::reference;

use crate::connectors::aws::AwsSettings;
use crate::error::{Error, Remedy, Result};
use crate::privacy::Secret;
use crate::time::{parse_date, parse_instant};

/// The declaration of one setting.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Its name in the environment and in files.
    pub name: &'static str,
    /// What its text must be.
    pub kind: Kind,
    /// Its value when it is not set; for an unset one without default the notes say what follows.
    pub default: Option<&'static str>,
    /// One sentence.
    pub help: &'static str,
    /// Whether its value may be printed.
    pub secret: bool,
    /// Whether a run cannot do without it.
    pub required: bool,
}

/// What a setting's text must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A whole number in this range.
    Integer(RangeInclusive<i64>),
    /// `True`, `true`, `yes`, `on`, `1`, or their opposites.
    Flag,
    /// An instant as PostgreSQL reads it.
    Instant,
    /// `YYYY-MM-DD`.
    Date,
    /// The name of a time zone.
    Zone,
    /// One of these words, in any case.
    Choice(&'static [&'static str]),
}

impl Setting {
    const fn new(name: &'static str, kind: Kind, help: &'static str) -> Setting {
        Setting {
            name,
            kind,
            default: None,
            help,
            secret: false,
            required: false,
        }
    }

    /// Any text.
    pub const fn text(name: &'static str, help: &'static str) -> Setting {
        Setting::new(name, Kind::Text, help)
    }

    /// A whole number.
    pub const fn integer(
        name: &'static str,
        range: RangeInclusive<i64>,
        help: &'static str,
    ) -> Setting {
        Setting::new(name, Kind::Integer(range), help)
    }

    /// True or false; false when it is not set.
    pub const fn flag(name: &'static str, help: &'static str) -> Setting {
        Setting::new(name, Kind::Flag, help).default("False")
    }

    /// A point in time.
    pub const fn instant(name: &'static str, help: &'static str) -> Setting {
        Setting::new(name, Kind::Instant, help)
    }

    /// A calendar date.
    pub const fn date(name: &'static str, help: &'static str) -> Setting {
        Setting::new(name, Kind::Date, help)
    }

    /// A time zone.
    pub const fn zone(name: &'static str, help: &'static str) -> Setting {
        Setting::new(name, Kind::Zone, help)
    }

    /// One of a few words.
    pub const fn choice(
        name: &'static str,
        words: &'static [&'static str],
        help: &'static str,
    ) -> Setting {
        Setting::new(name, Kind::Choice(words), help)
    }

    /// The value when it is not set.
    pub const fn default(mut self, default: &'static str) -> Setting {
        self.default = Some(default);
        self
    }

    /// Its value is never printed.
    pub const fn secret(mut self) -> Setting {
        self.secret = true;
        self
    }

    /// A run cannot do without it.
    pub const fn required(mut self) -> Setting {
        self.required = true;
        self
    }

    /// What the text must be, where it is not.
    fn unfit(&self, text: &str) -> Option<String> {
        let fits = match &self.kind {
            Kind::Text => true,
            Kind::Integer(range) => text.parse().is_ok_and(|number| range.contains(&number)),
            Kind::Flag => parse_flag(text).is_some(),
            Kind::Instant => parse_instant(text, &TimeZone::UTC).is_some(),
            Kind::Date => parse_date(text).is_some(),
            Kind::Zone => TimeZone::get(text).is_ok(),
            Kind::Choice(words) => words.iter().any(|word| word.eq_ignore_ascii_case(text)),
        };
        (!fits).then(|| self.kind.to_string())
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Text => f.write_str("text"),
            Kind::Integer(range) if *range.end() == i64::MAX => {
                write!(f, "a whole number from {}", range.start())
            }
            Kind::Integer(range) => write!(
                f,
                "a whole number from {} to {}",
                range.start(),
                range.end()
            ),
            Kind::Flag => f.write_str("True or False"),
            Kind::Instant => f.write_str("a point in time such as 2024-06-14 23:30:00-04"),
            Kind::Date => f.write_str("a date such as 2024-06-14"),
            Kind::Zone => f.write_str("the name of a time zone such as America/New_York"),
            Kind::Choice(words) => write!(f, "one of {}", words.join(", ")),
        }
    }
}

fn parse_flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

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

    /// A calendar date.
    pub fn date(&self, name: &str) -> Option<Date> {
        self.text(name).and_then(|text| parse_date(&text))
    }

    /// The `AWS_…` settings together.
    pub fn aws(&self) -> AwsSettings {
        let both = self
            .secret("AWS_ACCESS_KEY_ID")
            .zip(self.secret("AWS_SECRET_ACCESS_KEY"));
        let services = [
            ("", "AWS_ENDPOINT_URL"),
            ("s3", "AWS_ENDPOINT_URL_S3"),
            ("kinesis", "AWS_ENDPOINT_URL_KINESIS"),
            ("kms", "AWS_ENDPOINT_URL_KMS"),
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
mod tests {
    use super::*;

    const DECLARED: &[Setting] = &[
        Setting::integer("KINESIS_BATCH_SIZE", 1..=500, "Records a call.").default("500"),
        Setting::flag("IGNORE_CACHE", "Ignore the state."),
        Setting::text("SIERRA_DB_HOST", "Host.").secret().required(),
        Setting::integer("SIERRA_DB_PORT", 1..=65535, "Port.").default("1032"),
        Setting::text("SIERRA_DB_NAME", "Database.").default("iii"),
        Setting::text("SIERRA_DB_USER", "User.").secret(),
        Setting::text("SIERRA_DB_PASSWORD", "Password.").secret(),
        Setting::text("SIERRA_SSLMODE", "TLS.").default("require"),
        Setting::text("SIERRA_URL", "URL.").secret(),
        Setting::text("AWS_REGION", "Region.").default("us-east-1"),
        Setting::date("STARTING_DELETION_DATE", "Date.").secret(),
    ];

    const SIERRA: Parts = Parts {
        url: "SIERRA_URL",
        scheme: "postgres",
        host: "SIERRA_DB_HOST",
        port: "SIERRA_DB_PORT",
        name: "SIERRA_DB_NAME",
        user: "SIERRA_DB_USER",
        password: "SIERRA_DB_PASSWORD",
        sslmode: "SIERRA_SSLMODE",
        percent_encoded: true,
    };

    fn settings(file: &str, environment: &[(&str, &str)], given: &[(&str, &str)]) -> Settings {
        let pair = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        let sources = Sources {
            given: given
                .iter()
                .map(pair)
                .map(|(name, text)| (name, text, "--set".into()))
                .collect(),
            environment: environment.iter().map(pair).collect(),
            file: Some(SettingsFile::parse(file, "test.yaml").unwrap()),
        };
        let known: Vec<&str> = DECLARED.iter().map(|setting| setting.name).collect();
        Settings::gather(DECLARED, &known, &sources)
    }

    fn faults(settings: &Settings) -> String {
        settings.complete(()).unwrap_err().to_string()
    }

    #[test]
    fn the_stronger_source_wins_and_an_empty_value_is_not_set() {
        let file = "KINESIS_BATCH_SIZE: 7\nIGNORE_CACHE: yes\nAWS_REGION: eu-west-1\n";
        let environment = [("KINESIS_BATCH_SIZE", "8"), ("AWS_REGION", "us-west-2")];
        let read = settings(file, &environment, &[]);
        assert_eq!(read.count("KINESIS_BATCH_SIZE"), 8);
        assert!(read.flag("IGNORE_CACHE"));
        assert_eq!(read.text("AWS_REGION").unwrap(), "eu-west-1");
        let read = settings(
            file,
            &environment,
            &[("KINESIS_BATCH_SIZE", "9"), ("AWS_REGION", "us-east-2")],
        );
        assert_eq!(read.count("KINESIS_BATCH_SIZE"), 9);
        assert_eq!(read.text("AWS_REGION").unwrap(), "us-east-2");
        let read = settings("KINESIS_BATCH_SIZE:\n", &[("KINESIS_BATCH_SIZE", " ")], &[]);
        assert_eq!(read.count("KINESIS_BATCH_SIZE"), 500);
        assert!(!read.is_given("KINESIS_BATCH_SIZE"));
    }

    #[test]
    fn all_faults_are_reported_at_once_with_their_places_and_without_secrets() {
        let file = "PLAINTEXT_VARIABLES:\n  KINESIS_BATCH_SIZE: 600\n  SIERA_DB_HOST: db\n  STARTING_DELETION_DATE: hush\n";
        let read = settings(
            file,
            &[("IGNORE_CACHE", "perhaps")],
            &[("NONSENSE_OF_ALL_KINDS", "1")],
        );
        read.required("SIERRA_DB_HOST");
        assert_eq!(
            faults(&read),
            "6 settings to fix:\
            \n  NONSENSE_OF_ALL_KINDS (--set): unknown setting\
            \n  SIERA_DB_HOST (test.yaml, line 3): unknown setting; did you mean SIERRA_DB_HOST?\
            \n  IGNORE_CACHE (environment): `perhaps`: expected True or False\
            \n  KINESIS_BATCH_SIZE (test.yaml, line 2): `600`: expected a whole number from 1 to 500\
            \n  STARTING_DELETION_DATE (test.yaml, line 4): `****`: expected a date such as 2024-06-14\
            \n  SIERRA_DB_HOST: not set: Host."
        );
    }

    #[test]
    fn a_database_url_is_assembled_from_its_parts() {
        let url = |file: &str| {
            let read = settings(file, &[], &[]);
            let url = database_url(&read, SIERRA);
            read.complete(url).map(|url| url.expose().to_owned())
        };
        let parts = "SIERRA_DB_HOST: db\nSIERRA_DB_USER: me%40here\nSIERRA_DB_PASSWORD: p%2Fw\n";
        assert_eq!(
            url(parts).unwrap(),
            "postgres://me%40here:p%2Fw@db:1032/iii?sslmode=require"
        );
        let named = format!("{parts}SIERRA_DB_NAME: iii?sslmode=disable\n");
        assert_eq!(
            url(&named).unwrap(),
            "postgres://me%40here:p%2Fw@db:1032/iii?sslmode=disable"
        );
        let given =
            "SIERRA_URL: postgres://me@db\nSIERRA_DB_PASSWORD: a:b\nSIERRA_SSLMODE: prefer\n";
        assert_eq!(
            url(given).unwrap(),
            "postgres://me:a%3Ab@db:1032/iii?sslmode=prefer"
        );
        assert_eq!(
            url("SIERRA_URL: sqlite:demo.db\n").unwrap(),
            "sqlite:demo.db"
        );
        let contradiction = url(
            "SIERRA_URL: postgres://me:pw@db/iii\nSIERRA_DB_HOST: other\nSIERRA_DB_NAME: iii\n",
        );
        assert_eq!(
            contradiction.unwrap_err().to_string(),
            "1 setting to fix:\n  SIERRA_DB_HOST (test.yaml, line 2) contradicts SIERRA_URL (test.yaml, line 1)"
        );
        let missing = url("SIERRA_DB_HOST: db\n").unwrap_err().to_string();
        assert!(missing.starts_with("2 settings to fix"), "{missing}");
    }

    #[test]
    fn a_file_that_is_no_mapping_is_an_error() {
        for text in ["- a\n- b\n", "just text", "a: [", "A: 1\nA: 2\n"] {
            assert!(SettingsFile::parse(text, "test.yaml").is_err(), "{text}");
        }
        let read = settings(
            "KINESIS_BATCH_SIZE: {a: 1}\nENCRYPTED_VARIABLES: [AQ==]\nIGNORE_CACHE: on\nPLAINTEXT_VARIABLES:\n  IGNORE_CACHE: off\n",
            &[],
            &[],
        );
        for words in [
            "KINESIS_BATCH_SIZE (test.yaml, line 1): expected one value",
            "ENCRYPTED_VARIABLES (test.yaml): expected a mapping",
            "IGNORE_CACHE (test.yaml): it stands there twice",
        ] {
            assert!(faults(&read).contains(words), "{words}: {}", faults(&read));
        }
    }
}
