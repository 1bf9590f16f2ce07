use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Barrier;

use crate::error::{Error, Remedy, Result};
use crate::pipeline::{Delivered, Page, Pipeline, Transformed};

/// A room that a page goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// [`Pipeline::poll`]
    Poll,
    /// [`Pipeline::transform`]
    Transform,
    /// [`Pipeline::deliver`]
    Deliver,
}

/// What happens in a room.
pub enum Fault {
    /// The room fails with this remedy and does nothing.
    Fail(Remedy),
    /// The room does its work and fails with this remedy all the same: its answer was lost.
    LoseAnswer(Remedy),
    /// The room does nothing and never answers.
    Hang,
    /// The room waits here for as many others as the barrier wants.
    Await(Arc<Barrier>),
    /// Called before the room does its work.
    Before(Box<dyn Fn() + Send + Sync>),
    /// Called when the room has done its work.
    After(Box<dyn Fn() + Send + Sync>),
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Fail(remedy) => write!(f, "Fail({remedy:?})"),
            Fault::LoseAnswer(remedy) => write!(f, "LoseAnswer({remedy:?})"),
            Fault::Hang => f.write_str("Hang"),
            Fault::Await(_) => f.write_str("Await"),
            Fault::Before(_) => f.write_str("Before"),
            Fault::After(_) => f.write_str("After"),
        }
    }
}

/// A pipeline with faults. Without any it does what the pipeline does.
#[derive(Debug)]
pub struct Faulty<P> {
    inner: P,
    faults: Vec<(Room, u64, Fault)>,
    /// How often each room was entered, in the order of [`Room`].
    visits: [AtomicU64; 3],
}

impl<P> Faulty<P> {
    /// A pipeline that has no faults yet.
    pub fn new(inner: P) -> Faulty<P> {
        Faulty {
            inner,
            faults: Vec::new(),
            visits: Default::default(),
        }
    }

    /// Adds a fault in `room` on the page of this number; the first is 1. Several faults of one
    /// room and page happen in the order in which they were added.
    pub fn at(mut self, room: Room, page: u64, fault: Fault) -> Faulty<P> {
        self.faults.push((room, page, fault));
        self
    }

    /// The pipeline within.
    pub fn inner(&self) -> &P {
        &self.inner
    }

    async fn visit<T>(&self, room: Room, work: impl Future<Output = Result<T>>) -> Result<T> {
        let page = self.visits[room as usize].fetch_add(1, Ordering::Relaxed) + 1;
        let here = || {
            let of_room = move |at: &&(Room, u64, Fault)| at.0 == room && at.1 == page;
            self.faults
                .iter()
                .filter(of_room)
                .map(|(_, _, fault)| fault)
        };
        let fail = |remedy| Error::new(remedy, format!("a fault in {room:?} of page {page}"));
        for fault in here() {
            match fault {
                Fault::Fail(remedy) => return Err(fail(*remedy)),
                Fault::Hang => std::future::pending().await,
                Fault::Await(others) => {
                    others.wait().await;
                }
                Fault::Before(hook) => hook(),
                Fault::LoseAnswer(_) | Fault::After(_) => {}
            }
        }
        let done = work.await?;
        for fault in here() {
            match fault {
                Fault::LoseAnswer(remedy) => return Err(fail(*remedy)),
                Fault::After(hook) => hook(),
                Fault::Fail(_) | Fault::Hang | Fault::Await(_) | Fault::Before(_) => {}
            }
        }
        Ok(done)
    }
}

impl<P: Pipeline> Pipeline for Faulty<P> {
    const NAME: &'static str = P::NAME;
    const READ_AHEAD: usize = P::READ_AHEAD;
    type Cursor = P::Cursor;
    type Input = P::Input;
    type Output = P::Output;

    async fn poll(&self, after: &P::Cursor) -> Result<Page<P::Input, P::Cursor>> {
        self.visit(Room::Poll, self.inner.poll(after)).await
    }

    async fn transform(&self, inputs: Vec<P::Input>) -> Result<Transformed<P::Output>> {
        self.visit(Room::Transform, self.inner.transform(inputs))
            .await
    }

    async fn deliver(&self, outputs: Vec<P::Output>) -> Result<Delivered> {
        self.visit(Room::Deliver, self.inner.deliver(outputs)).await
    }
}
