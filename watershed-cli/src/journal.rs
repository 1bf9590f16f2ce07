//! The lines of a run, for its report by mail.

use std::sync::{Arc, Mutex};

use jiff::Zoned;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::cli::log::message;

/// Lines that are kept; a report of more would be read by nobody.
const MOST: usize = 5_000;

/// The lines of a run so far, whatever level the log itself has, from `info` on:
/// `2026-01-01 12:00:00,613 - XML created and zipped`. Clones are the same journal.
#[derive(Clone, Default)]
pub struct Journal(Arc<Mutex<Vec<String>>>);

impl Journal {
    /// The lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().expect("no holder panics").clone()
    }

    /// Begins anew.
    pub fn clear(&self) {
        self.0.lock().expect("no holder panics").clear();
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        // `Level`'s order is that of how much is said.
        if *event.metadata().level() > Level::INFO {
            return;
        }
        let Some(message) = message(event) else {
            return;
        };
        let mut lines = self.0.lock().expect("no holder panics");
        if lines.len() < MOST {
            let time = Zoned::now().strftime("%Y-%m-%d %H:%M:%S,%3f");
            lines.push(format!("{time} - {message}"));
        }
    }
}
