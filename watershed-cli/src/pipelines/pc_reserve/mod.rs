//! `pc-reserve`: sessions at public PCs, pseudonymised and joined with patron data, to a stream.
//!
//! Envisionware keeps the sessions of about two days, Sierra tells the patron of a barcode, and
//! Redshift tells where `patron-info` said that the patron lives. Times are the wall time of the
//! libraries, without a zone, from the source to the record.
//!
//! Read on in this order: `cursor`, `envisionware` (poll), `sessions` (transform and deliver, with
//! `sierra` and `redshift`), `record`.

mod cursor;
mod demo;
mod envisionware;
mod record;
mod redshift;
mod sessions;
mod settings;
mod sierra;

use std::time::Duration;

use futures::FutureExt as _;
use watershed::connectors::aws::Aws;
use watershed::connectors::http::without_secrets;
use watershed::connectors::postgres::Tls;
use watershed::connectors::sql::{Database, Protocol, Role};
use watershed::engine::{self, Report, Run};
use watershed::error::{Error, Remedy, Result};
use watershed::formats::avro::{Encoder, fetch_schema};
use watershed::pipeline::Cursor as _;
use watershed::settings::Settings;
use watershed::time::format_wall_time;

use super::databases::{self, SIERRA};
use super::sending::Sending;
use super::{Checked, Job, Options, Outcome, SettingGroup, poller};
use crate::service;
use cursor::SessionCursor;
use envisionware::Envisionware;
use record::PcReserve;
use redshift::Redshift;
use sessions::Sessions;
use settings::Config;
use sierra::Sierra;

/// This pipeline, as the command line sees it.
pub const JOB: Job = Job {
    name: "pc-reserve",
    summary: "Sessions at public PCs, pseudonymised and joined with patron data, to a stream",
    settings: &[
        SettingGroup {
            title: "pc-reserve",
            settings: settings::SETTINGS,
        },
        SettingGroup {
            title: "Envisionware",
            settings: settings::ENVISIONWARE_SETTINGS,
        },
        databases::SIERRA_GROUP,
        databases::REDSHIFT_GROUP,
        service::GROUP,
        poller::GROUP,
        poller::AWS_GROUP,
    ],
    modes: &["sessions"],
    state: settings::STATE,
    tie_breaks: &[(cursor::AT, cursor::KEY)],
    own_members: &[],
    run: |settings, options| run(settings, options).boxed_local(),
    serve: None,
    check: |settings| check(settings).boxed_local(),
    demo: |folder| demo::prepare(folder).boxed_local(),
};

/// What makes a state.
const SET_STATE: &str = "watershed state set pc-reserve pcr_date_time=… pcr_key=…";

const ENVISIONWARE: Role = Role {
    name: "Envisionware",
    schema: None,
    protocol: Protocol::Extended,
    tls: Tls::Prefer,
};

async fn run(settings: &Settings, options: &Options) -> Outcome {
    let tell = |report: &Report| options.tell(report);
    // P7: until the first page nothing has been changed outside but, with `--start`, the state.
    let prepared = options
        .stop
        .or_finish(prepare(settings, options, &tell))
        .await;
    let (config, pipeline, cursor, mut run) = match prepared {
        Some(Ok(prepared)) => prepared,
        Some(Err(error)) => return Outcome::failed(error),
        None => return Outcome::stopped(),
    };
    let result = engine::run(&pipeline, cursor, &mut run).await;
    Outcome {
        report: run.report,
        dead_letters: run.dead_letters.place().map(str::to_owned),
        destination: config.poller.destination().filter(|_| !options.dry_run),
        result,
    }
}

/// Everything that is made before the first session is read.
async fn prepare<'a>(
    settings: &Settings,
    options: &'a Options,
    tell: &'a (dyn Fn(&Report) + Sync),
) -> Result<(Config, Sessions, SessionCursor, Run<'a>)> {
    let config = Config::read(settings)?;
    let poller = &config.poller;
    let aws = poller.aws().await;
    let schema = fetch_schema(&config.schema, &poller.policy).await?;
    let encoder = Encoder::new::<PcReserve>(&schema, &without_secrets(&config.schema))?;
    let (mut run, start) = poller.open(JOB.name, &aws, options, tell).await?;
    let (envisionware, sierra, redshift) = databases(&config, &aws)?;
    let cursor = match SessionCursor::read(run.state.members())? {
        Some(cursor) => {
            warn_of_a_gap(&cursor, &envisionware).await?;
            cursor
        }
        None if start => {
            let starting = config.starting.clone();
            // A run that finds nothing saves nothing, and the next one must know where it stands.
            run.state.save(|members| starting.write(members)).await?;
            starting
        }
        None => {
            let what = format!("reading the state: it has no member {}", cursor::AT);
            return Err(Error::new(Remedy::FixSettings, what).with_hint(format!(
                "set it with `{SET_STATE}`, or begin at the start settings with `--start`"
            )));
        }
    };
    let pipeline = Sessions {
        envisionware,
        sierra,
        redshift,
        pseudonymiser: config.pseudonymiser.clone(),
        sending: Sending {
            stream: poller.stream(&encoder, &aws, options)?,
            encoder,
            show: options.show.clone(),
        },
        page: config.page,
        hashed: Default::default(),
    };
    Ok((config, pipeline, cursor, run))
}

fn databases(config: &Config, aws: &Aws) -> Result<(Envisionware, Sierra, Redshift)> {
    let policy = || config.poller.policy.clone();
    let envisionware = Envisionware {
        database: Database::open(&config.envisionware, ENVISIONWARE, policy())?,
        bound: config.bound,
    };
    let sierra = Sierra {
        database: Database::open(&config.sierra, SIERRA, policy())?,
    };
    let redshift = Redshift {
        database: config.redshift.open(aws, policy())?,
        table: config.redshift_table.clone(),
    };
    Ok((envisionware, sierra, redshift))
}

/// Envisionware keeps about two days: what was removed before it was read is lost.
async fn warn_of_a_gap(cursor: &SessionCursor, envisionware: &Envisionware) -> Result<()> {
    let oldest = envisionware.oldest().await?;
    if let Some(oldest) = oldest.filter(|oldest| *oldest > cursor.at) {
        tracing::warn!(
            "the last run stopped at {}, and Envisionware's oldest session is of {}: sessions in between may be lost",
            format_wall_time(cursor.at),
            format_wall_time(oldest)
        );
    }
    Ok(())
}

async fn check(settings: &Settings) -> Result<Vec<Checked>> {
    let mut config = Config::read(settings)?;
    config.poller.policy = config.poller.policy.each(Duration::from_secs(10));
    let aws = config.poller.aws().await;
    let (envisionware, sierra, redshift) = databases(&config, &aws)?;
    let mut checks = vec![
        Checked {
            system: "Envisionware",
            found: envisionware.check().await,
        },
        Checked {
            system: "Sierra",
            found: sierra.check().await,
        },
        Checked {
            system: "Redshift",
            found: redshift.check().await,
        },
        Checked {
            system: "state",
            found: config.poller.check_state(&aws, SET_STATE).await,
        },
    ];
    let (schema, poller) = (&config.schema, &config.poller);
    let encoder = Encoder::new::<PcReserve>;
    checks.extend(poller.check_stream(schema, &aws, encoder).await);
    Ok(checks)
}
