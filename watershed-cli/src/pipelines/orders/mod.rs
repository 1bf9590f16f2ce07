//! `orders`: full loads and change files from a bucket, applied to PostgreSQL.
//!
//! It is generic: what is loaded stands in a YAML file (`ENTITIES`), and `orders` is its first
//! instance. It stands beside the trait `Pipeline`, because its place is no cursor: which files were
//! delivered stands in the target itself, in `loader_deliveries`, and is committed with their rows.
//!
//! Read on in this order: `entities` (what is loaded), `names` and `waiting` (which files, in which
//! order), `loader` (the loop), `feed` and `rows` (from bytes to values), `target` (the transaction),
//! `notices` (who is told).

mod demo;
mod entities;
mod feed;
mod keywords;
mod loader;
mod lock;
mod metrics;
mod names;
mod notices;
mod progress;
mod rows;
mod sample;
mod settings;
mod target;
pub mod template;
mod version;
mod waiting;
mod yaml;

use futures::FutureExt as _;
use watershed::error::Result;
use watershed::settings::Settings;

use super::{Checked, Job, Options, Outcome, SettingGroup, Shown, poller};
use crate::service::{AfterFailure, Service, Waited};
use loader::Loader;
use notices::Notices;
pub use progress::TellShare;
use settings::Config;
use target::Target;

/// This pipeline, as the command line sees it.
pub const JOB: Job = Job {
    name: "orders",
    summary: "Full loads and change files from a bucket, applied to PostgreSQL",
    settings: &[
        SettingGroup {
            title: "orders",
            settings: settings::SETTINGS,
        },
        SettingGroup {
            title: "AWS",
            settings: poller::AWS_SETTINGS,
        },
    ],
    modes: &[MODE],
    state: &[],
    tie_breaks: &[],
    own_members: &[],
    run: |settings, options| run(settings, options).boxed_local(),
    serve: Some(|settings, options, service| serve(settings, options, service).boxed_local()),
    check: |settings| check(settings).boxed_local(),
    demo: |folder| demo::prepare(folder).boxed_local(),
};

/// What a report calls the deliveries.
const MODE: &str = "deliveries";

async fn open(settings: &Settings, options: &Options) -> Result<Loader> {
    Loader::open(Config::read(settings, options.dry_run)?, options).await
}

async fn run(settings: &Settings, options: &Options) -> Outcome {
    if let Some(show) = &options.show {
        return show_sample(settings, show).await;
    }
    let mut loader = match open(settings, options).await {
        Ok(loader) => loader,
        Err(error) => return Outcome::failed(error),
    };
    let outcome = loader.pass(options).await;
    // A stop must not wait for a broker.
    options.stop.or_abandon(loader.finish()).await;
    outcome
}

async fn show_sample(settings: &Settings, show: &Shown) -> Outcome {
    let rows = async { sample::rows(&Config::read(settings, true)?).await };
    match rows.await {
        Ok(rows) => {
            show.add(rows.into_iter());
            Outcome::stopped()
        }
        Err(error) => Outcome::failed(error),
    }
}

/// The lock is held from pass to pass; who does not get it stands by.
async fn serve(settings: &Settings, options: &Options, service: &Service) -> Outcome {
    let sleep = match Config::read(settings, options.dry_run) {
        Ok(config) => config.sleep,
        Err(error) => return Outcome::failed(error),
    };
    let mut loader = match open(settings, options).await {
        Ok(loader) => loader,
        Err(error) => return Outcome::failed(error),
    };
    loop {
        let outcome = loader.pass(options).await;
        match &outcome.result {
            Ok(()) => service.passed(&outcome),
            Err(error) => {
                if service.failed(error).await == AfterFailure::End {
                    return outcome;
                }
            }
        }
        if service.wait(sleep.clone()).await == Waited::Stopped {
            return Outcome::stopped();
        }
    }
}

async fn check(settings: &Settings) -> Result<Vec<Checked>> {
    let config = Config::read(settings, false)?;
    let entities = &config.entities;
    let names: Vec<&str> = entities.list.iter().map(|entity| &*entity.name).collect();
    let mut checks = vec![
        Checked {
            system: "entities",
            found: Ok(format!(
                "{}.{}: {}",
                entities.source,
                entities.process,
                names.join(", ")
            )),
        },
        Checked {
            system: "source",
            found: loader::check_source(&config).await,
        },
    ];
    match Target::open(&config) {
        Ok(mut target) => checks.extend(target.check().await),
        Err(error) => checks.push(Checked {
            system: "target",
            found: Err(error),
        }),
    }
    checks.push(Checked {
        system: "broker",
        found: match &config.notifications {
            Some(url) => Notices::summary(url, config.policy.clone()).await,
            None => Ok("none: notifications are neither kept nor sent".into()),
        },
    });
    Ok(checks)
}
