//! Pipelines as services: pass after pass, looked at from outside, stopped by a signal.

use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStderr};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::patronload::reports::sentry;
use crate::pc_reserve::world::{MAY, World, session};
use crate::program::{Ended, Program};

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(60);
const OFTEN: [&str; 4] = ["run", "pc-reserve", "--every", "50ms"];
const SELDOM: [&str; 4] = ["run", "pc-reserve", "--every", "1h"];

/// A running service.
pub struct Running {
    child: Child,
    /// Where it is looked at.
    address: String,
    log: Arc<Mutex<String>>,
    /// Ends with the log.
    read: JoinHandle<()>,
}

impl Running {
    /// Starts it, and reads in its log where it is looked at.
    pub async fn start(program: &mut Program, arguments: &[&str]) -> Running {
        let settings = &mut program.settings;
        settings.insert("METRICS_ADDRESS".into(), "127.0.0.1:0".into());
        Running::of(program.start(arguments)).await
    }

    async fn of(mut child: Child) -> Running {
        let stderr = child.stderr.take().expect("stderr is piped");
        let mut lines = BufReader::new(stderr).lines();
        let log = Arc::new(Mutex::new(String::new()));
        let address = async {
            loop {
                let line = next(&mut lines, &log).await;
                let line = line.unwrap_or_else(|| panic!("it ended: {}", log.lock().unwrap()));
                if let Some((_, rest)) = line.split_once("metrics are at http://") {
                    return rest.trim_end_matches("/metrics").to_owned();
                }
            }
        };
        let address = timeout(PATIENCE, address).await.expect("it tells where");
        let kept = log.clone();
        // Whoever does not read its log stops it.
        let read = tokio::spawn(async move { while next(&mut lines, &kept).await.is_some() {} });
        Running {
            child,
            address,
            log,
            read,
        }
    }

    /// Status and body of an answer.
    async fn answer(&self, path: &str) -> (u16, String) {
        answer(&self.address, path).await
    }

    /// Waits until an answer is as wanted, and gives it.
    async fn until(&self, path: &str, wanted: impl Fn(u16, &str) -> bool) -> String {
        let asking = async {
            loop {
                let (status, body) = self.answer(path).await;
                if wanted(status, &body) {
                    return body;
                }
                tokio::task::yield_now().await;
            }
        };
        match timeout(PATIENCE, asking).await {
            Ok(body) => body,
            Err(_) => panic!(
                "{path} says {:?}; log:\n{}",
                self.answer(path).await,
                self.log.lock().unwrap()
            ),
        }
    }

    /// Waits until a line stands in the metrics, and gives their page.
    pub async fn counts(&self, line: &str) -> String {
        let there = |page: &str| page.lines().any(|there| there == line);
        self.until("/metrics", |_, page| there(page)).await
    }

    /// SIGTERM; whatever it wrote is searched.
    pub async fn stop(mut self, program: &Program) -> Ended {
        let sent = Instant::now();
        terminate(&self.child);
        let ended = timeout(PATIENCE, self.child.wait()).await;
        let status = ended.expect("it ends").expect("it can be waited for");
        assert!(
            sent.elapsed() < Duration::from_secs(10),
            "{:?}",
            sent.elapsed()
        );
        self.read.await.expect("its log can be read");
        let stderr = self.log.lock().unwrap().clone().into_bytes();
        program.searched(Output {
            status,
            stdout: Vec::new(),
            stderr,
        })
    }
}

/// Status and body of the answer of a service that is looked at there.
pub async fn answer(address: &str, path: &str) -> (u16, String) {
    let mut connection = TcpStream::connect(address).await.expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: watershed\r\nConnection: close\r\n\r\n");
    let sent = connection.write_all(request.as_bytes()).await;
    sent.expect("a request");
    let mut answer = String::new();
    let read = connection.read_to_string(&mut answer).await;
    read.expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    (status.expect("a status"), body.to_owned())
}

async fn next(lines: &mut Lines<BufReader<ChildStderr>>, log: &Mutex<String>) -> Option<String> {
    let line = lines.next_line().await.expect("stderr can be read")?;
    let mut log = log.lock().unwrap();
    log.push_str(&line);
    log.push('\n');
    Some(line)
}

fn terminate(child: &Child) {
    let id = child.id().expect("it runs").to_string();
    let sent = Command::new("kill").args(["-TERM", &id]).status();
    assert!(sent.expect("kill can be run").success());
}

pub fn value(page: &str, series: &str) -> f64 {
    let line = page.lines().find_map(|line| line.strip_prefix(series));
    let line = line.unwrap_or_else(|| panic!("{series} is not in\n{page}"));
    line.trim().parse().expect("a number")
}

async fn world(sessions: i64) -> World {
    let mut world = World::embedded();
    world.start_at(MAY, "0").await;
    add(&mut world, 7_600_000, sessions).await;
    world
}

async fn add(world: &mut World, first: i64, number: i64) {
    let sessions: Vec<_> = (first..first + number)
        .map(|key| session(key, "23334000000042", "2024-06-01 10:00:00"))
        .collect();
    world.sessions(&sessions).await;
}

const DELIVERED: &str =
    r#"watershed_records_total{pipeline="pc-reserve",mode="sessions",outcome="delivered"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn passes_follow_each_other_and_everything_is_counted_exactly() {
    let mut world = world(3).await;
    let running = Running::start(&mut world.program, &OFTEN).await;
    running.counts(&format!("{DELIVERED} 3")).await;
    add(&mut world, 7_600_010, 2).await;
    running.counts(&format!("{DELIVERED} 5")).await;
    // A guest's minutes that are no number are set aside, all by themselves.
    world
        .in_envisionware("INSERT INTO strad_bci SELECT 7600020, pcrUserID, 'many', '2024-06-01 11:00:00.000000', pcrBranch, pcrArea, NULL FROM strad_bci LIMIT 1")
        .await;
    let aside =
        r#"watershed_records_total{pipeline="pc-reserve",mode="sessions",outcome="set_aside"} 1"#;
    running.counts(aside).await;
    let page = running
        .until("/metrics", |_, page| {
            let passes = value(
                page,
                r#"watershed_passes_total{pipeline="pc-reserve",outcome="succeeded"}"#,
            );
            let timed = r#"watershed_pass_duration_seconds_count{pipeline="pc-reserve"}"#;
            // A page may be made between the two.
            passes > 5.0 && passes == value(page, timed)
        })
        .await;

    // Two sessions may have come in one pass or in two.
    let pages = value(
        &page,
        r#"watershed_pages_total{pipeline="pc-reserve",mode="sessions"}"#,
    );
    assert!((3.0..=4.0).contains(&pages), "{pages} pages");
    for line in [
        &*format!("{DELIVERED} 5"),
        r#"watershed_records_read_total{pipeline="pc-reserve",mode="sessions"} 6"#,
        r#"watershed_records_total{pipeline="pc-reserve",mode="sessions",outcome="skipped"} 0"#,
        aside,
        r#"watershed_passes_total{pipeline="pc-reserve",outcome="failed"} 0"#,
        r#"watershed_pass_failures_total{pipeline="pc-reserve",remedy="try_again"} 0"#,
        r#"watershed_failed_passes_in_a_row{pipeline="pc-reserve"} 0"#,
        "# TYPE watershed_pass_duration_seconds histogram",
        "# TYPE watershed_records_total counter",
    ] {
        assert!(
            page.lines().any(|there| there == line),
            "{line} is not in\n{page}"
        );
    }
    let since = value(
        &page,
        r#"watershed_seconds_since_last_success{pipeline="pc-reserve"}"#,
    );
    assert!((0.0..60.0).contains(&since), "{since}");
    for hidden in &world.program.hidden {
        assert!(
            !page.contains(hidden),
            "P6 is broken: `{hidden}` in the metrics"
        );
    }
    // Some records were set aside, and yet whoever stops it finds it well.
    let ended = running.stop(&world.program).await.expect(0);
    ended
        .says("records were set aside in")
        .says("pc-reserve ends");
    assert_eq!(world.delivered().await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_pass_is_tried_again_until_it_is_mended() {
    let mut world = world(3).await;
    let (dsn, told) = sentry().await;
    world.set("SENTRY_DSN", &dsn);
    let running = Running::start(&mut world.program, &OFTEN).await;
    running.until("/readyz", |status, _| status == 200).await;
    world.write_state("no JSON at all").await;
    running
        .until("/metrics", |_, page| {
            let failures =
                r#"watershed_pass_failures_total{pipeline="pc-reserve",remedy="fix_data"}"#;
            value(page, failures) >= 2.0
        })
        .await;
    let why = running.until("/readyz", |status, _| status == 503).await;
    assert!(
        why.contains("passes in a row failed; the last: data must be mended"),
        "{why}"
    );
    assert_eq!(running.answer("/healthz").await, (200, "ok\n".into()));
    let page = running.answer("/metrics").await.1;
    assert!(
        value(
            &page,
            r#"watershed_failed_passes_in_a_row{pipeline="pc-reserve"}"#
        ) >= 2.0
    );

    // Sentry is told of the failure, not of each try, and nothing personal.
    let told = || told.lock().unwrap().clone();
    let [(_, envelope)] = &told()[..] else {
        panic!("{:?}", told());
    };
    assert!(envelope.contains("pc-reserve"), "{envelope}");
    for hidden in &world.program.hidden {
        assert!(!envelope.contains(hidden), "P6 is broken: `{hidden}`");
    }

    world.start_at("2024-06-01 10:00:00", "7600001").await;
    running.until("/readyz", |status, _| status == 200).await;
    running.counts(&format!("{DELIVERED} 4")).await;
    assert_eq!(told().len(), 1);
    running
        .counts(r#"watershed_failed_passes_in_a_row{pipeline="pc-reserve"} 0"#)
        .await;
    running
        .stop(&world.program)
        .await
        .expect(0)
        .says("the next pass begins in");
}

/// An outage after a good pass, in what the settings name: the other side has changed.
#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_goes_and_comes_back_does_not_end_the_service() {
    let mut world = world(3).await;
    let running = Running::start(&mut world.program, &OFTEN).await;
    running.until("/readyz", |status, _| status == 200).await;
    world
        .in_envisionware("ALTER TABLE strad_bci RENAME TO elsewhere")
        .await;
    let why = running.until("/readyz", |status, _| status == 503).await;
    assert!(why.contains("access is to be fixed"), "{why}");
    world
        .in_envisionware("ALTER TABLE elsewhere RENAME TO strad_bci")
        .await;
    running.until("/readyz", |status, _| status == 200).await;
    running.stop(&world.program).await.expect(0);
}

/// P7: nothing is in hand while it waits.
#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_a_wait_at_once() {
    let mut world = world(3).await;
    let running = Running::start(&mut world.program, &SELDOM).await;
    running.until("/readyz", |status, _| status == 200).await;
    running.counts(&format!("{DELIVERED} 3")).await;
    running
        .stop(&world.program)
        .await
        .expect(0)
        .says("stopping");
    assert_eq!(world.delivered().await.len(), 3);
}

/// P7: the page in hand is finished and saved. Until its pass has ended, the service is not ready.
#[tokio::test(flavor = "multi_thread")]
async fn sigterm_finishes_the_page_in_hand() {
    let mut world = world(3).await;
    world.set("METRICS_ADDRESS", "127.0.0.1:0");
    world.set("ENVISIONWARE_BATCH_SIZE", "2");
    let mut command = world.program.interrupted("delivered:1", "pause", &SELDOM);
    let mut child = command.spawn().expect("it starts");
    let mut input = child.stdin.take().expect("stdin is piped");
    let mut output = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
    let running = Running::of(child).await;
    let paused = async {
        while output
            .next_line()
            .await
            .expect("stdout can be read")
            .expect("it pauses")
            != "paused"
        {}
    };
    timeout(PATIENCE, paused).await.expect("it pauses");
    assert_eq!(
        running.answer("/readyz").await,
        (503, "no pass has ended yet\n".into())
    );
    assert_eq!(running.answer("/healthz").await, (200, "ok\n".into()));
    let nothing = format!("{DELIVERED} 0");
    assert!(running.answer("/metrics").await.1.contains(&nothing));

    terminate(&running.child);
    // Only when it has heard the signal does the page go on.
    let heard = || {
        running
            .log
            .lock()
            .unwrap()
            .contains("the stop is requested")
    };
    let hearing = async {
        while !heard() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, hearing)
        .await
        .expect("it hears the signal");
    input.write_all(b"\n").await.expect("it goes on");
    let mut running = running;
    let sent = Instant::now();
    let status = timeout(PATIENCE, running.child.wait())
        .await
        .expect("it ends");
    assert_eq!(
        status.unwrap().code(),
        Some(0),
        "{}",
        running.log.lock().unwrap()
    );
    assert!(sent.elapsed() < Duration::from_secs(10));
    assert_eq!(world.delivered().await.len(), 2);
    world.poll().await.expect(0);
    assert_eq!(world.delivered().await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_nobody_can_listen_on_ends_it_with_3() {
    let mut world = world(3).await;
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = taken.local_addr().map(|address| (taken, address)).unwrap();
    for (address, why) in [
        (taken.1.to_string(), "in use"),
        ("nonsense".into(), "listening on METRICS_ADDRESS `nonsense`"),
    ] {
        world.set("METRICS_ADDRESS", &address);
        let ended = world.program.run(&OFTEN).await.expect(3);
        ended.says(why).says("hint: expected a free address");
    }
    assert_eq!(world.delivered().await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_no_service_can_have_end_it_with_3() {
    let mut world = world(3).await;
    for (name, text, why) in [
        ("IGNORE_CACHE", "True", "would deliver everything again"),
        ("RUN_EVERY", "soon", "expected a length of time such as 15m"),
        ("RUN_EVERY", "0s", "expected a length of time such as 15m"),
        (
            "STATE_URL",
            "file:nowhere.json",
            "there is no such document",
        ),
    ] {
        let before = world.program.settings.clone();
        world.set("RUN_AS_SERVICE", "True");
        world.set(name, text);
        let ended = world.program.run(&["run", "pc-reserve"]).await.expect(3);
        ended.says(why);
        world.program.settings = before;
    }
    assert_eq!(world.delivered().await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_no_service_ends_and_says_that_nobody_can_look_at_it() {
    let mut world = world(3).await;
    world.set("METRICS_ADDRESS", "127.0.0.1:0");
    let ended = world.poll().await.expect(0);
    ended.says("METRICS_ADDRESS (environment) is for a service alone");
    world.set("RUN_AS_SERVICE", "True");
    let ended = world.program.run(&["run", "pc-reserve", "--dry-run"]).await;
    let ended = ended.expect(0);
    assert!(
        !ended.stderr.contains("METRICS_ADDRESS"),
        "{}",
        ended.stderr
    );
    let both = ["run", "pc-reserve", "--dry-run", "--every", "1h"];
    world.program.run(&both).await.expect(2);
}
