//! ShopperTrak: asks for the visits of a day, and says what an answer means.
//!
//! Requests are scarce: each is counted, none is made beyond `MAX_RETRIES` for one question or
//! beyond the allowance of `DAILY_REQUEST_LIMIT`, and an answer that will not change is not asked
//! for again. [`document`] reads an answer as it comes; nothing of it leaves this room before all
//! of it is judged.

mod document;
mod folder;
mod values;
mod web;

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::civil::Date;
use tokio::time::{Instant, sleep};
use watershed::error::{Error, Remedy, Result};
use watershed::privacy::Secret;

pub(super) use document::Reading;

use super::metrics;
use document::{Document, KEPT, NotXml};
use folder::Folder;
use web::Web;

/// How ShopperTrak is asked.
#[derive(Clone, Debug)]
pub(super) struct Patience {
    /// Requests in all for one question.
    pub tries: u64,
    /// Wait between two of them.
    pub wait: Duration,
    /// No further one is made when this has passed since the first, unless it is busy.
    pub total: Duration,
    /// Time limit of one request.
    pub each: Duration,
    /// Requests in all for this run.
    pub allowance: Option<u64>,
}

/// Where the visits come from.
pub(super) struct ShopperTrak {
    source: Source,
    patience: Patience,
    requests: AtomicU64,
}

enum Source {
    Web(Web),
    Folder(Folder),
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question<'a> {
    /// The visits of all sites.
    AllSites,
    /// Those of one site.
    Site(&'a str),
}

/// What ShopperTrak says about a day.
#[derive(Debug)]
pub(super) enum Answer {
    /// Its increments; there may be none.
    Visits(Vec<Reading>),
    /// Something about that day that no increments can be read from.
    Unusable(Fault),
    /// Nothing: the allowance of this run is used up.
    LimitReached,
}

/// Why an answer about a day is unusable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is no XML.
    NotXml(String),
    /// An error code, such as E104: no such site.
    Code(String),
    /// No element `traffic`.
    NoTraffic,
    /// It is about another date.
    WrongDate(Date),
    /// The server failed as often as it was asked.
    ServerError(String),
    /// Nothing was recorded, in a folder of answers.
    NotRecorded,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::NotXml(why) => write!(f, "the answer is no XML: {why}"),
            Fault::Code(code) => write!(f, "the answer is the error {code}"),
            // Alarms look for the first words.
            Fault::NoTraffic => f.write_str("No traffic found in the answer"),
            Fault::WrongDate(date) => write!(f, "the answer is about {date}"),
            Fault::ServerError(status) => write!(f, "the answer was {status}"),
            Fault::NotRecorded => f.write_str("no answer is recorded"),
        }
    }
}

/// What one request came to.
enum Verdict {
    /// The answer to the question.
    Done(Answer),
    /// Another request may bring one; if none is left, this is the end of it.
    Again(AtLast),
}

/// How a question ends that was asked as often as it may be.
enum AtLast {
    /// The service is busy with the data.
    Busy(String),
    /// No answer came, or not all of it.
    Lost(Error),
    /// The server failed.
    Failed(String),
}

impl fmt::Display for AtLast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AtLast::Busy(code) => write!(f, "ShopperTrak is busy ({code})"),
            AtLast::Lost(error) => f.write_str(&error.in_one_line()),
            AtLast::Failed(status) => write!(f, "the answer was {status}"),
        }
    }
}

impl fmt::Display for Question<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Question::AllSites => f.write_str("all sites"),
            Question::Site(site) => write!(f, "the site {site}"),
        }
    }
}

impl Question<'_> {
    /// What is being tried, for errors and the log.
    pub fn tried(self, day: Date) -> String {
        match self {
            // Alarms look for the first words.
            Question::AllSites => format!("Failed to retrieve all sites visits data of {day}"),
            Question::Site(_) => format!("retrieving the visits of {day} at {self}"),
        }
    }
}

impl ShopperTrak {
    /// Opens the place that a URL names; asks nothing of the network yet.
    ///
    /// # Errors
    /// [`Remedy::FixSettings`] for a URL of another form.
    pub fn open(
        url: &str,
        user: &Secret,
        password: &Secret,
        patience: Patience,
    ) -> Result<ShopperTrak> {
        let source = match url.strip_prefix("file:") {
            Some(path) => {
                let path = path.strip_prefix("//").unwrap_or(path);
                Source::Folder(Folder(PathBuf::from(path)))
            }
            None => Source::Web(Web::new(url, user, password, patience.each)?),
        };
        Ok(ShopperTrak {
            source,
            patience,
            requests: AtomicU64::new(0),
        })
    }

    /// Requests made so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Requests that the allowance leaves; nothing without one.
    fn requests_left(&self) -> Option<u64> {
        let allowance = self.patience.allowance?;
        Some(allowance.saturating_sub(self.requests()))
    }

    /// That it is there, without a request; for `check`.
    pub async fn check(&self) -> Result<String> {
        match &self.source {
            Source::Web(web) => web.check().await,
            Source::Folder(folder) => folder.check(),
        }
    }

    /// Asks until there is an answer, or no further request is allowed. The waits are ordinary
    /// futures: dropping this one (on a stop signal) ends them at once.
    ///
    /// # Errors
    /// What says nothing about the day: [`Remedy::TryAgain`] when the service's own limit is
    /// reached (E107, 429), when it stays busy (E000, E108) or cannot be reached;
    /// [`Remedy::FixAccess`] for 401 and 403, [`Remedy::FixSettings`] for other statuses of 4xx, and
    /// where more increments than are kept are malformed. No further request belongs into this run.
    pub async fn ask(&self, question: Question<'_>, day: Date) -> Result<Answer> {
        let patience = &self.patience;
        let (mut tries, start) = (0, Instant::now());
        loop {
            if !self.may_ask() {
                return Ok(Answer::LimitReached);
            }
            tries += 1;
            let at_last = match self.request(question, day).await? {
                Verdict::Done(answer) => return Ok(answer),
                Verdict::Again(at_last) => at_last,
            };
            // How long a busy service is waited for is said by the number of tries alone.
            let busy = matches!(at_last, AtLast::Busy(_));
            let out_of_time = !busy && start.elapsed() + patience.wait >= patience.total;
            if tries >= patience.tries || out_of_time {
                return self.give_up(question, day, at_last);
            }
            if self.requests_left() == Some(0) {
                return Ok(Answer::LimitReached);
            }
            tracing::info!(
                "{at_last}: asking again for {} of {day} in {} s (request {} of {})",
                question,
                patience.wait.as_secs(),
                tries + 1,
                patience.tries,
            );
            metrics::waiting(patience.wait);
            sleep(patience.wait).await;
        }
    }

    /// The end of a question that was asked as often as it may be.
    fn give_up(&self, question: Question<'_>, day: Date, at_last: AtLast) -> Result<Answer> {
        match at_last {
            AtLast::Failed(status) => Ok(Answer::Unusable(Fault::ServerError(status))),
            AtLast::Lost(error) => Err(error),
            AtLast::Busy(code) => {
                let error = Error::new(Remedy::TryAgain, question.tried(day));
                // Alarms look for the first words.
                let tries = self.patience.tries;
                Err(error.caused_by(format!(
                    "Hit retry limit: busy ({code}) after {tries} requests"
                )))
            }
        }
    }

    /// Makes one request and judges its answer.
    async fn request(&self, question: Question<'_>, day: Date) -> Result<Verdict> {
        let reply = match &self.source {
            Source::Web(web) => web.ask(question, day).await?,
            Source::Folder(folder) => folder.ask(question, day).await?,
        };
        let fail = |remedy, why: String| Error::new(remedy, question.tried(day)).caused_by(why);
        match reply {
            Reply::Document(Ok(document)) => judge(document, question, day),
            Reply::Document(Err(why)) => Ok(unusable(Fault::NotXml(why.to_string()))),
            Reply::NotRecorded => Ok(unusable(Fault::NotRecorded)),
            Reply::Lost(error) => Ok(Verdict::Again(AtLast::Lost(error))),
            Reply::Status(code, status) => match code {
                401 | 403 => Err(fail(Remedy::FixAccess, format!("the answer was {status}"))),
                408 => {
                    let error = fail(Remedy::TryAgain, format!("the answer was {status}"));
                    Ok(Verdict::Again(AtLast::Lost(error)))
                }
                // Alarms look for the first words.
                429 => Err(fail(
                    Remedy::TryAgain,
                    format!("API limit exceeded ({status})"),
                )),
                500.. => Ok(Verdict::Again(AtLast::Failed(status))),
                _ => Err(fail(
                    Remedy::FixSettings,
                    format!("the answer was {status}"),
                )),
            },
        }
    }

    /// Counts a request, if one is left.
    fn may_ask(&self) -> bool {
        let allowance = self.patience.allowance;
        let counted = |made| allowance.is_none_or(|most| made < most).then_some(made + 1);
        let ordering = Ordering::Relaxed;
        let counted = self.requests.fetch_update(ordering, ordering, counted);
        if counted.is_ok() {
            metrics::requested();
        }
        counted.is_ok()
    }
}

fn unusable(fault: Fault) -> Verdict {
    Verdict::Done(Answer::Unusable(fault))
}

/// What a whole document means.
fn judge(document: Document, question: Question<'_>, day: Date) -> Result<Verdict> {
    match document.error.as_deref().map(str::trim) {
        Some("E107") => {
            let error = Error::new(Remedy::TryAgain, question.tried(day));
            // Alarms look for the first words.
            return Err(error.caused_by("API limit exceeded (E107)"));
        }
        Some(code @ ("E000" | "E108")) => {
            return Ok(Verdict::Again(AtLast::Busy(code.to_owned())));
        }
        Some(code) if !code.is_empty() => {
            let beginning = code.chars().take(100).collect();
            return Ok(unusable(Fault::Code(beginning)));
        }
        _ => {}
    }
    if !document.has_traffic {
        return Ok(unusable(Fault::NoTraffic));
    }
    if let Some(other) = document.other_date {
        return Ok(unusable(Fault::WrongDate(other)));
    }
    for line in document.oddities.lines() {
        tracing::warn!("{question} of {day}: {line}");
    }
    let too_many = document.malformed.iter().find(|(_, number)| *number > KEPT);
    if let Some((reason, number)) = too_many {
        let all = document.increments;
        let tried = question.tried(day);
        let what = format!("{tried}: setting aside {number} of its {all} increments");
        // The words of the engine, which refuses as much when there are fewer.
        return Err(Error::new(Remedy::FixSettings, what).caused_by(*reason).with_hint(
            "so many for one reason are a changed source; nothing of the day was sent, and the cursor was not moved",
        ));
    }
    Ok(Verdict::Done(Answer::Visits(document.readings)))
}

/// What came back from a request.
enum Reply {
    Document(Result<Document, NotXml>),
    /// An HTTP status that is not 2xx, as a number and in words.
    Status(u16, String),
    /// No answer came, or not all of it.
    Lost(Error),
    /// A folder of answers has none.
    NotRecorded,
}

#[cfg(test)]
mod tests;

/// Reads an answer about a day; gives the number of its increments. For the benchmark of
/// [`document`].
#[doc(hidden)]
pub fn read(answer: &[u8], day: Date) -> usize {
    let document = document::read(answer, day, false);
    document.expect("the answer is XML").readings.len()
}
