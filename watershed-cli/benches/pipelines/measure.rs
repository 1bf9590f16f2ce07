//! How long the program takes, and how much memory.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

pub const HEAD: &str = "\
| pipeline | what | ratio | seconds | floor | of the floor | peak memory |
|---|---|---|---|---|---|---|";

/// One measurement.
pub struct Line {
    pub pipeline: &'static str,
    /// What was done, and how often a second.
    pub what: String,
    pub seconds: f64,
    pub peak_mib: f64,
    /// The least that it could take, in seconds, measured beside it.
    pub floor: f64,
    /// What the floor is.
    pub of: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "| {} | {} | {:.2} × | {:.1} s | {:.1} s | {} | {:.0} MiB |",
            self.pipeline,
            self.what,
            self.seconds / self.floor,
            self.seconds,
            self.floor,
            self.of,
            self.peak_mib
        )
    }
}

/// What one run of the program took.
pub struct Taken {
    pub seconds: f64,
    /// Of processors, all of its threads together.
    pub processor: f64,
    pub peak_mib: f64,
    /// What it wrote to stderr.
    pub log: String,
}

/// Runs the program in `folder` to its end.
///
/// # Panics
/// When it ends with another exit code than 0: what failed is not measured.
pub fn watershed(folder: &Path, arguments: &[&str]) -> Taken {
    let log = fs::File::create(folder.join("log")).expect("a file for the log");
    let start = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_watershed"))
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("the program starts");
    let process = format!("/proc/{}", child.id());
    let (mut peak_mib, mut processor) = (0.0, 0.0);
    let ended = loop {
        // Neither ever falls, so that the last one read is the whole, but for the last moment.
        peak_mib = high_water_mark(&process).unwrap_or(peak_mib);
        processor = processor_seconds(&process).unwrap_or(processor);
        if let Some(ended) = child.try_wait().expect("the program can be waited for") {
            break ended;
        }
        sleep(Duration::from_millis(5));
    };
    let seconds = start.elapsed().as_secs_f64();
    let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
    assert!(ended.success(), "{arguments:?} ended with {ended}:\n{log}");
    Taken {
        seconds,
        processor,
        peak_mib,
        log,
    }
}

/// How long `work` takes.
pub fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

fn high_water_mark(process: &str) -> Option<f64> {
    let status = fs::read_to_string(format!("{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}

fn processor_seconds(process: &str) -> Option<f64> {
    let stat = fs::read_to_string(format!("{process}/stat")).ok()?;
    // Behind the name in brackets: user and system time, in hundredths of a second.
    let fields = stat.rsplit_once(')')?.1.split_whitespace();
    let ticks: Vec<u64> = fields.skip(11).take(2).flat_map(str::parse).collect();
    Some(ticks.iter().sum::<u64>() as f64 / 100.0)
}
