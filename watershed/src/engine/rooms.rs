//! The rooms behind the source: transform, deliver, dead letters, save.

use super::source::Read;
use super::{Run, Stop, accounts};
use crate::error::Result;
use crate::pipeline::{Cursor as _, Pipeline, Transformed};

/// A page that is ready to be delivered.
pub(super) struct Shaped<P: Pipeline> {
    read: u64,
    transformed: Transformed<P::Output>,
    next: P::Cursor,
}

/// Makes of a page what is delivered; nothing when a stop was asked for.
pub(super) async fn transform<P: Pipeline>(
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

/// Delivers a page and saves its cursor; abandons it when a stop was asked for before.
pub(super) async fn finish<P: Pipeline>(
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
