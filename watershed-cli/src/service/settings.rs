use std::time::Duration;

use jiff::SignedDuration;
use watershed::error::{Error, Remedy, Result};
use watershed::settings::{Setting, Settings};

use crate::pipelines::{Job, Options, SettingGroup};

/// Whether a pipeline runs once or as a service. One that is a service unless it is told otherwise
/// declares it with its own default.
pub const RUN_AS_SERVICE: Setting = Setting::flag(
    "RUN_AS_SERVICE",
    "Runs again and again until it is stopped. A dry run and the demo run once.",
);

/// Where a service is looked at.
pub const METRICS_ADDRESS: Setting = Setting::text(
    "METRICS_ADDRESS",
    "Address and port of a service's `/metrics`, `/healthz` and `/readyz`, such as `127.0.0.1:9464`; without it there are none.",
);

/// Settings of every pipeline that is run again and again, as a group of the reference.
pub const GROUP: SettingGroup = SettingGroup {
    title: "Service",
    settings: &[RUN_AS_SERVICE, RUN_EVERY, METRICS_ADDRESS],
};

const RUN_EVERY: Setting = Setting::duration(
    "RUN_EVERY",
    "How long after the beginning of a service's pass the next one begins.",
)
.default("15m");

/// How a service runs.
pub(super) struct Plan {
    pub every: Duration,
    pub address: Option<String>,
    /// Whether the pipeline has a rhythm of its own.
    own_rhythm: bool,
}

impl Plan {
    /// Reads the settings; nothing where the pipeline is to run once.
    pub(super) fn read(job: &Job, settings: &Settings, options: &Options) -> Result<Option<Plan>> {
        let address = settings.text("METRICS_ADDRESS");
        // A dry run writes nowhere and ends, whatever the settings of the service say.
        if options.dry_run {
            return Ok(None);
        }
        if !settings.flag("RUN_AS_SERVICE") {
            if address.is_some() {
                let origin = settings.origin("METRICS_ADDRESS");
                tracing::warn!("{origin} is for a service alone, and this run is none");
            }
            return Ok(None);
        }
        let declares = |name| job.all_settings().any(|setting| setting.name == name);
        if declares("IGNORE_CACHE") && settings.flag("IGNORE_CACHE") {
            let origin = settings.origin("IGNORE_CACHE");
            let what = format!("{origin}: each pass of a service would deliver everything again");
            return Err(Error::new(Remedy::FixSettings, what)
                .with_hint("give a service a state, or run it once"));
        }
        if declares("AS_OF") && settings.is_given("AS_OF") {
            let origin = settings.origin("AS_OF");
            tracing::warn!("{origin}: every pass of this service has the same present");
        }
        let every = match job.serve {
            None => settings.duration("RUN_EVERY"),
            Some(_) => None,
        };
        Ok(Some(Plan {
            // A text that does not fit is a fault already, and the first pass ends with it.
            every: every.unwrap_or_default(),
            address,
            own_rhythm: job.serve.is_some(),
        }))
    }

    /// For the log: `, every 15m`.
    pub(super) fn rhythm(&self) -> String {
        match self.own_rhythm {
            true => String::new(),
            false => match SignedDuration::try_from(self.every) {
                Ok(every) => format!(", every {every:#}"),
                Err(_) => String::new(),
            },
        }
    }
}
