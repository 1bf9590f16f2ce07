//! How long the program takes, and how much memory; how long others take.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What a benchmark found out.
#[derive(Default)]
pub struct Found {
    pub floors: Vec<AgainstFloor>,
    pub peers: Vec<AgainstPeer>,
}

/// A run of a pipeline beside the least that it could take.
pub struct AgainstFloor {
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

/// The same work, done by us and by another.
pub struct AgainstPeer {
    pub what: String,
    pub peer: String,
    /// Seconds.
    pub ours: f64,
    pub theirs: f64,
}

impl From<AgainstFloor> for Found {
    fn from(line: AgainstFloor) -> Found {
        Found {
            floors: vec![line],
            peers: Vec::new(),
        }
    }
}

impl AgainstFloor {
    pub const HEAD: &str = "\
| pipeline | what | ratio | seconds | floor | what the floor is | peak memory |
|---|---|---|---|---|---|---|";
}

impl AgainstPeer {
    pub const HEAD: &str = "\
| what | peer | times as fast | ours | theirs |
|---|---|---|---|---|";
}

impl fmt::Display for AgainstPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ours, theirs) = (Seconds(self.ours), Seconds(self.theirs));
        let times = self.theirs / self.ours;
        let (what, peer) = (&self.what, &self.peer);
        write!(f, "| {what} | {peer} | {times:.2} × | {ours} | {theirs} |")
    }
}

/// In the unit that reads best.
struct Seconds(f64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            seconds if seconds >= 0.1 => write!(f, "{seconds:.1} s"),
            seconds if seconds >= 1e-4 => write!(f, "{:.2} ms", seconds * 1e3),
            seconds => write!(f, "{:.2} µs", seconds * 1e6),
        }
    }
}

impl fmt::Display for AgainstFloor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "| {} | {} | {:.2} × | {} | {} | {} | {:.0} MiB |",
            self.pipeline,
            self.what,
            self.seconds / self.floor,
            Seconds(self.seconds),
            Seconds(self.floor),
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

/// Another tool's seconds, name and version, as `scripts/bench_peers.py` tells them. A Python that
/// has the peers is in `WATERSHED_BENCH_PYTHON`; without it nothing is measured.
pub fn peer(arguments: &[&str]) -> Option<(f64, String)> {
    let python = std::env::var_os("WATERSHED_BENCH_PYTHON")?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/bench_peers.py");
    let output = Command::new(python)
        .arg(script)
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()
        .expect("Python starts");
    assert!(output.status.success(), "{arguments:?} failed");
    let text = String::from_utf8(output.stdout).expect("words");
    let (seconds, name) = text.trim().split_once(' ').expect("seconds and a name");
    Some((seconds.parse().expect("seconds"), name.to_owned()))
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
