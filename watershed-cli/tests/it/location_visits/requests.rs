//! What is asked, and how often.

use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::World;
use super::server::{Answer, good};
use crate::service::Running;

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_that_of_the_old_program() {
    let mut world = World::embedded().await;
    world.last_poll_date("2024-06-29").await;
    world.shoppertrak.tell("20240630", &[good("20240630")]);
    world.set("SHOPPERTRAK_USERNAME", "käse");
    let base = world.shoppertrak.base("v2.0");
    for base in [base.clone(), format!("{base}service/")] {
        world.set("SHOPPERTRAK_API_BASE_URL", &base);
        world.last_poll_date("2024-06-29").await;
        world.poll().await.expect(0);
        let asked = world.shoppertrak.requests();
        assert_eq!(asked.len(), 1);
        assert_eq!(
            asked[0].uri,
            "/EnterpriseFlash/v2.0/service/allsites?date=20240630&increment=15&total_property_only=false&detail=entrance"
        );
        for (name, value) in [
            ("content-type", "application/xml"),
            ("cache-control", "no-cache"),
            ("pragma", "no-cache"),
            ("accept-encoding", "gzip"),
            // Latin-1.
            ("authorization", "Basic a+RzZTpzdDpoaWRkZW4tcGFzcw=="),
        ] {
            assert_eq!(asked[0].headers[name], value, "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_spends_no_request() {
    let world = World::embedded().await;
    world.last_poll_date("2024-06-29").await;
    let ended = world
        .program
        .run(&["check", "location-visits"])
        .await
        .expect(0);
    for system in ["ShopperTrak", "Redshift", "state", "schema", "stream"] {
        assert!(
            ended.stdout.contains(&format!("ok    {system}")),
            "{}",
            ended.stdout
        );
    }
    assert!(world.shoppertrak.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn check_tells_what_is_missing() {
    let mut world = World::embedded().await;
    world.in_redshift("DROP TABLE location_hours_v2_qa").await;
    world.set("SHOPPERTRAK_API_BASE_URL", "file:nowhere");
    world.set("ALL_SITES_URL", "file:nowhere.json");
    let ended = world
        .program
        .run(&["check", "location-visits"])
        .await
        .expect(3);
    for words in [
        "FIX   ShopperTrak looking into file:nowhere",
        "FIX   Redshift",
        "FIX   sites      looking for file:nowhere.json: there is no such object",
        "watershed state set location-visits last_poll_date=…",
    ] {
        assert!(
            ended.stdout.contains(words),
            "`{words}` is not in\n{}",
            ended.stdout
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_requests_than_the_allowance() {
    let mut world = World::embedded().await;
    world.last_poll_date("2024-06-26").await;
    for day in ["20240627", "20240628", "20240629", "20240630"] {
        world.shoppertrak.tell(day, &[good(day)]);
    }
    world
        .shoppertrak
        .tell("20240628", &[Answer::Error("E108"), good("20240628")]);
    world.set("DAILY_REQUEST_LIMIT", "3");
    let ended = world.poll().await.expect(4);
    ended.says("API limit exceeded: DAILY_REQUEST_LIMIT allows no more requests");
    ended.says("all-sites: 3 requests");
    assert_eq!(world.shoppertrak.asked().len(), 3);
    assert_eq!(world.stands_at().await, "2024-06-28");
    world.poll().await.expect(0);
    assert_eq!(
        world.shoppertrak.asked(),
        ["allsites|20240629", "allsites|20240630"]
    );
    assert_eq!(world.delivered().await.len(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_batch_is_one_day() {
    let mut world = World::embedded().await;
    world.last_poll_date("2024-06-28").await;
    world.shoppertrak.tell("20240629", &[good("20240629")]);
    world.set("MAX_BATCHES", "1");
    world.poll().await.expect(0);
    assert_eq!(world.shoppertrak.asked(), ["allsites|20240629"]);
    assert_eq!(world.stands_at().await, "2024-06-29");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_is_one_day_and_writes_nowhere() {
    let world = World::embedded().await;
    world.last_poll_date("2024-06-28").await;
    world.shoppertrak.tell("20240629", &[good("20240629")]);
    let ended = world
        .program
        .run(&["sample", "location-visits"])
        .await
        .expect(0);
    assert!(
        ended.stdout.contains("2024-06-29 09:15:00"),
        "{}",
        ended.stdout
    );
    assert_eq!(world.shoppertrak.asked(), ["allsites|20240629"]);
    assert_eq!(world.stands_at().await, "2024-06-28");
    assert!(world.delivered().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_shows_its_requests_and_waits() {
    let mut world = World::embedded().await;
    world.last_poll_date("2024-06-29").await;
    let answers = [Answer::Error("E108"), good("20240630")];
    world.shoppertrak.tell("20240630", &answers);
    world.set("RETRY_WAIT_SECONDS", "1");
    let service = ["run", "location-visits", "--every", "1h"];
    let running = Running::start(&mut world.program, &service).await;
    let page = running
        .counts(r#"watershed_passes_total{pipeline="location-visits",outcome="succeeded"} 1"#)
        .await;
    for line in [
        r#"watershed_shoppertrak_requests_total{pipeline="location-visits"} 2"#,
        r#"watershed_shoppertrak_wait_seconds_count{pipeline="location-visits"} 1"#,
        r#"watershed_shoppertrak_wait_seconds_sum{pipeline="location-visits"} 1"#,
        r#"watershed_shoppertrak_wait_seconds_bucket{pipeline="location-visits",le="0.5"} 0"#,
        "# HELP watershed_shoppertrak_requests_total Requests to ShopperTrak.",
    ] {
        let is_there = page.lines().any(|there| there == line);
        assert!(is_there, "{line} is not in\n{page}");
    }
    running.stop(&world.program).await.expect(0);
}

/// P7: a wait of five minutes is over at once.
#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_the_wait_for_a_busy_service() {
    let mut world = World::embedded().await;
    world.last_poll_date("2024-06-28").await;
    world.shoppertrak.tell("20240629", &[Answer::Error("E108")]);
    world.set("RETRY_WAIT_SECONDS", "300");
    let mut child = world.program.start(&["run", "location-visits"]);
    let mut lines = BufReader::new(child.stderr.take().expect("stderr is piped")).lines();
    while let Some(line) = lines.next_line().await.expect("stderr can be read") {
        if line.contains("ShopperTrak is busy (E108)") {
            assert!(line.contains("in 300 s (request 2 of 3)"), "{line}");
            break;
        }
    }
    let id = child.id().expect("it runs").to_string();
    let sent = Instant::now();
    let kill = std::process::Command::new("kill")
        .args(["-TERM", &id])
        .status();
    assert!(kill.expect("kill can be run").success());
    let status = child.wait().await.expect("it ends");
    assert_eq!(status.code(), Some(0));
    assert!(sent.elapsed() < Duration::from_secs(10));
    assert_eq!(world.shoppertrak.asked(), ["allsites|20240629"]);
    assert_eq!(world.stands_at().await, "2024-06-28");
}

/// The embedded twin: recorded answers in a folder.
#[tokio::test(flavor = "multi_thread")]
async fn recorded_answers_are_read_from_a_folder() {
    let mut world = World::embedded().await;
    world.last_poll_date("2024-06-28").await;
    for name in ["SHOPPERTRAK_USERNAME", "SHOPPERTRAK_PASSWORD"] {
        world.program.settings.remove(name);
    }
    world.set("SHOPPERTRAK_API_BASE_URL", "file:answers");
    let folder = world.path("answers/allsites");
    std::fs::create_dir_all(&folder).unwrap();
    let Answer::Xml(xml) = good("20240629") else {
        unreachable!()
    };
    std::fs::write(folder.join("20240629.xml"), xml).unwrap();
    // That of the 30th is not there.
    world.poll().await.expect(7).says("no answer is recorded");
    assert_eq!(world.stands_at().await, "2024-06-29");
    assert_eq!(world.delivered_days().await, ["2024-06-29"]);
    world.set("BAD_POLL_DATES", "2024-06-30");
    world.poll().await.expect(0);
    assert_eq!(world.stands_at().await, "2024-06-30");

    world.last_poll_date("2024-06-28").await;
    std::fs::remove_dir_all(world.path("answers")).unwrap();
    world
        .poll()
        .await
        .expect(3)
        .says("file:answers/allsites/20240629.xml");
}
