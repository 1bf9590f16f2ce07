//! What the pollers share: settings, and from them the state, the stream and the time.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use watershed::connectors::aws::{Aws, AwsSettings};
use watershed::connectors::http::without_secrets;
use watershed::connectors::objects::Object;
use watershed::connectors::stream::{Stream, StreamOptions};
use watershed::dead_letters::DeadLetters;
use watershed::engine::{Report, Run};
use watershed::error::{Error, Remedy, Result};
use watershed::formats::avro::{Encoder, fetch_schema};
use watershed::privacy::{Pseudonymiser, Secret};
use watershed::retry::Policy;
use watershed::settings::{Setting, Settings};
use watershed::state::{Members, State};

use super::{Checked, ENVIRONMENT, LOG_FORMAT, Options, SettingGroup};

/// Settings of every poller, as a group of the reference.
pub const GROUP: SettingGroup = SettingGroup {
    title: "Pollers",
    settings: SETTINGS,
};

const SETTINGS: &[Setting] = &[
    ENVIRONMENT,
    LOG_FORMAT,
    Setting::text(
        "STATE_URL",
        "State document; else it is made of `S3_BUCKET` and `S3_RESOURCE`. Not needed with `IGNORE_CACHE`.",
    ),
    Setting::text("S3_BUCKET", "Bucket of the state document."),
    Setting::text("S3_RESOURCE", "Key of the state document."),
    Setting::text(
        "DEAD_LETTERS_URL",
        "Folder of the records set aside; else `dead-letters/` beside the state, or in the working directory without one.",
    ),
    Setting::text(
        "STREAM_URL",
        "`kinesis:` and an ARN or a name, or `file:` and a folder; else it is made of `KINESIS_STREAM_ARN` or `KINESIS_STREAM_NAME`. Not needed with `IGNORE_KINESIS`.",
    ),
    Setting::text("KINESIS_STREAM_ARN", "ARN of the stream."),
    Setting::text("KINESIS_STREAM_NAME", "Name of the stream."),
    Setting::integer("KINESIS_BATCH_SIZE", 1..=500, "Records a call.").default("500"),
    Setting::integer(
        "KINESIS_RETRY_SECONDS",
        0..=86_400,
        "How long a rejected record is sent again.",
    )
    .default("300"),
    Setting::integer("MAX_BATCHES", 0..=i64::MAX, "Pages that a mode may take."),
    Setting::flag(
        "IGNORE_CACHE",
        "Starts at the start settings and keeps the state in memory.",
    ),
    Setting::flag(
        "IGNORE_KINESIS",
        "Sends nothing; the records are counted as skipped, \"not sent\".",
    ),
    Setting::zone(
        "TIME_ZONE",
        "Zone of dates, and of instants without an offset.",
    )
    .default("America/New_York"),
    Setting::instant(
        "AS_OF",
        "The present, for the pipeline's own rules; else the time of the run.",
    ),
    Setting::integer(
        "RETRY_SECONDS",
        0..=86_400,
        "How long a call that may yet succeed is tried again.",
    )
    .default("900"),
];

/// Salt of the pseudonyms, which [`salted`] reads.
pub const BCRYPT_SALT: Setting = Setting::text(
    "BCRYPT_SALT",
    "Salt of the pseudonyms: `$2b$`, two digits of cost, `$`, 22 characters.",
)
.secret()
.required();

/// Settings of the AWS clients, as a group of the reference.
pub const AWS_GROUP: SettingGroup = SettingGroup {
    title: "AWS",
    settings: AWS_SETTINGS,
};

/// Settings of the AWS clients.
pub const AWS_SETTINGS: &[Setting] = &[
    Setting::text(
        "AWS_REGION",
        "Region of every client. Of this one setting the file's value outweighs the environment's.",
    )
    .default("us-east-1"),
    Setting::text(
        "AWS_ACCESS_KEY_ID",
        "Access key; else the usual chain of AWS is asked.",
    )
    .secret(),
    Setting::text("AWS_SECRET_ACCESS_KEY", "Secret key that belongs to it.").secret(),
    Setting::text("AWS_SESSION_TOKEN", "Session token that belongs to it.").secret(),
    Setting::text("AWS_PROFILE", "Profile of the shared configuration files."),
    Setting::text("AWS_ENDPOINT_URL", "Endpoint of every service."),
    Setting::text("AWS_ENDPOINT_URL_S3", "Endpoint of S3."),
    Setting::text("AWS_ENDPOINT_URL_KINESIS", "Endpoint of Kinesis."),
    Setting::text("AWS_ENDPOINT_URL_KMS", "Endpoint of KMS."),
    Setting::text("AWS_ENDPOINT_URL_SES", "Endpoint of SES."),
    Setting::text(
        "AWS_ENDPOINT_URL_REDSHIFT",
        "Endpoint of Redshift's own interface, for `REDSHIFT_CLUSTER`.",
    ),
];

/// What every poller reads from its settings.
pub struct PollerConfig {
    aws: AwsSettings,
    state: Option<String>,
    dead_letters: String,
    stream: Option<String>,
    records_per_call: usize,
    kinesis_retry: Duration,
    max_pages: Option<u64>,
    /// Whether the state is kept in memory, from the start settings on.
    pub ignore_state: bool,
    /// Whether nothing is sent.
    pub ignore_stream: bool,
    /// Zone of dates.
    pub zone: TimeZone,
    /// The present, for the pipeline's own rules.
    pub now: Timestamp,
    /// Rows from this instant on are left for the next run.
    pub bound: Timestamp,
    /// How calls are tried again.
    pub policy: Policy,
    run: String,
}

impl PollerConfig {
    /// Reads the settings; faults are noted there.
    pub fn read(settings: &Settings) -> PollerConfig {
        let zone = settings.zone("TIME_ZONE");
        let started = Timestamp::now();
        let now = settings.instant("AS_OF", &zone).unwrap_or(started);
        let settle = Duration::from_secs(settings.count("SETTLE_SECONDS"));
        let ignore_state = settings.flag("IGNORE_CACHE");
        let ignore_stream = settings.flag("IGNORE_KINESIS");
        let state = state_url(settings);
        if state.is_none()
            && !ignore_state
            && !settings.is_given("S3_BUCKET")
            && !settings.is_given("S3_RESOURCE")
        {
            settings.fault("STATE_URL: not set, and neither are S3_BUCKET and S3_RESOURCE");
        }
        let stream = stream_url(settings);
        if stream.is_none() && !ignore_stream {
            settings.fault(
                "STREAM_URL: not set, and neither is KINESIS_STREAM_ARN or KINESIS_STREAM_NAME",
            );
        }
        PollerConfig {
            aws: settings.aws(),
            dead_letters: settings
                .text("DEAD_LETTERS_URL")
                .unwrap_or_else(|| beside(state.as_deref())),
            state,
            stream,
            records_per_call: settings.count("KINESIS_BATCH_SIZE") as usize,
            kinesis_retry: Duration::from_secs(settings.count("KINESIS_RETRY_SECONDS")),
            max_pages: settings
                .integer("MAX_BATCHES")
                .and_then(|pages| pages.try_into().ok()),
            ignore_state,
            ignore_stream,
            now,
            bound: now.checked_sub(settle).unwrap_or(now),
            policy: Policy::within(Duration::from_secs(settings.count("RETRY_SECONDS"))),
            zone,
            // Microseconds, so that two runs never share their files.
            run: started.strftime("%Y%m%dT%H%M%S.%6fZ").to_string(),
        }
    }

    /// The AWS clients.
    pub async fn aws(&self) -> Aws {
        Aws::new(self.aws.clone()).await
    }

    /// The stream that the settings name, for `check`.
    fn stream_of_settings(&self, encoder: &Encoder, aws: &Aws) -> Result<Stream> {
        if self.ignore_stream {
            return Ok(Stream::Nowhere("not sent"));
        }
        let options = StreamOptions {
            records_per_call: self.records_per_call,
            retry: self.kinesis_retry,
            run: self.run.clone(),
        };
        Stream::open(
            self.stream.as_deref().unwrap_or_default(),
            encoder,
            aws,
            options,
        )
    }

    /// The stream, as the settings and a dry run have it.
    pub fn stream(&self, encoder: &Encoder, aws: &Aws, options: &Options) -> Result<Stream> {
        if options.dry_run {
            return Ok(Stream::Nowhere("dry run"));
        }
        if self.ignore_stream {
            tracing::warn!(
                "IGNORE_KINESIS: records are counted as skipped, \"not sent\", and the cursor moves on"
            );
        }
        self.stream_of_settings(encoder, aws)
    }

    /// Where the records go, in a person's words.
    pub fn destination(&self) -> Option<String> {
        self.stream.clone().filter(|_| !self.ignore_stream)
    }

    /// The state document's place; nothing with `IGNORE_CACHE`.
    fn state_object(&self, aws: &Aws) -> Result<Option<Object>> {
        match self.state.as_deref().filter(|_| !self.ignore_state) {
            Some(url) => Object::open(url, aws, self.policy.clone()).map(Some),
            None => Ok(None),
        }
    }

    /// Looks for the state document, for `check`; `set` is the command that makes one.
    pub async fn check_state(&self, aws: &Aws, set: &str) -> Result<String> {
        let Some(object) = self.state_object(aws)? else {
            return Ok("ignored".into());
        };
        if object.exists().await? {
            return Ok(object.to_string());
        }
        Err(Error::new(
            Remedy::FixSettings,
            format!("looking for {object}: there is no such document"),
        )
        .with_hint(format!("make one with `{set}`")))
    }

    /// Holds the schema against the fields of a record, which `encoder` knows, and looks at the
    /// stream, for `check`.
    pub async fn check_stream(
        &self,
        schema: &str,
        aws: &Aws,
        encoder: impl FnOnce(&str, &str) -> Result<Encoder>,
    ) -> Vec<Checked> {
        let text = fetch_schema(schema, &self.policy).await;
        let encoder = match text.and_then(|text| encoder(&text, &without_secrets(schema))) {
            Ok(encoder) => encoder,
            Err(error) => {
                return vec![Checked {
                    system: "schema",
                    found: Err(error),
                }];
            }
        };
        let summary = match self.stream_of_settings(&encoder, aws) {
            Ok(stream) => stream.summary().await,
            Err(error) => Err(error),
        };
        vec![
            Checked {
                system: "schema",
                found: Ok(without_secrets(schema)),
            },
            Checked {
                system: "stream",
                found: summary,
            },
        ]
    }

    /// Opens state and dead letters for a run. With it comes whether cursors that the state lacks
    /// begin at the start settings.
    pub async fn open<'a>(
        &self,
        pipeline: &str,
        aws: &Aws,
        options: &'a Options,
        tell: &'a (dyn Fn(&Report) + Sync),
    ) -> Result<(Run<'a>, bool)> {
        // First the state: where dead letters have no place of their own, theirs is made of its.
        let object = self.state_object(aws)?;
        let dead_letters = Object::open(&self.dead_letters, aws, self.policy.clone())?;
        let run = |state, dead_letters| Run {
            state,
            dead_letters,
            stop: options.stop.clone(),
            max_pages: self.max_pages,
            report: Report::default(),
            progress: tell,
        };
        let letters = if options.dry_run {
            DeadLetters::forgotten()
        } else {
            DeadLetters::new(&dead_letters, pipeline, &self.run)
        };
        let Some(object) = object else {
            return Ok((run(State::in_memory(Members::new()), letters), true));
        };
        let token = format!("{}-{:08x}", self.run, fastrand::u32(..));
        let state = match State::open(&object, &token).await? {
            Some(state) => state,
            None if options.start => State::fresh(&object, &token),
            None => {
                return Err(Error::new(Remedy::FixSettings, format!("reading the state in {object}"))
                    .caused_by("there is no such document")
                    .with_hint("make one with `watershed state set <pipeline> NAME=value …`, or begin at the start settings with `--start`"));
            }
        };
        let state = if options.dry_run {
            State::in_memory(state.members().clone())
        } else {
            state
        };
        Ok((run(state, letters), options.start))
    }
}

/// The pseudonymiser that `BCRYPT_SALT` makes; a fault is noted there.
pub fn salted(settings: &Settings, salt: &Secret) -> Option<Pseudonymiser> {
    if salt.expose().is_empty() {
        // That it is missing is noted already.
        return None;
    }
    let pseudonymiser = Pseudonymiser::new(salt);
    let origin = settings.origin("BCRYPT_SALT");
    pseudonymiser
        .map_err(|error| settings.fault(format!("{origin}: {}", error.in_one_line())))
        .ok()
}

/// The URL of the state document, from either of its two forms.
pub fn state_url(settings: &Settings) -> Option<String> {
    object_url(settings, "STATE_URL", "S3_BUCKET", "S3_RESOURCE")
}

/// The URL of an object in S3 that may be given as its bucket and key, too; faults are noted
/// there.
pub fn object_url(settings: &Settings, url: &str, bucket: &str, key: &str) -> Option<String> {
    for (one, other) in [(bucket, key), (key, bucket)] {
        if settings.is_given(one) && !settings.is_given(other) && !settings.is_given(url) {
            settings.fault(format!("{other}: not set, beside {}", settings.origin(one)));
        }
    }
    let parts = settings.text(bucket).zip(settings.text(key));
    let parts = parts.map(|(bucket, key)| format!("s3://{bucket}/{}", key.trim_start_matches('/')));
    match (settings.text(url), parts) {
        (Some(text), Some(parts)) if text != parts => {
            settings.fault(format!(
                "{} contradicts {} and {}",
                settings.origin(url),
                settings.origin(bucket),
                settings.origin(key)
            ));
            Some(text)
        }
        (text, parts) => text.or(parts),
    }
}

fn stream_url(settings: &Settings) -> Option<String> {
    let (arn, name) = (
        settings.text("KINESIS_STREAM_ARN"),
        settings.text("KINESIS_STREAM_NAME"),
    );
    if let (Some(arn), Some(name)) = (&arn, &name)
        && !arn.ends_with(&format!("/{name}"))
    {
        settings.contradiction("KINESIS_STREAM_NAME", "KINESIS_STREAM_ARN");
    }
    let part = if arn.is_some() {
        "KINESIS_STREAM_ARN"
    } else {
        "KINESIS_STREAM_NAME"
    };
    let made = arn.or(name).map(|stream| format!("kinesis:{stream}"));
    match (settings.text("STREAM_URL"), made) {
        (Some(url), Some(made)) if url != made => {
            settings.contradiction(part, "STREAM_URL");
            Some(url)
        }
        (url, made) => url.or(made),
    }
}

/// `dead-letters/` beside the state document.
fn beside(state: Option<&str>) -> String {
    match state.and_then(|url| url.rsplit_once('/')) {
        Some((folder, _)) => format!("{folder}/dead-letters"),
        None => "file:dead-letters".into(),
    }
}
