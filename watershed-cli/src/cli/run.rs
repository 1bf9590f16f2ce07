use std::sync::{Arc, LazyLock, OnceLock};

use indicatif::MultiProgress;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;
use watershed::engine::Stop;
use watershed::error::{Error, OrFail as _, Remedy, Result};
use watershed::settings::Settings;

use super::args::RunArgs;
use super::log::Log;
use super::screen::{self, Progress};
use super::{SET_ASIDE, sources};
use crate::journal::Journal;
use crate::pipelines::{Job, Options, Outcome, Tell};
use crate::sentry;
use crate::service::{self, Served};

pub(super) async fn run(job: &'static Job, args: RunArgs) -> Result<u8> {
    let flags = [
        ("MAX_BATCHES", "--max-batches", args.max_batches.as_deref()),
        ("AS_OF", "--as-of", args.as_of.as_deref()),
        ("RUN_EVERY", "--every", args.every.as_deref()),
        (
            "RUN_AS_SERVICE",
            "--every",
            args.every.as_ref().map(|_| "True"),
        ),
    ];
    let settings = sources::gather(job, &args.settings, &flags).await?;
    let bars = MultiProgress::new();
    let journal = log_to_stderr(job, &settings, &bars);
    sentry::watch(job, &settings);
    let progress = Arc::new(Progress::new(bars));
    let options = Options {
        dry_run: args.dry_run || declared_flag(job, &settings, "DRY_RUN"),
        only: args.only,
        start: args.start,
        allow_late: args.allow_late,
        stop: stop_on_signals()?,
        progress: Some(telling(&progress)),
        share: progress.share(),
        show: None,
        journal,
    };
    match service::serve(job, &settings, options).await? {
        Served::Ended(result) => {
            progress.finish();
            tracing::info!("{} ends", job.name);
            match result {
                Ok(()) => Ok(0),
                Err(error) => Ok(tell_error(&error).await),
            }
        }
        Served::Once(options) => {
            let dry = if options.dry_run { " (dry run)" } else { "" };
            tracing::info!("{} starts{dry}", job.name);
            let outcome = (job.run)(&settings, &options).await;
            progress.finish();
            conclude(job, outcome).await
        }
    }
}

/// A flag that only some pipelines have.
fn declared_flag(job: &Job, settings: &Settings, name: &str) -> bool {
    job.all_settings().any(|setting| setting.name == name) && settings.flag(name)
}

/// Tells the error that ended the program, and gives its exit code.
async fn tell_error(error: &Error) -> u8 {
    sentry::tell(error).await;
    tracing::error!("{}", error.in_one_line());
    if let Some(hint) = error.hint() {
        tracing::error!("hint: {hint}");
    }
    error.remedy().exit_code()
}

/// Tells how the run ended, once, and gives the exit code.
async fn conclude(job: &Job, outcome: Outcome) -> Result<u8> {
    let report = &outcome.report;
    if std::io::IsTerminal::is_terminal(&std::io::stderr()) {
        screen::talk(&screen::report(&[(job.name, report)]));
    }
    tracing::info!("{} ends: {}", job.name, outcome.in_one_line());
    if let Some(place) = &outcome.dead_letters {
        tracing::warn!("{} records were set aside in {place}", report.set_aside());
    }
    if let Err(error) = outcome.result {
        return Ok(tell_error(&error).await);
    }
    Ok(if report.set_aside() > 0 { SET_ASIDE } else { 0 })
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
    match LOG.get() {
        // The demo runs one pipeline behind the other.
        Some(handle) => {
            let _ = handle.reload(log);
        }
        None => {
            let (log, handle) = reload::Layer::new(log);
            let subscriber = tracing_subscriber::registry().with(log);
            // A subscriber that is there already (a test's) stays the one it is.
            if subscriber.with(JOURNAL.clone()).try_init().is_ok() {
                let _ = LOG.set(handle);
            }
        }
    }
    JOURNAL.clear();
    JOURNAL.clone()
}

static JOURNAL: LazyLock<Journal> = LazyLock::new(Journal::default);

/// Changes the log of this process to that of another pipeline.
static LOG: OnceLock<reload::Handle<Log, Registry>> = OnceLock::new();

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
            // Before the request: a run that has nothing in hand may end at once.
            tracing::info!("stopping: the page in hand is finished or abandoned whole");
            asked.request();
            tracing::trace!("the stop is requested");
        }
    });
    Ok(stop)
}
