//! The room in front of the corridor: pages, one behind the other.

use super::{Stop, accounts};
use crate::error::Result;
use crate::pipeline::{Page, Pipeline};

/// Gives the pages of a pipeline's source, one behind the other.
pub(super) struct Source<'a, P: Pipeline> {
    pipeline: &'a P,
    stop: &'a Stop,
    /// Behind the page read last; nothing when there is no more to read.
    after: Option<P::Cursor>,
    /// Pages read.
    pages: u64,
    max_pages: Option<u64>,
}

/// A page that was read.
pub(super) struct Read<P: Pipeline> {
    pub(super) records: Vec<P::Input>,
    pub(super) next: P::Cursor,
}

impl<'a, P: Pipeline> Source<'a, P> {
    pub(super) fn new(
        pipeline: &'a P,
        stop: &'a Stop,
        start: P::Cursor,
        max_pages: Option<u64>,
    ) -> Source<'a, P> {
        Source {
            pipeline,
            stop,
            after: Some(start),
            pages: 0,
            max_pages,
        }
    }

    /// How many pages were read.
    pub(super) fn pages(&self) -> u64 {
        self.pages
    }

    /// Whether there is no page to read any more.
    pub(super) fn is_empty(&self) -> bool {
        self.after.is_none() || self.max_pages == Some(self.pages)
    }

    /// The next page; nothing when there is none, or a stop was asked for.
    pub(super) async fn read(&mut self) -> Option<Result<Read<P>>> {
        if self.is_empty() {
            return None;
        }
        let after = self.after.take()?;
        // P7: until something is delivered, a stop abandons the page whole.
        let Some(page) = self.stop.or_abandon(self.pipeline.poll(&after)).await else {
            self.after = Some(after);
            return None;
        };
        self.behind(&after, page).transpose()
    }

    fn behind(
        &mut self,
        after: &P::Cursor,
        page: Result<Page<P::Input, P::Cursor>>,
    ) -> Result<Option<Read<P>>> {
        let (records, next, more) = page?.into_parts();
        // A stretch without records is done all the same; a page that is none is the end.
        if records.is_empty() && next == *after {
            return Ok(None);
        }
        // P2: `Page` has checked the order behind the cursor it was given, and this is that one.
        accounts::forward(P::NAME, after, &next)?;
        self.after = more.then(|| next.clone());
        self.pages += 1;
        tracing::trace!(room = "read");
        Ok(Some(Read { records, next }))
    }
}
