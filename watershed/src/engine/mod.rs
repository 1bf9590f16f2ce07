//! The only loop: poll, transform, deliver, set aside, save.
//!
//! The engine knows nothing of its pipelines. It owns the order of the rooms that a page goes
//! through, and with it the promises P1, P2, P3 and P7:
//!
//! ```text
//! poll ─▶ transform ─▶ deliver ─▶ dead letters ─▶ save ─▶ next page
//! ```
//!
//! A page is abandoned whole when a stop is asked for before its delivery; from then on it is
//! finished and saved. A page that fails leaves the cursor where it was: the next run reads it
//! again, so that at most the page in hand is delivered twice and none is lost.

mod report;
mod stop;

pub use report::{ModeReport, Report};
pub use stop::Stop;

use crate::dead_letters::DeadLetters;
use crate::error::{Error, Remedy, Result};
use crate::pipeline::{Cursor as _, Pipeline};
use crate::state::State;

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
    let mut cursor = start;
    let mut pages = 0;
    while run.max_pages.is_none_or(|most| pages < most) {
        let stop = run.stop.clone();
        // P7: until something is delivered, a stop abandons the page whole.
        let Some(page) = stop.or_abandon(pipeline.poll(&cursor)).await else {
            break;
        };
        let (records, next, more) = page?.into_parts();
        if records.is_empty() {
            return Ok(());
        }
        // P2: `Page` has checked the order behind the cursor it was given, and this is the saved one.
        if next <= cursor {
            let what = format!("reading a page of {}: it lies before the cursor", P::NAME);
            return Err(Error::new(Remedy::ReportBug, what));
        }
        let read = records.len() as u64;
        tracing::trace!(room = "read", mode = P::NAME, page = pages + 1);

        let Some(transformed) = stop.or_abandon(pipeline.transform(records)).await else {
            break;
        };
        let mut transformed = transformed?;
        let outputs = transformed.outputs.len() as u64;
        let mut skipped = std::mem::take(&mut transformed.skipped);
        let mut set_aside = std::mem::take(&mut transformed.set_aside);
        // P3: every record read is accounted for.
        accounted(
            P::NAME,
            read,
            outputs + skipped.total() + set_aside.len() as u64,
        )?;

        // P7: a delivery that has begun is finished and saved, if the other sides answer.
        let finish = async {
            let delivered = pipeline.deliver(transformed.outputs).await?;
            tracing::trace!(room = "delivered", mode = P::NAME, page = pages + 1);
            let refused = delivered.skipped.total() + delivered.set_aside.len() as u64;
            // P3: no more is left out than was there.
            accounted(P::NAME, outputs, outputs.max(refused))?;
            skipped.add_all(&delivered.skipped);
            set_aside.extend(delivered.set_aside);

            // P1: what was set aside is durable before the cursor moves past it.
            run.dead_letters.keep(&set_aside).await?;
            tracing::trace!(room = "set aside", mode = P::NAME, page = pages + 1);

            // P1, P2: only now, and only forward, is the cursor saved.
            run.state.save(|members| next.write(members)).await
        };
        let Some(finished) = stop.or_finish(finish).await else {
            break;
        };
        finished?;
        tracing::trace!(room = "saved", mode = P::NAME, page = pages + 1);

        cursor = next;
        pages += 1;
        let done = read - skipped.total() - set_aside.len() as u64;
        tracing::info!(
            "{} page {pages}: {read} read, {done} delivered, {} skipped, {} set aside",
            P::NAME,
            skipped.total(),
            set_aside.len(),
        );
        let mode = run
            .report
            .modes
            .last_mut()
            .expect("this mode was pushed above");
        mode.pages = pages;
        mode.read += read;
        mode.delivered += done;
        mode.skipped.add_all(&skipped);
        mode.set_aside += set_aside.len() as u64;
        mode.noted.add_all(&transformed.noted);
        (run.progress)(&run.report);
        if !more {
            return Ok(());
        }
    }
    run.report.stopped |= run.stop.is_requested();
    Ok(())
}

/// P3, checked on every page and in every build: the sum must be that of the records read.
fn accounted(mode: &str, read: u64, sum: u64) -> Result<()> {
    if read == sum {
        return Ok(());
    }
    let what =
        format!("handling a page of {mode}: {read} records went in, {sum} are accounted for");
    Err(Error::new(Remedy::ReportBug, what))
}
