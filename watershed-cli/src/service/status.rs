use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use watershed::error::Remedy;

/// How often the loop shows that it is alive.
const BEAT: Duration = Duration::from_secs(1);
/// A loop without a beat for so long blocks its thread. A page that takes hours, or an outside
/// system that does not answer, does not: both are waited for.
const STUCK_AFTER: Duration = Duration::from_secs(300);
/// A wait that the other side asks for is kept for no longer.
const LONGEST_ASKED: Duration = Duration::from_secs(86_400);
/// A last success is recent enough for at least so long.
const RECENT: Duration = Duration::from_secs(3600);

/// How a service is doing.
pub(super) struct Status(Mutex<Now>);

struct Now {
    started: Instant,
    beat: Instant,
    /// Beginning of the pass in hand, or of the last one.
    began: Instant,
    took: Duration,
    succeeded: Option<Instant>,
    /// How the last pass failed, if it did.
    failure: Option<Remedy>,
    /// Failed passes since the last good one, those that found another runner not among them.
    failures: u32,
    /// How long the other side asked us to wait.
    asked: Duration,
    recent: Duration,
}

impl Status {
    pub(super) fn new() -> Status {
        let now = Instant::now();
        Status(Mutex::new(Now {
            started: now,
            beat: now,
            began: now,
            took: Duration::ZERO,
            succeeded: None,
            failure: None,
            failures: 0,
            asked: Duration::ZERO,
            recent: RECENT,
        }))
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.0.lock().expect("nothing panics while it holds this")
    }

    /// Beats for as long as it is polled.
    pub(super) async fn beat(&self) -> Infallible {
        loop {
            self.now().beat = Instant::now();
            sleep(BEAT).await;
        }
    }

    pub(super) fn begins(&self) {
        self.now().began = Instant::now();
    }

    /// Notes a good pass, and gives its duration. The next one may begin at once.
    pub(super) fn passed(&self) -> Duration {
        let mut now = self.now();
        now.succeeded = Some(Instant::now());
        now.failure = None;
        now.failures = 0;
        now.ended()
    }

    /// Notes a failed pass, and gives its duration.
    pub(super) fn failed(&self, remedy: Remedy, asked: Option<Duration>) -> Duration {
        let mut now = self.now();
        now.failure = Some(remedy);
        now.asked = asked.unwrap_or_default().min(LONGEST_ASKED);
        if remedy == Remedy::StopOtherRunner {
            now.failures = 0;
        } else {
            now.failures = now.failures.saturating_add(1);
        }
        now.ended()
    }

    /// A wait begins, of `longest` at most where all goes well.
    pub(super) fn waits(&self, longest: Duration) {
        let mut now = self.now();
        now.recent = RECENT.max((longest + now.took) * 3);
    }

    pub(super) fn has_passed(&self) -> bool {
        self.now().succeeded.is_some()
    }

    pub(super) fn last_failure(&self) -> Option<Remedy> {
        self.now().failure
    }

    /// Failed passes in a row, if the last one failed, and how long the other side asked us to wait.
    pub(super) fn failures(&self) -> Option<(u32, Duration)> {
        let now = self.now();
        (now.failures > 0).then_some((now.failures, now.asked))
    }

    /// Since the last good pass, or since the start where there was none.
    pub(super) fn since_success(&self) -> Duration {
        let now = self.now();
        now.succeeded.unwrap_or(now.started).elapsed()
    }

    /// Whether the loop is alive; else why not.
    pub(super) fn healthy(&self) -> Result<(), String> {
        let silent = self.now().beat.elapsed();
        if silent < STUCK_AFTER {
            return Ok(());
        }
        Err(format!(
            "the loop has been stuck for {} s",
            silent.as_secs()
        ))
    }

    /// Whether the last pass went well, and not too long ago; else why not.
    pub(super) fn ready(&self) -> Result<(), String> {
        let now = self.now();
        if let Some(remedy) = now.failure {
            let why = match remedy {
                Remedy::TryAgain => "an outside system is unavailable",
                Remedy::FixSettings => "settings are to be fixed",
                Remedy::FixAccess => "access is to be fixed",
                Remedy::FixData => "data must be mended",
                Remedy::StopOtherRunner => return Err("standing by for another runner".into()),
                Remedy::ReportBug => "a bug",
            };
            let failures = now.failures;
            return Err(format!(
                "{failures} passes in a row failed; the last: {why}"
            ));
        }
        let Some(succeeded) = now.succeeded else {
            return Err("no pass has ended yet".into());
        };
        let ago = succeeded.elapsed();
        if ago > now.recent {
            return Err(format!("the last good pass ended {} s ago", ago.as_secs()));
        }
        Ok(())
    }
}

impl Now {
    fn ended(&mut self) -> Duration {
        self.took = self.began.elapsed();
        self.began = Instant::now();
        self.took
    }
}
