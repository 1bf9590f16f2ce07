//! Where the settings of a command come from: flags and `--set`, environment, file.

use std::path::{Path, PathBuf};

use watershed::error::{Error, Remedy, Result};
use watershed::settings::{Settings, Sources, read_file};

use super::args::SettingsArgs;
use crate::pipelines::{JOBS, Job};

/// Gathers the settings of a pipeline from its file alone.
pub(super) fn gather_without_environment(job: &Job, args: &SettingsArgs) -> Result<Settings> {
    let sources = Sources::default();
    from(job, args, sources)
}

/// Gathers the settings of a pipeline; `flags` are settings that have a flag of their own.
pub(super) fn gather(
    job: &Job,
    args: &SettingsArgs,
    flags: &[(&str, &str, Option<&str>)],
) -> Result<Settings> {
    let mut given = Vec::new();
    for (name, flag, text) in flags {
        if let Some(text) = text {
            given.push(((*name).to_owned(), (*text).to_owned(), (*flag).to_owned()));
        }
    }
    for (name, text) in &args.set {
        given.push((name.clone(), text.clone(), "--set".to_owned()));
    }
    // What is not UTF-8 cannot be one of our values.
    let environment = std::env::vars_os()
        .filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?)));
    let mut sources = Sources {
        given,
        environment: environment.collect(),
        file: None,
    };
    if let Some(environment) = &args.env {
        sources
            .given
            .push(("ENVIRONMENT".into(), environment.clone(), "--env".into()));
    }
    from(job, args, sources)
}

fn from(job: &Job, args: &SettingsArgs, mut sources: Sources) -> Result<Settings> {
    sources.file = match path(job, args, &sources)? {
        Some(path) => Some(read_file(&path)?),
        None => None,
    };
    let known: Vec<&str> = JOBS
        .iter()
        .flat_map(|job| job.all_settings())
        .map(|setting| setting.name)
        .collect();
    Ok(Settings::gather(job.all_settings(), &known, &sources))
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
