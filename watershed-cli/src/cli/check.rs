use indicatif::MultiProgress;
use watershed::error::{Error, Result};

use super::args::SettingsArgs;
use super::{run, screen, sentry, sources};
use crate::pipelines::{Checked, Job};

/// How long a system has to answer: a check is for a person who waits.
const PATIENCE: &str = "10";

/// Prints the version of each system, or what to fix; the exit code is the first failure's.
pub(super) async fn check(job: &'static Job, args: SettingsArgs) -> Result<u8> {
    let settings =
        sources::gather(job, &args, &[("RETRY_SECONDS", "check", Some(PATIENCE))]).await?;
    run::log_to_stderr(job, &settings, &MultiProgress::new());
    sentry::watch(job, &settings);
    let checks = (job.check)(&settings).await?;
    for checked in &checks {
        screen::print(&line(checked));
    }
    let failed = checks
        .iter()
        .find_map(|checked| checked.found.as_ref().err());
    Ok(failed.map_or(0, |error: &Error| error.remedy().exit_code()))
}

fn line(checked: &Checked) -> String {
    match &checked.found {
        Ok(found) => format!("ok    {:<10} {found}\n", checked.system),
        Err(error) => {
            let hint = error
                .hint()
                .map(|hint| format!("      {:<10} hint: {hint}\n", ""))
                .unwrap_or_default();
            format!(
                "FIX   {:<10} {}\n{hint}",
                checked.system,
                error.in_one_line()
            )
        }
    }
}
