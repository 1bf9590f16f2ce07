//! Bad days, asked for again: ShopperTrak fills gaps and mends counters for about a month.
//!
//! Read on in this order: `plan` (which sites and days), `ledger` (of those, which have been asked
//! for in vain), `tables` (what is stored), `mend` (what an answer changes). The loop is here:
//!
//! ```text
//! plan ─▶ ask ─▶ mend ─▶ send ─▶ dead letters ─▶ mark stale ─▶ next site and day
//! ```
//!
//! It stands beside [`Pipeline`](watershed::pipeline::Pipeline): there is no cursor, because what
//! the table holds is the place where the recovery stands. A run that dies after sending and before
//! marking leaves a healthy row beside an unhealthy one, and the next run marks it.

mod ledger;
mod mend;
mod plan;
mod tables;

use std::collections::BTreeSet;

use jiff::civil::Date;
use watershed::engine::{ModeReport, Run, accounts};
use watershed::error::{Error, Remedy, Result};
use watershed::pipeline::{Delivered, Transformed};

use super::visit::Visit;
pub use ledger::MEMBER;
use ledger::{Fruitless, Ledger};
use mend::{Mending, mend};
pub use plan::{Ask, SiteDay, Window};
use plan::{Plan, Stored, plan};
pub use tables::Tables;

/// Its name in reports and for `--only`.
pub const NAME: &str = "recovery";

/// The ledger is saved after so many sites and days: a run that is killed forgets no more tries.
const SAVE_EVERY: u64 = 50;

/// Server errors at so many sites and days in a row say something about the service, and not about
/// them. Each costs `MAX_RETRIES` requests and the waits in between: by default half an hour in all.
const SERVER_ERRORS: u64 = 3;

/// ShopperTrak and the stream, as the recovery needs them.
pub trait Exchange {
    /// Asks for a site and day; for [`Ask::Unhealthy`] the unhealthy increments of the answer are
    /// skipped. Errors end the run.
    fn ask(&self, at: &SiteDay, ask: Ask) -> impl Future<Output = Result<Answer>>;

    /// Sends increments; `Ok` means that they are durable.
    fn send(&self, visits: Vec<Visit>) -> impl Future<Output = Result<Delivered>>;

    /// Requests of this run so far, those of the poll and those that were tried again too.
    fn requests(&self) -> u64;
}

/// What ShopperTrak answered.
pub enum Answer {
    /// Increments.
    Visits(Transformed<Visit>),
    /// Nothing that can be used; it is logged already.
    Nothing,
    /// The same, because the server failed as often as it was asked.
    ServerError,
    /// No further request is allowed.
    LimitReached,
}

/// One recovery.
pub struct Recovery<'a, E> {
    /// ShopperTrak and the stream.
    pub exchange: &'a E,
    /// Redshift.
    pub tables: &'a Tables,
    /// All sites; without them missing ones are not looked for.
    pub sites: Option<&'a BTreeSet<String>>,
    /// The days.
    pub window: Window,
    /// The day of the run.
    pub today: Date,
    /// Whether rows are marked stale. Not in a dry run, with `IGNORE_UPDATE`, and with
    /// `IGNORE_KINESIS`, which would leave a stale row without its replacement.
    pub marks: bool,
    /// Limit of requests, if there is one.
    pub limit: Option<RequestLimit>,
}

/// How one site and day ended.
enum Step {
    Done,
    /// Done, and in vain: the server failed.
    ServerError,
    Stopped,
    LimitReached,
}

/// `DAILY_REQUEST_LIMIT`.
#[derive(Clone, Copy)]
pub struct RequestLimit {
    /// Requests a day.
    pub a_day: u64,
    /// Requests that the next poll may need.
    pub next_poll: u64,
}

impl<E: Exchange> Recovery<'_, E> {
    /// Recovers what can be, and saves the ledger.
    ///
    /// # Errors
    /// Those of ShopperTrak, the stream, Redshift, dead letters and state, as they are; and
    /// [`Remedy::TryAgain`] when ShopperTrak's server keeps failing. What was recovered before stays.
    pub async fn run(&self, run: &mut Run<'_>) -> Result<()> {
        run.report.modes.push(ModeReport {
            name: NAME,
            ..ModeReport::default()
        });
        let stop = run.stop.clone();
        let mut ledger = Ledger::read(run.state.members(), self.today);
        // P7: a plan changes nothing outside.
        let Some(plan) = stop.or_abandon(self.plan(&mut ledger)).await else {
            run.report.stopped = true;
            return Ok(());
        };
        let plan = plan?;
        note(run, "left for a later run", plan.waiting.len() as u64);
        note(run, "sent today and not stored yet", plan.on_their_way);
        let asked = self.ask_for(plan, &mut ledger, run).await;
        run.report.stopped |= stop.is_requested();
        // What was tried is told when the run failed, too; P7: if the other side answers.
        let saved = stop.or_finish(save(&ledger, run)).await;
        asked.and(saved.unwrap_or(Ok(())))
    }

    async fn plan(&self, ledger: &mut Ledger) -> Result<Plan> {
        let stored = match self.window.is_empty() {
            true => Stored::default(),
            false => self.tables.stored(self.window).await?,
        };
        let plan = plan(self.window, &stored, self.sites, ledger);
        let requests = plan.requests.iter().map(|(at, _)| at);
        ledger.keep(requests.chain(&plan.waiting));
        for at in &plan.waiting {
            ledger.passed(at);
        }
        let missing = plan.requests.iter().filter(|(_, ask)| *ask == Ask::Missing);
        let missing = missing.count();
        tracing::info!(
            "recovery from {} to {}: {missing} sites and days are missing, {} are unhealthy, {} are left for a later run, {} were sent today",
            self.window.start,
            self.window.end,
            plan.requests.len() - missing,
            plan.waiting.len(),
            plan.on_their_way,
        );
        Ok(plan)
    }

    async fn ask_for(&self, plan: Plan, ledger: &mut Ledger, run: &mut Run<'_>) -> Result<()> {
        if self.limit.is_some() {
            // Those of the poll.
            ledger.add_requests(self.today, self.exchange.requests());
        }
        let number = plan.requests.len() as u64;
        let mut server_errors = 0;
        for (done, (at, ask)) in (0..).zip(plan.requests) {
            if run.max_pages.is_some_and(|most| done >= most) {
                break;
            }
            let step = match self.limit.is_some_and(|limit| limit.is_used_up(ledger)) {
                true => Step::LimitReached,
                false => self.recover(&at, ask, ledger, run).await?,
            };
            match step {
                Step::Done | Step::ServerError => note(run, "sites and days asked for", 1),
                Step::Stopped => break,
                Step::LimitReached => {
                    tracing::info!(
                        "recovery ends: the rest of DAILY_REQUEST_LIMIT is for the next poll"
                    );
                    note(run, "not asked for, DAILY_REQUEST_LIMIT", number - done);
                    break;
                }
            }
            (run.progress)(&run.report);
            server_errors = match step {
                Step::ServerError => server_errors + 1,
                _ => 0,
            };
            if server_errors == SERVER_ERRORS {
                return Err(failing(number - done - 1));
            }
            if (done + 1) % SAVE_EVERY == 0 {
                save(ledger, run).await?;
            }
        }
        Ok(())
    }

    /// Asks for one site and day, and mends it.
    async fn recover(
        &self,
        at: &SiteDay,
        ask: Ask,
        ledger: &mut Ledger,
        run: &mut Run<'_>,
    ) -> Result<Step> {
        let stop = run.stop.clone();
        let before = self.exchange.requests();
        // P7: a question changes nothing outside.
        let answer = stop.or_abandon(self.exchange.ask(at, ask)).await;
        if self.limit.is_some() {
            ledger.add_requests(self.today, self.exchange.requests() - before);
        }
        let Some(answer) = answer else {
            return Ok(Step::Stopped);
        };
        match answer? {
            Answer::Visits(answer) => {
                // P7: what has begun to be sent is finished and marked, if the other side answers.
                let repair = self.repair(at, ask, answer, ledger, run);
                if stop.or_finish(repair).await.transpose()?.is_none() {
                    tracing::warn!("{at} was abandoned: it will be asked for again");
                    return Ok(Step::Stopped);
                }
                Ok(Step::Done)
            }
            // A server error is a try in vain, too: sites that it is always the answer for must not
            // end every recovery before those behind them.
            nothing @ (Answer::Nothing | Answer::ServerError) => {
                note(run, "without an answer", 1);
                ledger.tried_in_vain(at, Fruitless::NoAnswer);
                Ok(match nothing {
                    Answer::ServerError => Step::ServerError,
                    _ => Step::Done,
                })
            }
            Answer::LimitReached => Ok(Step::LimitReached),
        }
    }

    /// Sends what an answer mends, and then marks what it replaces.
    async fn repair(
        &self,
        at: &SiteDay,
        ask: Ask,
        answer: Transformed<Visit>,
        ledger: &mut Ledger,
        run: &mut Run<'_>,
    ) -> Result<()> {
        let Transformed {
            outputs: visits,
            skipped: still_bad,
            set_aside: mut letters,
            mut noted,
        } = answer;
        let read = (visits.len() + letters.len()) as u64 + still_bad.total();
        let mut mending = self.mending(at, ask, visits).await?;
        mending.skipped.add_all(&still_bad);
        let sent = mending.send.len() as u64;
        // P3, before anything is sent.
        let sum = sent + mending.skipped.total() + letters.len() as u64;
        accounts::add_up(NAME, read, sum)?;
        let delivered = match sent {
            0 => Delivered::default(),
            _ => self.exchange.send(mending.send).await?,
        };
        tracing::trace!(room = "recovery sent");
        accounts::left_out(NAME, sent, &delivered)?;
        let left_out = delivered.skipped.total() + delivered.set_aside.len() as u64;
        letters.extend(delivered.set_aside);

        // P1: what was set aside is durable before anything says that it was dealt with.
        run.dead_letters.keep(&letters).await?;
        tracing::trace!(room = "recovery set aside");

        // P1: a row is stale only once its replacement is durable. Which of them was left out, the
        // stream does not tell; those that were not are in the table by the next run, which then
        // marks their rows.
        let mut stale = mending.outdated;
        if left_out == 0 {
            stale.extend(mending.replaced);
        }
        let marked = match self.marks && !stale.is_empty() {
            true => self.tables.mark_stale(&stale).await?,
            false => 0,
        };
        tracing::trace!(room = "recovery marked");

        mending.skipped.add_all(&delivered.skipped);
        noted.add("marked stale", marked);
        noted.add("stored with other counts", mending.different);
        let page = ModeReport {
            name: NAME,
            pages: 1,
            read,
            delivered: sent - left_out,
            skipped: mending.skipped,
            set_aside: letters.len() as u64,
            noted,
        };
        if page.delivered + marked > 0 {
            ledger.tried_with_success(at);
            if ask == Ask::Missing {
                ledger.sent_missing(self.today, at);
            }
        } else if page.set_aside > 0 {
            ledger.tried_in_vain(at, Fruitless::SetAside);
        } else if left_out == 0 && stale.is_empty() {
            ledger.tried_in_vain(at, Fruitless::NothingNew);
        }
        tell(at, &page, marked, run);
        Ok(())
    }

    /// What an answer changes. Of a missing day everything is sent.
    async fn mending(&self, at: &SiteDay, ask: Ask, visits: Vec<Visit>) -> Result<Mending> {
        let all = visits.len() as u64;
        let mut own = visits;
        own.retain(|visit| visit.site.as_deref() == Some(at.site.trim()));
        let foreign = all - own.len() as u64;
        let mut mending = match ask {
            Ask::Unhealthy if !own.is_empty() => mend(&self.tables.known(at).await?, own),
            Ask::Missing | Ask::Unhealthy => Mending {
                send: own,
                ..Mending::default()
            },
        };
        if foreign > 0 {
            // Sent, it would stand beside the rows of a site that nobody has looked at.
            tracing::warn!(
                "{foreign} increments in the answer for {at} are of another site, or of none"
            );
            mending.skipped.add("of another site", foreign);
        }
        if mending.different > 0 {
            tracing::warn!(
                "{} increments of {at} are stored as healthy with other counts than ShopperTrak's",
                mending.different
            );
        }
        Ok(mending)
    }
}

/// The end of a recovery whose service fails.
fn failing(left: u64) -> Error {
    let what = format!("recovering: {left} sites and days are left for the next run");
    Error::new(Remedy::TryAgain, what).caused_by(format!(
        "ShopperTrak answered with server errors at {SERVER_ERRORS} sites and days in a row"
    ))
}

impl RequestLimit {
    fn is_used_up(self, ledger: &Ledger) -> bool {
        ledger.requests() + self.next_poll >= self.a_day
    }
}

/// Remembers that the days behind `last` were polled today. It is saved at once: the run may not
/// come to its recovery, and the next one must not take for missing what is on its way.
///
/// # Errors
/// Those of the state.
pub async fn note_poll(run: &mut Run<'_>, today: Date, last: Date) -> Result<()> {
    let mut ledger = Ledger::read(run.state.members(), today);
    ledger.polled_behind(today, last);
    save(&ledger, run).await
}

/// Saves the ledger, if it has changed.
async fn save(ledger: &Ledger, run: &mut Run<'_>) -> Result<()> {
    let mut members = run.state.members().clone();
    ledger.write(&mut members);
    if members == *run.state.members() {
        return Ok(());
    }
    // P5, and every other member is kept.
    run.state.save(|members| ledger.write(members)).await?;
    tracing::trace!(room = "recovery saved");
    Ok(())
}

/// Adds a site and day to the report.
fn tell(at: &SiteDay, page: &ModeReport, marked: u64, run: &mut Run<'_>) {
    tracing::info!(
        "recovery of {at}: {} read, {} delivered, {} skipped, {} set aside, {marked} rows marked stale",
        page.read,
        page.delivered,
        page.skipped.total(),
        page.set_aside,
    );
    let mode = mode(run);
    mode.pages += page.pages;
    mode.read += page.read;
    mode.delivered += page.delivered;
    mode.skipped.add_all(&page.skipped);
    mode.set_aside += page.set_aside;
    mode.noted.add_all(&page.noted);
}

fn mode<'r>(run: &'r mut Run<'_>) -> &'r mut ModeReport {
    let mode = run.report.modes.last_mut();
    mode.expect("`Recovery::run` has pushed this mode")
}

fn note(run: &mut Run<'_>, what: &'static str, number: u64) {
    mode(run).noted.add(what, number);
}

#[cfg(test)]
mod tests;
