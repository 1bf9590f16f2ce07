//! Pipelines as services: pass after pass until a signal ends them.
//!
//! A poller is simply run again and again: `again_and_again` is its loop. A pipeline that loops
//! by itself ([`Job::serve`]) gets a [`Service`], tells it how each pass ended, and waits where it
//! says. What follows from a failed pass is decided in one place, [`Service::failed`].
//!
//! `METRICS_ADDRESS` shows a service to others: `endpoint` serves what `metrics` counts and what
//! `status` knows.

mod endpoint;
mod metrics;
mod settings;
mod status;
mod told;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use watershed::engine::{Report, Stop};
use watershed::error::{Error, Remedy, Result};
use watershed::settings::Settings;

use crate::pipelines::{Job, Options, Outcome};
use crate::sentry;
use metrics::Passes;
use settings::Plan;
pub use settings::{GROUP, METRICS_ADDRESS, RUN_AS_SERVICE};
use status::Status;
use told::Told;

/// Upper bound of the wait after one failed pass, or the pipeline's usual wait where that is
/// shorter; each further bound is twice the one before.
const FIRST_WAIT: Duration = Duration::from_secs(15);
/// The least that the first bound is, where the pipeline usually goes on at once.
const LEAST_WAIT: Duration = Duration::from_millis(100);
/// No wait after a failed pass is longer, unless the other side asks for it.
const LONGEST_WAIT: Duration = Duration::from_secs(900);

/// What a pipeline that runs as a service holds on to.
pub struct Service {
    stop: Stop,
    status: Arc<Status>,
    passes: Arc<Passes>,
    told: Told,
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Waited {
    /// It is time for the next pass.
    Again,
    /// Somebody asked the service to stop.
    Stopped,
}

/// What follows from a failed pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum AfterFailure {
    /// It was logged and counted: wait, and try again.
    Again,
    /// Return the error: the program ends with its exit code, and logs it then.
    End,
}

impl Service {
    /// A service that `stop` ends.
    pub fn new(stop: Stop) -> Service {
        Service {
            stop,
            status: Arc::new(Status::new()),
            passes: Arc::new(Passes::new()),
            told: Told::default(),
        }
    }

    /// A pass ended well.
    pub fn passed(&self, outcome: &Outcome) {
        self.account(outcome);
        self.passes.passed(self.status.passed());
        self.told.forget();
        tracing::debug!("the pass ends: {}", outcome.in_one_line());
    }

    /// Counts what a pass did, however it ended.
    fn account(&self, outcome: &Outcome) {
        self.passes.count(&outcome.report);
        if let Some(place) = &outcome.dead_letters {
            let number = outcome.report.set_aside();
            tracing::warn!("{number} records were set aside in {place}");
        }
    }

    /// A pass failed; says what follows.
    ///
    /// What may pass by itself, or is mended outside, is tried again: an outage, another runner,
    /// and bad data, because it may be mended where it is. Settings and access are read once, so
    /// that a first pass which fails for them ends the program; when a pass has gone well with
    /// them, it is the other side that has changed, and may change again. A bug always ends it.
    ///
    /// Sentry is told of a failure that is new; of one that ends the program it is told then.
    pub async fn failed(&self, error: &Error) -> AfterFailure {
        let remedy = error.remedy();
        let proven = self.status.has_passed();
        let again = match remedy {
            Remedy::TryAgain | Remedy::FixData | Remedy::StopOtherRunner => true,
            Remedy::FixSettings | Remedy::FixAccess => proven,
            Remedy::ReportBug => false,
        };
        let before = self.status.last_failure();
        self.passes
            .failed(remedy, self.status.failed(remedy, error.retry_after()));
        if !again {
            return AfterFailure::End;
        }
        let words = error.in_one_line();
        if remedy != Remedy::StopOtherRunner {
            tracing::error!("{words}");
            if let Some(hint) = error.hint() {
                tracing::error!("hint: {hint}");
            }
        } else if before == Some(remedy) {
            tracing::debug!("still standing by: {words}");
        } else {
            tracing::warn!("standing by: {words}");
        }
        if self.told.is_news(error) {
            // A stop must not wait for Sentry.
            self.stop.or_abandon(sentry::tell(error)).await;
        }
        AfterFailure::Again
    }

    /// Waits for the next pass, a random time within `usual`; after failures a growing one. Whoever
    /// stands by for another runner waits as usual, to be there when it is gone. A stop ends the
    /// wait at once (P7).
    pub async fn wait(&self, usual: RangeInclusive<Duration>) -> Waited {
        let wait = self.next_wait(&usual);
        self.status.waits(*usual.end());
        if self.status.last_failure().is_some() {
            tracing::info!("the next pass begins in {wait:.0?}");
        }
        if self.stop.or_abandon(sleep(wait)).await.is_none() {
            return Waited::Stopped;
        }
        self.status.begins();
        Waited::Again
    }

    fn next_wait(&self, usual: &RangeInclusive<Duration>) -> Duration {
        let (shortest, longest) = (*usual.start(), *usual.end());
        match self.status.failures() {
            Some((failures, asked)) => {
                let first = longest.clamp(LEAST_WAIT, FIRST_WAIT);
                let doubled = first.saturating_mul(1 << (failures - 1).min(16));
                let bound = doubled.min(LONGEST_WAIT);
                // Never near nothing, and not all at once with others who failed together.
                bound.mul_f64(0.5 + fastrand::f64() / 2.0).max(asked)
            }
            None => shortest + longest.saturating_sub(shortest).mul_f64(fastrand::f64()),
        }
    }
}

/// What became of a run.
pub(crate) enum Served {
    /// It is no service: it is to be run once.
    Once(Options),
    /// It was a service, and ended like this.
    Ended(Result<()>),
}

/// Runs the pipeline as a service if settings and options say so.
///
/// # Errors
/// [`Remedy::FixSettings`] for settings that no service can have, and for an address that nobody
/// can listen on.
pub(crate) async fn serve(job: &Job, settings: &Settings, mut options: Options) -> Result<Served> {
    let Some(plan) = Plan::read(job, settings, &options)? else {
        return Ok(Served::Once(options));
    };
    let service = Service::new(options.stop.clone());
    if let Some(address) = &plan.address {
        endpoint::open(address, job, &service.status).await?;
    }
    // Pages are counted when they are saved, and not only when a pass has ended.
    let (told, passes) = (options.progress.take(), service.passes.clone());
    options.progress = Some(Box::new(move |report: &Report| {
        passes.count(report);
        if let Some(tell) = &told {
            tell(report);
        }
    }));
    tracing::info!("{} starts as a service{}", job.name, plan.rhythm());
    let passes = async {
        match job.serve {
            Some(serve) => serve(settings, &options, &service).await,
            None => again_and_again(job, settings, &options, &service, plan.every).await,
        }
    };
    // In the same task as the passes: where they block their thread, it stops as well.
    let outcome = tokio::select! {
        outcome = passes => outcome,
        never = service.status.beat() => match never {},
    };
    Ok(Served::Ended(settle(outcome.result, &options.stop)))
}

/// P7: whoever was asked to stop ends well, whatever the pass in hand came to: its cursor was not
/// moved, and the next start reads the page again. A bug is told all the same.
fn settle(result: Result<()>, stop: &Stop) -> Result<()> {
    match result {
        Err(error) if stop.is_requested() && error.remedy() != Remedy::ReportBug => {
            tracing::error!("{}", error.in_one_line());
            Ok(())
        }
        result => result,
    }
}

/// A poller as a service: a pass begins `every` so long after the beginning of the one before, give
/// or take a tenth, and at once where that one took longer.
async fn again_and_again(
    job: &Job,
    settings: &Settings,
    options: &Options,
    service: &Service,
    every: Duration,
) -> Outcome {
    loop {
        let began = Instant::now();
        options.journal.clear();
        let outcome = (job.run)(settings, options).await;
        match &outcome.result {
            _ if options.stop.is_requested() => {
                service.account(&outcome);
                return outcome;
            }
            Ok(()) => service.passed(&outcome),
            Err(error) => {
                service.account(&outcome);
                if service.failed(error).await == AfterFailure::End {
                    return outcome;
                }
            }
        }
        let rest = every.saturating_sub(began.elapsed());
        let jitter = (every / 10).min(rest);
        if service.wait(rest - jitter..=rest + jitter).await == Waited::Stopped {
            return Outcome::stopped();
        }
    }
}

#[cfg(test)]
mod tests;
