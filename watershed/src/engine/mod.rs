//! The only loop: poll, transform, deliver, set aside, save.
//!
//! The engine knows nothing of its pipelines. It owns the order of the rooms that a page goes
//! through, and with it the promises P1, P2, P3 and P7:
//!
//! ```text
//! poll ─▶ transform ─▶ deliver ─▶ dead letters ─▶ save ─▶ next page
//! ```
//!
//! Up to [`Pipeline::READ_AHEAD`] pages are in the rooms behind the one that is delivered, one a
//! room, and cursors are saved strictly in order. A page is abandoned whole when a stop is asked
//! for before its delivery; from then on it is finished and saved. A page that fails leaves the
//! cursor where it was: the next run reads it again, so that at most the page in hand is delivered
//! twice and none is lost.

pub mod accounts;
mod report;
mod rooms;
mod source;
mod stop;

pub use report::{ModeReport, Report};
pub use stop::Stop;

use tokio::{join, try_join};

use crate::dead_letters::DeadLetters;
use crate::error::Result;
use crate::pipeline::Pipeline;
use crate::state::State;
use rooms::{finish, transform};
use source::Source;

/// What a run hands from mode to mode.
pub struct Run<'a> {
    /// Where cursors are saved.
    pub state: State,
    /// Where records are set aside.
    pub dead_letters: DeadLetters,
    /// Ends the run between two pages.
    pub stop: Stop,
    /// Pages a mode may take.
    pub max_pages: Option<u64>,
    /// What was done so far; it holds when the run fails, too.
    pub report: Report,
    /// Called whenever the report has changed.
    pub progress: &'a (dyn Fn(&Report) + Sync),
}

/// Runs one pipeline, or one mode of it, from `start` until its source has nothing more.
///
/// # Errors
/// Those of the pipeline's rooms, of the state and of the dead letters, as they are. The cursor is
/// then where the last complete page left it.
pub async fn run<P: Pipeline>(pipeline: &P, start: P::Cursor, run: &mut Run<'_>) -> Result<()> {
    run.report.modes.push(ModeReport {
        name: P::NAME,
        ..ModeReport::default()
    });
    let stop = run.stop.clone();
    let mut source = Source::new(pipeline, &stop, start, run.max_pages);
    let (mut read, mut shaped) = (None, None);
    loop {
        // In lock-step: while one page is delivered and saved, the next is transformed, and the
        // one behind it read. A page that fails ahead is no error before those in front of it
        // are saved: its error takes its place.
        let in_hand = usize::from(read.is_some()) + usize::from(shaped.is_some());
        let ahead = async {
            let reading = async {
                match in_hand <= P::READ_AHEAD {
                    true => source.read().await,
                    false => None,
                }
            };
            Ok(join!(transform(pipeline, &stop, read.take()), reading))
        };
        ((), (shaped, read)) = try_join!(finish(pipeline, run, shaped.take()), ahead)?;
        if shaped.is_some() || read.is_some() {
            continue;
        }
        let saved = run.report.modes.last().map_or(0, |mode| mode.pages);
        if source.is_empty() && source.pages() == saved {
            return Ok(());
        }
        if stop.is_requested() {
            run.report.stopped = true;
            return Ok(());
        }
    }
}
