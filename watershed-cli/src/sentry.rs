//! Errors, told to Sentry where `SENTRY_DSN` says so.

use std::sync::{Mutex, OnceLock};

use watershed::connectors::sentry::Sentry;
use watershed::error::Error;
use watershed::settings::Settings;

use crate::pipelines::Job;

/// Where this process tells its errors. A panic is told when its run is gone, so that it is kept
/// for the process.
static PROJECT: OnceLock<(&'static str, Sentry)> = OnceLock::new();

/// Where a panic happened. Its own words may repeat a value (P6).
static PANICKED: Mutex<Option<String>> = Mutex::new(None);

/// Reads the settings, for all that follows in this process, and notes a fault: it is reported with
/// those of the pipeline, and as it reports them.
pub(crate) fn watch(job: &'static Job, settings: &Settings) {
    let dsn = settings.secret("SENTRY_DSN");
    // The old programs' word for not set.
    let dsn = dsn.filter(|dsn| !dsn.expose().eq_ignore_ascii_case("none"));
    if let Some(dsn) = dsn {
        let environment = ["WORKSPACE", "ENVIRONMENT"]
            .into_iter()
            .filter(|name| job.all_settings().any(|setting| setting.name == *name))
            .find_map(|name| settings.text(name));
        if let Some(sentry) = settings.check(Sentry::new(&dsn, environment.as_deref())) {
            // A second run in one process (a test's) tells where the first one did.
            let _ = PROJECT.set((job.name, sentry));
        }
    }
}

/// Tells the error of a run, or of a service's pass.
pub(crate) async fn tell(error: &Error) {
    let code = error.remedy().exit_code().to_string();
    send(&error.in_one_line(), &code).await;
}

/// Notes where a panic happened, for [`tell_of_a_panic`].
pub(crate) fn note_panic(place: &str) {
    if let Ok(mut panicked) = PANICKED.lock() {
        *panicked = Some(place.to_owned());
    }
}

/// Tells of a panic that was noted.
pub(crate) async fn tell_of_a_panic() {
    let place = PANICKED.lock().ok().and_then(|mut place| place.take());
    if let Some(place) = place {
        send(&format!("the program is wrong at {place}"), "1").await;
    }
}

async fn send(message: &str, code: &str) {
    let Some((job, sentry)) = PROJECT.get() else {
        return;
    };
    let tags = [("pipeline", *job), ("exit_code", code)];
    if let Err(error) = sentry.report(message, &tags).await {
        tracing::warn!("{}", error.in_one_line());
    }
}
