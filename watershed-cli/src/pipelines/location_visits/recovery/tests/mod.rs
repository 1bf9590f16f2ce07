//! The loop, against an embedded Redshift and a ShopperTrak that says what it is told. What was
//! sent is put into the table before the next run, as the consumer of the stream does.

mod doors;

use serde_json::json;
use watershed::connectors::objects::Object;
use watershed::dead_letters::DeadLetters;
use watershed::engine::Report;
use watershed::error::Remedy;
use watershed::state::State;

use super::*;
use doors::{DAY, Doors, Stream, letter};

/// A place for the state, with a member that is not ours.
async fn state() -> Object {
    let object = Object::in_memory("state.json");
    let text = r#"{"theirs":1,"last_poll_date":"2024-06-19"}"#;
    object.write(text.into()).await.unwrap();
    object
}

/// Runs the recovery over the state at `place`.
async fn run_at(place: &Object, recovery: &Recovery<'_, Doors>) -> (Report, Result<()>) {
    let mut run = Run {
        state: State::open(place, "run").await.unwrap().unwrap(),
        dead_letters: DeadLetters::forgotten(),
        stop: recovery.exchange.stop.clone(),
        max_pages: None,
        report: Report::default(),
        progress: &|_| {},
    };
    let result = recovery.run(&mut run).await;
    // P3
    let mode = &run.report.modes[0];
    let sum = mode.delivered + mode.skipped.total() + mode.set_aside;
    assert_eq!(mode.read, sum, "{mode:?}");
    (run.report, result)
}

async fn run(recovery: &Recovery<'_, Doors>) -> ModeReport {
    let (mut report, result) = run_at(&state().await, recovery).await;
    result.unwrap();
    report.modes.remove(0)
}

async fn ledger(place: &Object) -> serde_json::Value {
    let (bytes, _) = place.read().await.unwrap().unwrap();
    let state: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(state["theirs"], 1, "members of others are kept");
    assert_eq!(state["last_poll_date"], "2024-06-19");
    state["recovery"].clone()
}

#[tokio::test]
async fn healthy_increments_are_sent_and_the_rows_they_replace_marked() {
    let mut doors = Doors::new();
    doors.rows(
        "aa 01",
        &[
            (Some(1), 9, false, true, 0),  // 1: replaced
            (Some(1), 10, false, true, 0), // 2: still unhealthy
            (Some(1), 11, true, true, 5),  // 3: healthy, same counts
            (Some(1), 12, true, true, 6),  // 4: healthy, other counts
            (None, 9, false, true, 0),     // 5: replaced, a door of its own
            (Some(2), 9, false, false, 0), // 6: stale already
        ],
    );
    doors.answers(
        "aa 01",
        &[
            (Some(1), 9, 3),
            (Some(1), 11, 5),
            (Some(1), 12, 7),
            (None, 9, 1),
            (Some(2), 9, 2),
            (Some(2), 9, 2),
        ],
    );
    let report = run(&doors.recovery()).await;
    assert_eq!(doors.asked(), ["aa 01 on 2024-06-15 unhealthy"]);
    let sent: Vec<_> = doors
        .sent
        .borrow()
        .iter()
        .map(|v| (v.orbit, v.enters))
        .collect();
    let expected = [(Some(1), Some(3)), (None, Some(1)), (Some(2), Some(2))];
    assert_eq!(sent, expected);
    assert_eq!(doors.fresh(), (vec![2, 3, 4], vec![1, 5, 6]));
    assert_eq!((report.pages, report.read, report.delivered), (1, 6, 3));
    assert_eq!(report.skipped.get("already healthy"), 2);
    assert_eq!(report.skipped.get("double in the answer"), 1);
    assert_eq!(report.noted.get("marked stale"), 2);
    assert_eq!(report.noted.get("stored with other counts"), 1);
    assert_eq!(report.noted.get("sites and days asked for"), 1);

    // The next run asks for what is left, and sends nothing twice.
    doors.consume();
    let report = run(&doors.recovery()).await;
    assert_eq!(doors.asked(), ["aa 01 on 2024-06-15 unhealthy"]);
    assert_eq!((report.delivered, report.skipped.total()), (0, 6));
    assert_eq!(doors.fresh(), (vec![2, 3, 4, 7, 8, 9], vec![1, 5, 6]));
}

#[tokio::test]
async fn missing_days_are_sent_whole_and_mark_nothing() {
    let mut doors = Doors::new();
    doors.in_redshift(
        "INSERT INTO location_visits (shoppertrak_site_id, increment_start, is_healthy_data, is_fresh) VALUES
            (NULL, '2024-06-15 09:00:00', FALSE, TRUE), ('', '2024-06-15 09:00:00', FALSE, TRUE),
            ('ab', '2024-06-15 09:00:00', TRUE, FALSE),
            ('zz', '2024-06-09 23:45:00', FALSE, TRUE), ('zz', '2024-06-20 00:00:00', FALSE, TRUE);
         INSERT INTO location_closures_v2 VALUES
            (NULL, '2024-06-10', TRUE), (NULL, '2024-06-11', FALSE), ('aa', '2024-06-12', TRUE),
            ('ac', '2024-06-12', FALSE), (NULL, '2024-06-13', NULL), (NULL, '2024-06-20', TRUE)",
    );
    doors.answers("aa 01", &[(Some(1), 9, 3), (Some(1), 9, 3)]);
    let unhealthy = doors
        .answers
        .get_mut(&(DAY.into(), "aa 01".into()))
        .unwrap();
    unhealthy[1].healthy = false;
    let sites = ["ab".to_owned(), "aa 01".to_owned()].into();
    let mut recovery = doors.recovery();
    recovery.sites = Some(&sites);
    let report = run(&recovery).await;
    let asked = doors.asked();
    // Ten days of two sites; closed on one everywhere, one of them on another; found on a third.
    assert_eq!(asked.len(), 20 - 2 - 1 - 1);
    assert_eq!(
        asked[..3],
        [
            "aa 01 on 2024-06-11 missing",
            "ab on 2024-06-11 missing",
            "ab on 2024-06-12 missing",
        ]
    );
    assert!(
        !asked.contains(&"ab on 2024-06-15 missing".into()),
        "{asked:?}"
    );
    assert_eq!((report.read, report.delivered), (2, 2));
    assert_eq!(report.noted.get("without an answer"), 15);
    assert_eq!(report.noted.get("marked stale"), 0);
    assert_eq!(doors.sent.borrow().len(), 2);
}

#[tokio::test]
async fn increments_of_another_site_are_not_sent() {
    let mut doors = Doors::new();
    doors.rows("aa", &[(Some(1), 9, false, true, 0)]);
    doors.answers("aa", &[(Some(1), 9, 3), (Some(1), 10, 3), (Some(1), 11, 4)]);
    let answer = doors.answers.get_mut(&(DAY.into(), "aa".into())).unwrap();
    answer[0].site = Some("ab".into());
    answer[1].site = None;
    let report = run(&doors.recovery()).await;
    assert_eq!(report.skipped.get("of another site"), 2);
    assert_eq!(report.delivered, 1);
    assert_eq!(doors.fresh(), (vec![1], vec![]));
}

#[tokio::test]
async fn nothing_is_marked_when_marks_are_off() {
    let mut doors = Doors::new();
    doors.rows(
        "aa",
        &[
            (Some(1), 9, false, true, 0),
            (Some(1), 10, false, true, 0),
            (Some(1), 10, true, true, 1),
        ],
    );
    doors.answers("aa", &[(Some(1), 9, 3), (Some(1), 10, 1)]);
    let mut recovery = doors.recovery();
    recovery.marks = false;
    let place = state().await;
    for stream in [Stream::Takes, Stream::Skips] {
        doors.stream.set(stream);
        let (report, result) = run_at(&place, &recovery).await;
        result.unwrap();
        assert_eq!(report.modes[0].noted.get("marked stale"), 0);
        assert_eq!(doors.fresh(), (vec![1, 2, 3], vec![]));
    }
    assert_eq!(ledger(&place).await, json!(null), "no try was in vain");
}

#[tokio::test]
async fn a_failed_delivery_marks_nothing() {
    let mut doors = Doors::new();
    doors.rows("aa", &[(Some(1), 9, false, true, 0)]);
    doors.answers("aa", &[(Some(1), 9, 3)]);
    doors.stream.set(Stream::Fails);
    let (report, result) = run_at(&state().await, &doors.recovery()).await;
    assert_eq!(result.unwrap_err().remedy(), Remedy::TryAgain);
    assert_eq!(report.modes[0].read, 0);
    assert_eq!(doors.fresh(), (vec![1], vec![]));
}

#[tokio::test]
async fn a_row_is_stale_only_once_its_replacement_is_durable() {
    let mut doors = Doors::new();
    // The last two: a healthy row beside an unhealthy one, as a run that died leaves them.
    doors.rows(
        "aa",
        &[
            (Some(1), 9, false, true, 0),
            (Some(1), 10, false, true, 0),
            (Some(1), 11, false, true, 0),
            (Some(1), 11, true, true, 5),
        ],
    );
    doors.answers("aa", &[(Some(1), 9, 3), (Some(1), 10, 4), (Some(1), 11, 5)]);
    doors.stream.set(Stream::SetsTheFirstAside);
    let report = run(&doors.recovery()).await;
    assert_eq!((report.delivered, report.set_aside), (1, 1));
    assert_eq!(doors.fresh(), (vec![1, 2, 4], vec![3]));
    // By the next run it is known which record arrived.
    doors.consume();
    run(&doors.recovery()).await;
    assert_eq!(doors.fresh(), (vec![1, 4, 5], vec![2, 3]));
}

#[tokio::test]
async fn asking_in_vain_is_remembered() {
    let mut doors = Doors::new();
    for site in ["aa", "ab", "ac"] {
        doors.rows(site, &[(Some(1), 9, false, true, 0)]);
    }
    doors.answers("ab", &[]);
    doors.answers("ac", &[(Some(1), 9, 1)]);
    let place = state().await;
    for _ in 0..3 {
        let (_, result) = run_at(&place, &doors.recovery()).await;
        result.unwrap();
    }
    assert_eq!(doors.asked().len(), 7, "`ac` was mended by the first run");
    let in_vain = json!({"2024-06-15": {
        "aa": {"tries": 3, "last": "no answer"},
        "ab": {"tries": 3, "last": "nothing new"},
    }});
    assert_eq!(ledger(&place).await, json!({"in_vain": in_vain}));

    let (report, _) = run_at(&place, &doors.recovery()).await;
    assert_eq!(doors.asked(), [""; 0]);
    assert_eq!(report.modes[0].noted.get("left for a later run"), 2);
    assert_eq!(
        ledger(&place).await["in_vain"]["2024-06-15"]["aa"]["passed"],
        1
    );
    run_at(&place, &doors.recovery()).await.1.unwrap();
    run_at(&place, &doors.recovery()).await.1.unwrap();
    assert_eq!(doors.asked().len(), 2, "the third run asks again");

    // What is mended in another way, or has left the window, is forgotten.
    doors.in_redshift("UPDATE location_visits SET is_fresh = FALSE");
    run_at(&place, &doors.recovery()).await.1.unwrap();
    assert_eq!(ledger(&place).await, json!(null));
}

#[tokio::test]
async fn a_state_that_needs_no_ledger_is_not_written() {
    let doors = Doors::new();
    let place = state().await;
    let before = place.read().await.unwrap().unwrap().0;
    run_at(&place, &doors.recovery()).await.1.unwrap();
    assert_eq!(place.read().await.unwrap().unwrap().0, before);
}

#[tokio::test]
async fn enough_requests_are_left_for_the_next_poll() {
    let mut doors = Doors::new();
    for site in ["aa", "ab", "ac", "ad", "ae"] {
        doors.rows(site, &[(Some(1), 9, false, true, 0)]);
        doors.answers(site, &[]);
    }
    // The poll has made one.
    doors.requests.set(1);
    let place = state().await;
    let mut recovery = doors.recovery();
    recovery.limit = Some(RequestLimit {
        a_day: 8,
        next_poll: 3,
    });
    let (report, result) = run_at(&place, &recovery).await;
    result.unwrap();
    // 8 − 1 − 3
    assert_eq!(doors.asked().len(), 4);
    assert_eq!(
        report.modes[0]
            .noted
            .get("not asked for, DAILY_REQUEST_LIMIT"),
        1
    );
    assert_eq!(
        ledger(&place).await["today"],
        json!({"on": "2024-06-20", "requests": 5})
    );

    // A second run on that day has what the first one left, less its own poll: nothing.
    doors.requests.set(1);
    run_at(&place, &recovery).await.1.unwrap();
    assert_eq!(doors.asked(), [""; 0]);

    doors.requests.set(1);
    recovery.today = "2024-06-21".parse().unwrap();
    run_at(&place, &recovery).await.1.unwrap();
    assert_eq!(doors.asked().len(), 4);
}

#[tokio::test]
async fn when_no_request_is_allowed_any_more_the_recovery_ends() {
    let mut doors = Doors::new();
    for site in ["aa", "ab", "ac"] {
        doors.rows(site, &[(Some(1), 9, false, true, 0)]);
    }
    doors.answers("aa", &[(Some(1), 9, 1)]);
    doors.limit_at = Some("ab");
    let report = run(&doors.recovery()).await;
    assert_eq!(doors.asked().len(), 2);
    assert_eq!(report.delivered, 1);
    assert_eq!(report.noted.get("not asked for, DAILY_REQUEST_LIMIT"), 2);
    assert_eq!(doors.fresh(), (vec![2, 3], vec![1]));
}

/// One site's server errors are about that site; of three in a row the service is to blame.
#[tokio::test]
async fn server_errors_in_a_row_end_the_recovery() {
    let mut doors = Doors::new();
    for site in ["aa", "ab", "ac", "ad", "ae", "af", "ag"] {
        doors.rows(site, &[(Some(1), 9, false, true, 0)]);
        doors.answers(site, &[(Some(1), 9, 1)]);
    }
    doors.failing = vec!["aa", "ab", "ad", "ae", "af"];
    let place = state().await;
    let (report, result) = run_at(&place, &doors.recovery()).await;
    let error = result.unwrap_err();
    assert_eq!(error.remedy(), Remedy::TryAgain);
    assert_eq!(
        error.in_one_line(),
        "recovering: 1 sites and days are left for the next run: \
         ShopperTrak answered with server errors at 3 sites and days in a row"
    );
    assert_eq!(doors.asked().len(), 6, "`ag` is not asked for");
    // What came before is mended, and every try is in the ledger.
    assert_eq!(doors.fresh(), (vec![1, 2, 4, 5, 6, 7], vec![3]));
    assert_eq!(report.modes[0].noted.get("without an answer"), 5);
    let tried = &ledger(&place).await["in_vain"]["2024-06-15"];
    assert_eq!(tried.as_object().unwrap().len(), 5);

    // Where the server always fails for the same sites, those behind them have their turn.
    doors.consume();
    for _ in 0..2 {
        run_at(&place, &doors.recovery()).await.1.unwrap_err();
    }
    run_at(&place, &doors.recovery()).await.1.unwrap();
    assert_eq!(doors.fresh().1, [3, 7]);
}

#[tokio::test]
async fn malformed_increments_are_set_aside_and_the_others_mend() {
    let mut doors = Doors::new();
    doors.rows("aa", &[(Some(1), 9, false, true, 0)]);
    doors.answers("aa", &[(Some(1), 9, 1), (Some(1), 10, 0)]);
    let answer = doors.answers.get_mut(&(DAY.into(), "aa".into())).unwrap();
    answer[1].healthy = false;
    doors.malformed = vec![letter("startTime: expected HHMMSS")];
    let report = run(&doors.recovery()).await;
    assert_eq!((report.read, report.delivered, report.set_aside), (3, 1, 1));
    assert_eq!(report.skipped.get("still unhealthy"), 1);
    assert_eq!(doors.fresh(), (vec![], vec![1]));
}

/// P7
#[tokio::test]
async fn a_stop_ends_between_two_sites() {
    let mut doors = Doors::new();
    for site in ["aa", "ab", "ac"] {
        doors.rows(site, &[(Some(1), 9, false, true, 0)]);
        doors.answers(site, &[(Some(1), 9, 1)]);
    }
    doors.answers.remove(&(DAY.into(), "aa".into()));
    doors.stop_at = Some("ab");
    let place = state().await;
    let (report, result) = run_at(&place, &doors.recovery()).await;
    result.unwrap();
    assert!(report.stopped);
    assert_eq!(doors.asked().len(), 2);
    // Its answer was there: it is finished.
    assert_eq!(doors.fresh(), (vec![1, 3], vec![2]));
    let tried = &ledger(&place).await["in_vain"]["2024-06-15"];
    assert_eq!(tried, &json!({"aa": {"tries": 1, "last": "no answer"}}));
}
