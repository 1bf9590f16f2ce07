//! One function that tries a call again, driven by the error's [`Remedy`].

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::error::{Error, Remedy, Result};

/// How long a call that may yet succeed is tried.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Upper bound of the first wait; each further bound is twice the one before.
    pub first_wait: Duration,
    /// No wait is longer, unless the other side asks for it.
    pub longest_wait: Duration,
    /// Time limit of one try.
    pub each: Duration,
    /// No further try starts when this has passed since the first one started.
    pub total: Duration,
    /// No more tries than these, the first included.
    pub tries: u32,
}

/// Time limit of one try, where nobody sets another: a page of a large table takes minutes.
const EACH: Duration = Duration::from_secs(900);

/// The waits before further tries, in seconds, for whoever has installed a recorder of `metrics`.
const WAITS: &str = "watershed_retry_wait_seconds";

impl Policy {
    /// The usual policy: full jitter from half a second up to 30 s, until `total` has passed.
    pub fn within(total: Duration) -> Policy {
        Policy {
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(30),
            each: EACH,
            total,
            tries: u32::MAX,
        }
    }

    /// Limits each try.
    pub fn each(mut self, limit: Duration) -> Policy {
        self.each = limit;
        self
    }

    /// Limits the number of tries, the first included.
    pub fn tries(mut self, most: u32) -> Policy {
        self.tries = most;
        self
    }

    /// The wait before try number `tries` + 1: full jitter, so that many runners who failed
    /// together do not come back together.
    fn wait(&self, tries: u32, asked: Option<Duration>) -> Duration {
        let doubled = self
            .first_wait
            .saturating_mul(1 << tries.saturating_sub(1).min(16));
        let bound = doubled.min(self.longest_wait);
        let jittered = bound.mul_f64(fastrand::f64());
        asked.map_or(jittered, |asked| asked.max(jittered))
    }
}

/// Calls until the call succeeds, fails with another remedy than [`Remedy::TryAgain`], or the
/// policy's time or tries are used up; then the last error is returned as it is.
///
/// `what` names the call in the time-out's error and in the log. The wait is an ordinary future:
/// dropping it (on a stop signal) ends it at once.
pub async fn retry<T, F>(policy: &Policy, what: &str, mut call: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let start = Instant::now();
    let mut tries = 0;
    loop {
        tries += 1;
        let limit = policy.each;
        let error = match timeout(limit, call()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) if error.remedy() != Remedy::TryAgain => return Err(error),
            Ok(Err(error)) => error,
            Err(_) => Error::new(
                Remedy::TryAgain,
                format!("{what}: no answer within {limit:.0?}"),
            ),
        };
        let wait = policy.wait(tries, error.retry_after());
        if tries >= policy.tries || start.elapsed() + wait >= policy.total {
            return Err(error);
        }
        tracing::info!(
            "trying again in {wait:.1?} (try {}): {}",
            tries + 1,
            error.in_one_line()
        );
        metrics::histogram!(WAITS).record(wait);
        sleep(wait).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn busy() -> Error {
        Error::new(Remedy::TryAgain, "asking the oracle")
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_may_yet_succeed_is_tried_again() {
        let tries = Cell::new(0);
        let policy = Policy::within(Duration::from_secs(60));
        let answer = retry(&policy, "asking", || async {
            tries.set(tries.get() + 1);
            if tries.get() < 3 {
                Err(busy())
            } else {
                Ok(tries.get())
            }
        });
        assert_eq!(answer.await.unwrap(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_cannot_succeed_is_not_tried_again() {
        let tries = Cell::new(0);
        let answer: Result<()> = retry(
            &Policy::within(Duration::from_secs(60)),
            "asking",
            || async {
                tries.set(tries.get() + 1);
                Err(Error::new(Remedy::FixAccess, "asking the oracle"))
            },
        )
        .await;
        assert_eq!(answer.unwrap_err().remedy(), Remedy::FixAccess);
        assert_eq!(tries.get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_no_more_tries_than_the_policy_has() {
        let tries = Cell::new(0);
        let policy = Policy::within(Duration::from_secs(600)).tries(3);
        let answer: Result<()> = retry(&policy, "asking", || async {
            tries.set(tries.get() + 1);
            Err(busy())
        })
        .await;
        assert_eq!(answer.unwrap_err().remedy(), Remedy::TryAgain);
        assert_eq!(tries.get(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn the_total_time_is_a_bound_even_for_a_call_that_hangs() {
        let start = Instant::now();
        let policy = Policy::within(Duration::from_secs(60)).each(Duration::from_secs(20));
        let answer: Result<()> = retry(&policy, "asking the oracle", || async {
            std::future::pending().await
        })
        .await;
        assert!(
            answer
                .unwrap_err()
                .to_string()
                .contains("asking the oracle: no answer within")
        );
        assert!(
            start.elapsed() <= Duration::from_secs(81),
            "{:?}",
            start.elapsed()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_retry_after_is_respected() {
        let start = Instant::now();
        let tries = Cell::new(0);
        retry(
            &Policy::within(Duration::from_secs(600)),
            "asking",
            || async {
                tries.set(tries.get() + 1);
                if tries.get() == 2 {
                    Ok(())
                } else {
                    Err(busy().with_retry_after(Some(Duration::from_secs(90))))
                }
            },
        )
        .await
        .unwrap();
        assert!(start.elapsed() >= Duration::from_secs(90));
    }
}
