//! `patron-info`: Sierra's patrons, pseudonymised and geocoded, to a stream.
//!
//! Three pipelines one after another over shared parts: **new** patrons by their creation,
//! **updated** ones by their update, **deleted** ones by their deletion. A patron that several of
//! them would read is sent once a run, by the first that sees it.
//!
//! Read on in this order: `cursor`, `sierra` (poll), `active` and `deleted` (transform),
//! `delivery`.

mod active;
mod cursor;
mod deleted;
mod delivery;
mod demo;
mod record;
mod redshift;
mod settings;
mod sierra;

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use watershed::connectors::aws::Aws;
use watershed::connectors::http::without_secrets;
use watershed::connectors::sql::Database;
use watershed::engine::{self, Report, Run};
use watershed::error::{Error, Remedy, Result};
use watershed::formats::avro::{Encoder, fetch_schema};
use watershed::geocoding::Geocoder;
use watershed::pipeline::Cursor as _;
use watershed::settings::Settings;

use super::databases::{self, SIERRA, with_tls};
use super::sending::Sending;
use super::{Checked, Job, Options, Outcome, SettingGroup, poller};
use crate::service;
use active::{Active, New, Updated};
use cursor::{ChangeCursor, DeletionCursor, Notation};
use deleted::Deleted;
use delivery::Delivery;
use record::PatronInfo;
use redshift::Redshift;
use settings::Config;
use sierra::Sierra;

/// This pipeline, as the command line sees it.
pub const JOB: Job = Job {
    name: "patron-info",
    summary: "Sierra's patrons, pseudonymised and geocoded, to a stream",
    settings: &[
        SettingGroup {
            title: "patron-info",
            settings: settings::SETTINGS,
        },
        SettingGroup {
            title: "Geocoders",
            settings: settings::GEOCODER_SETTINGS,
        },
        databases::SIERRA_GROUP,
        databases::REDSHIFT_GROUP,
        service::GROUP,
        poller::GROUP,
        poller::AWS_GROUP,
    ],
    modes: &["new", "updated", "deleted"],
    state: settings::STATE,
    tie_breaks: &[
        ("creation_dt", "creation_after"),
        ("update_dt", "update_after"),
    ],
    own_members: &[],
    run: |settings, options| run(settings, options).boxed_local(),
    serve: None,
    check: |settings| check(settings).boxed_local(),
    demo: |folder| demo::prepare(folder).boxed_local(),
};

async fn run(settings: &Settings, options: &Options) -> Outcome {
    let tell = |report: &Report| options.tell(report);
    // P7: until the first page nothing has been changed outside.
    let prepared = options
        .stop
        .or_abandon(prepare(settings, options, &tell))
        .await;
    let (house, mut run, start) = match prepared {
        Some(Ok(prepared)) => prepared,
        Some(Err(error)) => return Outcome::failed(error),
        None => return Outcome::stopped(),
    };
    let result = house.run_modes(options, &mut run, start).await;
    Outcome {
        report: run.report,
        dead_letters: run.dead_letters.place().map(str::to_owned),
        destination: house
            .config
            .poller
            .destination()
            .filter(|_| !options.dry_run),
        result,
    }
}

/// Everything that is made before the first patron is read.
struct House {
    config: Config,
    sierra: Arc<Sierra>,
    redshift: Arc<Redshift>,
    geocoder: Arc<dyn Geocoder>,
    delivery: Arc<Delivery>,
}

async fn prepare<'a>(
    settings: &Settings,
    options: &'a Options,
    tell: &'a (dyn Fn(&Report) + Sync),
) -> Result<(House, Run<'a>, bool)> {
    let config = Config::read(settings)?;
    if config.backfill && options.only.as_deref().is_some_and(|only| only != "new") {
        return Err(Error::new(
            Remedy::FixSettings,
            "choosing the modes: BACKFILL runs new patrons alone, and --only names other ones",
        ));
    }
    let aws = config.poller.aws().await;
    let schema = fetch_schema(&config.schema, &config.poller.policy).await?;
    let encoder = Encoder::new::<PatronInfo>(&schema, &without_secrets(&config.schema))?;
    let geocoder = config.geocoder.open()?;
    let (run, start) = config.poller.open(JOB.name, &aws, options, tell).await?;
    let delivery = Delivery {
        sending: Sending {
            stream: config.poller.stream(&encoder, &aws, options)?,
            encoder,
            show: options.show.clone(),
        },
        sent: Default::default(),
    };
    let (sierra, redshift) = databases(&config, &aws)?;
    sierra.check_instants().await?;
    let house = House {
        sierra,
        redshift,
        geocoder,
        delivery: Arc::new(delivery),
        config,
    };
    Ok((house, run, start))
}

fn databases(config: &Config, aws: &Aws) -> Result<(Arc<Sierra>, Arc<Redshift>)> {
    let poller = &config.poller;
    let sierra = Sierra {
        database: Database::open(&config.sierra, SIERRA, poller.policy.clone())?,
        zone: poller.zone.clone(),
        bound: poller.bound,
    };
    let redshift = Redshift {
        database: config.redshift.open(aws, poller.policy.clone())?,
        table: config.redshift_table.clone(),
    };
    Ok((Arc::new(sierra), Arc::new(redshift)))
}

impl House {
    /// The modes one after another; `start` tells whether a cursor that the state lacks begins at
    /// the start settings.
    async fn run_modes(&self, options: &Options, run: &mut Run<'_>, start: bool) -> Result<()> {
        let config = &self.config;
        let wanted = |mode: &str| {
            options.only.as_deref().is_none_or(|only| only == mode)
                && (!config.backfill || mode == "new")
        };
        let active = Arc::new(Active {
            sierra: self.sierra.clone(),
            redshift: self.redshift.clone(),
            pseudonymiser: config.pseudonymiser.clone(),
            geocoder: self.geocoder.clone(),
            delivery: self.delivery.clone(),
            page: config.active_page,
        });
        // All cursors are read before the first page: a fault in the last must not come to light
        // after hours of the first.
        let cursor = |at, after, starting| {
            let notation = Notation {
                at,
                after,
                zone: config.poller.zone.clone(),
                seal: config.seal.clone(),
            };
            ChangeCursor::read(
                run.state.members(),
                &Arc::new(notation),
                start.then_some(starting),
            )
        };
        let new = wanted("new")
            .then(|| cursor("creation_dt", "creation_after", config.starting_creation))
            .transpose()?;
        let updated = wanted("updated")
            .then(|| cursor("update_dt", "update_after", config.starting_update))
            .transpose()?;
        let deleted = wanted("deleted")
            .then(|| {
                DeletionCursor::read(
                    run.state.members(),
                    start.then_some(config.starting_deletion),
                )
            })
            .transpose()?;

        if start {
            // A mode that finds nothing saves nothing, and the next run must know where it stands.
            let (new, updated, deleted) = (&new, &updated, &deleted);
            let save = run.state.save(|members| {
                let changes = [new, updated].into_iter().flatten();
                changes.for_each(|cursor| cursor.write(members));
                deleted.iter().for_each(|cursor| cursor.write(members));
            });
            if options.stop.or_finish(save).await.transpose()?.is_none() {
                run.report.stopped = true;
                return Ok(());
            }
        }
        if let Some(cursor) = new {
            engine::run(&New(active.clone()), cursor, run).await?;
        }
        if let Some(cursor) = updated.filter(|_| !run.report.stopped) {
            engine::run(&Updated(active), cursor, run).await?;
        }
        if let Some(cursor) = deleted.filter(|_| !run.report.stopped) {
            let deleted = Deleted {
                sierra: self.sierra.clone(),
                redshift: self.redshift.clone(),
                pseudonymiser: config.pseudonymiser.clone(),
                delivery: self.delivery.clone(),
                page: config.deleted_page,
            };
            engine::run(&deleted, cursor, run).await?;
        }
        Ok(())
    }
}

/// What makes a state, for `check`.
const SET_STATE: &str = "watershed state set patron-info creation_dt=… update_dt=… deletion_date=…";

async fn check(settings: &Settings) -> Result<Vec<Checked>> {
    let mut config = Config::read(settings)?;
    config.poller.policy = config.poller.policy.each(Duration::from_secs(10));
    let aws = config.poller.aws().await;
    let (sierra, redshift) = databases(&config, &aws)?;
    let mut checks = vec![
        Checked {
            system: "Sierra",
            found: check_sierra(&sierra.database).await,
        },
        Checked {
            system: "Redshift",
            found: check_redshift(&redshift).await,
        },
        Checked {
            system: "geocoder",
            found: config.geocoder.check().await,
        },
        Checked {
            system: "state",
            found: config.poller.check_state(&aws, SET_STATE).await,
        },
    ];
    checks.extend(
        config
            .poller
            .check_stream(&config.schema, &aws, Encoder::new::<PatronInfo>)
            .await,
    );
    Ok(checks)
}

async fn check_sierra(database: &Database) -> Result<String> {
    let version = database.version().await?;
    for (table, columns) in sierra::COLUMNS {
        database.check_columns(table, columns).await?;
    }
    with_tls(version, database).await
}

async fn check_redshift(redshift: &Redshift) -> Result<String> {
    let version = redshift.database.version().await?;
    redshift
        .database
        .check_columns(&redshift.table, redshift::COLUMNS)
        .await?;
    with_tls(version, &redshift.database).await
}
