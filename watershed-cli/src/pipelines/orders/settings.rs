use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use watershed::connectors::aws::AwsSettings;
use watershed::error::Result;
use watershed::privacy::Secret;
use watershed::retry::Policy;
use watershed::settings::{Setting, Settings};

use crate::service::{METRICS_ADDRESS, RUN_AS_SERVICE};

use super::entities::Entities;
use super::keywords;

pub(super) const SETTINGS: &[Setting] = &[
    Setting::text(
        "ENVIRONMENT",
        "Picks the settings file: `config/orders/<ENVIRONMENT>.yaml`, else `config/<ENVIRONMENT>.yaml`.",
    ),
    Setting::choice(
        "LOG_LEVEL",
        &["trace", "debug", "info", "warning", "error", "critical"],
        "The least severe lines that are logged.",
    )
    .default("info"),
    Setting::choice("LOG_FORMAT", &["text", "json"], "Form of the log lines.").default("text"),
    Setting::text(
        "ENTITIES",
        "Path of the YAML file that declares the source's tables; `watershed new loader` writes one.",
    )
    .required(),
    Setting::text(
        "SOURCE",
        "`bucket_endpoint=… bucket_id=… bucket_key=… bucket_name=… bucket_path=…`, `s3://` with bucket and path, or `file:` and a folder.",
    )
    .secret()
    .required(),
    Setting::text(
        "TARGET",
        "`user=… password=… host=… port=… dbname=…` as libpq has it, `postgres://…`, or `sqlite:` and a path.",
    )
    .secret()
    .required(),
    Setting::text(
        "NATS",
        "`nats://user:password@host:4222`, or `file:` and a path for JSON lines; without it notifications are neither kept nor sent.",
    )
    .secret(),
    Setting::flag("NOTIFICATIONS", "Keeps and sends notifications.").default("True"),
    Setting::choice(
        "ON_BAD_ROW",
        &["stop", "quarantine"],
        "What is done about a row that does not fit: the delivery is rolled back and nothing after it is applied, or the row is set aside in `loader_rejects`.",
    )
    .default("stop"),
    Setting::flag(
        "DRY_RUN",
        "Applies all waiting files in one transaction, tells the counts, and rolls it back.",
    ),
    // As the program before it, a service unless it is told otherwise.
    RUN_AS_SERVICE.default("True"),
    METRICS_ADDRESS,
    Setting::integer(
        "MIN_SLEEP",
        0..=86_400,
        "A service waits a random time between its passes, at least this many seconds; while files wait it does not.",
    )
    .default("15"),
    Setting::integer("MAX_SLEEP", 0..=86_400, "And at most this many.").default("30"),
    Setting::integer(
        "RETRY_SECONDS",
        0..=86_400,
        "How long a delivery that may yet succeed is tried again.",
    )
    .default("900"),
];

/// What the settings say, free of faults.
pub(super) struct Config {
    pub entities: Arc<Entities>,
    /// `s3://` or `file:`.
    pub source: String,
    pub aws: AwsSettings,
    /// `postgres://` or `sqlite:`.
    pub target: Secret,
    pub notifications: Option<Secret>,
    pub quarantine: bool,
    pub dry_run: bool,
    /// How long a service waits when nothing does.
    pub sleep: RangeInclusive<Duration>,
    pub policy: Policy,
}

impl Config {
    /// Reads the settings and the entities, and reports every fault of both at once.
    pub(super) fn read(settings: &Settings, dry_run: bool) -> Result<Config> {
        let entities = match settings.required("ENTITIES") {
            path if path.is_empty() => None,
            path => Entities::read(&PathBuf::from(path))
                .map_err(|faults| faults.into_iter().for_each(|fault| settings.fault(fault)))
                .ok(),
        };
        let mut aws = settings.aws();
        let source = source(settings, &mut aws).unwrap_or_default();
        let target = target(settings).unwrap_or_else(|| Secret::new(""));
        let (min_sleep, max_sleep) = (settings.count("MIN_SLEEP"), settings.count("MAX_SLEEP"));
        if min_sleep > max_sleep {
            settings.fault(format!(
                "{} is greater than {}",
                settings.origin("MIN_SLEEP"),
                settings.origin("MAX_SLEEP")
            ));
        }
        let dry_run = dry_run || settings.flag("DRY_RUN");
        let quarantine = settings
            .text("ON_BAD_ROW")
            .is_some_and(|word| word.eq_ignore_ascii_case("quarantine"));
        settings.complete(())?;
        Ok(Config {
            entities: Arc::new(entities.expect("a fault was noted otherwise")),
            source,
            aws,
            target,
            notifications: settings
                .secret("NATS")
                .filter(|_| settings.flag("NOTIFICATIONS")),
            quarantine,
            dry_run,
            sleep: Duration::from_secs(min_sleep)..=Duration::from_secs(max_sleep),
            policy: Policy::within(Duration::from_secs(settings.count("RETRY_SECONDS"))),
        })
    }
}

/// The source's URL; its own endpoint and keys replace those of AWS.
fn source(settings: &Settings, aws: &mut AwsSettings) -> Option<String> {
    let text = settings.required("SOURCE");
    if text.is_empty() || text.starts_with("s3://") || text.starts_with("file:") {
        return Some(text);
    }
    let origin = settings.origin("SOURCE");
    const WORDS: [&str; 5] = [
        "bucket_endpoint",
        "bucket_id",
        "bucket_key",
        "bucket_name",
        "bucket_path",
    ];
    let [endpoint, id, key, name, path] = words(settings, "SOURCE", &text, WORDS)?;
    let Some(name) = name else {
        settings.fault(format!("{origin}: `bucket_name` is missing"));
        return None;
    };
    if let Some(endpoint) = endpoint {
        let url = if endpoint.contains("://") {
            endpoint
        } else {
            format!("https://{endpoint}")
        };
        aws.endpoints.insert("s3".into(), url);
    }
    match (id, key) {
        (Some(id), Some(key)) => {
            aws.keys = Some((Secret::new(id), Secret::new(key)));
            aws.session_token = None;
        }
        (None, None) => {}
        _ => settings.fault(format!(
            "{origin}: `bucket_id` and `bucket_key` belong together"
        )),
    }
    let path = path.unwrap_or_default();
    Some(format!("s3://{name}/{}", path.trim_matches('/')))
}

/// The target's URL.
fn target(settings: &Settings) -> Option<Secret> {
    let text = settings.required("TARGET");
    let schemes = ["postgres://", "postgresql://", "sqlite:"];
    if text.is_empty() || schemes.iter().any(|scheme| text.starts_with(scheme)) {
        return Some(Secret::new(text));
    }
    const WORDS: [&str; 7] = [
        "user",
        "password",
        "host",
        "port",
        "dbname",
        "sslmode",
        "sslfingerprint",
    ];
    let [user, password, host, port, name, mode, fingerprint] =
        words(settings, "TARGET", &text, WORDS)?;
    let origin = settings.origin("TARGET");
    let host = host.unwrap_or_else(|| "localhost".into());
    let port = port.unwrap_or_else(|| "5432".into());
    if port.parse::<u16>().is_err() {
        settings.fault(format!("{origin}: `port`: expected a number up to 65535"));
    }
    let Some(user) = user else {
        settings.fault(format!("{origin}: `user` is missing"));
        return None;
    };
    // As libpq has it, the database is called like the user where it is not named.
    let name = name.unwrap_or_else(|| user.clone());
    let mut url = format!("postgres://{}", encoded(&user));
    if let Some(password) = password {
        url.push_str(&format!(":{}", encoded(&password)));
    }
    let host = match host.contains(':') {
        true => format!("[{host}]"),
        false => encoded(&host),
    };
    url.push_str(&format!("@{host}:{port}/{}", encoded(&name)));
    let parameters = [("sslmode", mode), ("sslfingerprint", fingerprint)];
    let parameters: Vec<String> = parameters
        .into_iter()
        .filter_map(|(word, value)| Some(format!("{word}={}", encoded(&value?))))
        .collect();
    if !parameters.is_empty() {
        url.push_str(&format!("?{}", parameters.join("&")));
    }
    Some(Secret::new(url))
}

/// What a host's name consists of need not be encoded.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

/// The values of these words in the text of a setting; an empty one is not set. Faults tell no
/// value.
fn words<const N: usize>(
    settings: &Settings,
    setting: &str,
    text: &str,
    words: [&str; N],
) -> Option<[Option<String>; N]> {
    let origin = settings.origin(setting);
    let pairs = keywords::read(text)
        .map_err(|fault| settings.fault(format!("{origin}: {fault}")))
        .ok()?;
    let unknown: Vec<&(String, String)> = pairs
        .iter()
        .filter(|(word, _)| !words.contains(&&**word))
        .collect();
    for (word, _) in &unknown {
        settings.fault(format!(
            "{origin}: unknown word `{word}`: expected {}",
            words.join(", ")
        ));
    }
    unknown.is_empty().then(|| {
        words.map(|word| {
            let value = pairs.iter().find(|(there, _)| there == word);
            value
                .map(|(_, value)| value.clone())
                .filter(|value| !value.is_empty())
        })
    })
}
