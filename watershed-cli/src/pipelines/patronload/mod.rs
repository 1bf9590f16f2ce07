//! `patronload`: staff and students from the data warehouse into Alma.
//!
//! Every run is a full snapshot: all patrons are read, written as Alma's XML into zips, and put in
//! the place of those of the run before. There is no cursor and no state, so that it stands beside
//! the trait `Pipeline`, and shares with the others the report, retries, the stop and dead letters.
//!
//! Read on in this order: `warehouse` and `patron` (read), `snapshot`, `user_xml` and `texts` (the
//! rules), `files` (zips), `delivery` (the change), `report` (the mail).

mod delivery;
mod demo;
mod files;
mod institution;
mod patron;
mod report;
mod settings;
mod snapshot;
mod texts;
mod user_xml;
mod warehouse;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::time::timeout;
use watershed::connectors::aws::Aws;
use watershed::connectors::objects::{Folder, Object};
use watershed::dead_letters::DeadLetters;
use watershed::engine::{ModeReport, Report};
use watershed::error::{Error, Remedy, Result};
use watershed::retry::Policy;
use watershed::settings::Settings;
use watershed::time::local_date;

use super::{Checked, Job, Options, Outcome, SettingGroup, poller};
use crate::service;
use files::Traces;
pub use institution::BUILT_IN as ALMA_CONFIG;
use report::Ended;
use settings::{Config, Recipients};
use snapshot::Snapshot;
#[doc(hidden)]
pub use user_xml::written;
use warehouse::Warehouse;

/// This pipeline, as the command line sees it.
pub const JOB: Job = Job {
    name: "patronload",
    summary: "Staff and students from the data warehouse, as Alma's XML in zips",
    settings: &[
        SettingGroup {
            title: "patronload",
            settings: settings::SETTINGS,
        },
        SettingGroup {
            title: "Data warehouse",
            settings: warehouse::SETTINGS,
        },
        service::GROUP,
        poller::AWS_GROUP,
    ],
    modes: &[],
    state: &[],
    tie_breaks: &[],
    own_members: &[],
    run: |settings, options| run(settings, options).boxed_local(),
    serve: None,
    check: |settings| check(settings).boxed_local(),
    demo: |folder| demo::prepare(folder).boxed_local(),
};

/// How a run that did not fail ended.
enum Done {
    /// At this time, which is that of the last file.
    Delivered(Timestamp),
    Stopped,
}

async fn run(settings: &Settings, options: &Options) -> Outcome {
    let recipients = Recipients::read(settings).await;
    let mut outcome = Outcome::stopped();
    let config = Config::read(settings, !options.dry_run);
    let done = match &config {
        Ok(config) => {
            outcome.destination = Some(config.output.clone()).filter(|_| !options.dry_run);
            load(config, options, &mut outcome).await
        }
        Err(_) => Ok(Done::Stopped),
    };
    let now = config
        .as_ref()
        .map_or_else(|_| Timestamp::now(), Config::now);
    outcome.result = match config.map(drop).and(done) {
        Ok(Done::Stopped) => {
            outcome.report.modes.iter_mut().for_each(not_delivered);
            Ok(())
        }
        Ok(Done::Delivered(at)) => {
            outcome.report.stopped = false;
            tell(&recipients, options, at, Ended::Well, &outcome.report).await
        }
        Err(error) => {
            outcome.report.stopped = false;
            let told = tell(
                &recipients,
                options,
                now,
                Ended::Failed(&error),
                &outcome.report,
            );
            if let Err(untold) = told.await {
                // The run's own error is the one to end with.
                tracing::error!("{}", untold.in_one_line());
            }
            // The mail tells what was written.
            outcome.report.modes.iter_mut().for_each(not_delivered);
            Err(error)
        }
    };
    outcome
}

/// Sends the report, unless the run was to leave no traces.
async fn tell(
    recipients: &Option<Recipients>,
    options: &Options,
    at: Timestamp,
    ended: Ended<'_>,
    report: &Report,
) -> Result<()> {
    let Some(recipients) = recipients.as_ref().filter(|_| !options.dry_run) else {
        return Ok(());
    };
    let day = local_date(at, &TimeZone::UTC);
    let lines = options.journal.lines();
    let sent = report::send(recipients, day, ended, &lines, report);
    match options.stop.or_finish(sent).await {
        Some(sent) => sent,
        None => {
            tracing::warn!("the report was not sent: the run was stopped");
            Ok(())
        }
    }
}

/// Reads all patrons, stores their files, and puts them in the place of the old ones.
async fn load(config: &Config, options: &Options, outcome: &mut Outcome) -> Result<Done> {
    let aws = Aws::new(config.aws.clone()).await;
    let database = config.warehouse.open(config.policy.clone())?;
    let folder = Folder::open(&config.output, &aws, config.policy.clone())?;
    let folder = Some(&folder).filter(|_| !options.dry_run);
    let letters = match folder {
        Some(_) => {
            let place = Object::open(&config.dead_letters, &aws, config.policy.clone())?;
            DeadLetters::new(&place, JOB.name, &config.run)
        }
        None => DeadLetters::forgotten(),
    };
    let (working, worked) = channel(1);
    let begun = Arc::<Mutex<Vec<String>>>::default();
    let traces = Traces {
        begun: begun.clone(),
        working,
    };
    let mut snapshot = Snapshot::new(config, options, &database, folder, letters);
    // P7: until the change, nothing outside is different: a stop abandons all of it.
    let building = async {
        if let Some(folder) = folder {
            delivery::clear(folder).await?;
        }
        snapshot.build(&traces).await
    };
    let built = options.stop.or_abandon(building).await.transpose();
    // P7: a change that need not begin does not.
    let built = built.map(|at| at.filter(|_| !options.stop.is_requested()));
    drop(traces);
    outcome.report = snapshot.report.clone();
    outcome.dead_letters = snapshot.letters.place().map(str::to_owned);
    let finished = &snapshot.finished;
    let delivered = match (&built, folder) {
        (Ok(Some(_)), Some(folder)) => {
            // P7: the change is brought to its end, if the other side answers.
            let delivering = delivery::deliver(folder, finished);
            let delivered = options.stop.or_finish(delivering).await;
            if delivered.is_none() {
                tracing::warn!("the change of the files was abandoned half-way: run again");
            }
            delivered.transpose()
        }
        _ => Ok(None),
    };
    outcome.report.stopped = options.stop.is_requested();
    match (built, delivered, folder) {
        (Ok(Some(at)), Ok(Some(_)), _) | (Ok(Some(at)), Ok(None), None) => Ok(Done::Delivered(at)),
        (built, delivered, folder) => {
            if let Some(folder) = folder {
                let begun = begun.lock().expect("no holder panics").clone();
                clean_up(folder, &begun, worked).await;
            }
            built?;
            delivered?;
            Ok(Done::Stopped)
        }
    }
}

/// P3: what was written into files that will not be Alma's is accounted for as such.
fn not_delivered(mode: &mut ModeReport) {
    let written = std::mem::take(&mut mode.delivered);
    mode.skipped.add("not delivered", written);
}

/// Removes the traces of a run that does not deliver, as far as they can be in a few seconds.
async fn clean_up(folder: &Folder, begun: &[String], mut worked: Receiver<()>) {
    let cleaning = async {
        // Every upload that was given up has now left no trace.
        worked.recv().await;
        delivery::give_up(folder, begun).await;
    };
    let _ = timeout(Duration::from_secs(5), cleaning).await;
}

async fn check(settings: &Settings) -> Result<Vec<Checked>> {
    let recipients = Recipients::read(settings).await;
    let config = Config::read(settings, false)?;
    let policy = config.policy.clone().each(Duration::from_secs(10));
    let aws = Aws::new(config.aws.clone()).await;
    let mail = match recipients {
        Some(recipients) => recipients.mail.check().await,
        None => Err(Error::new(Remedy::ReportBug, "reading the recipients")),
    };
    Ok(vec![
        Checked {
            system: "warehouse",
            found: config.warehouse.check(policy.clone()).await,
        },
        Checked {
            system: "output",
            found: look_at(&config, &aws, policy).await,
        },
        Checked {
            system: "mail",
            found: mail,
        },
    ])
}

async fn look_at(config: &Config, aws: &Aws, policy: Policy) -> Result<String> {
    let folder = Folder::open(&config.output, aws, policy)?;
    let zips = folder.list(".zip").await?.len();
    Ok(format!("{folder}, with {zips} zips"))
}

/// Connects to the data warehouse; gives the old program's words. Needs its settings alone.
pub async fn test_connection(settings: &Settings) -> Result<String> {
    let warehouse = Warehouse::read(settings);
    settings.complete(())?;
    warehouse.greeting(settings::policy(settings)).await
}
