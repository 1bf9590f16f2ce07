use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// How long the delivery and the save of the page in hand may take after a stop was asked for.
const GRACE: Duration = Duration::from_secs(8);

/// Asks a run to stop (P7). Clones ask the same run.
#[derive(Clone, Debug, Default)]
pub struct Stop(CancellationToken);

impl Stop {
    /// A stop that nobody has asked for yet.
    pub fn new() -> Stop {
        Stop::default()
    }

    /// Asks for the stop.
    pub fn request(&self) {
        self.0.cancel();
    }

    /// Whether it was asked for.
    pub fn is_requested(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Awaits work that changes nothing outside; on a stop it is abandoned at once.
    pub async fn or_abandon<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.0.cancelled() => None,
            done = work => Some(done),
        }
    }

    /// Awaits work that should be finished; on a stop it has eight seconds to do so.
    pub async fn or_finish<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let patience = async {
            self.0.cancelled().await;
            sleep(GRACE).await;
        };
        tokio::select! {
            biased;
            done = work => Some(done),
            () = patience => None,
        }
    }
}
