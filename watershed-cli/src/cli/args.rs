use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

use crate::pipelines::{JOBS, Job, patronload};

/// Keeps analytics and library systems up to date from the systems of record.
#[derive(Parser)]
#[command(name = "watershed", version, max_term_width = 100, after_help = EXIT_CODES)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done, or stopped by a signal with all saved
  1  a bug
  2  usage
  3  settings or access to fix
  4  an outside system unavailable after retries
  5  another runner holds the state or the lock
  6  done, but some records were set aside
  7  stopped at data that must be mended
130  ended at once by a second signal";

#[derive(Subcommand)]
pub(super) enum Command {
    /// List the pipelines
    List,
    /// Run a pipeline, once or as a service
    Run {
        /// Pipeline, as `list` names it
        #[arg(value_name = "PIPELINE", value_parser = names())]
        job: String,
        #[command(flatten)]
        run: RunArgs,
    },
    /// Ask every system a pipeline needs for its version; read no records, write nothing
    Check {
        /// Pipeline, as `list` names it
        #[arg(value_name = "PIPELINE", value_parser = names())]
        job: String,
        #[command(flatten)]
        settings: SettingsArgs,
    },
    /// Show the first page of each mode, pseudonymised; write nothing
    Sample {
        /// Pipeline, as `list` names it
        #[arg(value_name = "PIPELINE", value_parser = names())]
        job: String,
        #[command(flatten)]
        sample: SampleArgs,
    },
    /// Show or change where a pipeline stopped
    State {
        #[command(subcommand)]
        action: StateAction,
    },
    /// What belongs to the pipeline patronload alone
    Patronload {
        #[command(subcommand)]
        action: PatronloadAction,
    },
    /// Work with the embedded geocoder
    Geocoder {
        #[command(subcommand)]
        action: GeocoderAction,
    },
    /// Work with settings files
    Config {
        #[command(subcommand)]
        action: ConfigAction,
    },
    /// Write the files that something new begins with
    New {
        #[command(subcommand)]
        action: NewAction,
    },
    /// Write docs/reference.md from the declarations of the settings
    Reference {
        /// Write nothing; fail when the page is stale
        #[arg(long)]
        check: bool,
    },
    /// Print a completion script
    Completions {
        /// Shell to complete for
        shell: Shell,
    },
    /// Run the pipelines on invented data in ./watershed-demo, with nothing installed
    Demo,
}

/// Where settings come from.
#[derive(Args, Clone, Default)]
pub(super) struct SettingsArgs {
    /// Environment: picks config/<PIPELINE>/<NAME>.yaml, else config/<NAME>.yaml
    #[arg(long, value_name = "NAME")]
    pub env: Option<String>,
    /// Settings file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Set one setting, over environment and file; may come again
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = pair)]
    pub set: Vec<(String, String)>,
}

#[derive(Args, Clone, Default)]
pub(super) struct RunArgs {
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// Pages that a mode may take
    #[arg(long, value_name = "N")]
    pub max_batches: Option<String>,
    /// Run as a service, a pass every so often, such as 15m
    #[arg(long, value_name = "TIME", conflicts_with = "dry_run")]
    pub every: Option<String>,
    /// Read and call out as usual, and write nowhere
    #[arg(long)]
    pub dry_run: bool,
    /// Run this mode alone
    #[arg(long, value_name = "MODE")]
    pub only: Option<String>,
    /// The present, for the pipeline's own rules
    #[arg(long, value_name = "TIME")]
    pub as_of: Option<String>,
    /// Begin at the start settings where there is no state yet
    #[arg(long)]
    pub start: bool,
    /// orders: apply files that sort before one already applied, too
    #[arg(long)]
    pub allow_late: bool,
    /// Connect to the data warehouse of patronload, log its version, and stop
    #[arg(
        short = 't',
        long = "database-connection-test",
        alias = "database_connection_test"
    )]
    pub test_connection: bool,
}

#[derive(Args, Clone)]
pub(super) struct SampleArgs {
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// Show this mode alone
    #[arg(long, value_name = "MODE")]
    pub only: Option<String>,
    /// The present, for the pipeline's own rules
    #[arg(long, value_name = "TIME")]
    pub as_of: Option<String>,
    /// Begin at the start settings where there is no state yet
    #[arg(long)]
    pub start: bool,
    /// Records to show
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub rows: usize,
}

#[derive(Subcommand)]
pub(super) enum StateAction {
    /// Print the state document
    Show {
        /// Pipeline, as `list` names it
        #[arg(value_name = "PIPELINE", value_parser = names())]
        job: String,
        #[command(flatten)]
        settings: SettingsArgs,
    },
    /// Set members of the state document, which is made if there is none
    Set {
        /// Pipeline, as `list` names it
        #[arg(value_name = "PIPELINE", value_parser = names())]
        job: String,
        /// Members and their values
        #[arg(value_name = "MEMBER=VALUE", required = true, value_parser = pair)]
        members: Vec<(String, String)>,
        #[command(flatten)]
        settings: SettingsArgs,
    },
    /// Remove the pipeline's members from the state document: the next run needs `--start`
    Reset {
        /// Pipeline, as `list` names it
        #[arg(value_name = "PIPELINE", value_parser = names())]
        job: String,
        #[command(flatten)]
        settings: SettingsArgs,
    },
}

#[derive(Subcommand)]
pub(super) enum NewAction {
    /// Write the entities and the settings of a loader of files: no code is needed
    Loader {
        /// Its name: letters, digits, - and _; also the environment it is run with
        #[arg(value_parser = loader_name)]
        name: String,
        /// A file of the source, to guess columns and types from
        #[arg(long, value_name = "FILE.csv")]
        sample: Option<PathBuf>,
    },
}

#[derive(Subcommand)]
pub(super) enum PatronloadAction {
    /// Print the institution's built-in YAML, for ALMA_CONFIG
    AlmaConfig,
}

#[derive(Subcommand)]
pub(super) enum GeocoderAction {
    /// Build a geocoder from a CSV with the header street,zip,side,from,to,tract
    Build {
        /// Address ranges
        csv: PathBuf,
        /// Geocoder to write, for GEOCODER_URL=ranges:FILE
        file: PathBuf,
    },
}

#[derive(Subcommand)]
pub(super) enum ConfigAction {
    /// Encrypt a value from stdin with KMS, for a file's ENCRYPTED_VARIABLES
    Encrypt {
        /// Id, ARN or alias of the KMS key
        #[arg(long, value_name = "KEY")]
        key: String,
        /// Name of the setting, to print with the value
        #[arg(value_name = "NAME")]
        name: Option<String>,
        /// Set one AWS setting, over the environment; may come again
        #[arg(long = "set", value_name = "NAME=VALUE", value_parser = pair)]
        set: Vec<(String, String)>,
    },
}

/// The pipelines' names, for usage errors and completions.
fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(JOBS.iter().map(|job| job.name))
}

/// `NAME=VALUE`.
fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.trim().to_owned(), value.to_owned()))
}

/// Refuses a rhythm for a pipeline that has its own.
pub(super) fn check_every(job: &Job, every: Option<&str>) -> Result<(), clap::Error> {
    if every.is_none() || job.serve.is_none() {
        return Ok(());
    }
    let words = format!("'--every <TIME>': {} has waits of its own\n", job.name);
    Err(Arguments::command().error(ErrorKind::ArgumentConflict, words))
}

/// A name that can stand in a path and in a topic.
fn loader_name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    match text.chars().all(plain) && !text.is_empty() {
        true => Ok(text.to_owned()),
        false => Err("expected letters, digits, - and _".into()),
    }
}

/// Refuses what the pipeline has not.
pub(super) fn check_run(job: &Job, run: &RunArgs) -> Result<(), clap::Error> {
    if run.test_connection && job.name != patronload::JOB.name {
        let words = format!(
            "'--database-connection-test' belongs to {}\n",
            patronload::JOB.name
        );
        return Err(Arguments::command().error(ErrorKind::ArgumentConflict, words));
    }
    check_mode(job, run.only.as_deref())
}

/// Refuses a mode that the pipeline has not.
pub(super) fn check_mode(job: &Job, only: Option<&str>) -> Result<(), clap::Error> {
    match only {
        Some(mode) if !job.modes.contains(&mode) => {
            let modes = match job.modes {
                [] => "none".to_owned(),
                modes => modes.join(", "),
            };
            let words = format!(
                "invalid value '{mode}' for '--only <MODE>': {} has {modes}\n",
                job.name
            );
            Err(Arguments::command().error(ErrorKind::InvalidValue, words))
        }
        _ => Ok(()),
    }
}
