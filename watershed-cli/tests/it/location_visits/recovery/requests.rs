//! When the recovery asks at all: after what kind of poll, and within which limit.

use serde_json::json;

use super::{DAY, World, site};
use crate::world::in_both_worlds;

in_both_worlds! {
    // An unusable answer about a day that is not listed ends the poll and not the recovery; days
    // of that poll are not recovered.
    async fn the_recovery_runs_when_the_poll_stopped_at_a_day(world) {
        world.prepare().await;
        world.start_at("2024-06-27").await;
        world.row("aa", (Some(1), "09:00:00", false, true, 0)).await;
        world.in_redshift("INSERT INTO location_visits_qa (shoppertrak_site_id, increment_start, is_healthy_data, is_fresh) VALUES ('aa', '2024-06-28 09:00:00', false, true)").await;
        world.answers("aa", &[("EP 01", "01", "0900", 3)]);
        world.answers_with("allsites", "2024-06-28", &site("bb", "2024-06-28", &[("EP 01", "01", "0900", 3)]));
        world.answers_with("allsites", "2024-06-29", "<sites><error>E104</error></sites>");
        world.poll().await.expect(7).says("E104");
        assert_eq!(world.asked(), ["allsites 2024-06-28", "allsites 2024-06-29", "site/aa 2024-06-15"]);
        assert_eq!(world.state().await["last_poll_date"], "2024-06-28");
        assert_eq!(world.consume().await, 2);
    }

    async fn the_recovery_does_not_run_when_the_poll_learnt_nothing(world) {
        world.prepare().await;
        world.row("aa", (Some(1), "09:00:00", false, true, 0)).await;
        world.answers("aa", &[("EP 01", "01", "0900", 3)]);
        world.start_at("2024-06-29").await;
        world.answers_with("allsites", "2024-06-30", "<sites><error>E107</error></sites>");
        world.poll().await.expect(4).says("API limit exceeded");
        assert_eq!(world.asked(), ["allsites 2024-06-30"]);
        assert_eq!(world.consume().await, 0);
    }

    async fn a_limit_that_is_reached_ends_the_recovery(world) {
        world.prepare().await;
        for id in ["aa", "ab", "ac"] {
            world.row(id, (Some(1), "09:00:00", false, true, 0)).await;
            world.answers(id, &[("EP 01", "01", "0900", 3)]);
        }
        world.answers_with("site/ab", DAY, "<sites><error>E107</error></sites>");
        world.poll().await.expect(4).says("API limit exceeded");
        assert_eq!(world.asked(), ["site/aa 2024-06-15", "site/ab 2024-06-15"]);
        assert_eq!(world.consume().await, 1);
        assert_eq!(world.fresh().await, ["aa 1 06-15 09:00 3 healthy", "ab 1 06-15 09:00 0 unhealthy", "ac 1 06-15 09:00 0 unhealthy"]);
    }

    // What a run has tried is the program's own, and goes with the rest of it.
    async fn a_reset_begins_the_recovery_anew(world) {
        world.prepare().await;
        world.row("aa", (Some(1), "09:00:00", false, true, 0)).await;
        for asked in [1, 1, 1, 0] {
            world.poll().await.expect(0);
            assert_eq!(world.asked().len(), asked);
        }
        let in_vain = &world.state().await["recovery"]["in_vain"];
        assert_eq!(in_vain[DAY]["aa"]["tries"], 3);
        world.program.run(&["state", "reset", "location-visits"]).await.expect(0);
        let left: Vec<String> = world.state().await.keys().cloned().collect();
        assert_eq!(left, ["theirs", "saved_by"]);
        world.program.run(&["state", "set", "location-visits", "last_poll_date=2024-06-30"]).await.expect(0);
        world.poll().await.expect(0);
        assert_eq!(world.asked(), ["site/aa 2024-06-15"]);
    }

    // A service that stays down costs the waits of three sites, and not those of all.
    async fn a_server_that_keeps_failing_ends_the_recovery(world) {
        world.prepare().await;
        for id in ["aa", "ab", "ac", "ad", "ae"] {
            world.row(id, (Some(1), "09:00:00", false, true, 0)).await;
            world.fails_with(&format!("site/{id}"), DAY, 503);
        }
        world.answers("aa", &[("EP 01", "01", "0900", 3)]);
        world.set("MAX_RETRIES", "2");
        world.poll().await.expect(4).says("ShopperTrak answered with server errors at 3 sites and days in a row");
        let asked = ["aa", "ab", "ab", "ac", "ac", "ad", "ad"].map(|id| format!("site/{id} {DAY}"));
        assert_eq!(world.asked(), asked);
        assert_eq!(world.state().await["last_poll_date"], "2024-06-30");
        assert_eq!(world.consume().await, 1);
        let fresh = world.fresh().await;
        assert_eq!(fresh[..2], ["aa 1 06-15 09:00 3 healthy", "ab 1 06-15 09:00 0 unhealthy"]);
        // It is up again.
        for id in ["ab", "ac", "ad", "ae"] {
            world.answers(id, &[("EP 01", "01", "0900", 3)]);
        }
        world.poll().await.expect(0);
        assert_eq!(world.consume().await, 4);
        assert!(world.fresh().await.iter().all(|row| row.ends_with("3 healthy")));
    }

    async fn requests_are_left_for_the_next_poll(world) {
        world.prepare().await;
        for id in ["aa", "ab", "ac", "ad"] {
            world.row(id, (Some(1), "09:00:00", false, true, 0)).await;
        }
        world.set("DAILY_REQUEST_LIMIT", "5");
        world.set("MAX_RETRIES", "2");
        world.poll().await.expect(0).says("the rest of DAILY_REQUEST_LIMIT is for the next poll");
        // Five, less one day's poll, which may take two.
        assert_eq!(world.asked().len(), 3);
        assert_eq!(world.state().await["recovery"]["today"], json!({"on": "2024-07-01", "requests": 3}));
        world.poll().await.expect(0);
        assert_eq!(world.asked().len(), 0, "another run of that day");
    }
}
