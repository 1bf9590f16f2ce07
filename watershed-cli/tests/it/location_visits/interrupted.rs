//! Killed between any two rooms: nothing is lost, at most the day in hand is repeated.

use std::collections::HashMap;

use super::World;
use super::server::{Answer, day, good, traffic};

const ROOMS: [&str; 6] = [
    "read",
    "shaped",
    "formatted",
    "delivered",
    "set aside",
    "saved",
];

/// Kills the program the n-th time that a day leaves `room`, and runs it again.
async fn kill(world: &World, room: &str, times: u32) {
    let at = format!("{room}:{times}");
    let arguments = ["run", "location-visits"];
    let child = world.program.interrupted(&at, "kill", &arguments).spawn();
    let output = child.expect("it starts").wait_with_output().await;
    let output = output.expect("the program ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        output.status.code(),
        None,
        "{at}: it was not killed: {said}"
    );
    world.poll().await.expect(0);
    assert_eq!(world.stands_at().await, "2024-06-30", "{at}");
}

async fn times(world: &World) -> HashMap<String, usize> {
    let mut times = HashMap::new();
    for record in world.delivered().await {
        let start = record["increment_start"].as_str().unwrap().to_owned();
        *times.entry(start).or_default() += 1;
    }
    times
}

async fn killed_in_three_days(world: World, room: &str, day: u32) {
    world.last_poll_date("2024-06-27").await;
    for day in ["20240628", "20240629", "20240630"] {
        world.shoppertrak.tell(day, &[good(day)]);
    }
    kill(&world, room, day).await;
    let times = times(&world).await;
    assert_eq!(times.len(), 6, "{room}:{day}");
    let repeated = times.values().filter(|times| **times > 1).count();
    assert!(repeated <= 2, "{room}:{day}: {repeated} repeated");
    let asked = world.shoppertrak.asked().len();
    assert!(asked <= 4, "{room}:{day}: {asked} requests");
}

/// P1, P2.
#[tokio::test(flavor = "multi_thread")]
async fn killed_between_any_two_rooms_nothing_is_lost() {
    for room in ROOMS {
        for day in [1, 2, 3] {
            killed_in_three_days(World::embedded().await, room, day).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_on_real_servers_nothing_is_lost() {
    for (room, day) in [
        ("formatted", 2),
        ("delivered", 1),
        ("delivered", 3),
        ("saved", 2),
    ] {
        killed_in_three_days(World::servers().await, room, day).await;
    }
}

/// A day is sent chunk by chunk, and saved when the last of them is durable.
#[tokio::test(flavor = "multi_thread")]
async fn killed_between_two_chunks_of_a_day_all_of_it_comes() {
    let world = World::embedded().await;
    world.last_poll_date("2024-06-29").await;
    let number = 45_000;
    let start = |i: u32| format!("{:02}{:02}{:02}", i / 3600, i / 60 % 60, i % 60);
    let increments: String = (0..number)
        .map(|i| traffic(&start(i), "01", "1", "1"))
        .collect();
    let xml = day("20240630", &increments);
    world.shoppertrak.tell("20240630", &[Answer::Xml(xml)]);
    kill(&world, "formatted", 3).await;
    let times = times(&world).await;
    assert_eq!(times.len(), number as usize);
    // Two of the three chunks went out before the kill.
    assert_eq!(times.values().sum::<usize>(), (number + 40_000) as usize);
}
