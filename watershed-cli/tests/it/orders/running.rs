//! Killed, stopped, locked out, cut off: the tables end as if nothing had happened.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStderr};
use tokio::time::timeout;

use super::Desk;
use super::loading::{DELIVERIES, MESSAGES, TABLES, changes, full_loads};
use crate::world::server;

const ROOMS: [&str; 6] = [
    "listed",
    "begun",
    "merged",
    "recorded",
    "committed",
    "published",
];
const LIMIT: Duration = Duration::from_secs(60);

/// Ten files: the eight of the other tests, and two that repeat keys within them.
pub async fn ten_files(desk: &Desk) {
    full_loads(desk).await;
    changes(desk).await;
    desk.put("strategy/20220922-100000000.csv", "I,3,c\nD,3,c\nI,3,d\n")
        .await;
    desk.put(
        "execution/20220922-100000000.csv.gz",
        "U,101,1,2022-09-22,1\nU,101,1,2022-09-23,2\nD,101,2,NULL,NULL\n",
    )
    .await;
}

#[tokio::test]
async fn killed_at_every_step_it_ends_as_if_nothing_had_happened() {
    for (undisturbed, desk) in [
        (Desk::embedded(), Desk::embedded()),
        (Desk::postgres().await, Desk::servers().await),
    ] {
        ten_files(&undisturbed).await;
        undisturbed.run().await.expect(0);
        ten_files(&desk).await;
        let mut kills = 0;
        'ended: loop {
            assert!(kills < 200, "it makes no progress");
            for room in ROOMS {
                let at = format!("{room}:1");
                let child = desk
                    .program
                    .interrupted(&at, "kill", &["run", "orders"])
                    .spawn();
                let output = child.expect("it starts").wait_with_output();
                let output = timeout(LIMIT, output).await.expect("it ends").unwrap();
                match output.status.code() {
                    None => kills += 1,
                    // The server has not noticed yet that the one before is gone.
                    Some(5) => {}
                    Some(0) => break 'ended,
                    code => panic!("{code:?}: {}", String::from_utf8_lossy(&output.stderr)),
                }
            }
        }
        assert!(kills >= 20, "{kills} kills");
        desk.run().await.expect(0);
        assert_eq!(desk.tables().await, undisturbed.tables().await);
        assert_eq!(desk.deliveries().await, undisturbed.deliveries().await);
        assert_eq!(desk.deliveries().await[..8], DELIVERIES);
        let mut messages = desk.messages();
        messages.dedup();
        assert_eq!(messages, undisturbed.messages());
    }
}

fn lines(child: &mut Child) -> Lines<BufReader<ChildStderr>> {
    BufReader::new(child.stderr.take().expect("stderr is piped")).lines()
}

/// Waits until a line has these words.
async fn says(lines: &mut Lines<BufReader<ChildStderr>>, words: &str) {
    let found = timeout(LIMIT, async {
        let mut seen = String::new();
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains(words) {
                return;
            }
            seen.push_str(&line);
            seen.push('\n');
        }
        panic!("it ended without `{words}`:\n{seen}");
    });
    found
        .await
        .unwrap_or_else(|_| panic!("it does not say `{words}`"));
}

async fn signal(child: &Child, name: &str) {
    let id = child.id().expect("it runs").to_string();
    let status = tokio::process::Command::new("kill")
        .args([name, &id])
        .status()
        .await;
    assert!(status.unwrap().success());
}

#[tokio::test]
async fn one_loader_at_a_time_and_a_standby_takes_over() {
    for mut desk in Desk::both().await {
        full_loads(&desk).await;
        desk.set("RUN_AS_SERVICE", "True");
        let mut first = desk.program.start(&["run", "orders"]);
        let mut first_lines = lines(&mut first);
        says(&mut first_lines, "Delivery 5: done").await;

        // Run once, a second one says who has the lock.
        let once = desk
            .program
            .run(&["run", "orders", "--set", "RUN_AS_SERVICE=False"])
            .await
            .expect(5);
        once.says("another loader has it");
        // As a service it waits.
        let mut second = desk.program.start(&["run", "orders"]);
        let mut second_lines = lines(&mut second);
        says(&mut second_lines, "standing by").await;

        signal(&first, "-KILL").await;
        first.wait().await.unwrap();
        changes(&desk).await;
        says(&mut second_lines, "Delivery 8: done").await;
        signal(&second, "-TERM").await;
        let ended = timeout(Duration::from_secs(10), second.wait()).await;
        assert_eq!(ended.expect("within 10 s").unwrap().code(), Some(0));
        assert_eq!(desk.tables().await, TABLES);
        assert_eq!(desk.deliveries().await, DELIVERIES);
        assert_eq!(desk.messages(), MESSAGES);
    }
}

#[tokio::test]
async fn a_service_waits_for_a_bad_file_to_be_repaired() {
    let mut desk = Desk::postgres().await;
    desk.set("RUN_AS_SERVICE", "True");
    full_loads(&desk).await;
    desk.put("order/20220922-095853123.csv.gz", "X,1,1,1,1\n")
        .await;
    let mut child = desk.program.start(&["run", "orders"]);
    let mut lines = lines(&mut child);
    says(&mut lines, "column operation: `X`").await;
    assert_eq!(desk.deliveries().await, DELIVERIES[..5]);
    changes(&desk).await;
    says(&mut lines, "Delivery 8: done").await;
    signal(&child, "-TERM").await;
    assert_eq!(
        timeout(Duration::from_secs(10), child.wait())
            .await
            .unwrap()
            .unwrap()
            .code(),
        Some(0)
    );
    assert_eq!(desk.tables().await, TABLES);
}

/// Starts the program so that it waits in a room, and gives it with its output.
async fn paused(desk: &Desk, at: &str) -> Child {
    let mut child = desk
        .program
        .interrupted(at, "pause", &["run", "orders"])
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let paused = timeout(LIMIT, async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line == "paused" {
                return;
            }
        }
        panic!("it ended and did not pause");
    });
    paused.await.expect("it pauses");
    child
}

async fn go_on(child: &mut Child) {
    child
        .stdin
        .as_mut()
        .unwrap()
        .write_all(b"\n")
        .await
        .unwrap();
}

#[tokio::test]
async fn a_lost_connection_to_the_target_is_made_again() {
    let desk = Desk::servers().await;
    full_loads(&desk).await;
    changes(&desk).await;
    // Between the copying and the merge of the sixth file; what was begun is lost.
    for at in ["merged:6", "begun:1"] {
        let mut child = paused(&desk, at).await;
        let ended = desk.query("SELECT CAST(pg_terminate_backend(pid) AS text) AS line FROM pg_stat_activity WHERE application_name = 'watershed' AND datname = current_database()").await;
        assert!(ended.contains(&"true".to_owned()), "{ended:?}");
        go_on(&mut child).await;
        let output = timeout(LIMIT, child.wait_with_output())
            .await
            .unwrap()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{stderr}");
        assert!(stderr.contains("trying again"), "{stderr}");
        assert_eq!(desk.tables().await, TABLES);
        assert_eq!(desk.deliveries().await, DELIVERIES);
        desk.execute("DELETE FROM loader_deliveries WHERE id = 8; DELETE FROM \"order\" WHERE order_id = 103").await;
    }
}

#[tokio::test]
async fn a_stop_ends_a_delivery_that_cannot_finish() {
    let desk = Desk::postgres().await;
    full_loads(&desk).await;
    desk.run().await.expect(0);
    changes(&desk).await;
    // Somebody else holds the table, so that the merge waits.
    desk.execute("BEGIN; LOCK TABLE \"order\" IN ACCESS EXCLUSIVE MODE")
        .await;
    let mut child = desk.program.start(&["run", "orders"]);
    let mut lines = lines(&mut child);
    says(&mut lines, "Delivery 6: ").await;
    signal(&child, "-TERM").await;
    let ended = timeout(Duration::from_secs(10), child.wait()).await;
    assert_eq!(ended.expect("within 10 s").unwrap().code(), Some(0));
    desk.execute("ROLLBACK").await;
    assert_eq!(desk.deliveries().await, DELIVERIES[..5]);
    desk.run().await.expect(0);
    assert_eq!(desk.tables().await, TABLES);
}

/// Passes connections on, but ends the first ones at once: a store that is restarted.
async fn restarting(upstream: String, refused: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut number = 0;
        while let Ok((mut client, _)) = listener.accept().await {
            number += 1;
            if number <= refused {
                continue;
            }
            let upstream = upstream.clone();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(upstream).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    format!("http://{address}")
}

#[tokio::test]
async fn a_store_that_does_not_answer_for_a_while_is_asked_again() {
    let mut desk = Desk::servers().await;
    full_loads(&desk).await;
    let endpoint = server("WATERSHED_TEST_AWS");
    let proxy = restarting(endpoint.trim_start_matches("http://").to_owned(), 4).await;
    let source = desk.program.settings["SOURCE"].replace(&endpoint, &proxy);
    desk.set("SOURCE", &source);
    desk.run().await.expect(0).says("trying again");
    assert_eq!(desk.deliveries().await, DELIVERIES[..5]);

    // For longer than RETRY_SECONDS: an outside system is unavailable.
    desk.set(
        "SOURCE",
        &source.replace(&proxy, &restarting(endpoint, usize::MAX).await),
    );
    desk.set("RETRY_SECONDS", "1");
    desk.run().await.expect(4);
}
