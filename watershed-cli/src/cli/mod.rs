//! The command line: one module a command. stdout is data, stderr is talk.

mod args;
mod check;
mod config;
mod demo;
mod geocoder;
pub mod log;
mod new;
mod patronload;
mod reference;
mod run;
mod sample;
mod screen;
mod sources;
mod state;

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use futures::FutureExt as _;
use tokio::runtime::Builder;
use watershed::error::{Error, OrFail as _, Remedy, Result};

use crate::pipelines::{JOBS, Job};
use crate::sentry;
use args::{Arguments, Command, PatronloadAction};

/// Exit code of a run that set records aside.
const SET_ASIDE: u8 = 6;

/// Reads the command line, does what it says, and tells how it ended by the exit code.
pub fn main() -> ExitCode {
    ExitCode::from(main_from(std::env::args_os()))
}

/// As [`main`], with these arguments, the program's name first; gives the exit code.
pub fn main_from(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    hide_panics();
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(usage) => return tell_usage(&usage),
    };
    let ended = catch_unwind(AssertUnwindSafe(|| on_the_runtime(arguments.command)));
    match ended {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => {
            screen::complain(&error);
            error.remedy().exit_code()
        }
        Err(_) => {
            // A second panic, while the first one is told, is nobody's business.
            let told = Builder::new_current_thread().enable_all().build();
            if let Ok(runtime) = told {
                runtime.block_on(sentry::tell_of_a_panic());
            }
            Remedy::ReportBug.exit_code()
        }
    }
}

fn on_the_runtime(command: Command) -> Result<u8> {
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .build()
        .or_fail(Remedy::ReportBug, || {
            "starting the asynchronous runtime".into()
        })?;
    let ended = runtime.block_on(dispatch(command));
    // A blocking call of a page that was abandoned must not keep the program from its end (P7).
    runtime.shutdown_background();
    ended
}

async fn dispatch(command: Command) -> Result<u8> {
    match command {
        Command::List => {
            screen::list(JOBS);
            Ok(0)
        }
        Command::Run { job, run } => {
            let job = find(&job)?;
            let usage = args::check_run(job, &run)
                .and_then(|()| args::check_every(job, run.every.as_deref()));
            match usage {
                Ok(()) if run.test_connection => {
                    patronload::test_connection(job, &run.settings).await
                }
                Ok(()) => run::run(job, run).await,
                Err(usage) => Ok(tell_usage(&usage)),
            }
        }
        Command::Check { job, settings } => check::check(find(&job)?, settings).await,
        Command::Sample { job, sample } => {
            let job = find(&job)?;
            match args::check_mode(job, sample.only.as_deref()) {
                Ok(()) => sample::sample(job, sample).await,
                Err(usage) => Ok(tell_usage(&usage)),
            }
        }
        Command::State { action } => state::state(action).await,
        Command::Patronload { action } => match action {
            PatronloadAction::AlmaConfig => Ok(patronload::alma_config()),
        },
        Command::Geocoder { action } => geocoder::geocoder(action),
        Command::Config { action } => config::config(action).await,
        Command::New { action } => new::new(action),
        Command::Reference { check } => reference::reference(check),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "watershed", &mut script);
            screen::print(&String::from_utf8_lossy(&script));
            Ok(0)
        }
        Command::Demo => demo::demo().boxed_local().await,
    }
}

fn tell_usage(usage: &clap::Error) -> u8 {
    let _ = usage.print();
    usage.exit_code() as u8
}

/// The pipeline of a name that the command line has checked already.
fn find(name: &str) -> Result<&'static Job> {
    Job::find(name).ok_or_else(|| {
        Error::new(
            Remedy::ReportBug,
            format!("looking for the pipeline `{name}`"),
        )
    })
}

/// A panic's own words may repeat a value (P6), so that only its place is told.
fn hide_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        sentry::note_panic(&place);
        screen::talk(&format!(
            "error: the program is wrong at {place}; please report this\n"
        ));
    }));
}
