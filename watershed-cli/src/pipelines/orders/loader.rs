//! The loop: what waits is applied file by file, in the order of delivery, each in a transaction of
//! its own.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::Mutex;
use tokio::time::timeout;
use watershed::connectors::aws::Aws;
use watershed::connectors::objects::Inbox;
use watershed::engine::{ModeReport, Report, Stop};
use watershed::error::{Error, Remedy, Result};
use watershed::retry::{Policy, retry};

use super::super::{Options, Outcome};
use super::notices::{self, Notices};
use super::progress::{Progress, TellShare};
use super::settings::Config;
use super::target::{Applied, Delivery, History, Target};
use super::waiting::{self, Waiting};
use super::{MODE, metrics};

/// How long a delivery under way may take after a stop was asked for.
const GRACE: Duration = Duration::from_secs(8);

/// A delivery takes as long as its file is long.
const LONGEST_TRY: Duration = Duration::from_secs(7 * 86_400);

/// Applies files.
pub(super) struct Loader {
    config: Config,
    folder: Inbox,
    target: Target,
    notices: Option<Notices>,
    history: History,
    queue: VecDeque<Waiting>,
    allow_late: bool,
    ignored_was_told: bool,
    /// Whether a delivery is under way, which a stop lets finish.
    delivering: Arc<AtomicBool>,
    bar: Option<Arc<TellShare>>,
    mode: ModeReport,
}

impl Loader {
    /// Opens source, target and broker; asks nothing of the network yet.
    pub(super) async fn open(config: Config, options: &Options) -> Result<Loader> {
        let aws = Aws::new(config.aws.clone()).await;
        let folder = Inbox::open(&config.source, &aws, config.policy.clone())?;
        let target = Target::open(&config)?;
        metrics::begin(&config.entities);
        let notices = match &config.notifications {
            Some(url) if !config.dry_run => {
                Some(Notices::open(url, &config.entities, target.outbox())?)
            }
            Some(_) => None,
            None => {
                tracing::info!("NATS is not set: notifications are neither kept nor sent");
                None
            }
        };
        Ok(Loader {
            config,
            folder,
            target,
            notices,
            history: History::new(),
            queue: VecDeque::new(),
            allow_late: options.allow_late,
            ignored_was_told: false,
            delivering: Arc::default(),
            bar: options.share.clone(),
            mode: ModeReport::default(),
        })
    }

    /// Applies everything that waits.
    pub(super) async fn pass(&mut self, options: &Options) -> Outcome {
        self.mode = ModeReport {
            name: MODE,
            ..ModeReport::default()
        };
        let ended = self.apply_all(options).await;
        let report = Report {
            modes: vec![self.mode.clone()],
            stopped: matches!(ended, Ok(false)),
        };
        options.tell(&report);
        Outcome {
            dead_letters: (report.set_aside() > 0)
                .then(|| "the target's table loader_rejects".into()),
            report,
            destination: None,
            result: ended.map(|_| ()),
        }
    }

    /// Gives the broker a last chance.
    pub(super) async fn finish(&self) {
        if let Some(notices) = &self.notices {
            notices.finish().await;
        }
    }

    /// Whether nothing waits any more; it does when a stop was asked for.
    async fn apply_all(&mut self, options: &Options) -> Result<bool> {
        let policy = self.config.policy.clone().each(LONGEST_TRY);
        let (dry_run, stop) = (self.config.dry_run, &options.stop);
        self.queue.clear();
        let ended = loop {
            match self.step_unless_stopped(&policy, stop).await {
                None => break Ok(false),
                Some(Ok(true)) => {}
                Some(Ok(false)) => break Ok(true),
                Some(Err(error)) => break Err(error),
            }
            options.tell(&Report {
                modes: vec![self.mode.clone()],
                stopped: false,
            });
        };
        if dry_run && ended.is_ok() {
            self.target.roll_back().await?;
            tracing::info!("the dry run was rolled back");
        }
        ended
    }

    /// One step, tried again as long as the policy has it. A stop lets a delivery finish, if it can
    /// within 8 s, and abandons everything else (P7).
    async fn step_unless_stopped(&mut self, policy: &Policy, stop: &Stop) -> Option<Result<bool>> {
        let delivering = self.delivering.clone();
        // What a dry run has done so far went with its transaction.
        let policy = match self.config.dry_run {
            true => policy.clone().tries(1),
            false => policy.clone(),
        };
        let this = Mutex::new(&mut *self);
        let ended = {
            let step = || async { this.lock().await.step().await };
            let mut work = pin!(retry(&policy, "applying files", step));
            match stop.or_abandon(&mut work).await {
                Some(done) => Some(done),
                None if delivering.load(Ordering::Relaxed) => timeout(GRACE, work).await.ok(),
                None => None,
            }
        };
        if ended.is_none() && delivering.load(Ordering::Relaxed) {
            self.target.abandon().await;
        }
        ended
    }

    /// Delivers the next file; false when none waits.
    async fn step(&mut self) -> Result<bool> {
        let stepped = self.try_step().await;
        self.delivering.store(false, Ordering::Relaxed);
        if stepped.is_err() {
            // What was listed may be another now.
            self.queue.clear();
        }
        stepped
    }

    async fn try_step(&mut self) -> Result<bool> {
        if let Some(history) = self.target.ready().await? {
            self.history = history;
            // What an earlier run committed and did not publish.
            self.publish().await;
        }
        if self.queue.is_empty() && !self.list().await? {
            return Ok(false);
        }
        let Some(next) = self.queue.front().cloned() else {
            return Ok(false);
        };
        self.deliver(next).await?;
        self.queue.pop_front();
        metrics::waiting(self.queue.len());
        Ok(true)
    }

    /// Looks for files; whether any waits.
    async fn list(&mut self) -> Result<bool> {
        let entities = &self.config.entities;
        let found = waiting::list(&self.folder, entities, &self.history).await?;
        if let Some(first) = found.first_ignored.filter(|_| !self.ignored_was_told) {
            self.ignored_was_told = true;
            let number = found.ignored;
            tracing::info!(
                "{number} objects below {} are no files of the entities and are ignored, such as {first}",
                self.folder
            );
        }
        self.queue = found.waiting.into();
        metrics::waiting(self.queue.len());
        tracing::trace!(room = "listed");
        Ok(!self.queue.is_empty())
    }

    async fn deliver(&mut self, next: Waiting) -> Result<()> {
        let (began, id) = (Instant::now(), self.history.next_id);
        let delivery = Delivery {
            id,
            file: next.file,
            entity: next.entity,
            place: next.place,
            started_at: Timestamp::now(),
            max_event_id: self.history.max_event_id,
        };
        let entities = self.config.entities.clone();
        let entity = &*entities.list[delivery.entity].name;
        let (key, bytes) = (&*delivery.file.key, delivery.file.bytes);
        if let Err(late) = self.history.check_late(&delivery, &entities) {
            if !self.allow_late {
                return Err(late);
            }
            tracing::warn!("{late}; applied, because of --allow-late");
        }
        tracing::info!(delivery = id, key, entity, bytes, "Delivery {id}: {key}");
        self.delivering.store(true, Ordering::Relaxed);
        let progress = Progress::new(id, bytes, self.bar.clone());
        let keeps = self.notices.is_some();
        let compose = |applied: &Applied| {
            keeps
                .then(|| notices::compose(&entities, &delivery, applied))
                .flatten()
        };
        let applied = self
            .target
            .deliver(&delivery, &self.folder, progress, &compose)
            .await?;
        let etag = &delivery.file.etag;
        self.history
            .add(id, key, etag, entity, applied.max_event_id);
        let (create, amend, remove) = (applied.created, applied.amended, applied.removed);
        tracing::info!(
            delivery = id,
            entity,
            create,
            amend,
            remove,
            "Delivery {id}: {entity} (create: {create}, amend: {amend}, remove: {remove})"
        );
        if applied.rejected > 0 {
            let rejected = applied.rejected;
            tracing::warn!(
                delivery = id,
                rejected,
                "Delivery {id}: {rejected} rows were set aside"
            );
        }
        self.count(&applied);
        if !self.config.dry_run {
            tracing::info!(delivery = id, "Delivery {id}: committed");
            metrics::committed(entity, &applied, bytes, began.elapsed());
            self.publish().await;
        }
        let seconds = began.elapsed().as_secs_f64();
        tracing::info!(
            delivery = id,
            seconds,
            "Delivery {id}: done in {}",
            clock(seconds)
        );
        Ok(())
    }

    async fn publish(&self) {
        if let Some(notices) = &self.notices {
            notices.publish().await;
        }
    }

    /// Adds a delivery to the report: every row of the file is one of these (P3).
    fn count(&mut self, applied: &Applied) {
        let mode = &mut self.mode;
        mode.pages += 1;
        mode.read += applied.rows;
        let removed = applied.removed - applied.lacking;
        mode.delivered += applied.created + applied.amended + removed;
        mode.skipped.add("unchanged", applied.unchanged);
        mode.skipped
            .add("replaced by a later row", applied.replaced);
        mode.set_aside += applied.rejected;
        mode.noted.add("created", applied.created);
        mode.noted.add("amended", applied.amended);
        mode.noted.add("removed", applied.removed);
    }
}

/// `0:00:03.1`.
fn clock(seconds: f64) -> String {
    let tenths = (seconds * 10.0).round() as u64;
    let (seconds, tenths) = (tenths / 10, tenths % 10);
    format!(
        "{}:{:02}:{:02}.{tenths}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// What `check` finds out about the source, without reading a file.
pub(super) async fn check_source(config: &Config) -> Result<String> {
    let aws = Aws::new(config.aws.clone()).await;
    let folder = Inbox::open(&config.source, &aws, config.policy.clone())?;
    let found = waiting::list(&folder, &config.entities, &History::new()).await?;
    if found.waiting.is_empty() && found.ignored > 0 {
        let what = format!(
            "looking for files below {folder}: none of {} objects is one of the entities",
            found.ignored
        );
        return Err(Error::new(Remedy::FixSettings, what).with_hint(format!(
            "expected keys such as {}{}/{}/LOAD00000001.csv.gz",
            folder.prefix(),
            config.entities.schema,
            config.entities.list[0].name
        )));
    }
    Ok(format!("{folder}: {} files", found.waiting.len()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_duration_is_told_in_hours_minutes_and_tenths() {
        assert_eq!(super::clock(3.12), "0:00:03.1");
        assert_eq!(super::clock(3_725.96), "1:02:06.0");
    }
}
