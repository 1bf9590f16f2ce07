use std::fmt;
use std::ops::RangeInclusive;

use jiff::tz::TimeZone;

use crate::time::{parse_date, parse_duration, parse_instant, parse_wall_time};

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
    /// A time without a zone.
    WallTime,
    /// `YYYY-MM-DD`.
    Date,
    /// A length of time, longer than nothing.
    Duration,
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

    /// A time without a zone.
    pub const fn wall_time(name: &'static str, help: &'static str) -> Setting {
        Setting::new(name, Kind::WallTime, help)
    }

    /// A calendar date.
    pub const fn date(name: &'static str, help: &'static str) -> Setting {
        Setting::new(name, Kind::Date, help)
    }

    /// A length of time.
    pub const fn duration(name: &'static str, help: &'static str) -> Setting {
        Setting::new(name, Kind::Duration, help)
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
    pub(super) fn unfit(&self, text: &str) -> Option<String> {
        let fits = match &self.kind {
            Kind::Text => true,
            Kind::Integer(range) => text.parse().is_ok_and(|number| range.contains(&number)),
            Kind::Flag => parse_flag(text).is_some(),
            Kind::Instant => parse_instant(text, &TimeZone::UTC).is_some(),
            Kind::WallTime => parse_wall_time(text).is_some(),
            Kind::Date => parse_date(text).is_some(),
            Kind::Duration => parse_duration(text).is_some(),
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
            Kind::Integer(range) if *range == (i64::MIN..=i64::MAX) => {
                f.write_str("a whole number")
            }
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
            Kind::WallTime => f.write_str("a time without a zone such as 2024-06-14 23:30:00"),
            Kind::Date => f.write_str("a date such as 2024-06-14"),
            Kind::Duration => f.write_str("a length of time such as 15m or 1h 30m"),
            Kind::Zone => f.write_str("the name of a time zone such as America/New_York"),
            Kind::Choice(words) => write!(f, "one of {}", words.join(", ")),
        }
    }
}

pub(super) fn parse_flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}
