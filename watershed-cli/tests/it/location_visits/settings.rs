//! Settings and the state: levels, beginnings, ends.

use super::World;
use super::server::good;

fn tell(world: &World, days: std::ops::RangeInclusive<u32>) {
    for day in days {
        let day = format!("202406{day}");
        world.shoppertrak.tell(&day, &[good(&day)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_one_setting_of_redshift_all_are_needed() {
    let mut world = World::embedded().await;
    world.last_poll_date("2024-06-29").await;
    world.without_redshift();
    world.set("REDSHIFT_DB_NAME", "qa");
    let ended = world.poll().await.expect(3);
    for name in [
        "REDSHIFT_DB_HOST: not set",
        "REDSHIFT_DB_USER: not set",
        "REDSHIFT_DB_PASSWORD: not set",
    ] {
        ended.says(name);
    }
    assert!(world.shoppertrak.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn all_faults_are_told_at_once() {
    let mut world = World::embedded().await;
    for name in [
        "SHOPPERTRAK_USERNAME",
        "SHOPPERTRAK_PASSWORD",
        "LOCATION_VISITS_SCHEMA_URL",
    ] {
        world.program.settings.remove(name);
    }
    world.set("SHOPPERTRAK_API_BASE_URL", "ftp://example.org");
    world.set("BAD_POLL_DATES", r#"["2024-06-29", "yesterday"]"#);
    world.set("ALL_SITES_S3_BUCKET", "sites");
    world.set("IGNORE_CACHE", "True");
    world.set("LAST_END_DATE", "2024-06-29");
    world.set("END_DATE", "2024-06-28");
    world.set("MAX_RETRIES", "0");
    let ended = world.poll().await.expect(3);
    for words in [
        "SHOPPERTRAK_USERNAME: not set",
        "SHOPPERTRAK_PASSWORD: not set",
        "LOCATION_VISITS_SCHEMA_URL: not set",
        "opening ShopperTrak at `ftp://example.org`",
        "BAD_POLL_DATES (environment): `yesterday`: expected a list of dates",
        "ALL_SITES_S3_RESOURCE: not set, beside ALL_SITES_S3_BUCKET",
        "LAST_POLL_DATE: not set",
        "END_DATE (environment) contradicts LAST_END_DATE (environment)",
        "MAX_RETRIES (environment): `0`",
    ] {
        ended.says(words);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_has_lists_and_bare_dates() {
    let mut world = World::embedded().await;
    tell(&world, 30..=30);
    world.last_poll_date("2024-06-27").await;
    let file = "PLAINTEXT_VARIABLES:\n  BAD_POLL_DATES:\n    - 2024-06-28\n    - '2024-06-29'\n  LAST_POLL_DATE: 2024-01-01\n  DATA_LAKE_S3_BUCKET: lake\n";
    std::fs::write(world.path("qa.yaml"), file).unwrap();
    let arguments = ["run", "location-visits", "--config", "qa.yaml"];
    let ended = world.program.run(&arguments).await.expect(0);
    assert_eq!(world.stands_at().await, "2024-06-30");
    assert_eq!(world.delivered_days().await, ["2024-06-30"]);
    ended.says("all-sites: 2 bad days passed");
    let lake = "DATA_LAKE_S3_BUCKET and DATA_LAKE_S3_PATH are not used";
    assert_eq!(ended.stderr.matches(lake).count(), 1);
    world.set("BAD_POLL_DATES", "");
    world.last_poll_date("2024-06-28").await;
    world.poll().await.expect(7);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_state_a_run_has_its_first_and_last_day_from_the_settings() {
    let mut world = World::embedded().await;
    tell(&world, 10..=12);
    world.set("IGNORE_CACHE", "True");
    world.set("LAST_POLL_DATE", "2024-06-09");
    for name in ["LAST_END_DATE", "END_DATE"] {
        world.set(name, "2024-06-12");
        world.poll().await.expect(0);
        let asked = [
            "allsites|20240610",
            "allsites|20240611",
            "allsites|20240612",
        ];
        assert_eq!(world.shoppertrak.asked(), asked, "{name}");
        world.program.settings.remove(name);
    }
    assert_eq!(world.state_text().await, None);
    assert_eq!(world.delivered().await.len(), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_day_is_yesterday_in_new_york_and_the_settings_of_a_start_do_not_count() {
    let mut world = World::embedded().await;
    tell(&world, 20..=30);
    world.set("LAST_POLL_DATE", "2024-01-01");
    world.set("LAST_END_DATE", "2024-06-28");
    // It is the 30th already in London.
    world.set("AS_OF", "2024-06-30 03:59:59Z");
    world.last_poll_date("2024-06-26").await;
    world.poll().await.expect(0);
    assert_eq!(
        world.shoppertrak.asked(),
        ["allsites|20240627", "allsites|20240628"]
    );
    let polled = world.delivered().await;
    assert!(
        polled
            .iter()
            .all(|record| record["poll_date"] == "2024-06-29")
    );
    // A state of tomorrow leaves nothing to do.
    world.last_poll_date("2024-07-09").await;
    world.poll().await.expect(0);
    assert!(world.shoppertrak.asked().is_empty());
    assert_eq!(world.stands_at().await, "2024-07-09");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_beginning_is_set_by_hand_or_by_start() {
    let mut world = World::embedded().await;
    tell(&world, 29..=30);
    world
        .poll()
        .await
        .expect(3)
        .says("there is no such document");
    world.write_state("{}").await;
    let ended = world.poll().await.expect(3);
    ended.says("watershed state set location-visits last_poll_date=…");
    let start = ["run", "location-visits", "--start"];
    world
        .program
        .run(&start)
        .await
        .expect(3)
        .says("set LAST_POLL_DATE");
    world.set("LAST_POLL_DATE", "2024-06-29");
    world.program.run(&start).await.expect(0);
    assert_eq!(world.state().await["last_poll_date"], "2024-06-30");
    let set = [
        "state",
        "set",
        "location-visits",
        "last_poll_date=2024-06-28",
    ];
    world.program.run(&set).await.expect(0);
    world
        .program
        .run(&["state", "set", "location-visits", "last_poll_date=soon"])
        .await
        .expect(3);
    world.shoppertrak.asked();
    world.poll().await.expect(0);
    assert_eq!(
        world.shoppertrak.asked(),
        ["allsites|20240629", "allsites|20240630"]
    );
    world.write_state(r#"{"last_poll_date": "soon"}"#).await;
    world
        .poll()
        .await
        .expect(7)
        .says("its member last_poll_date is no date");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_of_the_state_that_is_none_is_told_as_such() {
    let mut world = World::embedded().await;
    world.set("STATE_URL", "ftp://x/state.json");
    let ended = world.poll().await.expect(3);
    ended.says("opening `ftp://x/state.json`");
    world.set("STATE_URL", "file:state.json");
    std::fs::create_dir(world.path("state.json")).unwrap();
    let check = ["check", "location-visits"];
    let ended = world.program.run(&check).await.expect(3);
    let words = "FIX   state      looking for file:state.json: is a directory";
    assert!(ended.stdout.contains(words), "{}", ended.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_all_sites_must_be_one() {
    let mut world = World::embedded().await;
    world.last_poll_date("2024-06-30").await;
    world.set("ALL_SITES_URL", "file:sources/sites.json");
    world.poll().await.expect(3).says("there is no such object");
    std::fs::write(world.path("sources/sites.json"), "{}").unwrap();
    world
        .poll()
        .await
        .expect(7)
        .says("expected a JSON array of texts");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_on_purpose() {
    let mut world = World::embedded().await;
    tell(&world, 30..=30);
    world.last_poll_date("2024-06-29").await;
    let dry = world
        .program
        .run(&["run", "location-visits", "--dry-run"])
        .await
        .expect(0);
    dry.says("all-sites: 2 dry run");
    assert_eq!(world.stands_at().await, "2024-06-29");
    world.set("IGNORE_KINESIS", "True");
    world.poll().await.expect(0).says("all-sites: 2 not sent");
    assert_eq!(world.stands_at().await, "2024-06-30");
    assert!(world.delivered().await.is_empty());
}
