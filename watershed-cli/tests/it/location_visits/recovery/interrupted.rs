//! The recovery is stopped between two sites, and killed between any two rooms.

use std::process::Command;
use std::time::{Duration, Instant};

use super::World;
use crate::interrupted;
use crate::world::in_both_worlds;

in_both_worlds! {
    // P7
    async fn sigterm_ends_the_recovery_between_two_sites(world) {
        world.prepare().await;
        for id in ["aa", "ab", "ac"] {
            world.row(id, (Some(1), "09:00:00", false, true, 0)).await;
            world.answers(id, &[("EP 01", "01", "0900", 3)]);
        }
        *world.shoppertrak.held.lock().unwrap() = Some("site/ab".into());
        let child = world.program.start(&["run", "location-visits"]);
        tokio::time::timeout(Duration::from_secs(60), world.shoppertrak.reached.notified()).await.expect("it asks");
        let id = child.id().expect("it runs").to_string();
        let sent = Instant::now();
        assert!(Command::new("kill").args(["-TERM", &id]).status().expect("kill can be run").success());
        let ended = world.program.searched(child.wait_with_output().await.expect("it ends"));
        ended.expect(0).says("stopping");
        assert!(sent.elapsed() < Duration::from_secs(10));
        world.shoppertrak.go_on.notify_one();
        assert_eq!(world.asked(), ["site/aa 2024-06-15", "site/ab 2024-06-15"]);
        assert_eq!(world.consume().await, 1);
        *world.shoppertrak.held.lock().unwrap() = None;
        world.poll().await.expect(0);
        assert_eq!(world.asked(), ["site/ab 2024-06-15", "site/ac 2024-06-15"]);
        assert_eq!(world.consume().await, 2);
    }
}

/// P1: killed between any two rooms, and run again. What the first run had sent is in the table by
/// then. Each increment has one fresh row in the end, and a healthy one.
#[tokio::test(flavor = "multi_thread")]
async fn killed_between_any_two_rooms_the_table_ends_right() {
    for room in [
        "recovery sent",
        "recovery set aside",
        "recovery marked",
        "recovery saved",
    ] {
        killed(World::embedded(), room).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_on_real_servers_the_table_ends_right() {
    for room in ["recovery sent", "recovery marked"] {
        killed(World::servers().await, room).await;
    }
}

async fn killed(mut world: World, room: &str) {
    world.prepare().await;
    for id in ["aa", "ab", "ac"] {
        world.row(id, (Some(1), "09:00:00", false, true, 0)).await;
        world.row(id, (None, "09:00:00", false, true, 0)).await;
        world.answers(id, &[("EP 01", "01", "0900", 3), ("door", "01", "0900", 4)]);
    }
    // Tried in vain, so that there is something to save.
    world.row("zz", (Some(1), "09:00:00", false, true, 0)).await;
    let time = if room == "recovery saved" { 1 } else { 2 };
    let at = format!("{room}:{time}");
    interrupted::killed(&world.program, &at, &["run", "location-visits"]).await;
    let first = world.consume().await;
    let between = world.fresh().await.len();
    world.poll().await.expect(0);
    let second = world.consume().await;
    assert_eq!(first + second, 6, "{room}: nothing is sent twice");
    let mut expected = Vec::new();
    for id in ["aa", "ab", "ac"] {
        expected.push(format!("{id} - 06-15 09:00 4 healthy"));
        expected.push(format!("{id} 1 06-15 09:00 3 healthy"));
    }
    expected.push("zz 1 06-15 09:00 0 unhealthy".into());
    assert_eq!(world.fresh().await, expected, "{room}");
    if room == "recovery sent" {
        assert_eq!(
            (first, between),
            (4, 9),
            "it was killed between sending and marking"
        );
    }
}
