//! The program, interrupted at a chosen room: for the tests that kill it between two steps.
//!
//! The test binary runs itself again, with one test alone, which then is the program. So it is
//! built with every test, and nothing in the program serves a test.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use indicatif::MultiProgress;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use watershed::privacy::Personal;
use watershed_cli::cli::log::Log;

/// `<room>:<n>`: the n-th time that a page leaves the room; several with commas between them.
pub const AT: &str = "INTERRUPT_AT";
/// `kill` (SIGKILL), `pause` (says so on stdout and waits for a line on stdin), or `leak` (prints
/// the personal value in `INTERRUPT_LEAK`, which the tests must find).
pub const BY: &str = "INTERRUPT_BY";
pub const LEAK: &str = "INTERRUPT_LEAK";
/// Arguments of the program, one a line.
pub const ARGUMENTS: &str = "INTERRUPT_ARGUMENTS";

/// Arguments that make the test binary the program.
pub const THIS_TEST: [&str; 3] = [
    "--exact",
    "interruption::the_program_is_interrupted_where_it_is_told",
    "--nocapture",
];

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
                let street = std::env::var(LEAK).expect("a value to leak");
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

/// In a process of its own, this is the program; elsewhere nobody has told it to be.
#[test]
fn the_program_is_interrupted_where_it_is_told() {
    let Ok(at) = std::env::var(AT) else {
        assert!(
            std::env::var_os(ARGUMENTS).is_none(),
            "arguments for the program, but no interruption"
        );
        return;
    };
    let interrupts: Vec<Interrupt> = at
        .split(',')
        .map(|at| {
            let (room, times) = at.split_once(':').expect("<room>:<n>");
            Interrupt {
                room: room.to_owned(),
                left: AtomicU32::new(times.parse().expect("n is a number")),
                by: std::env::var(BY).expect("how to interrupt"),
            }
        })
        .collect();
    let log = Log::new("patron-info", "trace", "text", MultiProgress::new());
    tracing_subscriber::registry()
        .with(log)
        .with(interrupts)
        .init();
    let arguments = std::env::var(ARGUMENTS).expect("arguments for the program");
    let arguments = std::iter::once("watershed")
        .chain(arguments.lines())
        .map(OsString::from);
    std::process::exit(watershed_cli::cli::main_from(arguments).into());
}
