use std::sync::Arc;

use jiff::civil::DateTime;
use watershed::error::Result;
use watershed::privacy::{Pseudonymiser, Secret};
use watershed::settings::{Parts, Setting, Settings, database_url};

use super::super::LOG_LEVEL;
use super::super::databases::{RedshiftLogin, SSL_MODES, TABLE_SUFFIX, sierra_url, suffixed};
use super::super::poller::{BCRYPT_SALT, PollerConfig, salted};
use super::cursor::{self, SessionCursor, upper_bound};

pub(super) const SETTINGS: &[Setting] = &[
    LOG_LEVEL.default("info"),
    Setting::integer(
        "SETTLE_SECONDS",
        0..=86_400,
        "Rows younger than this are left for the next run; with 0 all are read.",
    )
    .default("0"),
    BCRYPT_SALT,
    Setting::text(
        "PC_RESERVE_SCHEMA_URL",
        "Avro schema: the schema API's URL, or `file:` and a path.",
    )
    .required(),
    TABLE_SUFFIX,
    Setting::integer("ENVISIONWARE_BATCH_SIZE", 1..=1_000_000, "Sessions a page.")
        .default("10000"),
    Setting::wall_time(
        "PCR_DATE_TIME",
        "Where sessions begin, with `IGNORE_CACHE` or `--start`: a time in the source's zone (`+0000` means nothing).",
    )
    .default("2023-01-01 00:00:00 +0000"),
    Setting::integer(
        "PCR_KEY",
        0..=i64::MAX,
        "Key behind which they begin among those of that time.",
    )
    .default("0"),
];

pub(super) const ENVISIONWARE_SETTINGS: &[Setting] = &[
    Setting::text(
        "ENVISIONWARE_URL",
        "`mysql://…` or `sqlite:` and a path; else it is made of the parts below.",
    )
    .secret(),
    Setting::text("ENVISIONWARE_DB_HOST", "Host. Required without a URL.").secret(),
    Setting::integer("ENVISIONWARE_DB_PORT", 1..=65_535, "Port.").default("3306"),
    Setting::text("ENVISIONWARE_DB_NAME", "Database.").default("lasttwodays"),
    Setting::text("ENVISIONWARE_DB_USER", "User. Required without a URL.").secret(),
    Setting::text(
        "ENVISIONWARE_DB_PASSWORD",
        "Password. Required without a URL.",
    )
    .secret(),
    Setting::choice("ENVISIONWARE_SSLMODE", SSL_MODES, "TLS, as libpq has it.").default("prefer"),
];

const ENVISIONWARE: Parts = Parts {
    url: "ENVISIONWARE_URL",
    scheme: "mysql",
    host: "ENVISIONWARE_DB_HOST",
    port: "ENVISIONWARE_DB_PORT",
    name: "ENVISIONWARE_DB_NAME",
    user: "ENVISIONWARE_DB_USER",
    password: "ENVISIONWARE_DB_PASSWORD",
    sslmode: "ENVISIONWARE_SSLMODE",
    percent_encoded: false,
};

/// Members of the state that a person may set.
pub(super) const STATE: &[Setting] = &[
    Setting::wall_time(
        cursor::AT,
        "Time of the last session delivered, in the source's zone.",
    ),
    Setting::integer(
        cursor::KEY,
        i64::MIN..=i64::MAX,
        "Its key; without one, all sessions of that time are read.",
    ),
];

/// What the settings say, free of faults.
pub(super) struct Config {
    pub poller: PollerConfig,
    pub envisionware: Secret,
    pub sierra: Secret,
    pub redshift: RedshiftLogin,
    /// Quoted.
    pub redshift_table: String,
    pub schema: String,
    pub pseudonymiser: Arc<Pseudonymiser>,
    pub page: usize,
    /// Exclusive upper bound of what is read, if there is one.
    pub bound: Option<DateTime>,
    /// Where a cursor begins that the state lacks.
    pub starting: SessionCursor,
}

impl Config {
    /// Reads the settings, and reports every fault at once.
    pub(super) fn read(settings: &Settings) -> Result<Config> {
        let poller = PollerConfig::read(settings);
        let envisionware = database_url(settings, ENVISIONWARE);
        let sierra = sierra_url(settings);
        let redshift = RedshiftLogin::read(settings);
        let redshift_table = suffixed(settings, "patron_info", &redshift);
        let schema = settings.required("PC_RESERVE_SCHEMA_URL");
        let salt = settings.required_secret("BCRYPT_SALT");
        let pseudonymiser = salted(settings, &salt);
        let starting = SessionCursor {
            at: settings.wall_time("PCR_DATE_TIME").unwrap_or_default(),
            key: settings.integer("PCR_KEY").unwrap_or_default(),
        };
        let settles = settings.count("SETTLE_SECONDS") > 0;
        let bound = upper_bound(poller.bound, settles, &poller.zone);
        let page = settings.count("ENVISIONWARE_BATCH_SIZE") as usize;
        settings.complete(())?;
        Ok(Config {
            poller,
            envisionware,
            sierra,
            redshift,
            redshift_table,
            schema,
            pseudonymiser: Arc::new(pseudonymiser.expect("a fault was noted otherwise")),
            page,
            bound,
            starting,
        })
    }
}
