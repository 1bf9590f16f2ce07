use std::path::Path;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use watershed::connectors::aws::{Aws, AwsSettings};
use watershed::connectors::mail::{Addresses, Mail};
use watershed::error::{Error, Result};
use watershed::privacy::Secret;
use watershed::retry::Policy;
use watershed::settings::{Setting, Settings};
use watershed::time::local_date;

use super::super::{ENVIRONMENT, LOG_FORMAT, LOG_LEVELS};
use super::institution::Institution;
use super::warehouse::Warehouse;

pub(super) const SETTINGS: &[Setting] = &[
    ENVIRONMENT,
    Setting::choice(
        "LOG_LEVEL",
        LOG_LEVELS,
        "The least severe lines that are logged; the report by mail has those of `info` at least.",
    )
    .default("info"),
    LOG_FORMAT,
    Setting::text(
        "WORKSPACE",
        "Name of this environment: in Sentry, and, in upper case, the first word of the report's subject.",
    )
    .required(),
    Setting::text(
        "OUTPUT_URL",
        "Folder of the zips: `s3://` with bucket and prefix, or `file:` and a folder; else it is made of `S3_BUCKET_NAME` and `S3_PREFIX`. Every other `.zip` in it is removed.",
    ),
    Setting::text("S3_BUCKET_NAME", "Bucket of the zips."),
    Setting::text("S3_PREFIX", "Their prefix, without the slash behind it."),
    Setting::integer(
        "PATRONS_PER_FILE",
        1..=i64::MAX,
        "Most patrons of one XML file; else a file ends where Alma's limits want it.",
    ),
    Setting::text(
        "ALMA_CONFIG",
        "YAML of the institution; else the one that `watershed patronload alma-config` prints.",
    ),
    Setting::text(
        "DEAD_LETTERS_URL",
        "Folder of the records set aside; else `dead-letters/` beside the folder of the zips.",
    ),
    Setting::text("SES_SEND_FROM_EMAIL", "Sender of the report.").required(),
    Setting::text(
        "SES_RECIPIENT_EMAIL",
        "Recipients of the report, with commas between them.",
    )
    .required(),
    Setting::text(
        "MAIL_URL",
        "How the report is sent: `ses:` and a region, `smtp://user:password@host:port` (`?tls=required`, `opportunistic` or `none`), `smtps://…`, or `file:` and a folder.",
    )
    .secret()
    .default("ses:"),
    Setting::instant(
        "AS_OF",
        "The present, for names and dates in the files; else the time of the run. In UTC without an offset.",
    ),
    Setting::integer(
        "MAX_BATCHES",
        0..=i64::MAX,
        "Batches of 500 rows that a dry run reads of each table. A run that delivers must be whole, and refuses it.",
    ),
    Setting::integer(
        "RETRY_SECONDS",
        0..=86_400,
        "How long a call that may yet succeed is tried again.",
    )
    .default("900"),
];

/// Who is told how a run ended.
pub(super) struct Recipients {
    pub workspace: String,
    pub addresses: Addresses,
    pub mail: Mail,
}

impl Recipients {
    /// Reads what a report needs, and notes its faults. It is there without them, whatever else is
    /// wrong: a run that fails for another setting is reported, too.
    pub(super) async fn read(settings: &Settings) -> Option<Recipients> {
        let workspace = settings.required("WORKSPACE");
        let from = settings.required("SES_SEND_FROM_EMAIL");
        let to = settings.required("SES_RECIPIENT_EMAIL");
        if [&workspace, &from, &to].iter().any(|text| text.is_empty()) {
            return None;
        }
        let addresses = settings.check(Addresses::parse(&from, &to));
        let aws = Aws::new(settings.aws()).await;
        let url = settings.secret("MAIL_URL").unwrap_or(Secret::new("ses:"));
        let mail = Mail::open(&url, &aws, policy(settings)).map_err(|error| {
            let words = format!("{}: {}", settings.origin("MAIL_URL"), error.in_one_line());
            Error::new(error.remedy(), words).with_hint(error.hint().unwrap_or_default())
        });
        let mail = settings.check(mail);
        Some(Recipients {
            workspace: workspace.trim().to_uppercase(),
            addresses: addresses?,
            mail: mail?,
        })
    }
}

/// What the settings say, free of faults.
pub(super) struct Config {
    pub warehouse: Warehouse,
    pub output: String,
    pub dead_letters: String,
    pub institution: Institution,
    pub patrons_per_file: Option<u64>,
    /// The present, if it is not now.
    pub as_of: Option<Timestamp>,
    pub max_batches: Option<u64>,
    pub aws: AwsSettings,
    pub policy: Policy,
    /// Start of the run, which names its dead letters.
    pub run: String,
}

impl Config {
    /// Reads the settings, and reports every fault at once. `whole` is a run that delivers.
    pub(super) fn read(settings: &Settings, whole: bool) -> Result<Config> {
        let warehouse = Warehouse::read(settings);
        let output = output_url(settings);
        let path = settings.text("ALMA_CONFIG");
        let institution = settings.check(Institution::read(path.as_deref().map(Path::new)));
        let number = |name| settings.integer(name).and_then(|n| n.try_into().ok());
        let max_batches = number("MAX_BATCHES");
        if whole && max_batches.is_some() {
            settings.fault(format!(
                "{}: Alma is given all patrons or none; it has a place beside --dry-run alone",
                settings.origin("MAX_BATCHES")
            ));
        }
        let as_of = settings.instant("AS_OF", &TimeZone::UTC);
        if let (Some(at), Some(institution)) = (as_of, &institution) {
            let months = i64::from(institution.purged_after_months).months();
            let today = local_date(at, &TimeZone::UTC);
            if today.checked_add(months).is_err() {
                settings.fault(format!(
                    "{}: patrons' dates would lie behind the year 9999",
                    settings.origin("AS_OF")
                ));
            }
        }
        let dead_letters = settings.text("DEAD_LETTERS_URL");
        let started = Timestamp::now();
        settings.complete(())?;
        Ok(Config {
            warehouse,
            dead_letters: dead_letters.unwrap_or_else(|| beside(&output)),
            output,
            institution: institution.expect("a fault was noted otherwise"),
            patrons_per_file: number("PATRONS_PER_FILE"),
            as_of,
            max_batches,
            aws: settings.aws(),
            policy: policy(settings),
            // Microseconds, so that two runs never share their files.
            run: started.strftime("%Y%m%dT%H%M%S.%6fZ").to_string(),
        })
    }

    /// The present.
    pub(super) fn now(&self) -> Timestamp {
        self.as_of.unwrap_or_else(Timestamp::now)
    }
}

pub(super) fn policy(settings: &Settings) -> Policy {
    Policy::within(Duration::from_secs(settings.count("RETRY_SECONDS")))
}

fn output_url(settings: &Settings) -> String {
    let parts = ["S3_BUCKET_NAME", "S3_PREFIX"].map(|name| settings.text(name));
    let made = match &parts {
        [Some(bucket), Some(prefix)] => {
            let prefix = prefix.trim_matches('/');
            if prefix.is_empty() {
                let origin = settings.origin("S3_PREFIX");
                settings.fault(format!(
                    "{origin}: a bucket without a prefix is not cleared"
                ));
            }
            Some(format!("s3://{bucket}/{prefix}"))
        }
        _ => None,
    };
    let given = settings.text("OUTPUT_URL");
    match (given, made) {
        (Some(url), Some(made)) if url.trim_end_matches('/') != made => {
            settings.fault(format!(
                "{} contradicts {} and {}",
                settings.origin("OUTPUT_URL"),
                settings.origin("S3_BUCKET_NAME"),
                settings.origin("S3_PREFIX")
            ));
            url
        }
        (Some(url), _) => {
            if !names_a_folder(&url) {
                settings.fault(format!(
                    "{}: `{url}`: expected file:dir or s3://bucket/prefix",
                    settings.origin("OUTPUT_URL")
                ));
            }
            url
        }
        (None, Some(made)) => made,
        (None, None) => {
            settings
                .fault("OUTPUT_URL: not set, and neither are S3_BUCKET_NAME and S3_PREFIX both");
            String::new()
        }
    }
}

fn names_a_folder(url: &str) -> bool {
    match (url.strip_prefix("file:"), url.strip_prefix("s3://")) {
        (Some(path), _) => !path.is_empty(),
        (_, Some(rest)) => rest.split_once('/').is_some_and(|(bucket, prefix)| {
            !bucket.is_empty() && !prefix.trim_matches('/').is_empty()
        }),
        _ => false,
    }
}

/// `dead-letters` beside the folder of the zips: Alma looks into that one.
fn beside(output: &str) -> String {
    match output.trim_end_matches('/').rsplit_once('/') {
        Some((parent, _)) => format!("{parent}/dead-letters"),
        None => "file:dead-letters".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_letters_lie_beside_the_zips_and_not_among_them() {
        for (output, place) in [
            ("s3://bucket/patronload", "s3://bucket/dead-letters"),
            (
                "s3://bucket/alma/patronload/",
                "s3://bucket/alma/dead-letters",
            ),
            ("file:out/alma", "file:out/dead-letters"),
            ("file:alma", "file:dead-letters"),
        ] {
            assert_eq!(beside(output), place);
        }
    }
}
