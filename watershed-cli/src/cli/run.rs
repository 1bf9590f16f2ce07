use std::sync::{Arc, LazyLock};

use indicatif::MultiProgress;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use watershed::engine::{Report, Stop};
use watershed::error::{OrFail as _, Remedy, Result};
use watershed::settings::Settings;

use super::args::RunArgs;
use super::log::Log;
use super::screen::{self, Progress};
use super::{SET_ASIDE, sentry, sources};
use crate::journal::Journal;
use crate::pipelines::{Job, Options, Outcome, Tell};

pub(super) async fn run(job: &'static Job, args: RunArgs) -> Result<u8> {
    let flags = [
        ("MAX_BATCHES", "--max-batches", args.max_batches.as_deref()),
        ("AS_OF", "--as-of", args.as_of.as_deref()),
    ];
    let settings = sources::gather(job, &args.settings, &flags).await?;
    let bars = MultiProgress::new();
    let journal = log_to_stderr(job, &settings, &bars);
    sentry::watch(job, &settings)?;
    let progress = Arc::new(Progress::new(bars));
    let options = Options {
        dry_run: args.dry_run,
        only: args.only,
        start: args.start,
        stop: stop_on_signals()?,
        progress: Some(telling(&progress)),
        show: None,
        journal,
    };
    tracing::info!(
        "{} starts{}",
        job.name,
        if options.dry_run { " (dry run)" } else { "" }
    );
    let outcome = (job.run)(&settings, &options).await;
    progress.finish();
    if let Err(error) = &outcome.result {
        sentry::tell(error).await;
    }
    conclude(job, outcome)
}

/// Tells how the run ended, once, and gives the exit code.
fn conclude(job: &Job, outcome: Outcome) -> Result<u8> {
    let report = &outcome.report;
    if std::io::IsTerminal::is_terminal(&std::io::stderr()) {
        screen::talk(&screen::report(&[(job.name, report)]));
    }
    tracing::info!("{} ends: {}", job.name, in_one_line(report));
    if let Some(place) = &outcome.dead_letters {
        tracing::warn!("{} records were set aside in {place}", report.set_aside());
    }
    if let Err(error) = outcome.result {
        tracing::error!("{}", error.in_one_line());
        if let Some(hint) = error.hint() {
            tracing::error!("hint: {hint}");
        }
        return Ok(error.remedy().exit_code());
    }
    Ok(if report.set_aside() > 0 { SET_ASIDE } else { 0 })
}

fn in_one_line(report: &Report) -> String {
    let sum = |number: fn(&watershed::engine::ModeReport) -> u64| {
        report.modes.iter().map(number).sum::<u64>()
    };
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

/// Writes our log lines as the settings say; gives those of the run, which begins now.
pub(super) fn log_to_stderr(
    job: &'static Job,
    settings: &Settings,
    bars: &MultiProgress,
) -> Journal {
    let level = settings.text("LOG_LEVEL").unwrap_or_default();
    let format = settings.text("LOG_FORMAT").unwrap_or_default();
    let log = Log::new(job.name, &level, &format, bars.clone());
    // A second subscriber in one process (a test's) stays the one it is.
    // So does its journal.
    let subscriber = tracing_subscriber::registry().with(log);
    let _ = subscriber.with(JOURNAL.clone()).try_init();
    JOURNAL.clear();
    JOURNAL.clone()
}

static JOURNAL: LazyLock<Journal> = LazyLock::new(Journal::default);

pub(super) fn telling(progress: &Arc<Progress>) -> Tell {
    let progress = progress.clone();
    Box::new(move |report| progress.tell(report))
}

/// P7: the first SIGTERM or SIGINT asks the run to stop; a second one ends the program at once.
pub(super) fn stop_on_signals() -> Result<Stop> {
    let stop = Stop::new();
    let what = || "listening for signals".to_owned();
    let mut terminate = signal(SignalKind::terminate()).or_fail(Remedy::ReportBug, what)?;
    let mut interrupt = signal(SignalKind::interrupt()).or_fail(Remedy::ReportBug, what)?;
    let asked = stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if asked.is_requested() {
                std::process::exit(130);
            }
            tracing::info!("stopping: the page in hand is finished or abandoned whole");
            asked.request();
        }
    });
    Ok(stop)
}
