//! Where the settings of a command come from: flags and `--set`, environment, file.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use watershed::connectors::aws::{Aws, AwsSettings};
use watershed::connectors::kms::Kms;
use watershed::error::{Error, Remedy, Result};
use watershed::settings::{Settings, Sources, read_file};

use super::args::SettingsArgs;
use crate::pipelines::poller::AWS_SETTINGS;
use crate::pipelines::{JOBS, Job};

/// Gathers the settings of a pipeline from its file and `--set` alone.
pub(super) async fn gather_without_environment(job: &Job, args: &SettingsArgs) -> Result<Settings> {
    let mut sources = Sources::default();
    set(&mut sources, args);
    from(job, args, sources).await
}

fn set(sources: &mut Sources, args: &SettingsArgs) {
    for (name, text) in &args.set {
        sources
            .given
            .push((name.clone(), text.clone(), "--set".to_owned()));
    }
}

/// Gathers the settings of a pipeline; `flags` are settings that have a flag of their own.
pub(super) async fn gather(
    job: &Job,
    args: &SettingsArgs,
    flags: &[(&str, &str, Option<&str>)],
) -> Result<Settings> {
    let mut sources = environment();
    set(&mut sources, args);
    // The later one wins: a flag says it for this run.
    for (name, flag, text) in flags {
        if let Some(text) = text {
            sources
                .given
                .push(((*name).to_owned(), (*text).to_owned(), (*flag).to_owned()));
        }
    }
    if let Some(environment) = &args.env {
        sources
            .given
            .push(("ENVIRONMENT".into(), environment.clone(), "--env".into()));
    }
    from(job, args, sources).await
}

/// The process environment. What is not UTF-8 cannot be one of our values.
fn environment() -> Sources {
    let pair = |(name, text): (OsString, OsString)| {
        Some((name.into_string().ok()?, text.into_string().ok()?))
    };
    Sources {
        environment: std::env::vars_os().filter_map(pair).collect(),
        ..Sources::default()
    }
}

async fn from(job: &Job, args: &SettingsArgs, mut sources: Sources) -> Result<Settings> {
    if let Some(path) = path(job, args, &sources)? {
        let mut file = read_file(&path)?;
        if file.is_encrypted() {
            // Region, credentials and endpoint of KMS may stand in the same file.
            sources.file = Some(file.clone());
            let aws = Settings::gather(AWS_SETTINGS, &known(), &sources).aws();
            file.decrypt(&Kms::new(&Aws::new(aws).await)).await;
        }
        sources.file = Some(file);
    }
    Ok(Settings::gather(job.all_settings(), &known(), &sources))
}

/// The AWS settings of a command that has no pipeline.
pub(super) fn gather_aws(set: &[(String, String)]) -> Result<AwsSettings> {
    let mut sources = environment();
    sources.given = set
        .iter()
        .map(|(name, text)| (name.clone(), text.clone(), "--set".to_owned()))
        .collect();
    let settings = Settings::gather(AWS_SETTINGS, &known(), &sources);
    settings.complete(settings.aws())
}

/// Names of all pipelines' settings: one file may serve several of them.
fn known() -> Vec<&'static str> {
    JOBS.iter()
        .flat_map(|job| job.all_settings())
        .map(|setting| setting.name)
        .collect()
}

/// The settings file that the arguments or `ENVIRONMENT` name.
fn path(job: &Job, args: &SettingsArgs, sources: &Sources) -> Result<Option<PathBuf>> {
    if let Some(path) = &args.config {
        return Ok(Some(path.clone()));
    }
    let given = sources
        .given
        .iter()
        .find(|(name, ..)| name == "ENVIRONMENT")
        .map(|(_, text, _)| text);
    let Some(environment) = given
        .or_else(|| sources.environment.get("ENVIRONMENT"))
        .filter(|text| !text.is_empty())
    else {
        return Ok(None);
    };
    let candidates = [
        format!("config/{}/{environment}.yaml", job.name),
        format!("config/{environment}.yaml"),
    ];
    match candidates.iter().find(|path| Path::new(path).is_file()) {
        Some(path) => Ok(Some(PathBuf::from(path))),
        None => Err(Error::new(
            Remedy::FixSettings,
            format!("looking for the settings of the environment `{environment}`"),
        )
        .caused_by(format!(
            "there is neither {} nor {}",
            candidates[0], candidates[1]
        ))
        .with_hint("name a settings file with --config")),
    }
}
