//! Killed, stopped, and run twice at once: nothing is lost, at most the page in hand is repeated.

use std::collections::HashMap;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value as Json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Child;

use crate::fixture::{Patron, known_address};
use crate::program::Program;
use crate::world::{World, in_both_worlds};

/// Records a page in these tests.
const PAGE: usize = 3;
const YEAR_AGO: &str = "2023-07-01T00:00:00-04:00";

/// Eight new, eight updated and eight deleted patrons, in ties of four.
async fn populate(world: &mut World) {
    let instants = ["2024-06-01 12:00:00", "2024-06-02 12:00:00"];
    let dates = ["2024-06-01", "2024-06-02"];
    let mut patrons = Vec::new();
    for i in 0..8 {
        let half = i as usize / 4;
        patrons.push(Patron::created(484_100_000_001 + i * 11, instants[half]).at(known_address()));
        patrons.push(Patron::updated(484_200_000_001 + i * 11, instants[half]).at(known_address()));
        patrons.push(Patron::deleted(484_300_000_001 + i * 11, dates[half]));
    }
    world.add(&patrons).await;
    world.set("SIERRA_BATCH_SIZE", &PAGE.to_string());
    world.start_at(YEAR_AGO, YEAR_AGO, "2024-05-01").await;
}

fn times(records: &[Json]) -> HashMap<String, usize> {
    let mut times = HashMap::new();
    for record in records {
        *times
            .entry(record["patron_id"].as_str().unwrap().to_owned())
            .or_default() += 1;
    }
    times
}

/// Waits for the line that a pausing program prints.
pub async fn paused(child: &mut Child) {
    let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
    while let Some(line) = lines.next_line().await.expect("stdout can be read") {
        if line == "paused" {
            return;
        }
    }
    panic!("it ended and did not pause");
}

/// Runs a program that is killed at a room; whatever it wrote is searched.
pub async fn killed(program: &Program, at: &str, arguments: &[&str]) {
    let child = program.interrupted(at, "kill", arguments).spawn();
    let output = child.expect("it starts").wait_with_output().await;
    let output = output.expect("the program ends");
    assert_eq!(
        output.status.code(),
        None,
        "{at}: it was not killed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    program.searched(output);
}

/// Sends a paused program SIGTERM, lets it go on when it has heard it, and waits for its end, which
/// comes within ten seconds.
pub async fn stopped(mut child: Child) -> Output {
    let sent = Instant::now();
    let id = child.id().expect("it runs").to_string();
    let killed = Command::new("kill").args(["-TERM", &id]).status();
    assert!(killed.expect("kill can be run").success());
    let mut errors = BufReader::new(child.stderr.take().expect("stderr is piped"));
    let mut said = String::new();
    while !said.contains("the stop is requested") {
        let read = errors.read_line(&mut said).await.expect("stderr is UTF-8");
        assert!(read > 0, "it ended before it was to stop:\n{said}");
    }
    let mut input = child.stdin.take().expect("stdin is piped");
    input.write_all(b"\n").await.expect("it goes on");
    errors
        .read_to_string(&mut said)
        .await
        .expect("stderr is UTF-8");
    let mut output = child.wait_with_output().await.expect("it ends");
    let took = sent.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}:\n{said}");
    output.stderr = said.into_bytes();
    output
}

const ROOMS: [&str; 7] = [
    "read",
    "shaped",
    "protected",
    "formatted",
    "delivered",
    "set aside",
    "saved",
];

/// Kills the program the n-th time that a page leaves `room`, runs it again, and counts.
async fn kill(world: &mut World, room: &str, times_left: u32) {
    let at = format!("{room}:{times_left}");
    killed(&world.program, &at, &["run", "patron-info"]).await;
    let before = world.delivered().await.len();
    world.poll().await.expect(0);
    let records = world.delivered().await;
    let times = times(&records);
    assert_eq!(
        times.len(),
        24,
        "killed after {room}: {} records, {} before the second run",
        records.len(),
        before
    );
    // Deleted patrons of the last date come again with every run; of the others at most a page does.
    let repeated = records.len() - 24;
    assert!(
        repeated <= PAGE + 4,
        "killed after {room}: {repeated} repeated"
    );
    let state = world.state().await;
    assert_eq!(state["creation_dt"], "2024-06-02T08:00:00-04:00");
    assert_eq!(state["update_dt"], "2024-06-02T08:00:00-04:00");
    assert_eq!(state["deletion_date"], "2024-06-02");
}

/// P1, P2: killed between any two rooms, on the first page, in the middle, and in each mode.
#[tokio::test(flavor = "multi_thread")]
async fn killed_between_any_two_rooms_nothing_is_lost() {
    for room in ROOMS {
        for page in [1, 2, 5, 8] {
            let mut world = World::embedded();
            populate(&mut world).await;
            kill(&mut world, room, page).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_on_real_servers_nothing_is_lost() {
    for (room, page) in [
        ("formatted", 2),
        ("delivered", 2),
        ("delivered", 5),
        ("set aside", 8),
        ("saved", 3),
    ] {
        let mut world = World::servers().await;
        populate(&mut world).await;
        kill(&mut world, room, page).await;
    }
}

in_both_worlds! {
    // P5: the one that was overtaken ends with 5, and the state is that of the other.
    async fn of_two_runners_at_once_one_saves(world) {
        populate(&mut world).await;
        let mut first = world.program.interrupted("delivered:1", "pause", &["run", "patron-info"]).spawn().expect("it starts");
        paused(&mut first).await;
        world.poll().await.expect(0);
        let others = world.state_text().await;
        first.stdin.take().unwrap().write_all(b"\n").await.expect("the first goes on");
        let ended = world.program.searched(first.wait_with_output().await.expect("it ends"));
        ended.expect(5).says("another runner, or a person, has written or removed it");
        assert_eq!(world.state_text().await, others);
        assert_eq!(times(&world.delivered().await).len(), 24);
    }

    // P7: the page in hand is finished and saved; the next run goes on behind it.
    async fn sigterm_finishes_the_page_in_hand(world) {
        populate(&mut world).await;
        let mut child = world.program.interrupted("formatted:2", "pause", &["run", "patron-info"]).spawn().expect("it starts");
        paused(&mut child).await;
        world.program.searched(stopped(child).await).expect(0).says("stopping");
        let stopped = world.delivered().await.len();
        assert!(stopped <= 2 * PAGE, "{stopped} records after the stop");
        world.poll().await.expect(0);
        let records = world.delivered().await;
        assert_eq!((records.len(), times(&records).len()), (24, 24));
    }
}

/// P6: the search that every other test relies on finds a personal value printed on purpose.
#[tokio::test(flavor = "multi_thread")]
async fn a_personal_value_printed_on_purpose_is_found() {
    let mut world = World::embedded();
    populate(&mut world).await;
    let mut command = world
        .program
        .interrupted("shaped:1", "leak", &["run", "patron-info"]);
    command.env(crate::interruption::LEAK, "476 Quince Terrace");
    let output = command.output().await.expect("the program runs");
    let ended = crate::program::Ended {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    };
    let leaks = world.program.leaks(&ended);
    assert!(
        leaks.contains(&"`476 Quince Terrace` in stdout".to_owned()),
        "{leaks:?}"
    );
}

/// P7: a stop is heard before the first page, too.
#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_a_run_that_is_still_getting_ready() {
    let mut world = World::embedded();
    world.start_at_the_end().await;
    world.set("RETRY_SECONDS", "900");
    world.set("PATRON_INFO_SCHEMA_URL", "http://127.0.0.1:9/schema");
    let mut child = world.program.start(&["run", "patron-info"]);
    let mut lines = BufReader::new(child.stderr.take().expect("stderr is piped")).lines();
    while let Some(line) = lines.next_line().await.expect("stderr can be read") {
        if line.contains("trying again") {
            break;
        }
    }
    let id = child.id().expect("it runs").to_string();
    let sent = Instant::now();
    assert!(
        Command::new("kill")
            .args(["-TERM", &id])
            .status()
            .expect("kill can be run")
            .success()
    );
    let status = child.wait().await.expect("it ends");
    assert_eq!(status.code(), Some(0));
    assert!(sent.elapsed() < Duration::from_secs(10));
}
