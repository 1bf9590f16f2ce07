//! The sample of the old program, byte for byte.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;

use super::World;
use super::server::Answer;

const REDSHIFT: &str = include_str!("../testdata/busy_then_ok/inputs/redshift.sql");
const DAYS: [&str; 2] = [
    include_str!("../testdata/busy_then_ok/inputs/fixtures/shoppertrak/allsites_1.xml"),
    include_str!("../testdata/busy_then_ok/inputs/fixtures/shoppertrak/allsites_2.xml"),
];
const RECORDS: &str = include_str!("../testdata/busy_then_ok/expected/records.b64");
const JSON: &str = include_str!("../testdata/busy_then_ok/expected/records.jsonl");
const OUTCOME: &str = include_str!("../testdata/busy_then_ok/expected/outcome.json");
const STATE: &str = include_str!("../testdata/busy_then_ok/expected/state.json");

async fn sample(world: &mut World) {
    for table in [
        "location_visits_qa",
        "location_hours_v2_qa",
        "location_closures_v2_qa",
    ] {
        world.in_redshift(&format!("DROP TABLE {table}")).await;
    }
    let sql = REDSHIFT.replace("SET client_encoding = 'UTF8';", "");
    world.in_redshift(&sql).await;
    let sites = include_str!("../testdata/busy_then_ok/site_ids.json");
    std::fs::write(world.path("sources/sites.json"), sites).unwrap();
    for (name, text) in [
        ("AS_OF", "2024-04-02T10:00:00-04:00"),
        ("ALL_SITES_URL", "file:sources/sites.json"),
        ("KINESIS_BATCH_SIZE", "10"),
        ("MAX_RETRIES", "3"),
        ("DATA_LAKE_S3_BUCKET", "data-lake-test"),
        ("DATA_LAKE_S3_PATH", "recovered_shoppertrak_visits_json/"),
    ] {
        world.set(name, text);
    }
    let start = include_str!("../testdata/busy_then_ok/initial_state.json");
    world.write_state(start).await;
    let busy = Answer::Error("E108");
    let [first, second] = DAYS.map(|xml| Answer::Xml(xml.into()));
    world.shoppertrak.tell("20240331", &[first]);
    world
        .shoppertrak
        .tell("20240401", &[busy.clone(), busy, second]);

    let ended = world.poll().await.expect(0);
    assert_eq!(
        ended.stderr.matches("ShopperTrak is busy (E108)").count(),
        2
    );
    let outcome: Json = serde_json::from_str(OUTCOME).unwrap();
    assert_eq!(
        serde_json::json!(world.shoppertrak.asked()),
        outcome["http_requests"]
    );
    let theirs: Json = serde_json::from_str(STATE).unwrap();
    assert_eq!(
        world.state().await["last_poll_date"],
        theirs["last_poll_date"]
    );

    // The second run delivers nothing, and asks nobody.
    world.poll().await.expect(0);
    assert!(world.shoppertrak.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sample_is_delivered_byte_for_byte() {
    let mut world = World::servers().await;
    sample(&mut world).await;
    let expected: Vec<Vec<u8>> = RECORDS
        .lines()
        .map(|line| STANDARD.decode(line).unwrap())
        .collect();
    assert_eq!(expected.len(), 6);
    assert_eq!(world.delivered_bytes().await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sample_is_written_in_the_order_of_the_source() {
    let mut world = World::embedded().await;
    sample(&mut world).await;
    let expected: Vec<Json> = JSON
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(world.delivered().await, expected);
}
