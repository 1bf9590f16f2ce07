//! What a record says, for every edge case of the source.

use serde_json::{Value as Json, json};

use crate::fixture::{Address, Details, Patron, Stored, known_address};
use crate::world::{World, in_both_worlds, pseudonym};

/// The record of the patron with this id.
async fn record(records: &[Json], id: i64) -> &Json {
    let pseudonym = pseudonym(&id.to_string()).await;
    let mut found = records
        .iter()
        .filter(|record| record["patron_id"] == pseudonym.as_str());
    let record = found
        .next()
        .unwrap_or_else(|| panic!("no record of {id} among {records:#?}"));
    assert!(found.next().is_none(), "two records of {id}");
    record
}

const YEAR_AGO: &str = "2023-07-01T00:00:00-04:00";

in_both_worlds! {
    async fn a_new_patron_gets_every_field(world) {
        let details = Details {
            ptype_code: Some(10),
            pcode3: Some(4),
            home_library_code: Some(" mm  "),
            activity: Some("2024-06-15 03:30:00"),
        };
        let patron = Patron {
            deleted: Some("2024-06-30"),
            ..Patron::created(481_036_000_337, "2024-06-15 04:30:00").at(known_address()).with(details)
        };
        world.add(&[patron]).await;
        world.start_at(YEAR_AGO, "2099-01-01", "2099-01-01").await;
        world.poll().await.expect(0);
        let address = pseudonym("481036000337_476 Quince Terrace_Tidewaterville_NY_10018").await;
        assert_eq!(world.delivered().await, [json!({
            "patron_id": "ImMKwputLEfdtxajV1pCfJw4Om0Bjeq",
            "address_hash": address,
            "postal_code": "10018",
            "geoid": "36061000100",
            "creation_date_et": "2024-06-15",
            "deletion_date_et": "2024-06-30",
            "circ_active_date_et": "2024-06-14",
            "ptype_code": 10,
            "pcode3": 4,
            "patron_home_library_code": "mm",
            "initial_patron_home_library_code": "mm",
        })]);
    }

    async fn null_everywhere_it_can_be_is_null_in_the_record(world) {
        world.add(&[
            Patron::created(481_100_000_001, "2024-06-01 12:00:00"),
            Patron::created(481_100_000_002, "2024-06-01 12:00:01").at(Address::default()).with(Details::default()),
        ]).await;
        world.start_at(YEAR_AGO, "2099-01-01", "2099-01-01").await;
        world.poll().await.expect(0);
        let records = world.delivered().await;
        for id in [481_100_000_001_i64, 481_100_000_002] {
            let record = record(&records, id).await;
            assert_eq!(record["address_hash"], pseudonym(&format!("{id}____")).await);
            assert_eq!(record["creation_date_et"], "2024-06-01");
            for field in ["postal_code", "geoid", "deletion_date_et", "circ_active_date_et", "ptype_code", "pcode3",
                "patron_home_library_code", "initial_patron_home_library_code"] {
                assert_eq!(record[field], Json::Null, "{field}");
            }
        }
    }

    async fn blanks_are_trimmed_and_nothing_else(world) {
        let address = |street: &str, postal_code| Address {
            street: Some(street.into()), city: Some("  Marshgate "), region: Some("NY "), postal_code, ..Address::default()
        };
        let home = |code| Details { home_library_code: Some(code), ..Details::default() };
        world.add(&[
            Patron::created(481_200_000_001, "2024-06-01 12:00:00").at(address("  \t12 O'Hara \"Way\"\\ ", Some(" NY 10013 "))).with(home("none")),
            Patron::created(481_200_000_002, "2024-06-01 12:00:01").at(address("14 Lantern Row", Some(""))).with(home("NONE")),
            Patron::created(481_200_000_003, "2024-06-01 12:00:02").at(address("16 Lantern Row", None)).with(home("")),
            Patron::created(481_200_000_004, "2024-06-01 12:00:03").at(address("18 Lantern Row", Some("100-0001"))).with(home("sn")),
        ]).await;
        world.start_at(YEAR_AGO, "2099-01-01", "2099-01-01").await;
        world.poll().await.expect(0);
        let records = world.delivered().await;
        let first = record(&records, 481_200_000_001).await;
        assert_eq!(first["address_hash"], pseudonym("481200000001_\t12 O'Hara \"Way\"\\_Marshgate_NY_NY 10013").await);
        let fields = |id| {
            let records = &records;
            async move {
                let record = record(records, id).await;
                (record["postal_code"].clone(), record["patron_home_library_code"].clone())
            }
        };
        assert_eq!(fields(481_200_000_001).await, (json!("NY 10"), Json::Null));
        assert_eq!(fields(481_200_000_002).await, (json!(""), json!("NONE")));
        assert_eq!(fields(481_200_000_003).await, (Json::Null, Json::Null));
        assert_eq!(fields(481_200_000_004).await, (json!("100-0"), json!("sn")));
    }

    async fn the_first_address_counts_and_rows_make_no_second_record(world) {
        let address = |order, kind, street: &str| Address {
            order, kind, street: Some(street.into()), city: Some("Marshgate"), ..Address::default()
        };
        world.add(&[
            Patron::created(481_300_000_001, "2024-06-01 12:00:00")
                .at(address(None, Some(1), "1 Nowhere Lane"))
                .at(address(Some(1), Some(1), "2 Second Lane"))
                .at(address(Some(0), Some(2), "3 Later Type Lane"))
                .at(address(Some(0), Some(1), "4 First Lane")),
            Patron::created(481_300_000_002, "2024-06-01 12:00:00")
                .at(address(Some(0), None, "5 Typeless Lane"))
                .at(address(Some(0), Some(9), "6 Typed Lane"))
                .with(Details { ptype_code: Some(1), ..Details::default() })
                .with(Details { ptype_code: Some(2), ..Details::default() }),
        ]).await;
        world.start_at(YEAR_AGO, "2099-01-01", "2099-01-01").await;
        world.poll().await.expect(0);
        let records = world.delivered().await;
        assert_eq!(records.len(), 2);
        assert_eq!(record(&records, 481_300_000_001).await["address_hash"], pseudonym("481300000001_4 First Lane_Marshgate__").await);
        let second = record(&records, 481_300_000_002).await;
        assert_eq!(second["address_hash"], pseudonym("481300000002_6 Typed Lane_Marshgate__").await);
        assert_eq!(second["ptype_code"], 1);
    }

    async fn addresses_are_hashed_by_their_first_72_bytes(world) {
        let long = "7 Street of the Very Long and Winding Name that Never Seems to End at All";
        let address = |tail: &str| Address { street: Some(format!("{long}{tail}")), ..Address::default() };
        world.add(&[Patron::created(481_400_000_001, "2024-06-01 12:00:00").at(address(" Épée"))]).await;
        world.start_at(YEAR_AGO, "2099-01-01", "2099-01-01").await;
        world.poll().await.expect(0);
        let cut = format!("481400000001_{long}");
        assert_eq!(world.delivered().await[0]["address_hash"], pseudonym(&cut[..72]).await);
    }

    async fn only_patrons_within_the_bounds_are_read(world) {
        world.set("SETTLE_SECONDS", "60");
        world.add(&[
            Patron::created(481_500_000_001, "2024-07-01 11:58:59.999999"),
            Patron::created(481_500_000_002, "2024-07-01 11:59:00"),
            Patron::created(481_500_000_003, "2024-07-02 00:00:00"),
            Patron { id: 481_500_000_004, ..Patron::default() },
            Patron::created(481_500_000_005, "2023-07-01 03:59:59.999999"),
            Patron::created(481_500_000_006, "2023-07-01 04:00:00"),
        ]).await;
        world.in_sierra("INSERT INTO sierra_view.record_metadata VALUES (481500000007, 'i', 0, '2024-06-01 12:00:00.000000', NULL, NULL)").await;
        world.start_at(YEAR_AGO, "2099-01-01", "2099-01-01").await;
        world.poll().await.expect(0);
        let records = world.delivered().await;
        assert_eq!(records.len(), 2, "{records:#?}");
        record(&records, 481_500_000_001).await;
        record(&records, 481_500_000_006).await;
        let state = world.state().await;
        assert_eq!(state["creation_dt"], "2024-07-01T07:58:59.999999-04:00");
        assert_eq!(state["creation_after"]["dt"], state["creation_dt"]);
        assert_eq!(state["update_dt"], "2099-01-01");
    }

    async fn an_updated_patron_keeps_what_was_stored_under_the_address(world) {
        let known = Patron::updated(481_600_000_001, "2024-06-01 12:00:00").at(known_address());
        let moved = Patron::updated(481_600_000_002, "2024-06-01 12:00:01").at(known_address());
        let untracted = Patron::updated(481_600_000_003, "2024-06-01 12:00:02").at(known_address());
        let nobody = Patron::updated(481_600_000_004, "2024-06-01 12:00:03").at(known_address());
        world.add(&[known, moved, untracted, nobody]).await;
        let hash = |id: i64| async move { Some(pseudonym(&format!("{id}_476 Quince Terrace_Tidewaterville_NY_10018")).await) };
        world.store(&[
            Stored { patron_id: Some("KnownOfOldKnownOfOldKnownOfOld1".into()), address_hash: hash(481_600_000_001).await, geoid: Some("36061777777"), initial: Some("sn"), ..Stored::default() },
            // The address is known, but nobody is stored under it.
            Stored { patron_id: None, address_hash: hash(481_600_000_004).await, geoid: Some("36061888888"), initial: Some("mm"), ..Stored::default() },
            Stored { patron_id: Some(pseudonym("481600000003").await), address_hash: hash(481_600_000_003).await, geoid: None, initial: None, ..Stored::default() },
            Stored { patron_id: Some(pseudonym("481600000003").await), initial: Some("ft"), ..Stored::default() },
            Stored { patron_id: Some(pseudonym("481600000002").await), initial: Some("hb"), ..Stored::default() },
        ]).await;
        world.start_at("2099-01-01", YEAR_AGO, "2099-01-01").await;
        let ended = world.poll().await.expect(0);
        let records = world.delivered().await;
        let known = records.iter().find(|record| record["patron_id"] == "KnownOfOldKnownOfOldKnownOfOld1").expect("the stored id is kept");
        assert_eq!((&known["geoid"], &known["initial_patron_home_library_code"]), (&json!("36061777777"), &json!("sn")));
        let moved = record(&records, 481_600_000_002).await;
        assert_eq!((&moved["geoid"], &moved["initial_patron_home_library_code"]), (&json!("36061000100"), &json!("hb")));
        let untracted = record(&records, 481_600_000_003).await;
        assert_eq!((&untracted["geoid"], &untracted["initial_patron_home_library_code"]), (&Json::Null, &json!("ft")));
        let nobody = record(&records, 481_600_000_004).await;
        assert_eq!((&nobody["geoid"], &nobody["initial_patron_home_library_code"]), (&json!("36061000100"), &Json::Null));
        ended.says("could not be found in Redshift").says(&pseudonym("481600000004").await);
    }

    async fn stored_rows_that_come_twice_give_one_record(world) {
        let ids = [481_700_000_001_i64, 481_700_000_002, 481_700_000_003];
        for (id, at) in ids.into_iter().zip(["2024-06-01 12:00:00", "2024-06-01 12:00:01", "2024-06-01 12:00:02"]) {
            world.add(&[Patron::updated(id, at).at(known_address())]).await;
        }
        let stored = |hash: &str, patron: String, geoid, active, initial| Stored {
            patron_id: Some(patron), address_hash: Some(hash.to_owned()), geoid, active, initial, ..Stored::default()
        };
        let mut rows = Vec::new();
        for id in ids {
            let hash = pseudonym(&format!("{id}_476 Quince Terrace_Tidewaterville_NY_10018")).await;
            let own = pseudonym(&id.to_string()).await;
            rows.extend(match id {
                // The same twice, and NULL is no disagreement.
                481_700_000_001 => vec![
                    stored(&hash, own.clone(), Some("36061777777"), Some("2024-01-01"), None),
                    stored(&hash, own.clone(), None, Some("2024-01-01"), Some("sn")),
                ],
                // Another tract: geocoded again; the initial code of the one active last.
                481_700_000_002 => vec![
                    stored(&hash, own.clone(), Some("36061777777"), Some("2024-01-01"), Some("aa")),
                    stored(&hash, own.clone(), Some("36061888888"), Some("2024-02-01"), Some("bb")),
                    stored(&hash, own, Some("36061777777"), None, Some("cc")),
                ],
                // Another patron: computed.
                _ => vec![
                    stored(&hash, "SomebodyElseSomebodyElseSomebod".into(), Some("36061777777"), None, Some("aa")),
                    stored(&hash, own, Some("36061777777"), None, Some("aa")),
                ],
            });
        }
        world.store(&rows).await;
        world.start_at("2099-01-01", YEAR_AGO, "2099-01-01").await;
        let ended = world.poll().await.expect(0);
        let records = world.delivered().await;
        assert_eq!(records.len(), 3);
        for (id, geoid, initial) in [(ids[0], "36061777777", "sn"), (ids[1], "36061000100", "bb"), (ids[2], "36061777777", "aa")] {
            let record = record(&records, id).await;
            assert_eq!((&record["geoid"], &record["initial_patron_home_library_code"]), (&json!(geoid), &json!(initial)), "{id}");
        }
        ended.says("More than one Redshift row found").says("2 stored rows that differ");
    }

    async fn a_deleted_patron_is_what_was_stored_with_the_date(world) {
        world.add(&[
            Patron::deleted(481_800_000_001, "2024-06-20"),
            Patron::deleted(481_800_000_002, "2024-06-21"),
            // Today (UTC) is left for later.
            Patron::deleted(481_800_000_003, "2024-07-01"),
        ]).await;
        let row = |active, ptype_code| async move { Stored {
            patron_id: Some(pseudonym("481800000001").await), address_hash: Some("h".into()), postal_code: Some("10018"),
            geoid: Some("36061000300"), created: Some("2015-01-02"), active, ptype_code, pcode3: Some(2), home: Some("sn"), initial: Some("mm"),
        } };
        world.store(&[row(Some("2023-12-30"), Some(3)).await, row(Some("2023-12-31"), Some(4)).await]).await;
        world.start_at("2099-01-01", "2099-01-01", "2024-06-01").await;
        world.poll().await.expect(0);
        let records = world.delivered().await;
        assert_eq!(records.len(), 2);
        assert_eq!(record(&records, 481_800_000_001).await, &json!({
            "patron_id": pseudonym("481800000001").await, "address_hash": "h", "postal_code": "10018", "geoid": "36061000300",
            "creation_date_et": "2015-01-02", "deletion_date_et": "2024-06-20", "circ_active_date_et": "2023-12-31",
            "ptype_code": 4, "pcode3": 2, "patron_home_library_code": "sn", "initial_patron_home_library_code": "mm",
        }));
        let unknown = record(&records, 481_800_000_002).await;
        assert_eq!(unknown["deletion_date_et"], "2024-06-21");
        assert!(unknown.as_object().unwrap().iter().all(|(name, value)| value.is_null() || ["patron_id", "deletion_date_et"].contains(&name.as_str())));
        assert_eq!(world.state().await["deletion_date"], "2024-06-21");
    }
}

/// Bytes that the old program delivered for the same databases.
#[tokio::test(flavor = "multi_thread")]
async fn the_old_programs_records_come_out_byte_by_byte() {
    use base64::Engine as _;
    let world = World::servers().await;
    let sierra = include_str!("testdata/deleted/inputs/sierra.sql");
    world.in_sierra("DROP SCHEMA sierra_view CASCADE").await;
    world.in_sierra(sierra).await;
    world.in_redshift("DROP TABLE patron_info_qa").await;
    world
        .in_redshift(include_str!("testdata/deleted/inputs/redshift.sql"))
        .await;
    world
        .write_state(include_str!("testdata/deleted/initial_state.json"))
        .await;
    let program = crate::program::Program {
        settings: {
            let mut settings = world.program.settings.clone();
            settings.insert("SIERRA_BATCH_SIZE".into(), "10".into());
            settings.insert("KINESIS_BATCH_SIZE".into(), "8".into());
            settings
        },
        ..world.program.clone()
    };
    program.poll().await.expect(0);
    let mut delivered = world.delivered_bytes().await;
    let lines = include_str!("testdata/deleted/expected/records.b64").lines();
    let mut expected: Vec<Vec<u8>> = lines
        .map(|line| {
            base64::engine::general_purpose::STANDARD
                .decode(line)
                .unwrap()
        })
        .collect();
    delivered.sort();
    expected.sort();
    assert_eq!(delivered.len(), 31);
    assert!(delivered == expected, "the bytes differ");
    assert_eq!(world.state().await["deletion_date"], "2024-06-30");
}
