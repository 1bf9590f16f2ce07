use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use watershed::connectors::http::connects;

use watershed::connectors::sql::identifier;
use watershed::error::Result;
use watershed::geocoding::{Attempts, CensusOptions, Geocoder, NycOptions, Ranges};
use watershed::privacy::{Pseudonymiser, Seal, Secret};
use watershed::retry::Policy;
use watershed::settings::{Setting, Settings};

use super::super::LOG_LEVEL;
use super::super::databases::{RedshiftLogin, sierra_url};
use super::super::poller::{BCRYPT_SALT, PollerConfig, salted};

pub(super) const SETTINGS: &[Setting] = &[
    LOG_LEVEL.default("warning"),
    Setting::integer(
        "SETTLE_SECONDS",
        0..=86_400,
        "Rows younger than this are left for the next run.",
    )
    .default("60"),
    BCRYPT_SALT,
    Setting::text(
        "PATRON_INFO_SCHEMA_URL",
        "Avro schema: the schema API's URL, or `file:` and a path.",
    )
    .required(),
    Setting::text(
        "REDSHIFT_TABLE",
        "Redshift's table of the patrons that were delivered before.",
    )
    .required(),
    Setting::integer(
        "ACTIVE_PATRON_BATCH_SIZE",
        1..=1_000_000,
        "New or updated patrons a page.",
    )
    .default("10000"),
    Setting::integer(
        "DELETED_PATRON_BATCH_SIZE",
        1..=10_000_000,
        "Deleted patrons a page.",
    )
    .default("500000"),
    Setting::integer(
        "SIERRA_BATCH_SIZE",
        1..=1_000_000,
        "Older name: feeds both of the two above.",
    ),
    Setting::instant(
        "STARTING_CREATION_DT",
        "Where new patrons begin, with `IGNORE_CACHE` or `--start`.",
    )
    .default("2020-01-01 00:00:00-05"),
    Setting::instant(
        "STARTING_UPDATE_DT",
        "Where updated patrons begin, with `IGNORE_CACHE` or `--start`.",
    )
    .default("2020-01-01 00:00:00-05"),
    Setting::date(
        "STARTING_DELETION_DATE",
        "Where deleted patrons begin, with `IGNORE_CACHE` or `--start`.",
    )
    .default("2020-01-01"),
    Setting::flag("BACKFILL", "Runs new patrons alone."),
];

pub(super) const GEOCODER_SETTINGS: &[Setting] = &[
    Setting::text(
        "GEOCODER_URL",
        "`ranges:` and the path of an embedded geocoder made by `watershed geocoder build`; it replaces the three attempts below.",
    ),
    Setting::text(
        "GEOCODER_API_BASE_URL",
        "Census Bureau's batch service, for the first and second attempt.",
    )
    .default("https://geocoding.geo.census.gov/geocoder/geographies/addressbatch"),
    Setting::text("GEOCODER_API_BENCHMARK", "Its benchmark.").default("Public_AR_Current"),
    Setting::text("GEOCODER_API_VINTAGE", "Its vintage.").default("Current_Current"),
    Setting::text("GEOCODER_API_KEY", "Its key; without one none is sent.").secret(),
    Setting::text(
        "NYC_GEOCODER_URL",
        "NYC Geoclient, for the third attempt, such as `https://api.nyc.gov/geoclient/v2`; without it there is none.",
    ),
    Setting::text("NYC_GEOCODER_KEY", "Its subscription key.").secret(),
];

/// Members of the state that a person may set.
pub(super) const STATE: &[Setting] = &[
    Setting::instant("creation_dt", "Creation of the last new patron delivered."),
    Setting::instant("update_dt", "Update of the last updated patron delivered."),
    Setting::date(
        "deletion_date",
        "Deletion of the last deleted patron delivered.",
    ),
];

/// What the settings say, free of faults.
pub(super) struct Config {
    pub poller: PollerConfig,
    pub sierra: Secret,
    pub redshift: RedshiftLogin,
    /// Quoted.
    pub redshift_table: String,
    pub schema: String,
    pub geocoder: GeocoderConfig,
    pub pseudonymiser: Arc<Pseudonymiser>,
    pub seal: Arc<Seal>,
    pub active_page: usize,
    pub deleted_page: usize,
    pub starting_creation: Timestamp,
    pub starting_update: Timestamp,
    pub starting_deletion: Date,
    pub backfill: bool,
}

impl Config {
    /// Reads the settings, and reports every fault at once.
    pub(super) fn read(settings: &Settings) -> Result<Config> {
        let poller = PollerConfig::read(settings);
        let sierra = sierra_url(settings);
        let redshift = RedshiftLogin::read(settings);
        let table = settings.required("REDSHIFT_TABLE");
        let redshift_table =
            settings.check(identifier(if table.is_empty() { "unset" } else { &table }));
        let schema = settings.required("PATRON_INFO_SCHEMA_URL");
        let geocoder = geocoder(settings, &poller.policy);
        let salt = settings.required_secret("BCRYPT_SALT");
        let pseudonymiser = salted(settings, &salt);
        let instant = |name| settings.instant(name, &poller.zone).unwrap_or_default();
        let (active_page, deleted_page) = page_sizes(settings);
        let starting_creation = instant("STARTING_CREATION_DT");
        let starting_update = instant("STARTING_UPDATE_DT");
        settings.complete(())?;
        Ok(Config {
            poller,
            sierra,
            redshift,
            redshift_table: redshift_table.expect("a fault was noted otherwise"),
            schema,
            geocoder,
            pseudonymiser: Arc::new(pseudonymiser.expect("a fault was noted otherwise")),
            seal: Arc::new(Seal::new(&salt)),
            active_page,
            deleted_page,
            starting_creation,
            starting_update,
            starting_deletion: settings.date("STARTING_DELETION_DATE").unwrap_or_default(),
            backfill: settings.flag("BACKFILL"),
        })
    }
}

/// Which geocoder to ask.
#[expect(clippy::large_enum_variant, reason = "a run has one of these")]
pub(super) enum GeocoderConfig {
    /// The embedded one.
    Ranges(PathBuf),
    /// Census, Census after cleaning, NYC.
    Attempts {
        census: CensusOptions,
        nyc: Option<NycOptions>,
    },
}

fn geocoder(settings: &Settings, policy: &Policy) -> GeocoderConfig {
    if let Some(url) = settings.text("GEOCODER_URL") {
        let path = url.strip_prefix("ranges:").unwrap_or_else(|| {
            let origin = settings.origin("GEOCODER_URL");
            settings.fault(format!("{origin}: `{url}`: expected ranges: and a path"));
            ""
        });
        return GeocoderConfig::Ranges(PathBuf::from(path));
    }
    let mut census = CensusOptions {
        url: settings.required("GEOCODER_API_BASE_URL"),
        benchmark: settings.required("GEOCODER_API_BENCHMARK"),
        vintage: settings.required("GEOCODER_API_VINTAGE"),
        key: settings.secret("GEOCODER_API_KEY"),
        ..CensusOptions::default()
    };
    census.policy.total = census.policy.total.min(policy.total);
    let nyc = settings.text("NYC_GEOCODER_URL");
    let nyc = nyc.map(|url| NycOptions::new(url, settings.secret("NYC_GEOCODER_KEY")));
    GeocoderConfig::Attempts { census, nyc }
}

impl GeocoderConfig {
    /// Opens it; asks nothing of the network yet.
    pub fn open(&self) -> Result<Arc<dyn Geocoder>> {
        Ok(match self {
            GeocoderConfig::Ranges(path) => Arc::new(Ranges::open(path)?),
            GeocoderConfig::Attempts { census, nyc } => {
                Arc::new(Attempts::new(census.clone(), nyc.clone())?)
            }
        })
    }

    /// Connects, spends no request, and says with what; for `check`.
    pub async fn check(&self) -> Result<String> {
        self.open()?;
        match self {
            GeocoderConfig::Ranges(path) => Ok(format!("ranges:{}", path.display())),
            GeocoderConfig::Attempts { census, nyc } => {
                let mut answering = vec![connects(&census.url).await?];
                if let Some(nyc) = nyc {
                    answering.push(connects(&nyc.url).await?);
                }
                Ok(answering.join(", "))
            }
        }
    }
}

/// Active and deleted patrons a page; the older single name feeds both.
fn page_sizes(settings: &Settings) -> (usize, usize) {
    let older = settings.integer("SIERRA_BATCH_SIZE");
    let size = |name: &str| {
        let own = settings.integer(name);
        match older {
            Some(older) if settings.is_given(name) && own != Some(older) => {
                settings.contradiction("SIERRA_BATCH_SIZE", name);
                1
            }
            older => older
                .or(own)
                .and_then(|size| size.try_into().ok())
                .unwrap_or(1),
        }
    };
    (
        size("ACTIVE_PATRON_BATCH_SIZE"),
        size("DELETED_PATRON_BATCH_SIZE"),
    )
}
