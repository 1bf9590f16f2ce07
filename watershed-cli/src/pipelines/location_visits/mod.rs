//! `location-visits`: visits per door and quarter of an hour, to a stream.
//!
//! ShopperTrak tells of a day what every door has counted, and Redshift when the sites were open.
//! A day is a page, because a request is scarce and answers a whole day. Times are the wall time of
//! the sites, without a zone, from the source to the record. Nothing here is personal.
//!
//! There are two levels. Without any setting of Redshift no data count as missing, and nothing is
//! recovered.
//!
//! Read on in this order: `cursor`, `shoppertrak`, `all_sites` (poll, transform with `hours`,
//! deliver with `sending`), `record`, `recovery`.

mod all_sites;
mod cursor;
mod demo;
mod hours;
mod metrics;
mod record;
mod recovery;
mod sending;
mod settings;
mod shoppertrak;
mod sites;
mod visit;

use std::collections::BTreeSet;
use std::time::Duration;

use futures::FutureExt as _;
use watershed::connectors::aws::Aws;
use watershed::connectors::http::without_secrets;
use watershed::connectors::objects::Object;
use watershed::connectors::sql::Database;
use watershed::engine::{self, Report, Run};
use watershed::error::{Error, Remedy, Result};
use watershed::formats::avro::fetch_schema;
use watershed::pipeline::{Cursor as _, Delivered, Pipeline as _, Transformed};
use watershed::settings::Settings;

use super::databases;
use super::{Checked, Job, Options, Outcome, SettingGroup, poller};
use crate::service;
use all_sites::AllSites;
use cursor::{LAST, LastPollDate};
use hours::Hours;
use record::Generation;
use recovery::{Ask, Exchange, Recovery, RequestLimit, SiteDay, Tables, Window};
use sending::Sending;
use settings::{Config, Redshift};
#[doc(hidden)]
pub use shoppertrak::read;
use shoppertrak::{Fault, Question};
use visit::Visit;

/// This pipeline, as the command line sees it.
pub const JOB: Job = Job {
    name: "location-visits",
    summary: "Visits per door and quarter of an hour, to a stream",
    settings: &[
        SettingGroup {
            title: "location-visits",
            settings: settings::SETTINGS,
        },
        databases::REDSHIFT_GROUP,
        service::GROUP,
        poller::GROUP,
        poller::AWS_GROUP,
    ],
    modes: &[AllSites::NAME, recovery::NAME],
    state: settings::STATE,
    tie_breaks: &[],
    own_members: &[recovery::MEMBER],
    run: |settings, options| run(settings, options).boxed_local(),
    serve: None,
    check: |settings| check(settings).boxed_local(),
    demo: |folder| demo::prepare(folder).boxed_local(),
};

/// What makes a state.
const SET_STATE: &str = "watershed state set location-visits last_poll_date=…";

/// What is made before the first day is asked for.
struct House {
    config: Config,
    sending: Sending,
    /// Nothing without Redshift.
    hours: Option<Hours>,
    /// Nothing without Redshift.
    tables: Option<Tables>,
    /// Ids of all sites; nothing where nobody has listed them.
    sites: Option<BTreeSet<String>>,
    /// Where the poll begins.
    cursor: LastPollDate,
    /// Whether nothing is written anywhere.
    dry_run: bool,
}

async fn run(settings: &Settings, options: &Options) -> Outcome {
    let tell = |report: &Report| options.tell(report);
    // P7: until the first page nothing has been changed outside but, with `--start`, the state.
    let prepared = options
        .stop
        .or_finish(prepare(settings, options, &tell))
        .await;
    let (house, mut run) = match prepared {
        Some(Ok(prepared)) => prepared,
        Some(Err(error)) => return Outcome::failed(error),
        None => return Outcome::stopped(),
    };
    let result = house.run(options.only.as_deref(), &mut run).await;
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

async fn prepare<'a>(
    settings: &Settings,
    options: &'a Options,
    tell: &'a (dyn Fn(&Report) + Sync),
) -> Result<(House, Run<'a>)> {
    let config = Config::read(settings)?;
    metrics::begin();
    config.say_level();
    let poller = &config.poller;
    let aws = poller.aws().await;
    let schema = fetch_schema(&config.schema, &poller.policy).await?;
    let place = without_secrets(&config.schema);
    let (encoder, generation) = Generation::encoder(&schema, &place)?;
    let (mut sites, mut hours, mut tables) = (None, None, None);
    if let Some(redshift) = &config.redshift {
        if let Some(url) = &config.sites {
            let object = Object::open(url, &aws, poller.policy.clone())?;
            sites = Some(sites::all_sites(&object).await?);
        }
        let database = redshift.login.open(&aws, poller.policy.clone())?;
        hours = Some(Hours::read(&database, &redshift.hours).await?);
        tables = Some(redshift.tables(database));
    } else if options.only.as_deref() == Some(recovery::NAME) {
        let what = "choosing the modes: without Redshift there is no recovery";
        return Err(Error::new(Remedy::FixSettings, what));
    }
    let (mut run, start) = poller.open(JOB.name, &aws, options, tell).await?;
    let cursor = begin(&config, &mut run, start).await?;
    let sending = Sending {
        stream: poller.stream(&encoder, &aws, options)?,
        encoder,
        generation,
        show: options.show.clone(),
        poll_date: config.today.to_string(),
    };
    let house = House {
        config,
        sending,
        hours,
        tables,
        sites,
        cursor,
        dry_run: options.dry_run,
    };
    Ok((house, run))
}

/// The cursor that the state has; with `start`, one that it lacks begins at the start settings.
async fn begin(config: &Config, run: &mut Run<'_>, start: bool) -> Result<LastPollDate> {
    if let Some(cursor) = LastPollDate::read(run.state.members())? {
        return Ok(cursor);
    }
    let fail = || {
        let what = format!("reading the state: it has no member {LAST}");
        Error::new(Remedy::FixSettings, what)
    };
    match config.starting.filter(|_| start) {
        Some(starting) => {
            // A run that finds nothing saves nothing, and the next one must know where it stands.
            run.state.save(|members| starting.write(members)).await?;
            Ok(starting)
        }
        None if start => Err(fail().with_hint("set LAST_POLL_DATE, the day behind which to begin")),
        None => Err(fail().with_hint(format!(
            "set it with `{SET_STATE}`, or begin behind LAST_POLL_DATE with `--start`"
        ))),
    }
}

impl Redshift {
    fn tables(&self, database: Database) -> Tables {
        Tables {
            database,
            visits: self.visits.clone(),
            closures: self.closures.clone(),
        }
    }
}

impl Config {
    /// Says once which of the two levels this is, and what is not used.
    fn say_level(&self) {
        match self.redshift {
            Some(_) => tracing::info!(
                "with Redshift: regular hours tell missing data, and bad days are recovered"
            ),
            None => tracing::info!(
                "without Redshift: no data count as missing, and nothing is recovered"
            ),
        }
        if self.data_lake {
            tracing::info!(
                "DATA_LAKE_S3_BUCKET and DATA_LAKE_S3_PATH are not used: no copy is made"
            );
        }
    }
}

impl House {
    /// Polls, and recovers.
    ///
    /// # Errors
    /// Those of the engine and of the recovery; and [`Remedy::FixData`] when the poll stopped at an
    /// unusable answer, which is about that day alone: the recovery ran all the same.
    async fn run(&self, only: Option<&str>, run: &mut Run<'_>) -> Result<()> {
        let wanted = |mode| only.is_none_or(|only| only == mode);
        // What says nothing about a day leaves no request for the recovery, either.
        let stopped = match wanted(AllSites::NAME) {
            true => self.poll(run).await?,
            false => None,
        };
        let polled = stopped.map_or(Ok(()), Err);
        let tables = self.tables.as_ref();
        let Some(tables) = tables.filter(|_| wanted(recovery::NAME) && !run.stop.is_requested())
        else {
            return polled;
        };
        let recovered = self.recovery(tables, run)?.run(run).await;
        if let (Err(_), Err(error)) = (&polled, &recovered) {
            // Of two errors the first is the run's.
            tracing::error!("{}", error.in_one_line());
        }
        polled.and(recovered)
    }

    /// Delivers the days behind the cursor. When it stops before one whose answer is unusable, it
    /// gives the error that the run ends with; nothing else is in doubt then.
    ///
    /// # Errors
    /// Those of the engine; no further request belongs into the run.
    async fn poll(&self, run: &mut Run<'_>) -> Result<Option<Error>> {
        let shoppertrak = &self.config.shoppertrak;
        let all_sites = AllSites {
            shoppertrak,
            hours: self.hours.as_ref(),
            sending: &self.sending,
            last_day: self.config.last_day,
            bad_days: &self.config.bad_days,
            passed: Default::default(),
            stopped_at: Default::default(),
        };
        let result = engine::run(&all_sites, self.cursor, run).await;
        if let Some(mode) = run.report.modes.last_mut() {
            mode.noted.add("requests", shoppertrak.requests());
            let passed = all_sites.passed.into_inner();
            mode.noted.add("bad days passed", passed);
        }
        let noted = self.note_poll(run).await;
        result?;
        noted?;
        let stopped_at = all_sites.stopped_at.into_inner();
        Ok(stopped_at.expect("no holder panics"))
    }

    /// Tells the recovery of later runs which days were polled, if any were.
    async fn note_poll(&self, run: &mut Run<'_>) -> Result<()> {
        let last = LastPollDate::read(run.state.members())?;
        if self.tables.is_none() || last.is_none_or(|last| last <= self.cursor) {
            return Ok(());
        }
        let stop = run.stop.clone();
        let note = recovery::note_poll(run, self.config.today, self.cursor.0);
        // P7: if the other side answers.
        stop.or_finish(note).await.unwrap_or(Ok(()))
    }

    /// The recovery of the days that were polled before this run.
    fn recovery<'a>(&'a self, tables: &'a Tables, run: &Run<'_>) -> Result<Recovery<'a, House>> {
        let config = &self.config;
        let cursor = LastPollDate::read(run.state.members())?.unwrap_or(self.cursor);
        // The next poll asks for what this one has left, and for a day that is not over yet.
        let left = (config.last_day - cursor.0).get_days().max(0) as u64 + 1;
        let limit = config.requests_a_day.map(|a_day| RequestLimit {
            a_day,
            next_poll: left * config.requests_a_poll,
        });
        Ok(Recovery {
            exchange: self,
            tables,
            sites: self.sites.as_ref(),
            window: Window::new(config.today, self.cursor.0),
            today: config.today,
            marks: config.marks && !self.dry_run,
            limit,
        })
    }
}

impl Exchange for House {
    async fn ask(&self, at: &SiteDay, ask: Ask) -> Result<recovery::Answer> {
        let question = Question::Site(&at.site);
        let readings = match self.config.shoppertrak.ask(question, at.day).await? {
            shoppertrak::Answer::Visits(readings) => readings,
            shoppertrak::Answer::LimitReached => return Ok(recovery::Answer::LimitReached),
            shoppertrak::Answer::Unusable(fault) => {
                let tried = question.tried(at.day);
                match self.config.bad_days.contains(&at.day) {
                    true => tracing::info!("{tried}: {fault}"),
                    false => tracing::error!("{tried}: {fault}"),
                }
                return Ok(match fault {
                    Fault::ServerError(_) => recovery::Answer::ServerError,
                    _ => recovery::Answer::Nothing,
                });
            }
        };
        let mut answer = Transformed::default();
        for reading in readings {
            match reading {
                Ok(visit) if ask == Ask::Unhealthy && !visit.healthy => {
                    answer.skipped.add("still unhealthy", 1);
                }
                Ok(visit) => answer.outputs.push(visit),
                Err(letter) => answer.set_aside.push(*letter),
            }
        }
        if let Some(hours) = &self.hours {
            hours.mark_missing(&mut answer.outputs, &mut answer.noted);
        }
        Ok(recovery::Answer::Visits(answer))
    }

    async fn send(&self, mut visits: Vec<Visit>) -> Result<Delivered> {
        let all = visits.len() as u64;
        let of = (recovery::NAME, all, true);
        let unfit = self.sending.take_unfit(&mut visits, of)?;
        let mut delivered = self.sending.send(&visits, true).await?;
        delivered.set_aside.extend(unfit);
        Ok(delivered)
    }

    fn requests(&self) -> u64 {
        self.config.shoppertrak.requests()
    }
}

async fn check(settings: &Settings) -> Result<Vec<Checked>> {
    let mut config = Config::read(settings)?;
    config.poller.policy = config.poller.policy.each(Duration::from_secs(10));
    let aws = config.poller.aws().await;
    let mut checks = vec![Checked {
        system: "ShopperTrak",
        found: config.shoppertrak.check().await,
    }];
    if let Some(redshift) = &config.redshift {
        let database = redshift.login.open(&aws, config.poller.policy.clone())?;
        checks.push(Checked {
            system: "Redshift",
            found: check_redshift(redshift, database).await,
        });
    }
    if let Some(url) = &config.sites {
        checks.push(Checked {
            system: "sites",
            found: check_sites(&config, url, &aws).await,
        });
    }
    checks.push(Checked {
        system: "state",
        found: config.poller.check_state(&aws, SET_STATE).await,
    });
    let encoder =
        |text: &str, place: &str| Generation::encoder(text, place).map(|(encoder, _)| encoder);
    let (schema, poller) = (&config.schema, &config.poller);
    checks.extend(poller.check_stream(schema, &aws, encoder).await);
    Ok(checks)
}

async fn check_redshift(redshift: &Redshift, database: Database) -> Result<String> {
    let version = Hours::check(&database, &redshift.hours).await?;
    redshift.tables(database.clone()).check().await?;
    databases::with_tls(version, &database).await
}

async fn check_sites(config: &Config, url: &str, aws: &Aws) -> Result<String> {
    let object = Object::open(url, aws, config.poller.policy.clone())?;
    if object.exists().await? {
        return Ok(object.to_string());
    }
    let what = format!("looking for {object}: there is no such object");
    Err(Error::new(Remedy::FixSettings, what))
}
