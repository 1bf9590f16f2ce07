//! Tells others what a delivery changed. A message is kept with its delivery and published after the
//! commit; the load never waits long for the broker, and never fails for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, json};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use watershed::connectors::notifications::Notifications;
use watershed::error::{Error, Remedy, Result};
use watershed::privacy::Secret;
use watershed::retry::Policy;

use super::entities::Entities;
use super::target::{Applied, Delivery, Outbox};
use super::{metrics, version};

/// How long a delivery may wait for the broker.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the end of a run may wait for it.
const LAST_PATIENCE: Duration = Duration::from_secs(10);
/// Upper bounds of the first wait and of all others.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The messages of a run.
pub(super) struct Notices {
    publisher: Arc<Publisher>,
    /// Goes on behind the load when the broker does not answer.
    behind: Mutex<JoinSet<()>>,
}

struct Publisher {
    outbox: Outbox,
    broker: Notifications,
    topic: String,
    /// What comes before a delivery's number in the id of its message.
    id_prefix: String,
    /// Whether the broker failed; then it is tried behind the load alone.
    failed: AtomicBool,
    /// One at a time, so that messages keep their order.
    publishing: Mutex<()>,
}

impl Notices {
    pub(super) fn open(url: &Secret, entities: &Entities, outbox: Outbox) -> Result<Notices> {
        let (source, process) = (&entities.source, &entities.process);
        let once = Policy::within(Duration::ZERO).tries(1);
        Ok(Notices {
            publisher: Arc::new(Publisher {
                outbox,
                broker: Notifications::open(url, once)?,
                topic: format!("{source}.meta.{process}.change"),
                id_prefix: format!("{source}.{process}."),
                failed: AtomicBool::new(false),
                publishing: Mutex::default(),
            }),
            behind: Mutex::default(),
        })
    }

    /// Publishes what waits; with a broker that does not answer, behind the load.
    pub(super) async fn publish(&self) {
        let publisher = &self.publisher;
        if publisher.failed.load(Ordering::SeqCst) {
            return;
        }
        let published = timeout(PATIENCE, publisher.all()).await;
        let error = match published {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error,
            Err(_) => Error::new(
                Remedy::TryAgain,
                format!("publishing to {}: no answer yet", publisher.broker),
            ),
        };
        if publisher.failed.swap(true, Ordering::SeqCst) {
            return;
        }
        metrics::unsent();
        tracing::warn!(
            "notifications wait for the broker, the load goes on: {}",
            error.in_one_line()
        );
        let publisher = publisher.clone();
        self.behind
            .lock()
            .await
            .spawn(async move { publisher.until_done().await });
    }

    /// Gives what waits a last chance at the end of a run.
    pub(super) async fn finish(&self) {
        let mut behind = self.behind.lock().await;
        let done = async { while behind.join_next().await.is_some() {} };
        if timeout(LAST_PATIENCE, done).await.is_ok() {
            return;
        }
        if let Ok((_, number)) = self.publisher.outbox.pending().await {
            tracing::warn!("{number} notifications wait for the broker; the next run sends them");
        }
    }

    /// A line about the broker, for `check`.
    pub(super) async fn summary(url: &Secret, policy: Policy) -> Result<String> {
        Notifications::open(url, policy)?.summary().await
    }
}

impl Publisher {
    /// Publishes all messages that wait, in the order of their deliveries.
    async fn all(&self) -> Result<()> {
        let _one = self.publishing.lock().await;
        loop {
            let (messages, number) = self.outbox.pending().await?;
            metrics::pending(number);
            if messages.is_empty() {
                tracing::trace!(room = "emptied");
                return Ok(());
            }
            for (sent, message) in messages.iter().enumerate() {
                let delivery = message.id;
                let id = format!("{}{delivery}", self.id_prefix);
                self.broker
                    .publish(&self.topic, &id, message.message.as_bytes())
                    .await?;
                tracing::trace!(room = "published");
                // Marked only now: what was sent and not marked is sent again, and what is marked
                // was sent.
                self.outbox.notified(delivery).await?;
                metrics::pending(number.saturating_sub(sent as u64 + 1));
                tracing::info!(delivery, "Delivery {delivery}: notified");
            }
        }
    }

    /// Tries until the broker has all, with growing waits.
    async fn until_done(&self) {
        let mut bound = FIRST_WAIT;
        loop {
            sleep(bound.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            let waits = |error: Error| {
                metrics::unsent();
                tracing::debug!("notifications still wait: {}", error.in_one_line());
            };
            match self.all().await {
                Err(error) => waits(error),
                Ok(()) => {
                    // From here on the load publishes by itself again. What it has committed since
                    // the last look at the outbox and before this, it has left to us.
                    self.failed.store(false, Ordering::SeqCst);
                    match self.all().await {
                        Ok(()) => break,
                        Err(error) => waits(error),
                    }
                    if self.failed.swap(true, Ordering::SeqCst) {
                        // The load was quicker, and has started another that goes on.
                        return;
                    }
                }
            }
            bound = (bound * 2).min(LONGEST_WAIT);
        }
        tracing::info!("the broker has all notifications");
    }
}

/// The message of a delivery; nothing for one that changed nothing.
pub(super) fn compose(
    entities: &Entities,
    delivery: &Delivery,
    applied: &Applied,
) -> Option<String> {
    if applied.changed_nothing() {
        return None;
    }
    let mut stats = Map::new();
    for (place, entity) in entities.list.iter().enumerate() {
        let of = match place == delivery.entity {
            true => *applied,
            false => Applied::default(),
        };
        stats.insert(
            entity.name.clone(),
            json!({"AMEND": of.amended, "CREATE": of.created, "REMOVE": of.removed}),
        );
    }
    let message = json!({
        "v": 1,
        "ds": entities.source,
        "id": entities.process,
        "host": version::host(),
        "utcts": Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6f").to_string(),
        "stats": stats,
        "max_event_id": applied.max_event_id.filter(|_| entities.has_event_id),
    });
    Some(message.to_string())
}

#[cfg(test)]
mod tests;
