#![warn(missing_docs)]
#![forbid(unsafe_code)]
//! What every pipeline is made of: poll a system of record, protect the people in it, enrich,
//! deliver, remember where it stopped.
//!
//! # The map of the house
//!
//! A record goes through the rooms in this order, and nothing runs back:
//!
//! | room | what it does |
//! |---|---|
//! | [`pipeline`] | what you implement: poll, transform, deliver |
//! | [`engine`] | the only loop; it owns the order of the rooms |
//! | [`connectors`] | one module a system: SQL, streams, objects, HTTP |
//! | [`privacy`] | personal values in, pseudonyms out |
//! | [`geocoding`] | addresses in, census tracts out |
//! | [`formats`] | records in, bytes out |
//! | [`dead_letters`] | records set aside |
//! | [`state`] | the cursor, saved by compare-and-set |
//!
//! Beside them: [`settings`], [`retry`], [`time`], and [`error`], which tells by
//! [`Remedy`](error::Remedy) what its reader should do. The cargo feature `testing` adds the module
//! of that name: the contracts that a backend keeps, and a wrapper that puts faults into a
//! pipeline.
//!
//! # A complete pipeline
//!
//! ```
//! use watershed::connectors::objects::Object;
//! use watershed::dead_letters::DeadLetters;
//! use watershed::engine::{self, Report, Run, Stop};
//! use watershed::error::Result;
//! use watershed::pipeline::{Cursor, Delivered, Page, Pipeline, Transformed};
//! use watershed::state::{Members, State};
//!
//! /// Squares the numbers from 1 to 10.
//! struct Squares;
//!
//! #[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
//! struct Last(u64);
//!
//! impl Cursor for Last {
//!     fn write(&self, members: &mut Members) {
//!         members.insert("last".into(), self.0.into());
//!     }
//! }
//!
//! impl Pipeline for Squares {
//!     const NAME: &'static str = "squares";
//!     type Cursor = Last;
//!     type Input = u64;
//!     type Output = u64;
//!
//!     async fn poll(&self, after: &Last) -> Result<Page<u64, Last>> {
//!         let numbers = (after.0 + 1..=10).take(4);
//!         Page::new(after, numbers.map(|n| (Last(n), n)).collect(), after.0 + 4 < 10)
//!     }
//!
//!     async fn transform(&self, inputs: Vec<u64>) -> Result<Transformed<u64>> {
//!         Ok(Transformed { outputs: inputs.iter().map(|n| n * n).collect(), ..Transformed::default() })
//!     }
//!
//!     async fn deliver(&self, outputs: Vec<u64>) -> Result<Delivered> {
//!         println!("{outputs:?}");
//!         Ok(Delivered::default())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<()> {
//! let place = Object::in_memory("squares.json");
//! let mut run = Run {
//!     state: State::fresh(&place, "run-1"),
//!     dead_letters: DeadLetters::forgotten(),
//!     stop: Stop::new(),
//!     max_pages: None,
//!     report: Report::default(),
//!     progress: &|_| {},
//! };
//! engine::run(&Squares, Last(0), &mut run).await?;
//! assert_eq!(run.report.modes[0].delivered, 10);
//! assert_eq!(run.state.members()["last"], 10);
//! # Ok(())
//! # }
//! ```

pub mod connectors;
pub mod dead_letters;
pub mod engine;
pub mod error;
pub mod formats;
pub mod geocoding;
pub mod pipeline;
pub mod privacy;
pub mod retry;
pub mod settings;
pub mod state;
#[cfg(feature = "testing")]
pub mod testing;
pub mod time;
