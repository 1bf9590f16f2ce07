//! P1, P2 and P5: the cursor that is saved.

use std::fs;
use std::sync::{Arc, Mutex};

use watershed::connectors::objects::Object;
use watershed::dead_letters::DeadLetters;
use watershed::engine;
use watershed::error::{Remedy, Result};
use watershed::pipeline::{Delivered, Page, Pipeline, Transformed};
use watershed::state::State;
use watershed::testing::{Fault, Faulty, Room};

use super::{At, LAST, Numbers, PAGES, begin, however_far_ahead, numbers, saved};
use crate::objects::{in_a_file, in_s3};

however_far_ahead! { tokio::test:
    p1_the_cursor_is_saved_when_its_page_is_delivered_and_not_before,
    p1_after_a_failure_anywhere_the_next_run_loses_nothing,
    p1_a_dead_letter_that_cannot_be_kept_leaves_the_cursor,
    p5_of_two_runners_one_is_stopped_and_the_document_is_the_others,
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
