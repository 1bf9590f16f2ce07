//! Killed at any moment, and taken over in the middle of a delivery: the tables, the counts and the
//! messages are those of a load that nothing disturbed.

use std::time::Duration;

use tokio::time::sleep;

use super::left::{Left, prepared, undisturbed};
use super::process::Process;

const KILLS: u32 = 20;

/// The moment is random twice: after so many lines of the log, and so long after that.
#[tokio::test]
async fn killed_at_twenty_random_moments_it_ends_as_if_nothing_had_happened() {
    let seed = std::env::var("WATERSHED_TEST_SEED").ok();
    let seed = seed.map_or_else(|| fastrand::u64(..), |seed| seed.parse().expect("a number"));
    // Shown when it fails.
    println!("WATERSHED_TEST_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);

    let expected = undisturbed().await;
    let mut kills = 0;
    while kills < KILLS {
        // One load of ten files lasts for some of the kills.
        let (mut desk, mut listener) = prepared().await;
        desk.set("LOG_LEVEL", "trace");
        loop {
            let mut process = Process::of(desk.program.start(&["run", "orders"]));
            // It has the lock and knows what waits; or it found no lock, or nothing to do.
            let (lines, micros) = (random.usize(1..16), random.u64(0..3_000));
            let more = |written: &str| {
                let listed = written.split_once("room=\"listed\"");
                listed.is_some_and(|(_, rest)| rest.lines().count() > lines)
            };
            if kills < KILLS && process.wrote(more).await {
                sleep(Duration::from_micros(micros)).await;
                // It may have come to its end in between.
                if process.child.try_wait().expect("it can be asked").is_none() {
                    process.signal("-KILL");
                }
            }
            match process.ended().await {
                None => kills += 1,
                // The server has not noticed yet that the one before is gone.
                Some(5) => {}
                Some(0) => break,
                code => panic!("seed {seed}, {code:?}: {}", process.written()),
            }
        }
        let left = Left::of(&desk, &mut listener).await;
        assert_eq!(left, expected, "seed {seed}, {kills} kills");
    }
}

#[tokio::test]
async fn nobody_is_told_of_a_delivery_before_it_is_committed() {
    let (desk, mut listener) = prepared().await;
    let at = "recorded:1,committed:1";
    let child = desk
        .program
        .interrupted(at, "pause", &["run", "orders"])
        .spawn();
    let mut process = Process::of(child.expect("it starts"));
    process.pauses().await;
    assert_eq!(listener.heard().await, []);
    process.go_on().await;
    let twice = |all: &str| all.matches("paused\n").count() == 2;
    assert!(process.wrote(twice).await);
    assert_eq!(listener.heard().await, []);
    // Whoever is killed now tells it at the next start, as it was committed.
    let committed = desk.stored_messages().await;
    assert_eq!(committed.len(), 1);
    assert_eq!(process.ended_by("-KILL").await, None);
    desk.run().await.expect(0);
    let heard = listener.heard().await;
    assert_eq!((heard.len(), &heard[0].payload), (10, &committed[0]));
}

/// Two processes as services, on one target.
async fn taken_over(room: &str) -> Left {
    let (mut desk, mut listener) = prepared().await;
    desk.set("RUN_AS_SERVICE", "True");
    let first = desk
        .program
        .interrupted(room, "pause", &["run", "orders"])
        .spawn();
    let mut first = Process::of(first.expect("it starts"));
    first.pauses().await;
    let mut second = Process::of(desk.program.start(&["run", "orders"]));
    second.says("standing by").await;
    let written = second.written();
    assert!(!written.contains("Delivery "), "{written}");

    assert_eq!(first.ended_by("-KILL").await, None);
    second.says("Delivery 10: done").await;
    assert_eq!(second.ended_by("-TERM").await, Some(0));
    Left::of(&desk, &mut listener).await
}

#[tokio::test]
async fn a_standby_takes_over_in_the_middle_of_a_delivery() {
    // The sixth file is lost with its transaction, or committed and not told yet.
    let (expected, lost, committed) = tokio::join!(
        undisturbed(),
        taken_over("merged:6"),
        taken_over("committed:6")
    );
    assert_eq!(lost, expected);
    assert_eq!(committed, expected);
}
