//! Log lines on stderr, as the operators' alarms know them:
//! `2026-01-01 12:00:00,613 | patron-info | ERROR: …`.
//!
//! Only our own lines are written, at whatever level: other libraries log queries, parameters and
//! bodies, and with them personal values (P6).

use std::fmt::{self, Write as _};

use indicatif::MultiProgress;
use jiff::Zoned;
use serde_json::{Map, Value as Json};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::screen;

/// The layer that writes the lines.
pub struct Log {
    pipeline: &'static str,
    level: LevelFilter,
    json: bool,
    bars: MultiProgress,
}

impl Log {
    /// `level` and `format` are those of the settings; `bars` make room for a line.
    pub fn new(pipeline: &'static str, level: &str, format: &str, bars: MultiProgress) -> Log {
        let level = match level.to_ascii_lowercase().as_str() {
            "trace" => LevelFilter::TRACE,
            "debug" => LevelFilter::DEBUG,
            "info" => LevelFilter::INFO,
            "warning" => LevelFilter::WARN,
            _ => LevelFilter::ERROR,
        };
        Log {
            pipeline,
            level,
            json: format.eq_ignore_ascii_case("json"),
            bars,
        }
    }
}

impl<S: Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        if *metadata.level() > self.level {
            return;
        }
        let Some(fields) = Fields::of(event) else {
            return;
        };
        let level = match *metadata.level() {
            Level::ERROR => "ERROR",
            Level::WARN => "WARNING",
            Level::INFO => "INFO",
            Level::DEBUG => "DEBUG",
            Level::TRACE => "TRACE",
        };
        let now = Zoned::now();
        let line = if self.json {
            let mut object = Map::new();
            object.insert("time".into(), now.timestamp().to_string().into());
            object.insert("pipeline".into(), self.pipeline.into());
            object.insert("level".into(), level.into());
            object.insert("message".into(), fields.message.into());
            object.extend(fields.others);
            Json::Object(object).to_string()
        } else {
            let others = fields.in_one_line();
            let time = now.strftime("%Y-%m-%d %H:%M:%S,%3f");
            format!(
                "{time} | {} | {level}: {}{others}",
                self.pipeline, fields.message
            )
        };
        self.bars.suspend(|| screen::talk(&format!("{line}\n")));
    }
}

/// The message of an event and its fields; nothing for another library's (P6).
pub(crate) fn message(event: &Event<'_>) -> Option<String> {
    let fields = Fields::of(event)?;
    Some(format!("{}{}", fields.message, fields.in_one_line()))
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Json>,
}

impl Fields {
    /// Those of an event of ours.
    fn of(event: &Event<'_>) -> Option<Fields> {
        // P6: the filter that keeps other libraries' lines out.
        if !event.metadata().target().starts_with("watershed") {
            return None;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        Some(fields)
    }

    /// Nothing where there is a message: its words say what the fields do, which are for machines.
    fn in_one_line(&self) -> String {
        if !self.message.is_empty() {
            return String::new();
        }
        let others = self.others.iter();
        others
            .map(|(name, value)| format!(" {name}={value}"))
            .collect()
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.message, "{value:?}");
        } else {
            self.others
                .insert(field.name().into(), format!("{value:?}").into());
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.others.insert(field.name().into(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.others.insert(field.name().into(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.others.insert(field.name().into(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.others.insert(field.name().into(), value.into());
    }
}
