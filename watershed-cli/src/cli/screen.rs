//! What a person sees: errors, lists, reports, progress.

use std::collections::HashMap;
use std::io::{IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use watershed::engine::{ModeReport, Report};
use watershed::error::Error;
use watershed::pipeline::Counts;

use crate::pipelines::Job;
use crate::pipelines::orders::TellShare;

/// An error, its causes, and what to do about it.
pub(super) fn complain(error: &Error) {
    talk(&complaint(error));
}

fn complaint(error: &Error) -> String {
    let mut text = format!("error: {error}\n");
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!("  because: {error}\n"));
        cause = error.source();
    }
    if let Some(hint) = error.hint() {
        text.push_str(&format!("  hint: {hint}\n"));
    }
    text
}

/// Writes data to stdout. Whoever reads it may stop early (`| head`): that is no error of ours.
pub(super) fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Writes talk to stderr. A full disk behind it must not end a run.
pub(super) fn talk(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// The pipelines.
pub(super) fn list(jobs: &[Job]) {
    for job in jobs {
        print(&format!("{:<18}{}\n", job.name, job.summary));
    }
}

/// What runs did: a row a mode, what was skipped and noted below.
pub(super) fn report(reports: &[(&str, &Report)]) -> String {
    let mut rows = table(&[
        "pipeline",
        "mode",
        "pages",
        "read",
        "delivered",
        "skipped",
        "set aside",
        "geocoded",
    ]);
    let mut below = String::new();
    for (job, report) in reports {
        for mode in &report.modes {
            let numbers = [
                mode.pages,
                mode.read,
                mode.delivered,
                mode.skipped.total(),
                mode.set_aside,
                geocoded(mode),
            ];
            let numbers = numbers.into_iter().map(thousands);
            rows.add_row(
                [(*job).to_owned(), mode.name.to_owned()]
                    .into_iter()
                    .chain(numbers),
            );
            for (kind, counts) in [("skipped", &mode.skipped), ("noted", &mode.noted)] {
                below.push_str(&counted(job, mode.name, kind, counts));
            }
        }
        if report.stopped {
            below.push_str(&format!(
                "  {job} was stopped by a signal; what was delivered is saved\n"
            ));
        }
    }
    for column in 2..8 {
        rows.column_mut(column)
            .expect("the table has this column")
            .set_cell_alignment(CellAlignment::Right);
    }
    let rows: String = rows
        .lines()
        .map(|row| format!("{}\n", row.trim()))
        .collect();
    format!("{rows}{below}")
}

fn geocoded(mode: &ModeReport) -> u64 {
    mode.noted
        .iter()
        .filter(|(name, _)| name.starts_with("geocoded by"))
        .map(|(_, number)| number)
        .sum()
}

fn counted(job: &str, mode: &str, kind: &str, counts: &Counts) -> String {
    counts
        .iter()
        .map(|(name, number)| format!("  {job} {mode}, {kind}: {} {name}\n", thousands(number)))
        .collect()
}

/// A table in the house's form.
pub(super) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header);
    table
}

pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A line a mode on a terminal, and nothing elsewhere.
pub(super) struct Progress {
    bars: MultiProgress,
    modes: Mutex<HashMap<&'static str, ProgressBar>>,
    shown: bool,
}

impl Progress {
    pub(super) fn new(bars: MultiProgress) -> Progress {
        Progress {
            bars,
            modes: Mutex::default(),
            shown: std::io::stderr().is_terminal(),
        }
    }

    pub(super) fn tell(&self, report: &Report) {
        if !self.shown {
            return;
        }
        let mut bars = self.modes.lock().expect("no holder panics");
        for mode in &report.modes {
            let bar = bars.entry(mode.name).or_insert_with(|| {
                let style = ProgressStyle::with_template("{spinner} {prefix:<8} {msg}");
                let bar = self.bars.add(ProgressBar::new_spinner());
                bar.set_style(style.expect("the template is well-formed"));
                bar.set_prefix(mode.name);
                bar.enable_steady_tick(Duration::from_millis(120));
                bar
            });
            bar.set_message(format!(
                "{} pages, {} read, {} delivered, {} skipped, {} set aside",
                mode.pages,
                thousands(mode.read),
                thousands(mode.delivered),
                thousands(mode.skipped.total()),
                thousands(mode.set_aside)
            ));
        }
    }

    /// A bar for the share of a file that was read; nothing where nobody watches.
    pub(super) fn share(self: &Arc<Progress>) -> Option<Arc<TellShare>> {
        let progress = self.shown.then(|| self.clone())?;
        Some(Arc::new(move |label: &str, done: u64, all: u64| {
            let mut bars = progress.modes.lock().expect("no holder panics");
            let bar = bars.entry("share").or_insert_with(|| {
                let style = ProgressStyle::with_template("{msg} {bar:30} {percent} %");
                let bar = progress.bars.add(ProgressBar::new(all));
                bar.set_style(style.expect("the template is well-formed"));
                bar
            });
            bar.set_length(all);
            bar.set_position(done.min(all));
            bar.set_message(label.to_owned());
        }))
    }

    /// Leaves the last lines on the screen.
    pub(super) fn finish(&self) {
        for bar in self.modes.lock().expect("no holder panics").values() {
            bar.abandon();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use watershed::error::Remedy;

    #[test]
    fn an_error_is_shown_with_its_causes_and_its_hint() {
        let error = Error::new(
            Remedy::FixSettings,
            "reading the state in s3://bucket/state.json",
        )
        .caused_by("there is no such document")
        .with_hint("make one with `watershed state set …`");
        insta::assert_snapshot!(complaint(&error), @r"
        error: reading the state in s3://bucket/state.json
          because: there is no such document
          hint: make one with `watershed state set …`
        ");
    }

    #[test]
    fn a_report_is_a_row_a_mode() {
        let mut new = ModeReport {
            name: "new",
            pages: 2,
            read: 12_345,
            delivered: 12_340,
            set_aside: 2,
            ..ModeReport::default()
        };
        new.skipped.add("already sent in this run", 3);
        new.noted.add("geocoded by ranges", 11_000);
        new.noted.add("not geocoded", 1_340);
        let done = Report {
            modes: vec![
                new,
                ModeReport {
                    name: "updated",
                    ..ModeReport::default()
                },
            ],
            stopped: true,
        };
        insta::assert_snapshot!(report(&[("patron-info", &done)]), @r"
        pipeline     mode     pages    read  delivered  skipped  set aside  geocoded
        patron-info  new          2  12,345     12,340        3          2    11,000
        patron-info  updated      0       0          0        0          0         0
          patron-info new, skipped: 3 already sent in this run
          patron-info new, noted: 11,000 geocoded by ranges
          patron-info new, noted: 1,340 not geocoded
          patron-info was stopped by a signal; what was delivered is saved
        ");
    }
}
