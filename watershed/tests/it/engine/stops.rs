//! P7: a stop is heard at once, or when the page in hand is saved.

use std::time::Duration;

use axum::Router;
use tokio::time::Instant;
use watershed::connectors::objects::Object;
use watershed::engine::{self, Stop};
use watershed::state::State;
use watershed::testing::{Fault, Faulty, Room};

use super::{At, begin, however_far_ahead, numbers, saved};
use crate::support::{aws, policy, serve};

however_far_ahead! { tokio::test(start_paused = true):
    p7_a_stop_before_the_delivery_abandons_the_page_at_once,
    p7_a_stop_during_the_delivery_finishes_and_saves_the_page,
    p7_a_delivery_without_an_answer_is_abandoned_within_ten_seconds,
    p7_a_save_without_an_answer_is_abandoned_within_ten_seconds,
}

fn requesting(stop: &Stop) -> Fault {
    let stop = stop.clone();
    Fault::Before(Box::new(move || stop.request()))
}

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
