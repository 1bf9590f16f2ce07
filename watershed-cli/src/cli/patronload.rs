use indicatif::MultiProgress;
use watershed::error::Result;

use super::args::SettingsArgs;
use super::{run, screen, sources};
use crate::pipelines::{Job, patronload};

/// Prints the built-in YAML of the institution.
pub(super) fn alma_config() -> u8 {
    screen::print(patronload::ALMA_CONFIG);
    0
}

/// Connects to the data warehouse, logs its version, and does nothing else.
pub(super) async fn test_connection(job: &'static Job, args: &SettingsArgs) -> Result<u8> {
    let settings = sources::gather(job, args, &[]).await?;
    run::log_to_stderr(job, &settings, &MultiProgress::new());
    let greeting = patronload::test_connection(&settings).await?;
    tracing::info!("{greeting}");
    Ok(0)
}
