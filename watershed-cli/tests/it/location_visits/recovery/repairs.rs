//! What the recovery repairs: days that are bad, days that are missing, and the rows it marks.

use serde_json::{Value as Json, json};

use super::{DAY, World, site};
use crate::world::in_both_worlds;

in_both_worlds! {
    async fn bad_days_are_repaired(world) {
        world.prepare().await;
        for row in [
            (Some(1), "09:00:00", false, true, 0), // replaced, and its double with it
            (Some(1), "09:00:00", false, true, 0),
            (Some(1), "09:15:00", false, true, 0), // still unhealthy at ShopperTrak
            (Some(1), "09:30:00", true, true, 6),  // healthy, with other counts
            (Some(1), "09:45:00", false, true, 0), // beside a healthy one: a run died here
            (Some(1), "09:45:00", true, true, 4),
            (None, "09:00:00", false, true, 0),    // a door of its own
            (Some(2), "09:00:00", false, false, 0), // stale already
        ] {
            world.row("aa 01", row).await;
        }
        world.answers("aa 01", &[
            ("EP 01", "01", "0900", 3),
            ("EP 01", "01", "0900", 3),
            ("EP 01", "02", "0915", 9),
            ("EP 01", "01", "0930", 7),
            ("EP 01", "01", "0945", 4),
            ("door", "01", "0900", 1),
            ("EP 02", "01", "0900", 2),
        ]);
        let ended = world.poll().await.expect(0);
        ended.says("1 increments of aa 01 on 2024-06-15 are stored as healthy with other counts");
        assert_eq!(world.asked(), ["site/aa 01 2024-06-15"]);
        assert_eq!(world.consume().await, 3);
        for record in &world.consumed {
            assert_eq!((&record["is_missing_data"], &record["is_fresh"]), (&json!(false), &json!(true)));
            assert_eq!(record["poll_date"], "2024-07-01");
        }
        let repaired = [
            "aa 01 - 06-15 09:00 1 healthy",
            "aa 01 1 06-15 09:00 3 healthy",
            "aa 01 1 06-15 09:15 0 unhealthy",
            "aa 01 1 06-15 09:30 6 healthy",
            "aa 01 1 06-15 09:45 4 healthy",
            "aa 01 2 06-15 09:00 2 healthy",
        ];
        assert_eq!(world.fresh().await, repaired);

        // The second run finds one increment that is still bad, and nothing to change.
        world.poll().await.expect(0);
        assert_eq!(world.asked(), ["site/aa 01 2024-06-15"]);
        assert_eq!(world.consume().await, 0);
        assert_eq!(world.fresh().await, repaired);
        let state = world.state().await;
        assert_eq!((&state["last_poll_date"], &state["theirs"]), (&json!("2024-06-30"), &json!([1])));
        assert_eq!(state["recovery"], json!({"in_vain": {DAY: {"aa 01": {"tries": 1, "last": "nothing new"}}}}));
    }

    async fn missing_days_are_filled(world) {
        world.prepare().await;
        world.all_sites(&["aa", "ab", "b/1"]);
        // A row of `ab` for each day but two, stale or not; those of no site are nobody's.
        for day in 3..=30 {
            world.in_redshift(&format!(
                "INSERT INTO location_visits_qa (shoppertrak_site_id, increment_start, enters, is_healthy_data, is_fresh) VALUES \
                 ('ab', '2024-06-{day:02} 10:00:00', 1, true, {}), ('b/1', '2024-06-{day:02} 10:00:00', 1, true, true), \
                 ('aa', '2024-06-{day:02} 10:00:00', 1, true, true), (NULL, '2024-06-{day:02} 10:00:00', 0, false, true)",
                day % 2 == 0
            )).await;
        }
        world.in_redshift(
            "INSERT INTO location_closures_v2_qa VALUES ('aa', '2024-06-02', true), ('ab', '2024-06-01', false), ('b/', '2024-06-01', true)",
        ).await;
        let increments = [("EP 01", "01", "0900", 3), ("EP 01", "02", "0915", 0), ("EP 01", "02", "0915", 0)];
        world.answers_with("site/ab", "2024-06-02", &site("ab", "2024-06-02", &increments));
        world.poll().await.expect(0);
        assert_eq!(world.asked(), ["site/aa 2024-06-01", "site/ab 2024-06-01", "site/ab 2024-06-02", "site/b/1 2024-06-02"]);
        assert_eq!(world.consume().await, 3);
        let mut missing: Vec<&Json> = world.consumed.iter().map(|record| &record["is_missing_data"]).collect();
        missing.sort_by_key(|missing| missing.as_bool());
        // Without hours of that site, unhealthy increments in which nobody was counted are missing.
        assert_eq!(missing, [&json!(false), &json!(true), &json!(true)]);
    }

    async fn on_a_day_when_all_are_closed_nothing_is_asked_for(world) {
        world.prepare().await;
        world.all_sites(&["aa"]);
        for day in 1..=30 {
            if day != 15 {
                world.in_redshift(&format!("INSERT INTO location_closures_v2_qa VALUES (NULL, '2024-06-{day:02}', true)")).await;
            }
        }
        world.in_redshift("INSERT INTO location_visits_qa (shoppertrak_site_id, increment_start, is_healthy_data, is_fresh) VALUES ('zz', '2024-06-14 10:00:00', false, true), ('aa', '2024-06-15 10:00:00', true, true)").await;
        world.poll().await.expect(0);
        assert_eq!(world.asked(), [""; 0]);
    }

    async fn nothing_is_marked_that_has_no_replacement(world) {
        world.prepare().await;
        world.row("aa", (Some(1), "09:00:00", false, true, 0)).await;
        world.row("aa", (Some(1), "09:15:00", false, true, 0)).await;
        world.row("aa", (Some(1), "09:15:00", true, true, 2)).await;
        world.answers("aa", &[("EP 01", "01", "0900", 3), ("EP 01", "01", "0915", 2)]);
        let before = world.fresh().await;
        let state = world.state_text().await;
        world.program.run(&["run", "location-visits", "--dry-run"]).await.expect(0);
        world.program.run(&["run", "location-visits", "--set", "IGNORE_KINESIS=True"]).await.expect(0);
        assert_eq!(world.consume().await, 0);
        assert_eq!(world.fresh().await, before);
        assert_eq!(world.state_text().await, state);
        assert_eq!(world.asked().len(), 2);

        world.program.run(&["run", "location-visits", "--set", "IGNORE_UPDATE=True"]).await.expect(0);
        assert_eq!(world.fresh().await, before);
        assert_eq!(world.consume().await, 1);
        // Marked by a later run that may.
        world.poll().await.expect(0);
        assert_eq!(world.consume().await, 0);
        assert_eq!(world.fresh().await, ["aa 1 06-15 09:00 3 healthy", "aa 1 06-15 09:15 2 healthy"]);
    }

    // The consumer takes its time: a second run on that day must not send everything again.
    async fn what_was_sent_today_is_not_missing(world) {
        world.prepare().await;
        world.start_at("2024-06-28").await;
        world.all_sites(&["aa"]);
        for day in 1..=27 {
            world.in_redshift(&format!("INSERT INTO location_visits_qa (shoppertrak_site_id, increment_start, enters, is_healthy_data, is_fresh) VALUES ('aa', '2024-06-{day:02} 10:00:00', 1, true, true)")).await;
        }
        let increments = [("EP 01", "01", "0900", 3)];
        for day in ["2024-06-29", "2024-06-30", "2024-07-01"] {
            world.answers_with("allsites", day, &site("aa", day, &increments));
        }
        world.answers_with("site/aa", "2024-06-28", &site("aa", "2024-06-28", &increments));
        // The poll ends with an error behind its first day, so that the recovery does not run.
        world.answers_with("allsites", "2024-06-30", "<sites><error>E107</error></sites>");
        world.poll().await.expect(4);
        world.answers_with("allsites", "2024-06-30", &site("aa", "2024-06-30", &increments));
        world.asked();
        world.poll().await.expect(0);
        assert_eq!(world.asked(), ["allsites 2024-06-30", "site/aa 2024-06-28"]);
        world.poll().await.expect(0).says("3 were sent today");
        assert_eq!(world.asked(), [""; 0]);
        assert_eq!(world.delivered().await.len(), 3);

        // Tomorrow it is taken for lost, unless it has arrived.
        world.set("AS_OF", "2024-07-02T12:00:00+00:00");
        let sent = world.delivered().await;
        let kept = sent.into_iter().filter(|record| record["increment_start"] != "2024-06-28 09:00:00");
        for record in kept {
            let start = record["increment_start"].as_str().unwrap();
            world.in_redshift(&format!("INSERT INTO location_visits_qa (shoppertrak_site_id, increment_start, is_healthy_data, is_fresh) VALUES ('aa', '{start}', true, true)")).await;
        }
        world.poll().await.expect(0);
        assert_eq!(world.asked(), ["allsites 2024-07-01", "site/aa 2024-06-28"]);
    }

    async fn it_can_be_run_alone_and_shown(world) {
        world.prepare().await;
        world.start_at("2024-06-28").await;
        for id in ["aa", "ab"] {
            world.row(id, (Some(1), "09:00:00", false, true, 0)).await;
            world.answers(id, &[("EP 01", "01", "0900", 37)]);
        }
        world.answers_with("allsites", "2024-06-29", &site("bb", "2024-06-29", &[("EP 01", "01", "0900", 3)]));
        let sample = world.program.run(&["sample", "location-visits"]).await.expect(0);
        assert!(sample.stdout.contains("37"), "{}", sample.stdout);
        assert_eq!(world.asked(), ["allsites 2024-06-29", "site/aa 2024-06-15"]);
        world.program.run(&["run", "location-visits", "--only", "recovery", "--max-batches", "1"]).await.expect(0);
        assert_eq!(world.asked(), ["site/aa 2024-06-15"]);
        assert_eq!(world.consume().await, 1);
    }
}
