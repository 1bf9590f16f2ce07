//! Killed, stopped, and run twice at once.

use std::collections::HashMap;

use tokio::io::AsyncWriteExt as _;

use super::world::{MAY, World, tied};
use crate::interrupted::{paused, stopped};
use crate::world::in_both_worlds;

in_both_worlds! {
    async fn killed_between_any_two_rooms_nothing_is_lost(world) {
        world.set("ENVISIONWARE_BATCH_SIZE", "3");
        world.sessions(&tied(8, "2024-06-01 12:00:00")).await;
        for room in ["read", "shaped", "protected", "formatted", "delivered", "set aside", "saved"] {
            world.start_at(MAY, "0").await;
            let before = world.delivered().await.len();
            let child = world.program.interrupted(&format!("{room}:2"), "kill", &["run", "pc-reserve"]).spawn().unwrap();
            let output = child.wait_with_output().await.unwrap();
            assert_eq!(output.status.code(), None, "{room}: it was not killed");
            world.search_keys(&world.program.searched(output));
            world.poll().await.expect(0);
            let records = world.delivered().await;
            let mut times: HashMap<&str, usize> = HashMap::new();
            for record in &records[..] {
                *times.entry(record["key"].as_str().unwrap()).or_default() += 1;
            }
            assert_eq!(times.len(), 8, "killed after {room}");
            let repeated = records.len() - before - 8;
            assert!(repeated <= 3, "killed after {room}: {repeated} repeated");
            assert_eq!(world.cursor().await.1, "7100049");
        }
    }

    // P5: the one that was overtaken ends with 5, and the state is that of the other.
    async fn of_two_runners_at_once_one_saves(world) {
        world.set("ENVISIONWARE_BATCH_SIZE", "3");
        world.sessions(&tied(8, "2024-06-01 12:00:00")).await;
        world.start_at(MAY, "0").await;
        let mut first = world.program.interrupted("delivered:1", "pause", &["run", "pc-reserve"]).spawn().unwrap();
        paused(&mut first).await;
        world.poll().await.expect(0);
        let others = world.state_text().await;
        first.stdin.take().unwrap().write_all(b"\n").await.unwrap();
        let ended = world.program.searched(first.wait_with_output().await.unwrap());
        ended.expect(5).says("another runner, or a person, has written or removed it");
        assert_eq!(world.state_text().await, others);
    }

    // P7: what is in hand is finished and saved, or abandoned whole; the next run goes on there.
    async fn sigterm_ends_the_run_between_two_pages(world) {
        world.set("ENVISIONWARE_BATCH_SIZE", "3");
        world.sessions(&tied(8, "2024-06-01 12:00:00")).await;
        world.start_at(MAY, "0").await;
        let mut child = world.program.interrupted("delivered:1", "pause", &["run", "pc-reserve"]).spawn().unwrap();
        paused(&mut child).await;
        world.program.searched(stopped(child).await).expect(0).says("stopping");
        assert_eq!(world.delivered().await.len(), 3);
        assert_eq!(world.cursor().await.1, "7100014");
        world.poll().await.expect(0);
        assert_eq!(world.delivered().await.len(), 8);
    }
}
