//! The promises of the engine, each with a test that fails when it is broken.

mod cursor;
mod pages;
mod records;
mod stops;

use std::sync::Mutex;

use watershed::connectors::objects::Object;
use watershed::dead_letters::DeadLetters;
use watershed::engine::{Report, Run, Stop};
use watershed::error::Result;
use watershed::pipeline::{Cursor, DeadLetter, Delivered, Page, Pipeline, Transformed};
use watershed::state::{Members, State};

use crate::objects::letter;

/// Ten numbers, four a page: pages of 4, 4 and 2.
const LAST: u64 = 10;

const PAGES: u64 = 3;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct At(u64);

impl Cursor for At {
    fn write(&self, members: &mut Members) {
        members.insert("at".into(), self.0.into());
    }
}

/// Delivers the numbers to a list; some are skipped or set aside.
struct Numbers<const AHEAD: usize> {
    delivered: Mutex<Vec<u64>>,
    skip: fn(u64) -> bool,
    set_aside: fn(u64) -> bool,
    lose: fn(u64) -> bool,
    /// What the destination says that it will never take.
    refused: Vec<DeadLetter>,
}

fn numbers<const AHEAD: usize>() -> Numbers<AHEAD> {
    Numbers {
        delivered: Mutex::default(),
        skip: |_| false,
        set_aside: |_| false,
        lose: |_| false,
        refused: Vec::new(),
    }
}

impl<const AHEAD: usize> Pipeline for Numbers<AHEAD> {
    const NAME: &'static str = "numbers";
    const READ_AHEAD: usize = AHEAD;
    type Cursor = At;
    type Input = u64;
    type Output = u64;

    async fn poll(&self, after: &At) -> Result<Page<u64, At>> {
        let places = (after.0 + 1..=LAST).take(4).map(|n| (At(n), n));
        Page::new(after, places.collect(), after.0 + 4 < LAST)
    }

    async fn transform(&self, inputs: Vec<u64>) -> Result<Transformed<u64>> {
        let mut transformed = Transformed::default();
        for number in inputs {
            if (self.skip)(number) {
                transformed.skipped.add("skipped", 1);
            } else if (self.set_aside)(number) {
                transformed
                    .set_aside
                    .push(letter(&number.to_string(), None));
            } else if !(self.lose)(number) {
                transformed.outputs.push(number);
            }
        }
        Ok(transformed)
    }

    async fn deliver(&self, outputs: Vec<u64>) -> Result<Delivered> {
        // A delivery takes its time, so that a stop has a chance to break into it.
        tokio::task::yield_now().await;
        self.delivered.lock().unwrap().extend(outputs);
        Ok(Delivered {
            set_aside: self.refused.clone(),
            ..Delivered::default()
        })
    }
}

impl<const AHEAD: usize> Numbers<AHEAD> {
    fn delivered(&self) -> Vec<u64> {
        self.delivered.lock().unwrap().clone()
    }
}

/// A run that begins where the state says, and writes dead letters nowhere.
async fn begin(state: &Object) -> (At, Run<'static>) {
    let opened = State::open(state, "run").await.unwrap();
    let state = opened.unwrap_or_else(|| State::fresh(state, "run"));
    let start = state.members().get("at").and_then(|at| at.as_u64());
    let run = Run {
        state,
        dead_letters: DeadLetters::forgotten(),
        stop: Stop::new(),
        max_pages: None,
        report: Report::default(),
        progress: &|_| {},
    };
    (At(start.unwrap_or(0)), run)
}

/// The cursor that is saved; 0 where none is.
async fn saved(state: &Object) -> u64 {
    let opened = State::open(state, "reader").await.unwrap();
    opened.map_or(0, |state| state.members()["at"].as_u64().unwrap())
}

/// Every promise holds however many pages are read ahead.
macro_rules! however_far_ahead {
    ($attribute:meta: $($name:ident,)*) => {$(
        mod $name {
            #[$attribute]
            async fn serial() {
                super::$name::<0>().await;
            }

            #[$attribute]
            async fn one_page() {
                super::$name::<1>().await;
            }

            #[$attribute]
            async fn two_pages() {
                super::$name::<2>().await;
            }
        }
    )*};
}
use however_far_ahead;
