//! What else the loop owes its pipelines: which pages it takes, and how many at a time.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Barrier;
use tokio::time::timeout;
use watershed::connectors::objects::Object;
use watershed::engine;
use watershed::error::{Remedy, Result};
use watershed::pipeline::{Delivered, Page, Pipeline, Transformed};
use watershed::testing::{Fault, Faulty, Room};

use super::{At, LAST, Numbers, PAGES, begin, however_far_ahead, numbers, saved};

however_far_ahead! { tokio::test:
    a_page_of_nothing_but_skips_saves_its_cursor,
    a_run_takes_no_more_pages_than_it_may,
    every_run_after_the_last_page_finds_nothing_and_writes_nothing,
}

async fn a_page_of_nothing_but_skips_saves_its_cursor<const AHEAD: usize>() {
    let state = Object::in_memory("state.json");
    let pipeline = Numbers::<AHEAD> {
        skip: |_| true,
        ..numbers()
    };
    let (start, mut run) = begin(&state).await;
    run.max_pages = Some(1);
    engine::run(&pipeline, start, &mut run).await.unwrap();
    assert_eq!(saved(&state).await, 4);
    assert_eq!(run.report.modes[0].skipped.total(), 4);
}

async fn a_run_takes_no_more_pages_than_it_may<const AHEAD: usize>() {
    for (most, at) in [(0, 0), (1, 4), (2, 8), (3, 10), (4, 10)] {
        let state = Object::in_memory("state.json");
        // A poll that is one too many would fail.
        let pipeline = Faulty::new(numbers::<AHEAD>()).at(
            Room::Poll,
            most + 1,
            Fault::Fail(Remedy::ReportBug),
        );
        let (start, mut run) = begin(&state).await;
        run.max_pages = Some(most);
        engine::run(&pipeline, start, &mut run).await.unwrap();
        assert_eq!(saved(&state).await, at, "{most} pages");
        assert!(!run.report.stopped);
        assert_eq!(state.exists().await.unwrap(), most > 0);
    }
}

async fn every_run_after_the_last_page_finds_nothing_and_writes_nothing<const AHEAD: usize>() {
    let state = Object::in_memory("state.json");
    let pipeline = numbers::<AHEAD>();
    for _ in 0..2 {
        let (start, mut run) = begin(&state).await;
        engine::run(&pipeline, start, &mut run).await.unwrap();
    }
    assert_eq!(pipeline.delivered(), Vec::from_iter(1..=LAST));
    assert_eq!(saved(&state).await, LAST);
}

/// Three stretches of two numbers, of which the middle one is empty.
struct Stretches(Mutex<Vec<usize>>);

impl Pipeline for Stretches {
    const NAME: &'static str = "stretches";
    type Cursor = At;
    type Input = u64;
    type Output = u64;

    async fn poll(&self, after: &At) -> Result<Page<u64, At>> {
        let next = after.0 + 1;
        match next {
            1 | 3 => Page::stretch(after, vec![next, next], At(next), true),
            2 => Page::stretch(after, vec![], At(next), true),
            _ => Page::new(after, vec![], false),
        }
    }

    async fn transform(&self, inputs: Vec<u64>) -> Result<Transformed<u64>> {
        Ok(Transformed {
            outputs: inputs,
            ..Transformed::default()
        })
    }

    async fn deliver(&self, outputs: Vec<u64>) -> Result<Delivered> {
        self.0.lock().unwrap().push(outputs.len());
        Ok(Delivered::default())
    }
}

#[tokio::test]
async fn a_stretch_without_records_moves_the_cursor_and_the_run_goes_on() {
    for (most, at) in [(Some(2), 2), (None, 3)] {
        let state = Object::in_memory("state.json");
        let (start, mut run) = begin(&state).await;
        run.max_pages = most;
        engine::run(&Stretches(Mutex::default()), start, &mut run)
            .await
            .unwrap();
        assert_eq!(saved(&state).await, at);
        assert_eq!(run.report.modes[0].pages, at);
        assert_eq!(run.report.modes[0].read, 2 * at.div_ceil(2));
    }
}

/// With two pages read ahead, the three rooms work at the same time: here each waits for the others.
#[tokio::test(start_paused = true)]
async fn while_a_page_is_delivered_the_next_is_transformed_and_the_one_behind_it_read() {
    let state = Object::in_memory("state.json");
    let together = Arc::new(Barrier::new(3));
    let meet = || Fault::Await(together.clone());
    let pipeline = Faulty::new(numbers::<2>())
        .at(Room::Deliver, 1, meet())
        .at(Room::Transform, 2, meet())
        .at(Room::Poll, 3, meet());
    let (start, mut run) = begin(&state).await;
    let run = engine::run(&pipeline, start, &mut run);
    let ended = timeout(Duration::from_secs(60), run).await;
    ended.expect("the rooms wait for each other").unwrap();
    assert_eq!(saved(&state).await, LAST);
}

#[tokio::test]
async fn no_more_pages_are_in_hand_than_may_be_read_ahead() {
    async fn most_in_hand<const AHEAD: usize>() -> i64 {
        let in_hand = Arc::new((AtomicI64::new(0), AtomicI64::new(0)));
        let count = |by: i64| {
            let in_hand = in_hand.clone();
            Box::new(move || {
                let now = in_hand.0.fetch_add(by, Ordering::Relaxed) + by;
                in_hand.1.fetch_max(now, Ordering::Relaxed);
            })
        };
        let mut pipeline = Faulty::new(numbers::<AHEAD>());
        for page in 1..=PAGES {
            pipeline = pipeline.at(Room::Poll, page, Fault::Before(count(1))).at(
                Room::Deliver,
                page,
                Fault::After(count(-1)),
            );
        }
        let (start, mut run) = begin(&Object::in_memory("state.json")).await;
        engine::run(&pipeline, start, &mut run).await.unwrap();
        in_hand.1.load(Ordering::Relaxed)
    }
    assert_eq!(most_in_hand::<0>().await, 1);
    assert_eq!(most_in_hand::<1>().await, 2);
    assert_eq!(most_in_hand::<2>().await, 3);
}
