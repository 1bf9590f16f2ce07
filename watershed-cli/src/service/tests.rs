use futures::FutureExt as _;
use watershed::engine::ModeReport;

use super::*;

fn service() -> Service {
    Service::new(Stop::new())
}

fn error(remedy: Remedy) -> Error {
    Error::new(remedy, "passing")
}

const SECOND: Duration = Duration::from_secs(1);
const USUAL: RangeInclusive<Duration> = Duration::from_secs(20)..=Duration::from_secs(40);

async fn waited(service: &Service) -> Duration {
    let start = Instant::now();
    assert_eq!(service.wait(USUAL).await, Waited::Again);
    start.elapsed()
}

#[tokio::test]
async fn settings_end_a_first_pass_alone_and_a_bug_ends_every_one() {
    for (remedy, first, later) in [
        (Remedy::TryAgain, AfterFailure::Again, AfterFailure::Again),
        (Remedy::FixData, AfterFailure::Again, AfterFailure::Again),
        (
            Remedy::StopOtherRunner,
            AfterFailure::Again,
            AfterFailure::Again,
        ),
        (Remedy::FixSettings, AfterFailure::End, AfterFailure::Again),
        (Remedy::FixAccess, AfterFailure::End, AfterFailure::Again),
        (Remedy::ReportBug, AfterFailure::End, AfterFailure::End),
    ] {
        let service = service();
        assert_eq!(service.failed(&error(remedy)).await, first, "{remedy:?}");
        service.passed(&Outcome::stopped());
        assert_eq!(service.failed(&error(remedy)).await, later, "{remedy:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn waits_grow_with_each_failure_up_to_a_bound_and_are_usual_again_after_a_good_pass() {
    let service = service();
    let usual = USUAL.start().saturating_sub(SECOND)..=*USUAL.end() + SECOND;
    assert!(usual.contains(&waited(&service).await));
    for bound in [15, 30, 60, 120, 240, 480, 900, 900, 900] {
        let _ = service.failed(&error(Remedy::FixData)).await;
        let waited = waited(&service).await.as_secs_f64();
        let bound = f64::from(bound);
        assert!(
            (bound / 2.0 - 1.0..=bound + 1.0).contains(&waited),
            "{waited} of {bound}"
        );
    }
    service.passed(&Outcome::stopped());
    assert!(usual.contains(&waited(&service).await));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_hardly_waits_does_not_spin_when_it_fails() {
    let service = service();
    for _ in 0..3 {
        let _ = service.failed(&error(Remedy::TryAgain)).await;
    }
    let start = Instant::now();
    assert_eq!(
        service.wait(Duration::ZERO..=Duration::ZERO).await,
        Waited::Again
    );
    assert!(start.elapsed() >= LEAST_WAIT * 2, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn who_stands_by_waits_as_usual() {
    let service = service();
    let usual = USUAL.start().saturating_sub(SECOND)..=*USUAL.end() + SECOND;
    for _ in 0..5 {
        let _ = service.failed(&error(Remedy::StopOtherRunner)).await;
        assert!(usual.contains(&waited(&service).await));
    }
    let reason = service.status.ready().unwrap_err();
    assert_eq!(reason, "standing by for another runner");
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_the_other_side_asks_for_is_kept() {
    let service = service();
    let asked = error(Remedy::TryAgain).with_retry_after(Some(SECOND * 5_000));
    let _ = service.failed(&asked).await;
    assert!(waited(&service).await >= SECOND * 5_000);
}

#[tokio::test(start_paused = true)]
async fn p7_a_stop_ends_a_wait_at_once() {
    let service = service();
    let start = Instant::now();
    let stop = async {
        sleep(SECOND).await;
        service.stop.request();
    };
    let (waited, ()) = tokio::join!(service.wait(USUAL), stop);
    assert_eq!(waited, Waited::Stopped);
    assert!(start.elapsed() < SECOND * 2);
    assert_eq!(service.wait(USUAL).await, Waited::Stopped);
}

#[test]
fn whoever_was_asked_to_stop_ends_well() {
    let (going, stopping) = (Stop::new(), Stop::new());
    stopping.request();
    for remedy in [Remedy::TryAgain, Remedy::FixData, Remedy::StopOtherRunner] {
        assert!(settle(Err(error(remedy)), &stopping).is_ok());
        assert_eq!(
            settle(Err(error(remedy)), &going).unwrap_err().remedy(),
            remedy
        );
    }
    assert!(settle(Err(error(Remedy::ReportBug)), &stopping).is_err());
}

#[tokio::test(start_paused = true)]
async fn ready_is_who_passed_well_and_not_too_long_ago() {
    let service = service();
    let ready = || service.status.ready();
    assert_eq!(ready().unwrap_err(), "no pass has ended yet");
    service.passed(&Outcome::stopped());
    ready().unwrap();
    for _ in 0..2 {
        let _ = service.failed(&error(Remedy::TryAgain)).await;
    }
    let reason = ready().unwrap_err();
    assert_eq!(
        reason,
        "2 passes in a row failed; the last: an outside system is unavailable"
    );
    service.passed(&Outcome::stopped());
    ready().unwrap();

    // A day's rhythm: its pass is late after three of them, a quick one's after an hour.
    let day = SECOND * 86_400;
    service.status.waits(day);
    sleep(day * 3 - SECOND).await;
    ready().unwrap();
    sleep(SECOND * 2).await;
    assert!(
        ready()
            .unwrap_err()
            .starts_with("the last good pass ended 2592")
    );
    service.passed(&Outcome::stopped());
    service.status.waits(SECOND);
    // The pass itself has taken three days, and may again.
    sleep(day * 3).await;
    ready().unwrap();
}

#[tokio::test(start_paused = true)]
async fn healthy_is_whose_loop_beats_however_long_its_pass_takes() {
    let service = service();
    let pass = sleep(SECOND * 100_000);
    tokio::select! {
        never = service.status.beat() => match never {},
        () = pass => {}
    }
    service.status.healthy().unwrap();
    // The last beat was up to a second ago.
    sleep(SECOND * 298).await;
    service.status.healthy().unwrap();
    sleep(SECOND * 3).await;
    let why = service.status.healthy().unwrap_err();
    assert!(why.starts_with("the loop has been stuck for 30"), "{why}");
}

#[test]
fn a_report_is_counted_once_however_often_it_is_told() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let page = recorder.handle();
    ::metrics::with_local_recorder(&recorder, || {
        let service = service();
        let report = |pages, read| Report {
            modes: vec![ModeReport {
                name: "new",
                pages,
                read,
                delivered: read,
                ..ModeReport::default()
            }],
            stopped: false,
        };
        for told in [report(1, 10), report(1, 10), report(2, 15)] {
            service.passes.count(&told);
        }
        let outcome = Outcome {
            report: report(2, 15),
            ..Outcome::stopped()
        };
        service.passed(&outcome);
        // The next pass begins to count anew.
        service.passes.count(&report(1, 3));
        let failed = service.failed(&error(Remedy::TryAgain)).now_or_never();
        assert_eq!(failed, Some(AfterFailure::Again));
        service.passed(&outcome);
    });
    let page = page.render();
    for line in [
        "watershed_records_read_total{mode=\"new\"} 33",
        "watershed_records_total{mode=\"new\",outcome=\"delivered\"} 33",
        "watershed_pages_total{mode=\"new\"} 5",
        "watershed_passes_total{outcome=\"succeeded\"} 2",
        "watershed_passes_total{outcome=\"failed\"} 1",
        "watershed_pass_failures_total{remedy=\"try_again\"} 1",
        "watershed_failed_passes_in_a_row 0",
        "watershed_pass_duration_seconds_count 3",
    ] {
        assert!(
            page.lines().any(|there| there == line),
            "{line} is not in\n{page}"
        );
    }
}

#[test]
fn every_pipeline_may_run_as_a_service() {
    for job in crate::pipelines::JOBS {
        for name in ["RUN_AS_SERVICE", "METRICS_ADDRESS"] {
            let declared = job.all_settings().any(|setting| setting.name == name);
            assert!(declared, "{}: {name}", job.name);
        }
    }
}
