//! The sample of the old program, byte for byte.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_avro_fast::{Schema, from_datum_slice};
use serde_json::Value as Json;

use super::world::{SCHEMA, World};

const SAMPLE_SIERRA: &str = include_str!("../testdata/sessions/inputs/sierra.sql");
const SAMPLE_REDSHIFT: &str = include_str!("../testdata/sessions/inputs/redshift.sql");
const SAMPLE_ENVISIONWARE: &str = include_str!("../testdata/sessions/inputs/envisionware.sql");

async fn sample(world: &mut World, twin: impl Fn(&str) -> String) {
    world.in_envisionware("DROP TABLE strad_bci").await;
    // Statement by statement: the driver gives one answer at a time.
    for statement in twin(SAMPLE_ENVISIONWARE)
        .split(";\n")
        .filter(|sql| !sql.trim().is_empty())
    {
        world.in_envisionware(statement).await;
    }
    for table in ["patron_view", "phrase_entry"] {
        world
            .in_sierra(&format!("DROP TABLE sierra_view.{table}"))
            .await;
    }
    let sierra = SAMPLE_SIERRA.replace("CREATE SCHEMA sierra_view;", "");
    world.in_sierra(&twin(&sierra)).await;
    world.in_redshift("DROP TABLE patron_info_qa").await;
    world.in_redshift(&twin(SAMPLE_REDSHIFT)).await;
    world
        .write_state(include_str!("../testdata/sessions/initial_state.json"))
        .await;
    world.set("ENVISIONWARE_BATCH_SIZE", "25");
    world.set("KINESIS_BATCH_SIZE", "10");
    world.poll().await.expect(0);
    let theirs: Json =
        serde_json::from_str(include_str!("../testdata/sessions/expected/state.json")).unwrap();
    let ours = world.state().await;
    for (member, value) in theirs.as_object().unwrap() {
        assert_eq!(&ours[member], value, "{member}");
    }
    world.poll().await.expect(0);
}

/// The records of each patron, in their order.
fn by_patron(records: Vec<Vec<u8>>) -> HashMap<String, Vec<Vec<u8>>> {
    let schema: Schema = SCHEMA.parse().unwrap();
    let mut by_patron: HashMap<String, Vec<Vec<u8>>> = HashMap::new();
    for bytes in records {
        let record: Json = from_datum_slice(&bytes, &schema).unwrap();
        let patron = record["patron_id"].as_str().unwrap().to_owned();
        by_patron.entry(patron).or_default().push(bytes);
    }
    by_patron
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sample_is_delivered_byte_for_byte_in_the_order_of_each_patron() {
    let mut world = World::servers().await;
    sample(&mut world, str::to_owned).await;
    let lines = include_str!("../testdata/sessions/expected/records.b64").lines();
    let expected: Vec<Vec<u8>> = lines.map(|line| STANDARD.decode(line).unwrap()).collect();
    let delivered = world.delivered_bytes().await;
    assert_eq!(delivered.len(), 114);
    assert!(
        by_patron(delivered) == by_patron(expected),
        "the bytes differ"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sample_is_written_in_the_order_of_the_source() {
    let mut world = World::embedded();
    let twin = |sql: &str| {
        let mut text = String::new();
        let mut skipping = false;
        for line in sql.lines() {
            let start = line.split(' ').next().unwrap_or_default();
            skipping |= matches!(start, "SET" | "DO" | "ANALYZE;");
            let index = line.starts_with("CREATE INDEX ON");
            if !skipping && !index {
                let line = line
                    .replace(" CHARACTER SET utf8mb4", "")
                    .replace("sierra_view.", "");
                text.push_str(&line);
                text.push('\n');
            }
            skipping &= !line.ends_with(';');
        }
        // The embedded twin has six decimals.
        text.replace(
            "CREATE INDEX i1",
            "UPDATE strad_bci SET pcrDateTime = pcrDateTime || '.000000';\nCREATE INDEX i1",
        )
    };
    sample(&mut world, twin).await;
    let lines = include_str!("../testdata/sessions/expected/records.jsonl").lines();
    let expected: Vec<Json> = lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(world.delivered().await, expected);
}
