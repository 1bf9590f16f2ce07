//! The run as a whole: cursors, ties, modes, state, and what the flags change.

use std::collections::HashSet;

use serde_json::{Value as Json, json};

use crate::fixture::{Patron, known_address};
use crate::world::{World, in_both_worlds, pseudonym};

const YEAR_AGO: &str = "2023-07-01T00:00:00-04:00";

fn ids(records: &[Json]) -> Vec<&str> {
    records
        .iter()
        .map(|record| record["patron_id"].as_str().expect("a pseudonym"))
        .collect()
}

fn distinct(records: &[Json]) -> usize {
    ids(records).into_iter().collect::<HashSet<_>>().len()
}

/// `number` patrons created at one instant.
fn tied(number: i64, at: &'static str) -> Vec<Patron> {
    (0..number)
        .map(|i| Patron::created(482_000_000_001 + i * 13, at).at(known_address()))
        .collect()
}

in_both_worlds! {
    async fn a_second_run_delivers_nothing_new_but_the_last_date_of_deletion(world) {
        world.add(&[
            Patron { updated: Some("2024-06-01 12:00:00"), ..Patron::created(482_100_000_001, "2024-06-01 12:00:00") },
            Patron::updated(482_100_000_002, "2024-06-02 12:00:00"),
            Patron::deleted(482_100_000_003, "2024-06-03"),
            Patron::deleted(482_100_000_004, "2024-06-04"),
            Patron::deleted(482_100_000_005, "2024-06-04"),
        ]).await;
        world.start_at(YEAR_AGO, YEAR_AGO, "2024-06-01").await;
        world.poll().await.expect(0).says("already sent in this run");
        assert_eq!(world.delivered().await.len(), 5);
        world.poll().await.expect(0);
        let again = world.delivered().await;
        assert_eq!((again.len(), distinct(&again)), (7, 5));
        world.poll().await.expect(0);
        assert_eq!(world.delivered().await.len(), 9);
        let state = world.state().await;
        assert_eq!(state["creation_dt"], "2024-06-01T08:00:00-04:00");
        assert_eq!(state["update_dt"], "2024-06-02T08:00:00-04:00");
        assert_eq!(state["deletion_date"], "2024-06-04");
    }

    async fn equal_timestamps_across_page_boundaries_lose_and_repeat_nothing(world) {
        // Pages of four, all ten of one instant: the old program stopped with "too many records
        // with the same timestamp".
        world.set("ACTIVE_PATRON_BATCH_SIZE", "4");
        world.add(&tied(10, "2024-06-01 12:00:00.123456")).await;
        world.start_at(YEAR_AGO, "2099-01-01", "2099-01-01").await;
        world.poll().await.expect(0).says("new page 3");
        let records = world.delivered().await;
        assert_eq!((records.len(), distinct(&records)), (10, 10));
        world.poll().await.expect(0);
        assert_eq!(world.delivered().await.len(), 10);
        // One more of the same instant, with a higher id, is still found.
        world.add(&[Patron::created(482_999_999_999, "2024-06-01 12:00:00.123456")]).await;
        world.poll().await.expect(0);
        let records = world.delivered().await;
        assert_eq!((records.len(), distinct(&records)), (11, 11));
    }

    async fn the_limit_counts_patrons_and_not_their_addresses(world) {
        world.set("ACTIVE_PATRON_BATCH_SIZE", "2");
        let mut patrons = tied(6, "2024-06-01 12:00:00");
        for patron in &mut patrons {
            patron.addresses.extend([known_address(), known_address()]);
        }
        world.add(&patrons).await;
        world.start_at(YEAR_AGO, "2099-01-01", "2099-01-01").await;
        world.poll().await.expect(0);
        let records = world.delivered().await;
        assert_eq!((records.len(), distinct(&records)), (6, 6));
    }

    async fn a_patron_of_all_modes_is_sent_once_by_the_first(world) {
        let all = Patron {
            updated: Some("2024-06-02 12:00:00"),
            deleted: Some("2024-06-03"),
            ..Patron::created(482_200_000_001, "2024-06-01 12:00:00")
        };
        world.add(&[all]).await;
        world.start_at(YEAR_AGO, YEAR_AGO, "2024-06-01").await;
        world.poll().await.expect(0);
        let records = world.delivered().await;
        assert_eq!(records.len(), 1);
        assert_eq!(records[0]["deletion_date_et"], "2024-06-03");
        // The skips moved the cursors, too.
        let state = world.state().await;
        assert_eq!(state["update_dt"], "2024-06-02T08:00:00-04:00");
        assert_eq!(state["deletion_date"], "2024-06-03");
    }

    async fn a_full_page_of_patrons_already_sent_does_not_end_the_mode(world) {
        world.set("ACTIVE_PATRON_BATCH_SIZE", "3");
        let mut patrons = tied(3, "2024-06-01 12:00:00");
        for patron in &mut patrons {
            patron.updated = Some("2024-06-01 13:00:00");
        }
        patrons.push(Patron::updated(482_300_000_001, "2024-06-01 14:00:00"));
        world.add(&patrons).await;
        world.start_at(YEAR_AGO, YEAR_AGO, "2099-01-01").await;
        world.poll().await.expect(0);
        let records = world.delivered().await;
        assert_eq!((records.len(), distinct(&records)), (4, 4));
    }

    async fn old_state_goes_to_us_and_back_and_forward_again(world) {
        world.add(&tied(3, "2024-06-01 12:00:00")).await;
        // As the old program wrote it, with members of its own and of others.
        world.write_state(r#"{"creation_dt": "2024-06-01T08:00:00-04:00", "update_dt": "2024-06-01T00:00:00-04:00", "deletion_date": "2024-06-01", "note": {"kept": [1, "2"]}}"#).await;
        world.poll().await.expect(0);
        // Inclusive at the first takeover: the patrons of that instant are sent once more.
        assert_eq!(distinct(&world.delivered().await), 3);
        let ours = world.state().await;
        assert_eq!(ours["note"], json!({"kept": [1, "2"]}));
        assert_eq!(ours["creation_dt"], "2024-06-01T08:00:00-04:00");

        // The old program moved on and kept our members; a later patron of the same instant as
        // its cursor must not be lost.
        let mut theirs = ours.clone();
        theirs["creation_dt"] = json!("2024-06-05T08:00:00-04:00");
        world.write_state(&Json::Object(theirs).to_string()).await;
        world.add(&[Patron::created(1_000_000_001, "2024-06-05 12:00:00")]).await;
        world.poll().await.expect(0);
        let records = world.delivered().await;
        let forward = pseudonym("1000000001").await;
        assert!(ids(&records).contains(&&*forward));
        let before = records.len();
        world.poll().await.expect(0);
        assert_eq!(world.delivered().await.len(), before);
    }

    async fn a_state_is_read_however_postgresql_would_read_it(world) {
        world.add(&tied(1, "2024-06-01 12:00:00")).await;
        let forms = ["2024-06-01 08:00:00-04", "2024-06-01T12:00:00+00:00", "2024-06-01 12:00:00 +0000", "2024-06-01 08:00:00", "2024-06-01"];
        for (i, form) in forms.into_iter().enumerate() {
            world.start_at(form, "2099-01-01", "2099-01-01").await;
            world.poll().await.expect(0);
            assert_eq!(world.delivered().await.len(), i + 1, "{form}");
        }
    }

    async fn a_missing_state_is_an_error_unless_a_start_is_asked_for(world) {
        world.add(&tied(2, "2024-06-01 12:00:00")).await;
        // Start settings that happen to be there are no reason to begin from them.
        world.set("STARTING_CREATION_DT", "2024-01-01");
        world.poll().await.expect(3).says("there is no such document").says("watershed state set");
        assert!(world.delivered().await.is_empty());
        world.program.run(&["run", "patron-info", "--start"]).await.expect(0);
        assert_eq!(world.delivered().await.len(), 2);
        // Modes that found nothing are in the state, too.
        world.poll().await.expect(0);
        world.program.run(&["run", "patron-info", "--start"]).await.expect(0);
        assert_eq!(world.delivered().await.len(), 2);
    }

    async fn dry_runs_and_samples_write_nowhere(world) {
        world.add(&tied(5, "2024-06-01 12:00:00")).await;
        world.start_at(YEAR_AGO, YEAR_AGO, "2024-06-01").await;
        let before = world.state_text().await;
        world.program.run(&["run", "patron-info", "--dry-run"]).await.expect(0).says("5 dry run");
        let sample = world.program.run(&["sample", "patron-info", "--rows", "2"]).await.expect(0);
        assert!(sample.stdout.contains("and 3 more"), "{}", sample.stdout);
        assert!(sample.stdout.contains("36061000100"), "{}", sample.stdout);
        assert_eq!(world.state_text().await, before);
        assert!(world.delivered().await.is_empty());
        assert!(world.dead_letters().is_empty());
    }

    async fn an_ignored_state_and_stream_are_not_touched(world) {
        world.add(&tied(5, "2024-06-01 12:00:00")).await;
        world.start_at_the_end().await;
        let before = world.state_text().await;
        world.set("IGNORE_CACHE", "True");
        world.poll().await.expect(0);
        assert_eq!(world.delivered().await.len(), 5);
        assert_eq!(world.state_text().await, before);
        world.set("IGNORE_CACHE", "False");
        world.start_at(YEAR_AGO, "2099-01-01", "2099-01-01").await;
        world.set("IGNORE_KINESIS", "yes");
        world.poll().await.expect(0).says("5 not sent").says("IGNORE_KINESIS");
        assert_eq!(world.delivered().await.len(), 5);
        assert_eq!(world.state().await["creation_dt"], "2024-06-01T08:00:00-04:00");
    }

    async fn pages_and_modes_can_be_limited(world) {
        world.set("SIERRA_BATCH_SIZE", "2");
        world.add(&tied(5, "2024-06-01 12:00:00")).await;
        world.add(&[Patron::updated(482_400_000_001, "2024-06-02 12:00:00"), Patron::deleted(482_400_000_002, "2024-06-02")]).await;
        world.start_at(YEAR_AGO, YEAR_AGO, "2024-06-01").await;
        world.program.run(&["run", "patron-info", "--max-batches", "1", "--only", "new"]).await.expect(0);
        assert_eq!(world.delivered().await.len(), 2);
        world.program.run(&["run", "patron-info", "--only", "deleted"]).await.expect(0);
        assert_eq!(world.delivered().await.len(), 3);
        world.set("BACKFILL", "True");
        world.poll().await.expect(0);
        assert_eq!(world.delivered().await.len(), 6);
        world.set("BACKFILL", "False");
        world.program.run(&["run", "patron-info", "--max-batches", "0"]).await.expect(0);
        assert_eq!(world.delivered().await.len(), 6);
        world.program.run(&["run", "patron-info", "--only", "created"]).await.expect(2).says("patron-info has new, updated, deleted");
    }

    async fn a_person_sets_shows_and_resets_the_state(world) {
        world.program.run(&["state", "show", "patron-info"]).await.expect(3).says("no such document");
        let set = ["state", "set", "patron-info", "creation_dt=2024-06-01 08:00", "update_dt=2024-06-01", "deletion_date=2024-06-02"];
        world.program.run(&set).await.expect(0);
        let state = world.state().await;
        assert_eq!(state["creation_dt"], "2024-06-01T08:00:00-04:00");
        assert_eq!(state["update_dt"], "2024-06-01T00:00:00-04:00");
        let shown = world.program.run(&["state", "show", "patron-info"]).await.expect(0);
        assert_eq!(serde_json::from_str::<Json>(&shown.stdout).unwrap(), Json::Object(state));
        world.program.run(&["state", "set", "patron-info", "creation_dt=soon"]).await.expect(3).says("a point in time");
        world.program.run(&["state", "set", "patron-info", "created=2024-06-01"]).await.expect(3).says("expected one of creation_dt");
        world.program.run(&["state", "reset", "patron-info"]).await.expect(0);
        assert!(world.state().await.get("creation_dt").is_none());
        world.poll().await.expect(3).says("it has no member creation_dt").says("--start");
    }

    async fn an_instant_that_a_person_sets_is_inclusive_again(world) {
        world.add(&tied(2, "2024-06-01 12:00:00")).await;
        world.start_at(YEAR_AGO, "2099-01-01", "2099-01-01").await;
        world.poll().await.expect(0);
        assert_eq!(world.delivered().await.len(), 2);
        world.program.run(&["state", "set", "patron-info", "creation_dt=2024-06-01 08:00:00"]).await.expect(0);
        assert!(world.state().await.get("creation_after").is_none());
        world.poll().await.expect(0);
        assert_eq!(world.delivered().await.len(), 4);
    }

    async fn check_names_every_system(world) {
        world.start_at_the_end().await;
        let checked = world.program.run(&["check", "patron-info"]).await.expect(0);
        for system in ["Sierra", "Redshift", "geocoder", "state", "schema", "stream"] {
            assert!(checked.stdout.lines().any(|line| line.starts_with(&format!("ok    {system}"))), "{system}: {}", checked.stdout);
        }
        world.in_sierra("ALTER TABLE sierra_view.patron_view RENAME COLUMN pcode3 TO pcode4").await;
        world.set("GEOCODER_URL", "ranges:nowhere.db");
        let checked = world.program.run(&["check", "patron-info"]).await.expect(3);
        for words in ["FIX   Sierra", "pcode3", "FIX   geocoder", "nowhere.db"] {
            assert!(checked.stdout.contains(words), "{words}: {}", checked.stdout);
        }
    }
}
