//! The pipelines: the one list, and a folder for each.

pub mod databases;
pub mod location_visits;
pub mod orders;
pub mod patron_info;
pub mod patronload;
pub mod pc_reserve;
pub mod poller;
pub mod sending;

use std::path::Path;
use std::sync::{Arc, Mutex};

use futures::future::LocalBoxFuture;
use serde_json::Value as Json;
use watershed::engine::{ModeReport, Report, Stop};
use watershed::error::Result;
use watershed::settings::{Setting, Settings};

use crate::journal::Journal;
use crate::service::Service;

/// All pipelines, in the order in which they are listed.
pub const JOBS: &[Job] = &[
    patron_info::JOB,
    pc_reserve::JOB,
    location_visits::JOB,
    patronload::JOB,
    orders::JOB,
];

/// Settings that every pipeline has.
pub const COMMON: SettingGroup = SettingGroup {
    title: "Errors",
    settings: &[Setting::text(
        "SENTRY_DSN",
        "DSN of a project in Sentry, which is told the errors that end a run or a service's pass; `none` is none.",
    )
    .secret()],
};

/// Which settings file is read.
pub const ENVIRONMENT: Setting = Setting::text(
    "ENVIRONMENT",
    "Picks the settings file: `config/<pipeline>/<ENVIRONMENT>.yaml`, else `config/<ENVIRONMENT>.yaml`.",
);

/// How much is logged; each pipeline has its own default.
pub const LOG_LEVEL: Setting = Setting::choice(
    "LOG_LEVEL",
    LOG_LEVELS,
    "The least severe lines that are logged.",
);

/// What `LOG_LEVEL` may be.
pub const LOG_LEVELS: &[&str] = &["trace", "debug", "info", "warning", "error", "critical"];

/// How it is logged.
pub const LOG_FORMAT: Setting =
    Setting::choice("LOG_FORMAT", &["text", "json"], "Form of the log lines.").default("text");

/// A pipeline as the command line sees it.
pub struct Job {
    /// Its name in commands, paths and reports.
    pub name: &'static str,
    /// One line for `list` and the reference.
    pub summary: &'static str,
    /// Its settings, in the groups of the reference.
    pub settings: &'static [SettingGroup],
    /// Its modes, in the order in which they run.
    pub modes: &'static [&'static str],
    /// Members of its state document that a person may set.
    pub state: &'static [Setting],
    /// Members with a tie-break, and the member that holds it: a person who sets the one means
    /// the whole instant, and removes the other.
    pub tie_breaks: &'static [(&'static str, &'static str)],
    /// Further members of its state document that the program alone writes.
    pub own_members: &'static [&'static str],
    /// Runs it once.
    pub run: for<'a> fn(&'a Settings, &'a Options) -> LocalBoxFuture<'a, Outcome>,
    /// Runs it as a service, where it does more between its passes than to wait; without it, `run` is
    /// called again and again.
    pub serve: Option<Serve>,
    /// Asks every system it needs for its version, and reads and writes nothing.
    pub check: for<'a> fn(&'a Settings) -> LocalBoxFuture<'a, Result<Vec<Checked>>>,
    /// Writes invented data and `settings.yaml` into a folder.
    pub demo: for<'a> fn(&'a Path) -> LocalBoxFuture<'a, Result<()>>,
}

/// Runs a pipeline pass after pass, until the service is stopped.
pub type Serve = for<'a> fn(&'a Settings, &'a Options, &'a Service) -> LocalBoxFuture<'a, Outcome>;

/// Settings that belong together.
pub struct SettingGroup {
    /// Heading in the reference.
    pub title: &'static str,
    /// The declarations.
    pub settings: &'static [Setting],
}

impl Job {
    /// The job of this name.
    pub fn find(name: &str) -> Option<&'static Job> {
        JOBS.iter().find(|job| job.name == name)
    }

    /// All its settings.
    pub fn all_settings(&self) -> impl Iterator<Item = &'static Setting> + use<> {
        let own = self.settings.iter().flat_map(|group| group.settings);
        own.chain(COMMON.settings)
    }
}

/// What a person asks of a run beside the settings.
#[derive(Default)]
pub struct Options {
    /// Reads and calls out as usual, and writes nowhere.
    pub dry_run: bool,
    /// Runs this mode alone.
    pub only: Option<String>,
    /// Begins at the start settings where there is no state yet.
    pub start: bool,
    /// Applies files that sort before one already applied.
    pub allow_late: bool,
    /// Ends the run early.
    pub stop: Stop,
    /// Called whenever the report has changed.
    pub progress: Option<Tell>,
    /// Called with the share of a file that was read, where somebody watches.
    pub share: Option<Arc<orders::TellShare>>,
    /// Gets the pseudonymised records instead of a stream.
    pub show: Option<Shown>,
    /// The run's own log lines, for a report by mail.
    pub journal: Journal,
}

/// What is called with a report.
pub type Tell = Box<dyn Fn(&Report) + Send + Sync>;

/// Records on their way to the screen: the first ones, and how many there are in all. A page may
/// have hundreds of thousands.
#[derive(Clone)]
pub struct Shown(Arc<Mutex<Sampled>>);

struct Sampled {
    /// Records that are kept.
    most: usize,
    first: Vec<Json>,
    all: usize,
}

impl Shown {
    /// Keeps the first `most` records.
    pub fn first(most: usize) -> Shown {
        let (first, all) = (Vec::new(), 0);
        Shown(Arc::new(Mutex::new(Sampled { most, first, all })))
    }

    /// Adds records, of which only those that are kept are made.
    pub fn add(&self, records: impl ExactSizeIterator<Item = Json>) {
        let mut sampled = self.0.lock().expect("no holder panics");
        sampled.all += records.len();
        let room = sampled.most - sampled.first.len();
        sampled.first.extend(records.take(room));
    }

    /// The records that are kept, and how many others there are.
    pub fn take(&self) -> (Vec<Json>, usize) {
        let mut sampled = self.0.lock().expect("no holder panics");
        let first = std::mem::take(&mut sampled.first);
        let others = sampled.all - first.len();
        (first, others)
    }
}

impl Options {
    /// Tells how far the run is.
    pub fn tell(&self, report: &Report) {
        if let Some(progress) = &self.progress {
            progress(report);
        }
    }
}

/// How a run ended. The report holds for a failed run, too.
pub struct Outcome {
    /// What was done.
    pub report: Report,
    /// Where records were set aside, if any were.
    pub dead_letters: Option<String>,
    /// Where the records went.
    pub destination: Option<String>,
    /// Whether all went well.
    pub result: Result<()>,
}

impl Outcome {
    /// A run that a signal ended before it began.
    pub fn stopped() -> Outcome {
        let report = Report {
            stopped: true,
            ..Report::default()
        };
        Outcome {
            report,
            dead_letters: None,
            destination: None,
            result: Ok(()),
        }
    }

    /// A run that failed before it began.
    pub fn failed(error: watershed::error::Error) -> Outcome {
        Outcome {
            report: Report::default(),
            dead_letters: None,
            destination: None,
            result: Err(error),
        }
    }
}

impl Outcome {
    /// What was done, for a log.
    pub fn in_one_line(&self) -> String {
        let report = &self.report;
        let sum = |number: fn(&ModeReport) -> u64| report.modes.iter().map(number).sum::<u64>();
        let skipped = sum(|mode| mode.skipped.total());
        let (read, delivered) = (sum(|mode| mode.read), sum(|mode| mode.delivered));
        let mut line = format!(
            "{read} read, {delivered} delivered, {skipped} skipped, {} set aside",
            report.set_aside()
        );
        for mode in &report.modes {
            for (name, number) in mode.skipped.iter().chain(mode.noted.iter()) {
                line.push_str(&format!("; {}: {number} {name}", mode.name));
            }
        }
        line
    }
}

/// What `check` found out about one system.
pub struct Checked {
    /// The system.
    pub system: &'static str,
    /// Its version, or what to fix.
    pub found: Result<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_sample_only_the_records_that_are_shown_are_made() {
        let shown = Shown::first(3);
        let records = |from: i64, to: i64| {
            let made = |number| {
                assert!(number < 3, "nobody sees {number}");
                Json::from(number)
            };
            Vec::from_iter(from..to).into_iter().map(made)
        };
        shown.add(records(0, 2));
        shown.add(records(2, 768_000));
        shown.add(records(768_000, 768_001));
        assert_eq!(shown.take(), ([0, 1, 2].map(Json::from).into(), 767_998));
    }
}
