//! What a record says, for every rule and edge case of an answer.

use serde_avro_fast::{Schema, from_datum_slice};
use serde_json::{Value as Json, json};

use super::server::{Answer, day, traffic};
use super::{SCHEMA, World, in_both_worlds};

const HOURS: &str = "INSERT INTO location_hours_v2_qa VALUES \
    ('aa', 'Friday', '12:00', '13:00', true), ('aa', 'Friday', '10:00', '18:00', true), \
    ('aa', 'Friday', '00:00', '23:59', false), ('bb', 'Friday', NULL, NULL, true), \
    ('cc', 'Friday', '10:00', NULL, true), ('dd', 'Friday', '10:15', '10:30', true), \
    (NULL, 'Friday', '00:00', '23:59', true)";

/// Site, orbit, time, enters, exits, healthy, missing.
fn line(record: &Json) -> String {
    let shown = |name: &str| match &record[name] {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    };
    format!(
        "{} | {} | {} | {} {} | {} {}",
        shown("shoppertrak_site_id"),
        shown("orbit"),
        &shown("increment_start")[11..],
        shown("enters"),
        shown("exits"),
        if record["is_healthy_data"] == true {
            "healthy"
        } else {
            "unhealthy"
        },
        if record["is_missing_data"] == true {
            "missing"
        } else {
            "there"
        },
    )
}

/// The sample of the specification, with every spelling.
const EXAMPLE: &str = include_str!("../testdata/example-day.xml");

const EXPECTED: &[&str] = &[
    "aa | 1 | 00:00:00 | 0 0 | healthy there",
    "aa | 1 | 09:00:00 | 30 75 | healthy there",
    "aa | 1 | 09:15:00 | 0 0 | unhealthy there",
    "aa | 1 | 10:00:00 | 0 0 | unhealthy missing",
    "aa | 1 | 17:45:00 | 0 0 | unhealthy missing",
    "aa | 1 | 18:00:00 | 0 0 | unhealthy there",
    "aa | 1 | 23:45:00 | 3 0 | unhealthy there",
    "aa | 2 | 09:00:00 | 7 8 | healthy there",
    "aa | 2 | 10:00:00 | 0 5 | unhealthy there",
    "aa | 2 | 11:00:00 | 5 0 | unhealthy there",
    "aa | 2 | 12:00:00 | 1 1 | unhealthy there",
    "aa | 2 | 13:00:00 | 0 0 | unhealthy missing",
    "aa | 2 | 14:00:00 | 2 2 | unhealthy there",
    "aa | 2 | 15:00:00 | 0 0 | unhealthy missing",
    // Closed all day.
    "bb - test sublocation | 1 | 00:00:00 | 99 99 | unhealthy there",
    "bb - test sublocation | 1 | 01:00:00 | 0 0 | unhealthy there",
    "bb - test sublocation | 1 | 01:59:00 | 0 0 | unhealthy there",
    "bb - test sublocation | 1 | 03:00:00 | 0 0 | unhealthy there",
    "bb - test sublocation | 1 | 12:00:00 | 0 0 | unhealthy there",
    "bb - test sublocation | 2 | 01:00:00 | 6 5 | healthy there",
    "bb - test sublocation | 2 | 02:00:00 | 3 -2 | healthy there",
    "bb - test sublocation | 2 | 03:00:00 | 1000 12 | healthy there",
    // Half-known hours; doubled start times are kept.
    "cc | 3 | 12:00:00 | 0 0 | unhealthy missing",
    "cc | 3 | 12:00:00 | 4 4 | healthy there",
    "cc | 3 | 12:00:00 | 4 4 | healthy there",
    "cc | 3 | 12:00:00 | 9 9 | healthy there",
    "dd north; wing & co | 4 | 10:15:00 | 0 0 | unhealthy missing",
    "dd north; wing & co | 4 | 10:14:00 | 0 0 | unhealthy there",
    "dd north; wing & co | 4 | 10:30:00 | 0 0 | unhealthy there",
    "ee | null | 09:00:00 | 1 2 | healthy there",
    "ee | null | 09:00:00 | 1 2 | healthy there",
    "ee | null | 09:15:00 | 1 2 | healthy there",
    // Unknown hours.
    "ee | 7 | 09:00:00 | 0 0 | unhealthy missing",
    "ee | null | 09:00:00 | 5 5 | healthy there",
    "ee | 12 | 09:00:00 | null 4 | healthy there",
    "ee | 12 | 09:15:00 | 4 null | healthy there",
    "ee | 12 | 09:30:00 | null null | healthy there",
    "ee | 12 | 09:45:00 | null null | healthy there",
    "ñandú/branch | 1 | 09:00:00 | 1 0 | healthy there",
    "ñandú/branch | 1 | 09:15:00 | 0 0 | unhealthy missing",
    "zz unknown | 1 | 09:00:00 | 1 0 | healthy there",
];

async fn example(world: &mut World) {
    world.set("AS_OF", "2024-03-30 12:00:00-04");
    world.last_poll_date("2024-03-28").await;
    world
        .shoppertrak
        .tell("20240329", &[Answer::Xml(EXAMPLE.into())]);
}

/// P4: the site is the key, so that its records stay in order; those of none share one.
#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_a_record_is_its_site() {
    let world = World::servers().await;
    world.last_poll_date("2024-06-29").await;
    let of_none = day("20240630", &traffic("090000", "01", "1", "1"));
    let sites = ["siteID=\"aa\"", "siteID=\"b b\"", ""].map(|id| {
        let xml = of_none.replace("siteID=\"aa\"", id);
        xml.split_once("<sites>").unwrap().1.replace("</sites>", "")
    });
    let xml = format!("<sites>{}</sites>", sites.concat());
    world.shoppertrak.tell("20240630", &[Answer::Xml(xml)]);
    world.poll().await.expect(0);
    let schema: Schema = SCHEMA.parse().unwrap();
    let records = world.delivered_with_keys().await;
    let mut keys: Vec<(String, Json)> = records
        .into_iter()
        .map(|(key, data)| {
            let record: Json = from_datum_slice(&data, &schema).unwrap();
            (key, record["shoppertrak_site_id"].clone())
        })
        .collect();
    keys.sort_by(|one, other| one.0.cmp(&other.0));
    let expected = [
        ("aa", json!("aa")),
        ("b b", json!("b b")),
        ("unknown", json!(null)),
    ];
    assert_eq!(keys, expected.map(|(key, site)| (key.to_owned(), site)));
}

in_both_worlds! {
    async fn the_example_day_is_read_as_the_old_program_read_it(world) {
        world.in_redshift(HOURS).await;
        example(&mut world).await;
        let ended = world.poll().await.expect(0);
        for warning in [
            "all sites of 2024-03-29: 2 start times that came before, the first at site cc, entrance EP 3, 2024-03-29 120000",
            "4 increments of unknown code, the first at site aa, entrance EP02, 2024-03-29 120000",
            "4 entrances without an orbit, the first at site ee, entrance EP X1, 2024-03-29",
            "3 increments without enters",
            "3 increments without exits",
            "hours are not known, and unhealthy increments count as missing data: cc, ee, ñandú/branch",
        ] {
            ended.says(warning);
        }
        let mut lines: Vec<String> = world.delivered().await.iter().map(line).collect();
        // On Kinesis sites are apart; those of one are in their order.
        let mut expected: Vec<String> = EXPECTED.iter().map(|line| (*line).to_owned()).collect();
        let site = |line: &String| line.split(" | ").next().unwrap().to_owned();
        lines.sort_by_key(site);
        expected.sort_by_key(site);
        assert_eq!(lines, expected);
    }

    // The level of the first program.
    async fn without_redshift_no_data_count_as_missing(world) {
        world.without_redshift();
        example(&mut world).await;
        world.poll().await.expect(0).says("without Redshift: no data count as missing");
        let records = world.delivered().await;
        assert_eq!(records.len(), EXPECTED.len());
        assert!(records.iter().all(|record| record["is_missing_data"] == false));
        let unhealthy = records.iter().filter(|record| record["is_healthy_data"] == false).count();
        assert_eq!(unhealthy, EXPECTED.iter().filter(|line| line.contains("unhealthy")).count());
    }

    // P3: only a start that cannot be read keeps an increment back.
    async fn an_increment_without_a_start_is_set_aside_with_its_place(world) {
        world.without_redshift();
        world.last_poll_date("2024-06-29").await;
        let mut increments: Vec<String> = (0..40).map(|i| traffic(&format!("{:02}{:02}00", i / 4, i % 4 * 15), "01", "1", "1")).collect();
        increments[7] = "<traffic code=\"01\" enters=\"8\" exits=\"1\"/>".into();
        increments[9] = traffic("quarter past", "01", "9", "1");
        increments[11] = traffic("024500", "01", "4294967296", "1");
        world.shoppertrak.tell("20240630", &[Answer::Xml(day("20240630", &increments.concat()))]);
        world.poll().await.expect(6);
        assert_eq!(world.stands_at().await, "2024-06-30");
        assert_eq!(world.delivered().await.len(), 37);
        if !world.on_kinesis {
            let mut letters = world.dead_letters();
            for letter in &mut letters {
                letter.as_object_mut().unwrap().remove("run");
            }
            let record = |enters: &str, start: Option<&str>| json!({"code": "01", "enters": enters, "exits": "1", "startTime": start});
            assert_eq!(letters, [
                json!({"key": "aa", "position": "site aa, entrance EP 01, 2024-06-30", "reason": "startTime: expected HHMMSS", "record": record("8", None)}),
                json!({"key": "aa", "position": "site aa, entrance EP 01, 2024-06-30 quarter past", "reason": "startTime: expected HHMMSS", "record": record("9", Some("quarter past"))}),
                json!({"key": "aa", "position": "site aa, entrance EP 01, 2024-06-30 024500", "reason": "enters: expected a whole number of 32 bits", "record": record("4294967296", Some("024500"))}),
            ]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_service_stops_the_run_and_sends_nothing() {
    let world = World::embedded().await;
    world.last_poll_date("2024-06-29").await;
    let increments: String = (0..20).map(|_| traffic("9 am", "01", "1", "1")).collect();
    let xml = day("20240630", &increments);
    world.shoppertrak.tell("20240630", &[Answer::Xml(xml)]);
    let ended = world.poll().await.expect(3);
    ended.says("setting aside 20 of the 20 records of a page of all-sites");
    assert_eq!(world.stands_at().await, "2024-06-29");
    assert!(world.delivered().await.is_empty());
    assert!(world.dead_letters().is_empty());
}

/// Known before anything is sent, although the bytes are made chunk by chunk.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_schema_stops_the_run_and_sends_nothing() {
    let world = World::embedded().await;
    let mut schema: Json = serde_json::from_str(super::SCHEMA).unwrap();
    schema["fields"][1]["type"] = "int".into();
    world.answer_schema(200, &world.schema_answer(&schema.to_string()));
    world.last_poll_date("2024-06-29").await;
    let xml = day("20240630", &traffic("090000", "01", "1", "1").repeat(12));
    let unnamed = xml.replace("</site>", "</site><site siteID=\"bb\"><date dateValue=\"20240630\"><entrance><traffic code=\"01\" startTime=\"090000\"/><traffic code=\"01\" startTime=\"091500\"/></entrance></date></site>");
    world
        .shoppertrak
        .tell("20240630", &[Answer::Xml(unnamed.clone())]);
    // Two of fourteen are no changed schema.
    world.poll().await.expect(6);
    assert_eq!(world.dead_letters().len(), 2);
    assert_eq!(
        world.dead_letters()[0]["reason"],
        "field orbit is null, and the schema expects int"
    );
    assert_eq!(world.dead_letters()[0]["position"], "2024-06-30 09:00:00");
    let before = world.delivered().await.len();
    assert_eq!(before, 12);

    world.last_poll_date("2024-06-29").await;
    let nameless = xml.replace("entranceName=\"EP 01\"", "");
    world.shoppertrak.tell("20240630", &[Answer::Xml(nameless)]);
    let ended = world.poll().await.expect(3);
    ended.says("field orbit is null, and the schema expects int");
    assert_eq!(world.stands_at().await, "2024-06-29");
    assert_eq!(world.delivered().await.len(), before);
}

/// The first program's service and schema.
#[tokio::test(flavor = "multi_thread")]
async fn the_older_service_and_the_older_schema() {
    let mut world = World::embedded().await;
    world.without_redshift();
    let mut schema: Json = serde_json::from_str(super::SCHEMA).unwrap();
    let fields = schema["fields"].as_array_mut().unwrap();
    fields[5]["name"] = "is_healthy_orbit".into();
    fields[6]["name"] = "is_recovery_data".into();
    fields.remove(7);
    world.answer_schema(200, &world.schema_answer(&schema.to_string()));
    let base = world.shoppertrak.base("v1.0");
    world.set("SHOPPERTRAK_API_BASE_URL", &base);
    world.last_poll_date("2024-06-29").await;
    let xml = day("20240630", &traffic("091500", "02", "1", "")).replace("entranceName", "name");
    world.shoppertrak.tell("20240630", &[Answer::Xml(xml)]);
    world.poll().await.expect(0);
    assert_eq!(
        world.delivered().await,
        [json!({
            "shoppertrak_site_id": "aa", "orbit": 1, "increment_start": "2024-06-30T09:15:00",
            "enters": 1, "exits": null, "is_healthy_orbit": false, "is_recovery_data": false,
            "poll_date": "2024-07-01"
        })]
    );
    let asked = world.shoppertrak.requests();
    assert_eq!(
        asked[0].uri,
        "/EnterpriseFlash/v1.0/service/allsites?date=20240630&increment=15&total_property=N"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_without_an_id_is_kept_as_null() {
    let world = World::servers().await;
    world.last_poll_date("2024-06-29").await;
    let xml = day("20240630", &traffic("091500", "02", "0", "0"));
    let answers = [" siteID=\"aa\"", " siteID=\"  \""].map(|id| xml.replace(" siteID=\"aa\"", id));
    let both = answers[1].replace("</sites>", "<site><date dateValue=\"20240630\"><entrance entranceName=\"2\"><traffic startTime=\"090000\"/></entrance></date></site></sites>");
    world
        .shoppertrak
        .tell("20240630", &[Answer::MisnamedCharset(both)]);
    let ended = world.poll().await.expect(0);
    ended.says("2 sites without an id");
    let lines: Vec<String> = world.delivered().await.iter().map(line).collect();
    assert_eq!(
        lines,
        [
            "null | 1 | 09:15:00 | 0 0 | unhealthy missing",
            "null | 2 | 09:00:00 | null null | unhealthy missing",
        ]
    );
}
