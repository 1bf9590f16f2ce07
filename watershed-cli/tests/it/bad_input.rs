//! What is wrong outside: each a clear error or a counted dead letter; never a panic, never a
//! half-saved state, never a silent start from the beginning.

use crate::fixture::{Details, Patron, known_address};
use crate::world::{SALT, SCHEMA, World, in_both_worlds, pseudonym};

const YEAR_AGO: &str = "2023-07-01T00:00:00-04:00";

fn patrons(number: i64) -> Vec<Patron> {
    let patron =
        |i| Patron::created(483_000_000_001 + i * 17, "2024-06-01 12:00:00").at(known_address());
    (0..number).map(patron).collect()
}

/// The schema without a field.
fn without(field: &str) -> String {
    let mut schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
    schema["fields"]
        .as_array_mut()
        .unwrap()
        .retain(|f| f["name"] != field);
    schema.to_string()
}

/// The schema with one more field, or another type of a field.
fn with(field: &str) -> String {
    let field: serde_json::Value = serde_json::from_str(field).unwrap();
    let mut schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
    let fields = schema["fields"].as_array_mut().unwrap();
    match fields.iter_mut().find(|f| f["name"] == field["name"]) {
        Some(there) => *there = field,
        None => fields.push(field),
    }
    schema.to_string()
}

in_both_worlds! {
    async fn a_schema_that_does_not_fit_stops_before_anything_is_read(world) {
        world.add(&patrons(2)).await;
        world.start_at(YEAR_AGO, "2099-01-01", "2099-01-01").await;
        let before = world.state_text().await;
        for (schema, words) in [
            (without("geoid"), "it lacks the field geoid"),
            (with(r#"{"name": "weather", "type": "string"}"#), "its field weather is not known here"),
            ("<html>Not Found</html>".to_owned(), "Failed to retrieve schema"),
            ("[]".to_owned(), "schema"),
            ("{}".to_owned(), "schema"),
        ] {
            let answer = if schema.starts_with('<') { schema } else { world.schema_answer(&schema) };
            world.answer_schema(200, &answer);
            let ended = world.poll().await.expect(3);
            // The file twin has no API in front: its text is the schema.
            assert!(ended.stderr.contains(words) || ended.stderr.contains("reading the Avro schema"), "{words}: {}", ended.stderr);
        }
        assert_eq!(world.state_text().await, before);
        assert!(world.delivered().await.is_empty());
    }

    async fn a_schema_may_lack_what_is_newer_and_add_what_may_be_null(world) {
        world.add(&patrons(1)).await;
        world.start_at(YEAR_AGO, "2099-01-01", "2099-01-01").await;
        let older = without("initial_patron_home_library_code");
        world.answer_schema(200, &world.schema_answer(&older));
        world.poll().await.expect(0).says("the schema lacks the field initial_patron_home_library_code");
        world.start_at(YEAR_AGO, "2099-01-01", "2099-01-01").await;
        let newer = with(r#"{"name": "weather", "type": ["null", "string"]}"#);
        world.answer_schema(200, &world.schema_answer(&newer));
        world.poll().await.expect(0).says("the schema's field weather is not known here");
    }

    async fn a_changed_schema_sends_nothing_and_keeps_the_cursor(world) {
        world.add(&patrons(3)).await;
        world.start_at(YEAR_AGO, "2099-01-01", "2099-01-01").await;
        let before = world.state_text().await;
        world.answer_schema(200, &world.schema_answer(&with(r#"{"name": "geoid", "type": "int"}"#)));
        world.poll().await.expect(3).says("setting aside 3 of the 3 records of a page of new").says("field geoid is a text, and the schema expects int");
        assert_eq!(world.state_text().await, before);
        assert!(world.delivered().await.is_empty());
    }

    async fn a_record_that_does_not_fit_is_set_aside_and_counted(world) {
        let mut all = patrons(12);
        for patron in &mut all[1..] {
            patron.details.push(Details { ptype_code: Some(1), ..Details::default() });
        }
        world.add(&all).await;
        world.start_at(YEAR_AGO, "2099-01-01", "2099-01-01").await;
        world.set("DEAD_LETTERS_URL", "file:state/dead-letters");
        world.answer_schema(200, &world.schema_answer(&with(r#"{"name": "ptype_code", "type": "int"}"#)));
        world.poll().await.expect(6).says("1 set aside");
        let letters = world.dead_letters();
        assert_eq!(letters.len(), 1);
        assert_eq!(letters[0]["key"], pseudonym("483000000001").await);
        assert_eq!(letters[0]["reason"], "field ptype_code is null, and the schema expects int");
        assert_eq!(letters[0]["position"], "2024-06-01 12:00:00.000000");
        assert_eq!(letters[0]["record"]["geoid"], "36061000100");
        let path = crate::program::files(&world.path("state/dead-letters")).remove(0);
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(world.state().await["creation_dt"], "2024-06-01T08:00:00-04:00");
        world.poll().await.expect(0);
    }

    async fn a_state_that_is_not_one_is_an_error_and_not_a_new_start(world) {
        world.add(&patrons(1)).await;
        for (state, words) in [
            ("", "reading the state"),
            ("not JSON", "reading the state"),
            ("[]", "it must be a JSON object"),
            (r#"{"creation_dt": 7, "update_dt": "2099-01-01", "deletion_date": "2099-01-01"}"#, "creation_dt is not a text"),
            (r#"{"creation_dt": "soon", "update_dt": "2099-01-01", "deletion_date": "2099-01-01"}"#, "creation_dt is not a point in time"),
            (r#"{"creation_dt": "2024-01-01", "update_dt": "2099-01-01", "deletion_date": true}"#, "deletion_date is not a text"),
            (r#"{"creation_dt": "2024-01-01", "update_dt": "2099-01-01", "deletion_date": "2099-13-01"}"#, "deletion_date is not a date"),
            (r#"{"creation_dt": "2024-01-01", "creation_after": "x", "update_dt": "2099-01-01", "deletion_date": "2099-01-01"}"#, "creation_after is not an object"),
            (r#"{"creation_dt": "2024-01-01", "creation_after": {"dt": "2024-01-01", "id": []}, "update_dt": "2099-01-01", "deletion_date": "2099-01-01"}"#, "creation_after is not an object"),
        ] {
            world.write_state(state).await;
            // Even when a start is asked for: there is a state, and it is wrong.
            world.program.run(&["run", "patron-info", "--start"]).await.expect(7).says(words);
            assert_eq!(world.state_text().await.unwrap(), state);
        }
        world.write_state(r#"{"creation_dt": null, "update_dt": "2099-01-01"}"#).await;
        world.poll().await.expect(3).says("it has no member creation_dt");
        assert!(world.delivered().await.is_empty());
    }

    async fn all_faults_of_the_settings_are_told_at_once(world) {
        world.start_at_the_end().await;
        std::fs::write(
            world.path("settings.yaml"),
            "KINESIS_BATCH_SIZE: 501\nBCRYPT_SALT: $2b$04$tooshort\nREDSHIFT_TABEL: x\nTIME_ZONE: Atlantis/Capital\n",
        ).unwrap();
        world.program.settings.remove("BCRYPT_SALT");
        let ended = world.program.run(&["run", "patron-info", "--config", "settings.yaml", "--set", "MAX_BATCHES=many"]).await.expect(3);
        for words in [
            "5 settings to fix",
            "KINESIS_BATCH_SIZE (settings.yaml, line 1): `501`: expected a whole number from 1 to 500",
            "BCRYPT_SALT (settings.yaml, line 2): reading the bcrypt salt: it must be 29 characters long",
            "REDSHIFT_TABEL (settings.yaml, line 3): unknown setting; did you mean REDSHIFT_TABLE?",
            "TIME_ZONE (settings.yaml, line 4): `Atlantis/Capital`: expected the name of a time zone",
            "MAX_BATCHES (--set): `many`: expected a whole number",
        ] {
            ended.says(words);
        }
        assert!(!ended.stderr.contains("tooshort"));
    }

    async fn a_salt_of_another_form_is_refused_by_name(world) {
        world.start_at_the_end().await;
        for (salt, words) in [
            (SALT.replace("$2b$", "$2x$"), "must start with $2b$"),
            (format!("{}v", &SALT[..28]), "surplus bits"),
        ] {
            world.set("BCRYPT_SALT", &salt);
            let ended = world.poll().await.expect(3);
            ended.says("BCRYPT_SALT (environment)").says(words);
            assert!(!ended.stderr.contains(&salt));
        }
    }

    async fn text_that_is_not_utf_8_is_set_aside(world) {
        let patrons = patrons(11);
        world.add(&patrons).await;
        world.start_at(YEAR_AGO, "2099-01-01", "2099-01-01").await;
        world.set("DEAD_LETTERS_URL", "file:state/dead-letters");
        world.break_utf8(&patrons).await;
        world.poll().await.expect(6);
        let letters = world.dead_letters();
        assert_eq!(letters.len(), 1);
        assert_eq!(letters[0]["key"], pseudonym("483000000001").await);
        assert_eq!(letters[0]["reason"], "Sierra, column addr1: expected UTF-8");
        assert!(letters[0].get("record").is_none());
        assert_eq!(world.delivered().await.len(), 10);
    }

    async fn a_patron_without_a_place_stops_the_run(world) {
        world.in_sierra("INSERT INTO sierra_view.record_metadata VALUES (NULL, 'p', 0, '2024-06-01 12:00:00.000000', NULL, NULL)").await;
        world.start_at(YEAR_AGO, "2099-01-01", "2099-01-01").await;
        // SQL's comparison of (time, NULL) with a cursor of another time is decided by the time.
        world.poll().await.expect(7).says("its id or creation_date_gmt is NULL");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outside_system_that_is_not_there_is_told_by_name() {
    let mut world = World::servers().await;
    world.add(&patrons(1)).await;
    world.start_at(YEAR_AGO, "2099-01-01", "2099-01-01").await;
    let before = world.state_text().await;
    for (name, value, code, words) in [
        (
            "KINESIS_STREAM_ARN",
            "arn:aws:kinesis:us-east-1:123456789012:stream/nowhere",
            3,
            "Error sending records to Kinesis stream",
        ),
        ("SIERRA_DB_NAME", "nowhere", 3, "connecting to Sierra"),
        (
            "SIERRA_DB_PASSWORD",
            "wrong-password",
            3,
            "connecting to Sierra",
        ),
        ("SIERRA_DB_PORT", "9", 4, "connecting to Sierra"),
        (
            "S3_BUCKET",
            "no-such-bucket",
            3,
            "NoSuchBucket: The specified bucket does not exist",
        ),
        ("REDSHIFT_TABLE", "nowhere", 0, ""),
        (
            "PATRON_INFO_SCHEMA_URL",
            "http://127.0.0.1:9/",
            4,
            "Failed to retrieve schema",
        ),
    ] {
        let mut program = world.program.clone();
        program.settings.insert(name.into(), value.into());
        program.settings.insert("RETRY_SECONDS".into(), "1".into());
        if name == "REDSHIFT_TABLE" {
            // New patrons do not ask Redshift; `check` finds out all the same.
            let checked = program.run(&["check", "patron-info"]).await.expect(3);
            assert!(
                checked.stdout.contains("FIX   Redshift"),
                "{}",
                checked.stdout
            );
            continue;
        }
        program.poll().await.expect(code).says(words);
    }
    assert_eq!(world.state_text().await, before);
    assert!(world.delivered().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_api_that_is_ill_is_asked_again() {
    let mut world = World::servers().await;
    world.start_at_the_end().await;
    world.set("RETRY_SECONDS", "1");
    for (status, code, words) in [(503, 4, "503"), (404, 3, "404"), (401, 3, "401")] {
        world.answer_schema(status, "no");
        world
            .poll()
            .await
            .expect(code)
            .says("Failed to retrieve schema")
            .says(words);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_patron_alone_on_a_page_does_not_stop_the_other_modes() {
    let mut world = World::embedded();
    world
        .add(&[
            patrons(1).remove(0),
            Patron::updated(483_100_000_001, "2024-06-02 12:00:00"),
        ])
        .await;
    world
        .in_sierra(
            "INSERT INTO sierra_view.patron_view VALUES (483000000001, 'many', NULL, NULL, NULL)",
        )
        .await;
    world.start_at(YEAR_AGO, YEAR_AGO, "2099-01-01").await;
    world.poll().await.expect(6).says("1 set aside");
    assert_eq!(world.dead_letters().len(), 1);
    assert_eq!(world.delivered().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedded_file_with_instants_of_another_form_is_refused() {
    let world = World::embedded();
    world.start_at(YEAR_AGO, "2099-01-01", "2099-01-01").await;
    for instant in [
        "2024-06-01 12:00:00",
        "2024-06-01T12:00:00.000000",
        "1717243200",
    ] {
        world
            .in_sierra("DELETE FROM sierra_view.record_metadata")
            .await;
        world.in_sierra(&format!("INSERT INTO sierra_view.record_metadata VALUES (1, 'p', 0, '{instant}', NULL, NULL)")).await;
        world
            .poll()
            .await
            .expect(7)
            .says("column creation_date_gmt: 1 rows have another form than");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_in_urls_and_faulty_files_are_not_repeated() {
    let mut world = World::embedded();
    world.start_at_the_end().await;
    world.program.hidden.extend([
        "hush-user".to_owned(),
        "hush-key".to_owned(),
        "98765432109876543210987".to_owned(),
        "h4nter".to_owned(),
    ]);
    world.set("RETRY_SECONDS", "0");
    world.set(
        "PATRON_INFO_SCHEMA_URL",
        "http://hush-user:hush-user@127.0.0.1:9/schema?key=hush-key",
    );
    world
        .poll()
        .await
        .expect(4)
        .says("Failed to retrieve schema from http://127.0.0.1:9/schema");
    for line in [
        "SIERRA_DB_PASSWORD: 98765432109876543210987987654321098765432109879876543210987",
        "SIERRA_DB_PASSWORD: !!int h4nter",
        "SIERRA_DB_PASSWORD: 12e4",
    ] {
        // What a settings file holds stands in a file: a source.
        std::fs::write(world.path("sources/settings.yaml"), format!("{line}\n")).unwrap();
        world
            .program
            .run(&["run", "patron-info", "--config", "sources/settings.yaml"])
            .await
            .expect(3);
    }
}
