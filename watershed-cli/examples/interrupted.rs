//! The program, interrupted at a chosen room: for the tests that kill it between two steps.
//!
//! `INTERRUPT_AT=<room>:<n>` names the n-th time that a page leaves the room. The program is then
//! killed (SIGKILL), or with `INTERRUPT_BY=pause` says so on stdout and waits for a line on stdin,
//! or with `INTERRUPT_BY=leak` prints a personal value, which the tests must find.

use std::io::Write as _;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicU32, Ordering};

use indicatif::MultiProgress;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use watershed::privacy::Personal;
use watershed_cli::cli::log::Log;

struct Interrupt {
    room: String,
    left: AtomicU32,
    by: String,
}

struct Room(String);

impl Visit for Room {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "room" {
            self.0 = value.to_owned();
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

impl<S: Subscriber> Layer<S> for Interrupt {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut room = Room(String::new());
        event.record(&mut room);
        // The event is handled before the page goes on: the place of the interruption is exact.
        if room.0 != self.room || self.left.fetch_sub(1, Ordering::SeqCst) != 1 {
            return;
        }
        match self.by.as_str() {
            "pause" => {
                println!("paused");
                std::io::stdout().flush().expect("stdout can be flushed");
                std::io::stdin()
                    .read_line(&mut String::new())
                    .expect("stdin can be read");
            }
            "leak" => {
                let street = std::env::var("INTERRUPT_LEAK").expect("INTERRUPT_LEAK is set");
                println!("{}", Personal::new(street).for_geocoder());
            }
            _ => {
                let id = std::process::id().to_string();
                Command::new("kill")
                    .args(["-9", &id])
                    .status()
                    .expect("kill can be run");
                unreachable!("the process was killed");
            }
        }
    }
}

fn main() -> ExitCode {
    let at = std::env::var("INTERRUPT_AT").expect("INTERRUPT_AT is set");
    let (room, times) = at.split_once(':').expect("INTERRUPT_AT is <room>:<n>");
    let interrupt = Interrupt {
        room: room.to_owned(),
        left: AtomicU32::new(times.parse().expect("n is a number")),
        by: std::env::var("INTERRUPT_BY").unwrap_or_default(),
    };
    let log = Log::new("patron-info", "trace", "text", MultiProgress::new());
    tracing_subscriber::registry()
        .with(log)
        .with(interrupt)
        .init();
    watershed_cli::main()
}
