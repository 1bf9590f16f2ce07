//! The promises of the engine, each with a test that fails when it is broken.

use std::fs;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use tokio::sync::Barrier;
use tokio::time::{Instant, timeout};
use watershed::connectors::objects::Object;
use watershed::dead_letters::DeadLetters;
use watershed::engine::{self, ModeReport, Report, Run, Stop};
use watershed::error::{Remedy, Result};
use watershed::pipeline::{Counts, Cursor, DeadLetter, Delivered, Page, Pipeline, Transformed};
use watershed::state::{Members, State};
use watershed::testing::{Fault, Faulty, Room};

use crate::objects::{in_a_file, in_s3, letter};
use crate::support::{aws, policy, serve};

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

fn requesting(stop: &Stop) -> Fault {
    let stop = stop.clone();
    Fault::Before(Box::new(move || stop.request()))
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

however_far_ahead! { tokio::test:
    p1_the_cursor_is_saved_when_its_page_is_delivered_and_not_before,
    p1_after_a_failure_anywhere_the_next_run_loses_nothing,
    p1_a_dead_letter_that_cannot_be_kept_leaves_the_cursor,
    p3_every_record_is_delivered_or_skipped_or_set_aside,
    p3_a_pipeline_that_loses_a_record_is_stopped_before_it_delivers,
    p3_what_the_destination_refuses_is_set_aside_and_not_delivered,
    p3_a_destination_cannot_refuse_more_than_it_was_given,
    p5_of_two_runners_one_is_stopped_and_the_document_is_the_others,
    a_page_of_nothing_but_skips_saves_its_cursor,
    a_run_takes_no_more_pages_than_it_may,
    every_run_after_the_last_page_finds_nothing_and_writes_nothing,
}

however_far_ahead! { tokio::test(start_paused = true):
    p7_a_stop_before_the_delivery_abandons_the_page_at_once,
    p7_a_stop_during_the_delivery_finishes_and_saves_the_page,
    p7_a_delivery_without_an_answer_is_abandoned_within_ten_seconds,
    p7_a_save_without_an_answer_is_abandoned_within_ten_seconds,
}

// P1

async fn p1_the_cursor_is_saved_when_its_page_is_delivered_and_not_before<const AHEAD: usize>() {
    let folder = tempfile::tempdir().unwrap();
    let state = in_a_file(&folder, "state.json").await;
    let path = folder.path().join("state.json");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let look = || {
        let (seen, path) = (seen.clone(), path.clone());
        Box::new(move || {
            let text = fs::read_to_string(&path).unwrap_or_default();
            let document: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
            seen.lock().unwrap().push(document["at"].as_u64());
        })
    };
    let mut pipeline = Faulty::new(numbers::<AHEAD>());
    for page in 1..=PAGES {
        pipeline = pipeline.at(Room::Deliver, page, Fault::Before(look())).at(
            Room::Deliver,
            page,
            Fault::After(look()),
        );
    }
    let (start, mut run) = begin(&state).await;
    engine::run(&pipeline, start, &mut run).await.unwrap();
    assert_eq!(
        *seen.lock().unwrap(),
        [None, None, Some(4), Some(4), Some(8), Some(8)]
    );
    assert_eq!(saved(&state).await, LAST);
}

async fn p1_after_a_failure_anywhere_the_next_run_loses_nothing<const AHEAD: usize>() {
    for room in [Room::Poll, Room::Transform, Room::Deliver] {
        for page in 1..=PAGES {
            for lost in [false, true] {
                let state = Object::in_memory("state.json");
                let remedy = Remedy::TryAgain;
                let fault = if lost {
                    Fault::LoseAnswer(remedy)
                } else {
                    Fault::Fail(remedy)
                };
                let pipeline = Faulty::new(numbers::<AHEAD>()).at(room, page, fault);
                let (start, mut run) = begin(&state).await;
                let error = engine::run(&pipeline, start, &mut run).await.unwrap_err();
                assert_eq!(error.remedy(), remedy);
                assert_eq!(saved(&state).await, (page - 1) * 4, "{room:?} {page}");
                assert_eq!(run.report.modes[0].pages, page - 1);

                let (start, mut run) = begin(&state).await;
                engine::run(&pipeline, start, &mut run).await.unwrap();
                let mut delivered = pipeline.inner().delivered();
                let twice = lost && room == Room::Deliver;
                let again = if twice {
                    4.min(LAST - (page - 1) * 4)
                } else {
                    0
                };
                assert_eq!(delivered.len() as u64, LAST + again, "{room:?} {page}");
                delivered.sort_unstable();
                delivered.dedup();
                assert_eq!(delivered, Vec::from_iter(1..=LAST), "{room:?} {page}");
            }
        }
    }
}

async fn p1_a_dead_letter_that_cannot_be_kept_leaves_the_cursor<const AHEAD: usize>() {
    let folder = tempfile::tempdir().unwrap();
    let occupied = in_a_file(&folder, "occupied").await;
    occupied.write("no folder".into()).await.unwrap();
    let state = Object::in_memory("state.json");
    let pipeline = Numbers::<AHEAD> {
        set_aside: |n| n == 6,
        ..numbers()
    };
    let (start, mut run) = begin(&state).await;
    run.dead_letters = DeadLetters::new(&occupied, "numbers", "run");
    let error = engine::run(&pipeline, start, &mut run).await.unwrap_err();
    assert_eq!(error.remedy(), Remedy::FixAccess);
    assert_eq!(saved(&state).await, 4);
    assert_eq!(
        run.report.set_aside(),
        0,
        "what is nowhere is not reported as kept"
    );
}

// P2

/// Reads from the beginning, wherever it is asked to go on.
struct Backward;

impl Pipeline for Backward {
    const NAME: &'static str = "backward";
    type Cursor = At;
    type Input = u64;
    type Output = u64;

    async fn poll(&self, _: &At) -> Result<Page<u64, At>> {
        Page::new(&At(0), vec![(At(1), 1), (At(2), 2)], true)
    }

    async fn transform(&self, outputs: Vec<u64>) -> Result<Transformed<u64>> {
        Ok(Transformed {
            outputs,
            ..Transformed::default()
        })
    }

    async fn deliver(&self, _: Vec<u64>) -> Result<Delivered> {
        Ok(Delivered::default())
    }
}

#[tokio::test]
async fn p2_a_page_that_does_not_rise_is_refused() {
    for places in [vec![3, 4, 4], vec![3, 2], vec![2], vec![1]] {
        let records = places.iter().map(|place| (At(*place), ())).collect();
        let error = Page::new(&At(2), records, false).unwrap_err();
        assert_eq!(error.remedy(), Remedy::ReportBug, "{places:?}");
    }
}

#[tokio::test]
async fn p2_a_source_that_ignores_the_cursor_does_not_move_it_backward() {
    let state = Object::in_memory("state.json");
    state.write(r#"{"at":7}"#.into()).await.unwrap();
    let (start, mut run) = begin(&state).await;
    run.max_pages = Some(3);
    let error = engine::run(&Backward, start, &mut run).await.unwrap_err();
    assert_eq!(error.remedy(), Remedy::ReportBug);
    assert_eq!(saved(&state).await, 7);
}

// P3

async fn p3_every_record_is_delivered_or_skipped_or_set_aside<const AHEAD: usize>() {
    let folder = tempfile::tempdir().unwrap();
    let letters = in_a_file(&folder, "dead").await;
    let state = Object::in_memory("state.json");
    let pipeline = Numbers::<AHEAD> {
        skip: |n| n % 4 == 0,
        set_aside: |n| n == 5,
        ..numbers()
    };
    let (start, mut run) = begin(&state).await;
    run.dead_letters = DeadLetters::new(&letters, "numbers", "run");
    engine::run(&pipeline, start, &mut run).await.unwrap();
    let mut skipped = Counts::default();
    skipped.add("skipped", 2);
    let expected = ModeReport {
        name: "numbers",
        pages: 3,
        read: 10,
        delivered: 7,
        skipped,
        set_aside: 1,
        noted: Counts::default(),
    };
    assert_eq!(run.report.modes, [expected]);
    assert_eq!(pipeline.delivered(), [1, 2, 3, 6, 7, 9, 10]);
    let kept = fs::read_to_string(folder.path().join("dead/numbers/run.jsonl")).unwrap();
    assert_eq!(kept.lines().count(), 1);
}

async fn p3_a_pipeline_that_loses_a_record_is_stopped_before_it_delivers<const AHEAD: usize>() {
    let state = Object::in_memory("state.json");
    let pipeline = Numbers::<AHEAD> {
        lose: |n| n == 6,
        ..numbers()
    };
    let (start, mut run) = begin(&state).await;
    let error = engine::run(&pipeline, start, &mut run).await.unwrap_err();
    assert_eq!(error.remedy(), Remedy::ReportBug);
    assert!(
        error.to_string().contains("4 records went in, 3 are"),
        "{error}"
    );
    assert_eq!(pipeline.delivered(), [1, 2, 3, 4]);
    assert_eq!(saved(&state).await, 4);
}

async fn p3_what_the_destination_refuses_is_set_aside_and_not_delivered<const AHEAD: usize>() {
    let folder = tempfile::tempdir().unwrap();
    let letters = in_a_file(&folder, "dead").await;
    let state = Object::in_memory("state.json");
    let pipeline = Numbers::<AHEAD> {
        refused: vec![letter("1", None)],
        ..numbers()
    };
    let (start, mut run) = begin(&state).await;
    run.max_pages = Some(1);
    run.dead_letters = DeadLetters::new(&letters, "numbers", "run");
    engine::run(&pipeline, start, &mut run).await.unwrap();
    let mode = &run.report.modes[0];
    assert_eq!((mode.read, mode.delivered, mode.set_aside), (4, 3, 1));
    let kept = fs::read_to_string(folder.path().join("dead/numbers/run.jsonl")).unwrap();
    assert_eq!(kept.lines().count(), 1);
}

async fn p3_a_destination_cannot_refuse_more_than_it_was_given<const AHEAD: usize>() {
    let state = Object::in_memory("state.json");
    let pipeline = Numbers::<AHEAD> {
        skip: |n| n > 1,
        refused: vec![letter("1", None), letter("2", None)],
        ..numbers()
    };
    let (start, mut run) = begin(&state).await;
    let error = engine::run(&pipeline, start, &mut run).await.unwrap_err();
    assert_eq!(error.remedy(), Remedy::ReportBug);
    assert_eq!(saved(&state).await, 0);
}

// P5

async fn p5_of_two_runners_one_is_stopped_and_the_document_is_the_others<const AHEAD: usize>() {
    let folder = tempfile::tempdir().unwrap();
    for state in [
        in_a_file(&folder, "state.json").await,
        Object::in_memory("state.json"),
        in_s3("state.json").await,
    ] {
        state
            .write(r#"{"at":0,"saved_by":"before"}"#.into())
            .await
            .unwrap();
        let (start, mut first) = begin(&state).await;
        first.state = State::open(&state, "first").await.unwrap().unwrap();
        let (_, mut second) = begin(&state).await;
        second.state = State::open(&state, "second").await.unwrap().unwrap();
        first.max_pages = Some(1);

        engine::run(&numbers::<AHEAD>(), start.clone(), &mut first)
            .await
            .unwrap();
        let error = engine::run(&numbers::<AHEAD>(), start, &mut second)
            .await
            .unwrap_err();
        assert_eq!(error.remedy(), Remedy::StopOtherRunner, "{state}");
        assert_eq!(second.report.modes[0].pages, 0);
        let (document, _) = state.read().await.unwrap().unwrap();
        assert_eq!(&document[..], br#"{"at":4,"saved_by":"first"}"#, "{state}");
    }
}

// P7

async fn p7_a_stop_before_the_delivery_abandons_the_page_at_once<const AHEAD: usize>() {
    for room in [Room::Poll, Room::Transform] {
        let state = Object::in_memory("state.json");
        let (start, mut run) = begin(&state).await;
        let pipeline = Faulty::new(numbers::<AHEAD>())
            .at(room, 2, requesting(&run.stop))
            .at(room, 2, Fault::Hang);
        let begun = Instant::now();
        engine::run(&pipeline, start, &mut run).await.unwrap();
        assert_eq!(begun.elapsed(), Duration::ZERO, "{room:?}");
        assert!(run.report.stopped);
        // Where the second page is read ahead, the first one's delivery has not begun yet.
        let first = AHEAD == 0 || room == Room::Transform;
        let done = if first { 4 } else { 0 };
        assert_eq!(pipeline.inner().delivered(), Vec::from_iter(1..=done));
        assert_eq!(saved(&state).await, done, "{room:?}");
    }
}

async fn p7_a_stop_during_the_delivery_finishes_and_saves_the_page<const AHEAD: usize>() {
    let state = Object::in_memory("state.json");
    let (start, mut run) = begin(&state).await;
    let pipeline = Faulty::new(numbers::<AHEAD>()).at(Room::Deliver, 2, requesting(&run.stop));
    engine::run(&pipeline, start, &mut run).await.unwrap();
    assert!(run.report.stopped);
    assert_eq!(run.report.modes[0].pages, 2);
    assert_eq!(pipeline.inner().delivered(), Vec::from_iter(1..=8));
    assert_eq!(saved(&state).await, 8);
}

async fn p7_a_delivery_without_an_answer_is_abandoned_within_ten_seconds<const AHEAD: usize>() {
    let state = Object::in_memory("state.json");
    let (start, mut run) = begin(&state).await;
    let pipeline = Faulty::new(numbers::<AHEAD>())
        .at(Room::Deliver, 2, requesting(&run.stop))
        .at(Room::Deliver, 2, Fault::Hang);
    let begun = Instant::now();
    engine::run(&pipeline, start, &mut run).await.unwrap();
    assert!(begun.elapsed() <= Duration::from_secs(10));
    assert!(run.report.stopped);
    assert_eq!(saved(&state).await, 4);
}

async fn p7_a_save_without_an_answer_is_abandoned_within_ten_seconds<const AHEAD: usize>() {
    let never = || std::future::pending::<()>();
    let aws = aws(&serve(Router::new().fallback(never)).await).await;
    let (_, mut run) = begin(&Object::in_memory("state.json")).await;
    let unanswered = Object::open("s3://bucket/state.json", &aws, policy()).unwrap();
    run.state = State::fresh(&unanswered, "run");
    let pipeline = Faulty::new(numbers::<AHEAD>()).at(Room::Deliver, 1, requesting(&run.stop));
    let begun = Instant::now();
    engine::run(&pipeline, At(0), &mut run).await.unwrap();
    assert!(begun.elapsed() <= Duration::from_secs(10));
    assert!(run.report.stopped);
    assert_eq!(
        run.report.modes[0].pages, 0,
        "a page that was not saved is not counted"
    );
}

// What else the loop owes its pipelines.

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
