//! Invented data in `./watershed-demo`, and every pipeline run on it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use indicatif::MultiProgress;
use watershed::engine::Report;
use watershed::error::{Error, OrFail as _, Remedy, Result};

use super::args::SettingsArgs;
use super::screen::{self, Progress};
use super::{run, sources};
use crate::pipelines::{JOBS, Options};

const FOLDER: &str = "watershed-demo";
/// Marks a folder that a demo made, and that a demo may replace.
const MARK: &str = ".made-by-watershed-demo";

/// Makes the data, runs the pipelines, and tells what was done and where to look. Records that
/// the demo's data has set aside on purpose are no failure.
pub(super) async fn demo() -> Result<u8> {
    let folder = Path::new(FOLDER);
    replace(folder)?;
    let stop = run::stop_on_signals()?;
    let mut reports = Vec::new();
    let mut places = Vec::new();
    for job in JOBS {
        let place = folder.join(job.name);
        screen::talk(&format!(
            "{}: inventing data in {}\n",
            job.name,
            place.display()
        ));
        (job.demo)(&place).await?;

        let args = SettingsArgs {
            config: Some(place.join("settings.yaml")),
            // The table tells the rest.
            set: vec![("LOG_LEVEL".to_owned(), "warning".to_owned())],
            ..SettingsArgs::default()
        };
        // What the environment says of real systems has no place here.
        let settings = sources::gather_without_environment(job, &args).await?;
        let bars = MultiProgress::new();
        let journal = run::log_to_stderr(job, &settings, &bars);
        let progress = Arc::new(Progress::new(bars));
        let options = Options {
            stop: stop.clone(),
            progress: Some(run::telling(&progress)),
            journal,
            ..Options::default()
        };
        let outcome = (job.run)(&settings, &options).await;
        progress.finish();
        outcome.result?;
        places.extend(outcome.destination.map(|place| ("records", place)));
        places.extend(outcome.dead_letters.map(|place| ("set aside", place)));
        places.push((
            "settings",
            format!("file:{}", place.join("settings.yaml").display()),
        ));
        reports.push((job.name, outcome.report));
    }
    let reports: Vec<(&str, &Report)> = reports
        .iter()
        .map(|(name, report)| (*name, report))
        .collect();
    screen::print(&screen::report(&reports));
    screen::print("\nWhere to look:\n");
    for (what, place) in places {
        let place = place.trim_start_matches("file:");
        screen::print(&format!("  {what:<10} {place}\n"));
    }
    Ok(0)
}

/// Makes the folder anew, if it is missing or a demo's own.
fn replace(folder: &Path) -> Result<()> {
    let what = || format!("making the folder {}", folder.display());
    if folder.exists() {
        if !folder.join(MARK).is_file() {
            return Err(Error::new(Remedy::FixSettings, what())
                .caused_by("there is one that no demo made")
                .with_hint("move it away, or run the demo in another folder"));
        }
        fs::remove_dir_all(folder).or_fail(Remedy::FixAccess, what)?;
    }
    fs::create_dir_all(folder).or_fail(Remedy::FixAccess, what)?;
    fs::write(folder.join(MARK), "").or_fail(Remedy::FixAccess, what)
}
