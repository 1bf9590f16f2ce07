//! What a service counts. The names are documented in docs/operating.md.

use std::sync::Mutex;
use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use watershed::engine::{ModeReport, Report};
use watershed::error::{OrFail as _, Remedy, Result};

use super::status::Status;
use crate::pipelines::Job;

const READ: &str = "watershed_records_read_total";
const RECORDS: &str = "watershed_records_total";
const PAGES: &str = "watershed_pages_total";
const PASSES: &str = "watershed_passes_total";
const FAILURES: &str = "watershed_pass_failures_total";
const DURATION: &str = "watershed_pass_duration_seconds";
const IN_A_ROW: &str = "watershed_failed_passes_in_a_row";
const SINCE_SUCCESS: &str = "watershed_seconds_since_last_success";
const BUILD: &str = "watershed_build_info";

/// Bounds of every histogram of seconds: from a call to a first load of hours.
const SECONDS: &[f64] = &[
    0.01, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0,
];

/// Records what is counted from now on; the pipeline's name is in every line.
pub(super) fn install(job: &Job) -> Result<PrometheusHandle> {
    let what = || "setting up the metrics".to_owned();
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), SECONDS)
        .or_fail(Remedy::ReportBug, what)?
        .add_global_label("pipeline", job.name)
        .build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).or_fail(Remedy::ReportBug, what)?;
    describe();
    // What has not happened yet is 0, and not unknown.
    for mode in job.modes {
        add(mode, &Counted::default());
    }
    counter!(PASSES, "outcome" => "succeeded").increment(0);
    counter!(PASSES, "outcome" => "failed").increment(0);
    for remedy in REMEDIES {
        counter!(FAILURES, "remedy" => label(remedy)).increment(0);
    }
    gauge!(IN_A_ROW).set(0);
    gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1);
    Ok(handle)
}

fn describe() {
    describe_counter!(READ, "Records read.");
    describe_counter!(RECORDS, "Records read, by what became of them.");
    describe_counter!(PAGES, "Pages saved.");
    describe_counter!(PASSES, "Passes ended, by outcome.");
    describe_counter!(FAILURES, "Passes failed, by what is to be done.");
    describe_histogram!(DURATION, "Duration of the passes in seconds.");
    describe_gauge!(IN_A_ROW, "Failed passes since the last good one.");
    describe_gauge!(
        SINCE_SUCCESS,
        "Seconds since the last good pass, or since the start before the first."
    );
    describe_histogram!(
        "watershed_retry_wait_seconds",
        "Waits before calls were tried again, in seconds."
    );
    describe_gauge!(BUILD, "1; the program's version is in the label.");
}

/// The page of `/metrics`.
pub(super) fn page(handle: &PrometheusHandle, status: &Status) -> String {
    gauge!(SINCE_SUCCESS).set(status.since_success().as_secs_f64());
    handle.render()
}

const REMEDIES: [Remedy; 6] = [
    Remedy::TryAgain,
    Remedy::FixSettings,
    Remedy::FixAccess,
    Remedy::FixData,
    Remedy::StopOtherRunner,
    Remedy::ReportBug,
];

fn label(remedy: Remedy) -> &'static str {
    match remedy {
        Remedy::TryAgain => "try_again",
        Remedy::FixSettings => "fix_settings",
        Remedy::FixAccess => "fix_access",
        Remedy::FixData => "fix_data",
        Remedy::StopOtherRunner => "stop_other_runner",
        Remedy::ReportBug => "report_bug",
    }
}

/// What was counted of a mode.
#[derive(Clone, Copy, Default)]
struct Counted {
    pages: u64,
    read: u64,
    delivered: u64,
    skipped: u64,
    set_aside: u64,
}

impl Counted {
    fn of(mode: &ModeReport) -> Counted {
        Counted {
            pages: mode.pages,
            read: mode.read,
            delivered: mode.delivered,
            skipped: mode.skipped.total(),
            set_aside: mode.set_aside,
        }
    }

    fn since(&self, before: &Counted) -> Counted {
        Counted {
            pages: self.pages.saturating_sub(before.pages),
            read: self.read.saturating_sub(before.read),
            delivered: self.delivered.saturating_sub(before.delivered),
            skipped: self.skipped.saturating_sub(before.skipped),
            set_aside: self.set_aside.saturating_sub(before.set_aside),
        }
    }
}

// The names of modes are the program's own: no label holds a value of a record (P6).
fn add(mode: &'static str, counted: &Counted) {
    counter!(PAGES, "mode" => mode).increment(counted.pages);
    counter!(READ, "mode" => mode).increment(counted.read);
    for (outcome, number) in [
        ("delivered", counted.delivered),
        ("skipped", counted.skipped),
        ("set_aside", counted.set_aside),
    ] {
        counter!(RECORDS, "mode" => mode, "outcome" => outcome).increment(number);
    }
}

/// Counts passes, and the pages of the one in hand while they are saved.
pub(super) struct Passes {
    /// What was counted already of the report of the pass in hand, a part a mode.
    counted: Mutex<Vec<Counted>>,
}

impl Passes {
    pub(super) fn new() -> Passes {
        Passes {
            counted: Mutex::default(),
        }
    }

    /// Counts what is new in the report of the pass in hand.
    pub(super) fn count(&self, report: &Report) {
        let mut counted = self
            .counted
            .lock()
            .expect("nothing panics while it holds this");
        let modes = counted.len().max(report.modes.len());
        counted.resize(modes, Counted::default());
        for (mode, before) in report.modes.iter().zip(counted.iter_mut()) {
            let now = Counted::of(mode);
            add(mode.name, &now.since(before));
            *before = now;
        }
    }

    pub(super) fn passed(&self, took: Duration) {
        counter!(PASSES, "outcome" => "succeeded").increment(1);
        gauge!(IN_A_ROW).set(0);
        self.ended(took);
    }

    pub(super) fn failed(&self, remedy: Remedy, took: Duration) {
        counter!(PASSES, "outcome" => "failed").increment(1);
        counter!(FAILURES, "remedy" => label(remedy)).increment(1);
        gauge!(IN_A_ROW).increment(1);
        self.ended(took);
    }

    fn ended(&self, took: Duration) {
        histogram!(DURATION).record(took);
        // The next pass has a report of its own.
        let mut counted = self
            .counted
            .lock()
            .expect("nothing panics while it holds this");
        counted.clear();
    }
}
