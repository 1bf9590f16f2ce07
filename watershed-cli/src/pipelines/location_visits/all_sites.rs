//! The poll: day by day, the visits of all sites.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::civil::Date;
use watershed::error::{Error, Remedy, Result};
use watershed::pipeline::{Delivered, Page, Pipeline, Transformed};

use super::cursor::LastPollDate;
use super::hours::Hours;
use super::sending::Sending;
use super::shoppertrak::{Answer, Question, Reading, ShopperTrak};
use super::visit::Visit;

/// The days behind the cursor, up to the last one; a day is a page.
pub(super) struct AllSites<'a> {
    pub shoppertrak: &'a ShopperTrak,
    /// Nothing without Redshift: then no data count as missing.
    pub hours: Option<&'a Hours>,
    pub sending: &'a Sending,
    pub last_day: Date,
    /// Days that may pass without records.
    pub bad_days: &'a BTreeSet<Date>,
    /// How many of them did.
    pub passed: AtomicU64,
    /// Why the poll stopped before the last day, when the answer about a day was unusable.
    pub stopped_at: Mutex<Option<Error>>,
}

impl Pipeline for AllSites<'_> {
    const NAME: &'static str = "all-sites";
    /// A page costs a request, and one that is abandoned costs it for nothing.
    const READ_AHEAD: usize = 0;
    type Cursor = LastPollDate;
    type Input = Reading;
    type Output = Visit;

    async fn poll(&self, after: &LastPollDate) -> Result<Page<Reading, LastPollDate>> {
        if after.0 >= self.last_day {
            return Page::new(after, Vec::new(), false);
        }
        let day = after.next_day()?;
        let readings = match self.shoppertrak.ask(Question::AllSites, day).await? {
            Answer::Visits(readings) => readings,
            Answer::Unusable(fault) if self.bad_days.contains(&day) => {
                tracing::info!("{day} is listed in BAD_POLL_DATES, and passes: {fault}");
                self.passed.fetch_add(1, Ordering::Relaxed);
                Vec::new()
            }
            Answer::Unusable(fault) => {
                let error = Error::new(Remedy::FixData, Question::AllSites.tried(day));
                let error = error.caused_by(fault.to_string()).with_hint(
                    "the days before it are delivered; a day listed in BAD_POLL_DATES passes without records",
                );
                *self.stopped_at.lock().expect("no holder panics") = Some(error);
                // The end for now: the cursor stays before that day.
                return Page::new(after, Vec::new(), false);
            }
            Answer::LimitReached => {
                let error = Error::new(Remedy::TryAgain, Question::AllSites.tried(day));
                return Err(error
                    .caused_by("API limit exceeded: DAILY_REQUEST_LIMIT allows no more requests"));
            }
        };
        Page::stretch(after, readings, LastPollDate(day), day < self.last_day)
    }

    async fn transform(&self, readings: Vec<Reading>) -> Result<Transformed<Visit>> {
        let mut transformed = Transformed::default();
        let all = readings.len() as u64;
        let set_aside = &mut transformed.set_aside;
        let visits = readings.into_iter().filter_map(|reading| {
            let letter = |letter: Box<_>| set_aside.push(*letter);
            reading.map_err(letter).ok()
        });
        let mut visits: Vec<Visit> = visits.collect();
        if let Some(hours) = self.hours {
            hours.mark_missing(&mut visits, &mut transformed.noted);
        }
        let unhealthy = visits.iter().filter(|visit| !visit.healthy).count();
        transformed.noted.add("unhealthy", unhealthy as u64);
        tracing::trace!(room = "shaped");
        let unfit = self
            .sending
            .take_unfit(&mut visits, (Self::NAME, all, false));
        transformed.set_aside.extend(unfit?);
        transformed.outputs = visits;
        Ok(transformed)
    }

    async fn deliver(&self, visits: Vec<Visit>) -> Result<Delivered> {
        self.sending.send(&visits, false).await
    }
}
