use std::collections::BTreeSet;
use std::time::Duration;

use jiff::civil::Date;
use watershed::error::Result;
use watershed::privacy::Secret;
use watershed::settings::{Setting, Settings};
use watershed::time::{local_date, parse_date};

use super::super::LOG_LEVEL;
use super::super::databases::{REDSHIFT_SETTINGS, RedshiftLogin, TABLE_SUFFIX, suffixed};
use super::super::poller::{PollerConfig, object_url};
use super::cursor::{self, LastPollDate};
use super::shoppertrak::{Patience, ShopperTrak};

pub(super) const SETTINGS: &[Setting] = &[
    LOG_LEVEL.default("info"),
    Setting::integer(
        "SETTLE_SECONDS",
        0..=86_400,
        "How long after midnight a day is over.",
    )
    .default("0"),
    Setting::text(
        "SHOPPERTRAK_API_BASE_URL",
        "ShopperTrak, with or without `service/` at the end, such as `https://stws.shoppertrak.com/EnterpriseFlash/v2.0/`; `/v1.0/` names the older service. Or `file:` and a folder of recorded answers: `allsites/YYYYMMDD.xml`, `site/<id>/YYYYMMDD.xml`.",
    )
    .required(),
    Setting::text("SHOPPERTRAK_USERNAME", "User. Required but for `file:`.").secret(),
    Setting::text("SHOPPERTRAK_PASSWORD", "Password. Required but for `file:`.").secret(),
    Setting::integer(
        "SHOPPERTRAK_TIMEOUT_SECONDS",
        1..=86_400,
        "Time limit of one request, to the last byte of its answer.",
    )
    .default("300"),
    Setting::integer(
        "MAX_RETRIES",
        1..=1_000,
        "Requests in all for one answer, while the service is busy, fails or cannot be reached.",
    )
    .default("3"),
    Setting::integer(
        "RETRY_WAIT_SECONDS",
        0..=86_400,
        "Wait between two of them.",
    )
    .default("300"),
    Setting::integer(
        "DAILY_REQUEST_LIMIT",
        1..=i64::MAX,
        "Requests that a run may make; else as many as it needs. The recovery counts those of all runs of the day, and leaves enough for the next poll.",
    ),
    Setting::text(
        "LOCATION_VISITS_SCHEMA_URL",
        "Avro schema: the schema API's URL, or `file:` and a path.",
    )
    .required(),
    TABLE_SUFFIX,
    Setting::text(
        "ALL_SITES_URL",
        "JSON array of the ids of all sites; else it is made of `ALL_SITES_S3_BUCKET` and `ALL_SITES_S3_RESOURCE`. Without it, missing sites are not looked for.",
    ),
    Setting::text("ALL_SITES_S3_BUCKET", "Its bucket."),
    Setting::text("ALL_SITES_S3_RESOURCE", "Its key."),
    Setting::date(
        "LAST_POLL_DATE",
        "The day behind which a run begins, with `IGNORE_CACHE` (then required) or `--start`.",
    ),
    Setting::date(
        "LAST_END_DATE",
        "The last day that is polled, with `IGNORE_CACHE`; else yesterday.",
    ),
    Setting::date("END_DATE", "Older name of `LAST_END_DATE`."),
    Setting::text(
        "BAD_POLL_DATES",
        "List of days that pass without records when their answers are unusable.",
    ),
    Setting::flag(
        "IGNORE_UPDATE",
        "Marks no rows of Redshift as stale; neither does `IGNORE_KINESIS`, which sends no replacements.",
    ),
    Setting::text("DATA_LAKE_S3_BUCKET", "Accepted, and not used."),
    Setting::text("DATA_LAKE_S3_PATH", "Accepted, and not used."),
];

/// Members of the state that a person may set.
pub(super) const STATE: &[Setting] = &[Setting::date(
    cursor::LAST,
    "The last day whose visits are delivered.",
)];

/// What the settings say, free of faults.
pub(super) struct Config {
    pub poller: PollerConfig,
    pub shoppertrak: ShopperTrak,
    /// Nothing at the lower of the two levels.
    pub redshift: Option<Redshift>,
    pub schema: String,
    /// Where the ids of all sites are.
    pub sites: Option<String>,
    /// The day of the run.
    pub today: Date,
    pub last_day: Date,
    /// Where a cursor begins that the state lacks.
    pub starting: Option<LastPollDate>,
    pub bad_days: BTreeSet<Date>,
    /// Whether rows of Redshift are marked stale, when the run is no dry one.
    pub marks: bool,
    /// Requests a day.
    pub requests_a_day: Option<u64>,
    /// Requests that one day of the poll may take.
    pub requests_a_poll: u64,
    /// Whether there is a data lake in the settings.
    pub data_lake: bool,
}

/// Redshift and its tables, quoted.
pub(super) struct Redshift {
    pub login: RedshiftLogin,
    pub hours: String,
    pub visits: String,
    pub closures: String,
}

impl Config {
    /// Reads the settings, and reports every fault at once.
    pub(super) fn read(settings: &Settings) -> Result<Config> {
        let poller = PollerConfig::read(settings);
        let shoppertrak = shoppertrak(settings);
        let redshift = redshift(settings);
        let schema = settings.required("LOCATION_VISITS_SCHEMA_URL");
        let sites = object_url(
            settings,
            "ALL_SITES_URL",
            "ALL_SITES_S3_BUCKET",
            "ALL_SITES_S3_RESOURCE",
        );
        let bad_days = bad_days(settings);
        let today = local_date(poller.now, &poller.zone);
        let end = last_end_date(settings);
        let yesterday = local_date(poller.bound, &poller.zone).yesterday();
        let last_day = match end.filter(|_| poller.ignore_state) {
            Some(end) => end,
            None => yesterday.unwrap_or(Date::MIN),
        };
        if poller.ignore_state {
            settings.required("LAST_POLL_DATE");
        }
        let starting = settings.date("LAST_POLL_DATE").map(LastPollDate);
        let data_lake = ["DATA_LAKE_S3_BUCKET", "DATA_LAKE_S3_PATH"];
        let data_lake = data_lake.iter().any(|name| settings.is_given(name));
        // A row that is marked stale needs its replacement in the stream.
        let marks = !settings.flag("IGNORE_UPDATE") && !poller.ignore_stream;
        let requests_a_day = requests_a_day(settings);
        let requests_a_poll = settings.count("MAX_RETRIES");
        settings.complete(())?;
        Ok(Config {
            poller,
            marks,
            requests_a_day,
            requests_a_poll,
            shoppertrak: shoppertrak.expect("a fault was noted otherwise"),
            redshift,
            schema,
            sites,
            today,
            last_day,
            starting,
            bad_days,
            data_lake,
        })
    }
}

fn shoppertrak(settings: &Settings) -> Option<ShopperTrak> {
    let url = settings.required("SHOPPERTRAK_API_BASE_URL");
    let (user, password) = ("SHOPPERTRAK_USERNAME", "SHOPPERTRAK_PASSWORD");
    let secret = |name| match url.starts_with("file:") {
        true => Secret::new(""),
        false => settings.required_secret(name),
    };
    let (user, password) = (secret(user), secret(password));
    let seconds = |name| Duration::from_secs(settings.count(name));
    let patience = Patience {
        tries: settings.count("MAX_RETRIES"),
        wait: seconds("RETRY_WAIT_SECONDS"),
        total: seconds("RETRY_SECONDS"),
        each: seconds("SHOPPERTRAK_TIMEOUT_SECONDS"),
        allowance: requests_a_day(settings),
    };
    if url.is_empty() {
        // That it is missing is noted already.
        return None;
    }
    settings.check(ShopperTrak::open(&url, &user, &password, patience))
}

fn requests_a_day(settings: &Settings) -> Option<u64> {
    let limit = settings.integer("DAILY_REQUEST_LIMIT")?;
    limit.try_into().ok()
}

/// Without any of Redshift's settings there is no Redshift; with one of them all are needed.
fn redshift(settings: &Settings) -> Option<Redshift> {
    let own = REDSHIFT_SETTINGS.iter().chain([&TABLE_SUFFIX]);
    let given = own.map(|setting| setting.name);
    if !given.into_iter().any(|name| settings.is_given(name)) {
        return None;
    }
    let login = RedshiftLogin::read(settings);
    Some(Redshift {
        hours: suffixed(settings, "location_hours_v2", &login),
        visits: suffixed(settings, "location_visits", &login),
        closures: suffixed(settings, "location_closures_v2", &login),
        login,
    })
}

fn last_end_date(settings: &Settings) -> Option<Date> {
    let (newer, older) = (settings.date("LAST_END_DATE"), settings.date("END_DATE"));
    if newer.is_some() && older.is_some() && newer != older {
        settings.contradiction("END_DATE", "LAST_END_DATE");
    }
    newer.or(older)
}

/// A list in a settings file is a JSON array here; in the environment commas are allowed, too.
fn bad_days(settings: &Settings) -> BTreeSet<Date> {
    let text = settings.text("BAD_POLL_DATES").unwrap_or_default();
    let texts: Vec<String> = serde_json::from_str(&text).unwrap_or_else(|_| {
        let parts = text.split([',', ' ']).filter(|part| !part.is_empty());
        parts.map(str::to_owned).collect()
    });
    let mut days = BTreeSet::new();
    for text in texts {
        match parse_date(&text) {
            Some(day) => drop(days.insert(day)),
            None => settings.fault(format!(
                "{}: `{text}`: expected a list of dates such as 2024-06-14",
                settings.origin("BAD_POLL_DATES")
            )),
        }
    }
    days
}
