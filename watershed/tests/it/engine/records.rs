//! P3: every record is accounted for.

use std::fs;

use watershed::connectors::objects::Object;
use watershed::dead_letters::DeadLetters;
use watershed::engine::{self, ModeReport};
use watershed::error::Remedy;
use watershed::pipeline::Counts;

use super::{Numbers, begin, however_far_ahead, numbers, saved};
use crate::objects::{in_a_file, letter};

however_far_ahead! { tokio::test:
    p3_every_record_is_delivered_or_skipped_or_set_aside,
    p3_a_pipeline_that_loses_a_record_is_stopped_before_it_delivers,
    p3_what_the_destination_refuses_is_set_aside_and_not_delivered,
    p3_a_destination_cannot_refuse_more_than_it_was_given,
}

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
