use indicatif::MultiProgress;
use serde_json::Value as Json;
use watershed::error::Result;

use super::args::SampleArgs;
use super::{run, screen, sources};
use crate::pipelines::{Job, Options, Shown};

/// Shows the first records that a run would deliver, as a table.
pub(super) async fn sample(job: &'static Job, args: SampleArgs) -> Result<u8> {
    let flags = [
        ("MAX_BATCHES", "sample", Some("1")),
        ("AS_OF", "--as-of", args.as_of.as_deref()),
    ];
    let settings = sources::gather(job, &args.settings, &flags).await?;
    run::log_to_stderr(job, &settings, &MultiProgress::new());
    let shown = Shown::first(args.rows);
    let options = Options {
        dry_run: true,
        only: args.only,
        start: args.start,
        stop: run::stop_on_signals()?,
        show: Some(shown.clone()),
        ..Options::default()
    };
    let outcome = (job.run)(&settings, &options).await;
    outcome.result?;
    let (records, others) = shown.take();
    screen::print(&rows(&records, others));
    Ok(0)
}

fn rows(records: &[Json], others: usize) -> String {
    let Some(Json::Object(first)) = records.first() else {
        return match others {
            0 => "no records\n".into(),
            others => format!("{others} records\n"),
        };
    };
    let names: Vec<&str> = first.keys().map(String::as_str).collect();
    let mut table = screen::table(&names);
    for record in records {
        table.add_row(names.iter().map(|name| match &record[*name] {
            Json::Null => "–".to_owned(),
            Json::String(text) => text.clone(),
            value => value.to_string(),
        }));
    }
    let rest = if others > 0 {
        format!("and {others} more\n")
    } else {
        String::new()
    };
    format!("{table}\n{rest}")
}
