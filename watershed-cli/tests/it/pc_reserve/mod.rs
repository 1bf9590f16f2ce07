//! `pc-reserve`: cursor, matching, look-ups and records, embedded and on MariaDB and PostgreSQL.

mod interrupted;
mod sample;
pub mod world;

use serde_json::{Value as Json, json};

use crate::world::{in_both_worlds, pseudonym, server};
use world::{ENVISIONWARE, MAY, Session, World, session, tied};

in_both_worlds! {
    async fn a_session_gets_every_field(world) {
        world.patron(481_036_000_337, "23334000000042").await;
        let with_all = Session { minutes: Some(0), staff_override: Some(""), ..session(7_000_001, "23334000000042", "2024-06-01 23:59:59.999999") };
        world.sessions(&[with_all]).await;
        world.start_at(MAY, "0").await;
        world.poll().await.expect(0);
        let key = pseudonym("7000001").await;
        assert_eq!(world.delivered().await, [json!({
            "patron_id": "ImMKwputLEfdtxajV1pCfJw4Om0Bjeq",
            "ptype_code": 10,
            "patron_home_library_code": "aa",
            "pcode3": 4,
            "postal_code": "10018",
            "geoid": "36061000100",
            "key": key,
            "minutes_used": 0,
            "transaction_et": "2024-06-01",
            "branch": "Tidewater",
            "area": "Adult",
            "staff_override": "",
            "patron_retrieval_status": "found",
        })]);
        assert_eq!(world.cursor().await, (json!("2024-06-01 23:59:59.999999"), json!("7000001")));
    }

    // Every row of the table in the specification, by its name there.
    async fn the_table_of_situations(world) {
        struct Situation { name: &'static str, ids: i64, views: &'static [(&'static str, i32)], status: &'static str, ptype: Option<i32>, redshift: bool }
        const OWN: &str = "own barcode";
        let situations = [
            Situation { name: "id and barcode agree in one row", ids: 1, views: &[(OWN, 1)], status: "found", ptype: Some(1), redshift: true },
            Situation { name: "only other barcodes, one distinct row", ids: 1, views: &[("23335000000001", 2), ("23335000000002", 2)], status: "found", ptype: Some(2), redshift: true },
            Situation { name: "two differing rows, one has the barcode", ids: 1, views: &[("23335000000003", 3), (OWN, 4)], status: "found", ptype: Some(4), redshift: true },
            Situation { name: "two differing rows, none has the barcode", ids: 1, views: &[("23335000000004", 5), ("23335000000005", 6)], status: "found", ptype: None, redshift: true },
            Situation { name: "two differing rows with the barcode", ids: 1, views: &[(OWN, 7), (OWN, 8)], status: "found", ptype: None, redshift: true },
            // The old program reduced rows before it chose among them, and then hung on their order.
            Situation { name: "two equal rows with the barcode and a differing one without", ids: 1, views: &[(OWN, 9), ("23335000000006", 10), (OWN, 9)], status: "found", ptype: Some(9), redshift: true },
            Situation { name: "no patron_view row", ids: 1, views: &[], status: "found", ptype: None, redshift: true },
            Situation { name: "barcode not in phrase_entry", ids: 0, views: &[], status: "missing", ptype: None, redshift: false },
            Situation { name: "several ids", ids: 2, views: &[(OWN, 11)], status: "missing", ptype: None, redshift: false },
        ];
        let mut sessions = Vec::new();
        for (i, situation) in (0..).zip(&situations) {
            let barcode = format!("2333400000{i:04}");
            for n in 0..situation.ids {
                let id = 486_000_000_000 + i * 100 + n;
                world.entry(id, "b", &barcode).await;
                world.area(id, "10018").await;
            }
            for (of, ptype) in situation.views {
                let of = if *of == OWN { barcode.as_str() } else { of };
                world.view(486_000_000_000 + i * 100, of, *ptype, " bb ").await;
            }
            sessions.push(session(7_200_000 + i, &barcode, "2024-06-01 10:00:00"));
        }
        world.sessions(&sessions).await;
        world.start_at(MAY, "0").await;
        world.poll().await.expect(0);
        for (i, situation) in (0..).zip(&situations) {
            let record = world.record(7_200_000 + i).await;
            let name = situation.name;
            assert_eq!(record["patron_retrieval_status"], situation.status, "{name}");
            assert_eq!(record["ptype_code"], json!(situation.ptype), "{name}");
            assert_eq!(record["pcode3"], json!(situation.ptype.map(|_| 4)), "{name}");
            assert_eq!(record["patron_home_library_code"], json!(situation.ptype.map(|_| "bb")), "{name}");
            assert_eq!(record["postal_code"], json!(situation.redshift.then_some("10018")), "{name}");
            assert_eq!(record["geoid"], json!(situation.redshift.then_some("36061000100")), "{name}");
            let subject = match situation.status {
                "found" => (486_000_000_000 + i * 100).to_string(),
                _ => format!("barcode 2333400000{i:04}"),
            };
            assert_eq!(record["patron_id"], pseudonym(&subject).await, "{name}");
        }
    }

    async fn home_libraries_and_pcodes_that_are_null_are_equal(world) {
        world.entry(486_100_000_001, "b", "23334000000001").await;
        for home in ["NULL", "'none'", "' '"] {
            let sql = format!("INSERT INTO sierra_view.patron_view VALUES (486100000001, 0, '23334000000001', 3, {home}, NULL)");
            world.in_sierra(&sql).await;
        }
        world.sessions(&[session(7_210_000, "23334000000001", "2024-06-01 10:00:00")]).await;
        world.start_at(MAY, "0").await;
        world.poll().await.expect(0);
        let record = world.record(7_210_000).await;
        assert_eq!(record["ptype_code"], 3);
        assert_eq!((&record["pcode3"], &record["patron_home_library_code"]), (&Json::Null, &Json::Null));
    }

    async fn barcodes_are_taken_as_they_are(world) {
        // The old program cut every leading b, and gave this one to the barcode 777.
        world.patron(486_200_000_001, "b777").await;
        world.patron(486_200_000_002, "2333a").await;
        world.entry(486_200_000_003, "p", "23334000000009").await;
        let quoted = "23334'; DROP TABLE strad_bci; --";
        world.patron(486_200_000_004, quoted).await;
        let cases = [
            ("b777", "found"), ("777", "missing"), ("2333a", "found"), ("2333A", "missing"), ("2333a ", "missing"),
            ("23334000000009", "missing"), (quoted, "found"), ("o'brien", "missing"), ("", "missing"),
            ("25555000000001", "guest_pass"), ("2555", "missing"), ("back\\\\slash", "missing"),
        ];
        let sessions: Vec<Session> = (0..).zip(&cases).map(|(i, (user, _))| session(7_300_000 + i, user, "2024-06-01 10:00:00")).collect();
        world.sessions(&sessions).await;
        world.start_at(MAY, "0").await;
        world.poll().await.expect(0);
        for (i, (user, status)) in (0..).zip(&cases) {
            assert_eq!(world.record(7_300_000 + i).await["patron_retrieval_status"], *status, "{user}");
        }
        // The empty barcode keeps the blank behind the word.
        assert_eq!(world.record(7_300_008).await["patron_id"], pseudonym("barcode ").await);
        assert_eq!(world.record(7_300_009).await["patron_id"], "WEqvsWTR3oHhBAX5VFO1svfX9Qm3m1S");
    }

    async fn a_null_barcode_is_missing_and_counted(world) {
        // Nobody is looked up for it, although Sierra has an empty barcode.
        world.patron(486_300_000_001, "").await;
        let nobody = Session { user: None, minutes: None, branch: None, ..session(7_310_000, "", "2024-06-01 10:00:00") };
        let empty = session(7_310_001, "", "2024-06-01 10:00:00");
        world.sessions(&[nobody, empty]).await;
        world.start_at(MAY, "0").await;
        world.poll().await.expect(0).says("1 NULL barcode");
        let record = world.record(7_310_000).await;
        assert_eq!(record["patron_retrieval_status"], "missing");
        assert_eq!(record["patron_id"], pseudonym("barcode ").await);
        assert_eq!((&record["minutes_used"], &record["branch"]), (&Json::Null, &Json::Null));
        assert_eq!(world.record(7_310_001).await["patron_retrieval_status"], "found");
    }

    async fn a_guest_pass_that_sierra_knows_is_found(world) {
        world.patron(486_400_000_001, "25555000000007").await;
        world.sessions(&[session(7_320_000, "25555000000007", "2024-06-01 10:00:00")]).await;
        world.start_at(MAY, "0").await;
        world.poll().await.expect(0);
        assert_eq!(world.record(7_320_000).await["patron_retrieval_status"], "found");
    }

    async fn several_redshift_rows_say_nothing_and_are_warned_of(world) {
        world.patron(486_500_000_001, "23334000000001").await;
        world.area(486_500_000_001, "10018").await;
        world.patron(486_500_000_002, "23334000000002").await;
        world.in_redshift("UPDATE patron_info_qa SET geoid = NULL WHERE patron_id NOT IN (SELECT patron_id FROM patron_info_qa GROUP BY patron_id HAVING COUNT(*) > 1)").await;
        world.sessions(&[session(7_330_000, "23334000000001", "2024-06-01 10:00:00"), session(7_330_001, "23334000000002", "2024-06-01 10:00:00")]).await;
        world.start_at(MAY, "0").await;
        let patron = pseudonym("486500000001").await;
        let warning = format!("WARNING: More than one Redshift row found for these patrons: {patron}");
        world.poll().await.expect(0).says(&warning).says("1 more than one Redshift row");
        let record = world.record(7_330_000).await;
        assert_eq!((&record["postal_code"], &record["geoid"]), (&Json::Null, &Json::Null));
        let record = world.record(7_330_001).await;
        assert_eq!((&record["postal_code"], &record["geoid"]), (&json!("10018"), &Json::Null));
    }

    async fn ties_over_page_boundaries_lose_and_repeat_nothing(world) {
        world.set("ENVISIONWARE_BATCH_SIZE", "4");
        world.sessions(&tied(10, "2024-06-01 12:00:00.123456")).await;
        world.sessions(&[session(7_000_002, "23334000000000", "2024-06-01 12:00:00.123457")]).await;
        world.start_at(MAY, "0").await;
        world.poll().await.expect(0).says("sessions page 3").says("10 repeated patrons, hashed once");
        assert_eq!(world.delivered().await.len(), 11);
        assert_eq!(world.cursor().await, (json!("2024-06-01 12:00:00.123457"), json!("7000002")));
        let state = world.state_text().await;
        world.poll().await.expect(0);
        assert_eq!(world.delivered().await.len(), 11);
        // A run that finds nothing writes nothing.
        assert_eq!(world.state_text().await, state);
        // One of the same time with a lower key lies before the cursor, one with a higher one behind.
        world.sessions(&[session(7_000_001, "1", "2024-06-01 12:00:00.123457"), session(7_000_003, "1", "2024-06-01 12:00:00.123457")]).await;
        world.poll().await.expect(0);
        assert_eq!(world.delivered().await.len(), 12);
    }

    async fn old_states_are_read_in_every_form(world) {
        world.sessions(&[
            session(7_400_000, "1", "2024-06-01 10:00:00"),
            session(7_400_007, "1", "2024-06-01 10:00:00"),
            session(7_400_003, "1", "2024-06-01 10:00:00.500000"),
        ]).await;
        let mut delivered = 0;
        for (state, number) in [
            (json!({"pcr_date_time": "2024-06-01 10:00:00", "pcr_key": "7400000", "note": [1]}), 2),
            (json!({"pcr_date_time": "2024-06-01 10:00:00", "pcr_key": 7_400_007}), 1),
            (json!({"pcr_date_time": "2024-06-01 10:00:00.500000", "pcr_key": "0"}), 1),
            (json!({"pcr_date_time": "2023-01-01 00:00:00 +0000", "pcr_key": "0"}), 3),
            (json!({"pcr_date_time": "2024-06-01T10:00:00.4", "pcr_key": "7400007"}), 1),
            // A person has set the time alone.
            (json!({"pcr_date_time": "2024-06-01 10:00:00"}), 3),
        ] {
            world.write_state(&state.to_string()).await;
            world.poll().await.expect(0);
            delivered += number;
            assert_eq!(world.delivered().await.len(), delivered, "{state}");
            assert_eq!(world.cursor().await, (json!("2024-06-01 10:00:00.500000"), json!("7400003")));
            assert_eq!(world.state().await.get("note"), state.get("note"));
        }
        for (state, words) in [
            (json!({"pcr_date_time": "2024-06-01 10:00:00-04:00", "pcr_key": "0"}), "pcr_date_time is not a time without a zone"),
            (json!({"pcr_date_time": 20_240_601, "pcr_key": "0"}), "pcr_date_time is not a time"),
            (json!({"pcr_date_time": MAY, "pcr_key": "many"}), "pcr_key is not a whole number"),
        ] {
            world.write_state(&state.to_string()).await;
            world.poll().await.expect(7).says(words).says("watershed state set pc-reserve");
        }
        world.write_state("{}").await;
        world.poll().await.expect(3).says("it has no member pcr_date_time").says("--start");
        assert_eq!(world.delivered().await.len(), delivered);
    }

    async fn a_start_time_has_no_zone_either(world) {
        world.sessions(&[session(7_410_000, "1", "2024-06-01 10:00:00"), session(7_410_001, "1", "2024-06-01 10:00:00")]).await;
        world.poll().await.expect(3).says("there is no such document");
        world.set("PCR_DATE_TIME", "2024-06-01 10:00:00-04:00");
        world.run(&["run", "pc-reserve", "--start"]).await.expect(3).says("PCR_DATE_TIME").says("expected a time without a zone");
        world.set("PCR_DATE_TIME", "2024-06-01 10:00:00 +0000");
        world.set("PCR_KEY", "7410000");
        world.set("IGNORE_CACHE", "True");
        world.poll().await.expect(0);
        assert_eq!(world.delivered().await.len(), 1);
        assert_eq!(world.state_text().await, None);
        world.set("IGNORE_CACHE", "False");
        world.run(&["run", "pc-reserve", "--start"]).await.expect(0);
        assert_eq!(world.delivered().await.len(), 2);
        world.poll().await.expect(0);
        assert_eq!(world.delivered().await.len(), 2);
    }

    async fn a_gap_behind_the_cursor_is_warned_of(world) {
        world.sessions(&[session(7_420_000, "1", "2024-06-03 10:00:00")]).await;
        world.start_at("2024-06-01 10:00:00", "0").await;
        world.poll().await.expect(0).says("stopped at 2024-06-01 10:00:00, and Envisionware's oldest session is of 2024-06-03 10:00:00: sessions in between may be lost");
        let again = world.poll().await.expect(0);
        assert!(!again.stderr.contains("may be lost"), "{}", again.stderr);
    }

    async fn the_repeated_hour_is_read_after_its_second_pass(world) {
        world.sessions(&[
            session(7_430_000, "1", "2024-11-03 00:59:59"),
            session(7_430_002, "1", "2024-11-03 01:30:00"),
        ]).await;
        world.start_at(MAY, "0").await;
        // The first pass, in which a session of 01:30 would put the cursor behind the one below.
        world.set("AS_OF", "2024-11-03 01:45:00-04:00");
        world.poll().await.expect(0);
        assert_eq!(world.cursor().await.0, "2024-11-03 00:59:59");
        world.sessions(&[session(7_430_003, "1", "2024-11-03 01:10:00"), session(7_430_004, "1", "2024-11-03 02:00:00")]).await;
        world.set("AS_OF", "2024-11-03 01:59:59-05:00");
        world.poll().await.expect(0);
        assert_eq!(world.delivered().await.len(), 1);
        world.set("AS_OF", "2024-11-03 02:00:00-05:00");
        world.poll().await.expect(0);
        assert_eq!(world.delivered().await.len(), 4);
    }

    async fn rows_settle_where_it_is_asked_for(world) {
        // NOW is 08:00:00 in New York.
        world.sessions(&[session(7_440_000, "1", "2024-07-01 07:58:59"), session(7_440_001, "1", "2024-07-01 07:59:00"), session(7_440_002, "1", "2024-07-02 10:00:00")]).await;
        world.start_at(MAY, "0").await;
        world.set("SETTLE_SECONDS", "60");
        world.poll().await.expect(0);
        assert_eq!(world.delivered().await.len(), 1);
        // By default there is no upper bound, not even the present.
        world.set("SETTLE_SECONDS", "0");
        world.poll().await.expect(0);
        assert_eq!(world.delivered().await.len(), 3);
    }

    async fn a_session_without_a_place_stops_the_run(world) {
        world.in_envisionware("DROP TABLE strad_bci").await;
        world.in_envisionware(&ENVISIONWARE.replace(", UNIQUE (pcrDateTime, pcrKey)", "")).await;
        world.start_at(MAY, "0").await;
        // Without a time it never appears, as ever.
        world.sessions(&[Session { at: None, ..session(7_450_000, "1", "") }, session(7_450_001, "1", "2024-06-01 10:00:00")]).await;
        world.poll().await.expect(0);
        assert_eq!(world.delivered().await.len(), 1);
        let state = world.state_text().await;
        world.sessions(&[session(7_450_002, "1", "2024-06-01 10:00:00"), session(7_450_002, "1", "2024-06-01 10:00:00")]).await;
        world.poll().await.expect(7).says("share a pcrKey");
        assert_eq!(world.state_text().await, state);
        let checked = world.run(&["check", "pc-reserve"]).await.expect(0);
        assert!(checked.stdout.contains("has no unique key"), "{}", checked.stdout);
    }

    async fn check_names_every_system(world) {
        world.start_at(MAY, "0").await;
        let checked = world.run(&["check", "pc-reserve"]).await.expect(0);
        for system in ["Envisionware", "Sierra", "Redshift", "state", "schema", "stream"] {
            assert!(checked.stdout.lines().any(|line| line.starts_with(&format!("ok    {system}"))), "{system}: {}", checked.stdout);
        }
        assert!(!checked.stdout.contains("unique key"), "{}", checked.stdout);
        world.in_envisionware("ALTER TABLE strad_bci RENAME COLUMN pcrArea TO pcrOther").await;
        let checked = world.run(&["check", "pc-reserve"]).await.expect(3);
        for words in ["FIX   Envisionware", "pcrArea"] {
            assert!(checked.stdout.contains(words), "{words}: {}", checked.stdout);
        }
    }

    async fn dry_runs_and_samples_write_nowhere(world) {
        world.sessions(&tied(5, "2024-06-01 12:00:00")).await;
        world.start_at(MAY, "0").await;
        let before = world.state_text().await;
        world.run(&["run", "pc-reserve", "--dry-run"]).await.expect(0).says("5 dry run");
        let sample = world.run(&["sample", "pc-reserve", "--rows", "2"]).await.expect(0);
        assert!(sample.stdout.contains("and 3 more") && sample.stdout.contains("missing"), "{}", sample.stdout);
        assert_eq!(world.state_text().await, before);
        assert!(world.delivered().await.is_empty());
    }

    async fn a_person_sets_the_state(world) {
        world.run(&["state", "set", "pc-reserve", "pcr_date_time=2024-06-01 10:00:00", "pcr_key=3"]).await.expect(0);
        assert_eq!(world.cursor().await, (json!("2024-06-01 10:00:00"), json!("3")));
        // The key belongs to the time that it stood beside.
        world.run(&["state", "set", "pc-reserve", "pcr_date_time=2024-06-02 10:00:00"]).await.expect(0);
        assert_eq!(world.state().await.get("pcr_key"), None);
        // As the program writes them, whichever way a person does.
        world.run(&["state", "set", "pc-reserve", "pcr_date_time=2024-06-01T10:00:00.5 +0000", "pcr_key= 007"]).await.expect(0);
        assert_eq!(world.cursor().await, (json!("2024-06-01 10:00:00.500000"), json!("7")));
    }

    // What the next run could not read is refused at once.
    async fn a_person_cannot_set_what_is_no_cursor(world) {
        world.start_at(MAY, "0").await;
        let before = world.state_text().await;
        for (member, expected) in [
            ("pcr_date_time=soon", "expected a time without a zone"),
            ("pcr_date_time=2024-06-01 10:00:00-04:00", "expected a time without a zone"),
            ("pcr_date_time=", "expected a time without a zone"),
            ("pcr_key=many", "expected a whole number"),
            ("pcr_key=9223372036854775808", "expected a whole number"),
            ("pcr_key=", "expected a whole number"),
        ] {
            let (name, text) = member.split_once('=').unwrap();
            let set = ["state", "set", "pc-reserve", "pcr_date_time=2024-06-02", member];
            let ended = world.run(&set).await.expect(3);
            ended.says(&format!("setting {name} to `{text}` in the state of pc-reserve")).says(expected);
            assert_eq!(world.state_text().await, before, "{member}");
        }
    }
}

/// P4: the patron's pseudonym is the key, so that a patron's records stay in order.
#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_a_record_is_its_patron() {
    let mut world = World::servers().await;
    world.patron(486_000_000_001, "23334000000001").await;
    let users = ["23334000000001", "25555000000001"];
    let sessions: Vec<Session> = (0..)
        .zip(users)
        .map(|(i, user)| session(7_710_000 + i, user, "2024-06-01 10:00:00"))
        .collect();
    world.sessions(&sessions).await;
    world.start_at(MAY, "0").await;
    world.poll().await.expect(0);
    let records = world.delivered_with_keys().await;
    let mut keys: Vec<String> = records.into_iter().map(|(key, _)| key).collect();
    keys.sort();
    let mut expected = [
        pseudonym("486000000001").await,
        pseudonym("barcode 25555000000001").await,
    ];
    expected.sort();
    assert_eq!(keys, expected);
}

/// A text's order is that of its time in one form alone. With a zone it once put the cursor behind
/// sessions that were not read yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_time_in_another_form_has_no_place_in_the_order() {
    let mut world = World::embedded();
    for at in [
        "2024-06-01 10:00:00-05",
        "2024-06-01T10:00:00.000000",
        "2024-06-01 10:00:00",
    ] {
        world.in_envisionware("DELETE FROM strad_bci").await;
        let keys = 7_700_000..7_700_003;
        let sessions: Vec<Session> = keys
            .map(|key| session(key, "4", "2024-06-01 10:00:00"))
            .collect();
        world.sessions(&sessions).await;
        let sql = format!("UPDATE strad_bci SET pcrDateTime = '{at}' WHERE pcrKey = 7700001");
        world.in_envisionware(&sql).await;
        world.start_at(MAY, "0").await;
        let ended = world.poll().await.expect(7);
        ended.says("its pcrDateTime is not written as 2024-06-14 23:30:00.000000");
        assert!(world.delivered().await.is_empty(), "{at}");
    }
}

/// Values that a column of MariaDB could not hold are held by SQLite.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_set_aside_by_itself() {
    let mut world = World::embedded();
    world.patron(486_600_000_001, "23334000000001").await;
    world.patron(486_600_000_002, "23334000000002").await;
    let users = ["23334000000001", "23334000000002", "23334000000003", "4"];
    let sessions: Vec<Session> = (0..)
        .zip(users)
        .map(|(i, user)| session(7_500_000 + i, user, "2024-06-01 10:00:00"))
        .collect();
    world.sessions(&sessions).await;
    world
        .in_envisionware("UPDATE strad_bci SET pcrMinutesUsed = 'many' WHERE pcrUserID = '4'")
        .await;
    world
        .in_envisionware(
            "UPDATE strad_bci SET pcrUserID = CAST(x'32ff' AS TEXT) WHERE pcrKey = 7500002",
        )
        .await;
    world
        .in_sierra("UPDATE sierra_view.patron_view SET ptype_code = 'adult' WHERE barcode = '23334000000002'")
        .await;
    world.start_at(MAY, "0").await;
    world.poll().await.expect(6);
    assert_eq!(world.delivered().await.len(), 1);
    let letters = world.dead_letters();
    for (key, reason) in [
        (
            7_500_001,
            "Sierra, column ptype_code: expected a whole number",
        ),
        (7_500_002, "Envisionware, column pcrUserID: expected UTF-8"),
        (
            7_500_003,
            "Envisionware, column pcrMinutesUsed: expected a whole number",
        ),
    ] {
        let key = pseudonym(&key.to_string()).await;
        let letter = letters.iter().find(|letter| letter["key"] == key.as_str());
        let letter = letter.unwrap_or_else(|| panic!("{reason}: {letters:?}"));
        assert_eq!(letter["reason"], reason);
        assert_eq!(letter["position"], "2024-06-01 10:00:00");
    }
    world.poll().await.expect(0);
    assert_eq!(world.delivered().await.len(), 1);
}

/// The table's suffix is that of the database, where no other is given.
#[tokio::test(flavor = "multi_thread")]
async fn redshift_tables_have_their_databases_suffix() {
    let mut world = World::servers().await;
    world.patron(486_700_000_001, "23334000000001").await;
    world
        .sessions(&[session(7_600_000, "23334000000001", "2024-06-01 10:00:00")])
        .await;
    world.start_at(MAY, "0").await;
    world.program.settings.remove("REDSHIFT_TABLE_SUFFIX");
    let name = world.program.settings["REDSHIFT_DB_NAME"].clone();
    let missing = format!("patron_info_{name}");
    world.poll().await.expect(3).says(&missing);
    world.set("REDSHIFT_TABLE_SUFFIX", "none");
    world
        .poll()
        .await
        .expect(3)
        .says("\"patron_info\" does not exist");
    world.set("REDSHIFT_TABLE_SUFFIX", " x;");
    world.poll().await.expect(3).says("naming the table");
    world.program.settings.remove("REDSHIFT_TABLE_SUFFIX");
    world
        .in_redshift(&format!("ALTER TABLE patron_info_qa RENAME TO {missing}"))
        .await;
    world.poll().await.expect(0);
    assert_eq!(world.record(7_600_000).await["postal_code"], "10018");
}

/// The certificate's authority is one that `SSL_CERT_FILE` names, and the server bears its name.
#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_of_envisionware_is_verified() {
    let mut world = World::servers().await;
    world.sessions(&tied(2, "2024-06-01 12:00:00")).await;
    world.start_at(MAY, "0").await;
    for mode in ["verify-ca", "verify-full"] {
        world.set("ENVISIONWARE_SSLMODE", mode);
        world.program.settings.remove("SSL_CERT_FILE");
        world.poll().await.expect(3).says("see `sslmode`");
        world.set("SSL_CERT_FILE", &server("WATERSHED_TEST_MYSQL_CERT"));
        let checked = world.run(&["check", "pc-reserve"]).await.expect(0);
        assert!(checked.stdout.contains("ok    Envisionware"));
        world.poll().await.expect(0);
        assert_eq!(world.delivered().await.len(), 2);
    }
}
