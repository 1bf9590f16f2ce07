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
mod source;
mod stop;

pub use report::{ModeReport, Report};
pub use stop::Stop;

use tokio::{join, try_join};

use crate::dead_letters::DeadLetters;
use crate::error::Result;
use crate::pipeline::{Cursor as _, Pipeline, Transformed};
use crate::state::State;
use source::{Read, Source};

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

/// A page that is ready to be delivered.
struct Shaped<P: Pipeline> {
    read: u64,
    transformed: Transformed<P::Output>,
    next: P::Cursor,
}

async fn transform<P: Pipeline>(
    pipeline: &P,
    stop: &Stop,
    page: Option<Result<Read<P>>>,
) -> Option<Result<Shaped<P>>> {
    let Read { records, next } = match page? {
        Ok(page) => page,
        Err(error) => return Some(Err(error)),
    };
    let read = records.len() as u64;
    // P7: until something is delivered, a stop abandons the page whole.
    let transformed = stop.or_abandon(pipeline.transform(records)).await?;
    Some(transformed.map(|transformed| Shaped {
        read,
        transformed,
        next,
    }))
}

async fn finish<P: Pipeline>(
    pipeline: &P,
    run: &mut Run<'_>,
    page: Option<Result<Shaped<P>>>,
) -> Result<()> {
    let stop = run.stop.clone();
    let page = page.filter(|_| !stop.is_requested());
    let Some(page) = page.transpose()? else {
        return Ok(());
    };
    // P7: what has begun to be delivered is finished and saved, if the other side answers.
    let finished = stop.or_finish(deliver_and_save(pipeline, run, page)).await;
    if finished.transpose()?.is_none() {
        tracing::warn!("the page in hand was abandoned: it will be delivered again");
    }
    Ok(())
}

async fn deliver_and_save<P: Pipeline>(
    pipeline: &P,
    run: &mut Run<'_>,
    page: Shaped<P>,
) -> Result<()> {
    let Shaped {
        read,
        transformed,
        next,
    } = page;
    let Transformed {
        outputs,
        mut skipped,
        mut set_aside,
        noted,
    } = transformed;
    // P3: every record read is accounted for.
    let sum = outputs.len() as u64 + skipped.total() + set_aside.len() as u64;
    accounts::add_up(P::NAME, read, sum)?;
    accounts::one_off(P::NAME, read, &set_aside)?;

    let sent = outputs.len() as u64;
    let delivered = pipeline.deliver(outputs).await?;
    tracing::trace!(room = "delivered");
    accounts::left_out(P::NAME, sent, &delivered)?;
    skipped.add_all(&delivered.skipped);
    set_aside.extend(delivered.set_aside);

    // P1: what was set aside is durable before the cursor moves past it.
    run.dead_letters.keep(&set_aside).await?;
    tracing::trace!(room = "set aside");

    // P1, P2: only now, and only forward (`Page` has checked it), is the cursor saved.
    run.state.save(|members| next.write(members)).await?;
    tracing::trace!(room = "saved");

    let set_aside = set_aside.len() as u64;
    let done = read - skipped.total() - set_aside;
    let mode = run
        .report
        .modes
        .last_mut()
        .expect("`run` has pushed this mode");
    mode.pages += 1;
    mode.read += read;
    mode.delivered += done;
    mode.skipped.add_all(&skipped);
    mode.set_aside += set_aside;
    mode.noted.add_all(&noted);
    tracing::info!(
        "{} page {}: {read} read, {done} delivered, {} skipped, {set_aside} set aside",
        P::NAME,
        mode.pages,
        skipped.total(),
    );
    (run.progress)(&run.report);
    Ok(())
}
