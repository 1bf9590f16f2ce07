//! How fast a day of many sites goes through `location-visits`, and in how much memory.
//!
//! `cargo run --release -p watershed-cli --example location_visits_day` serves a day of 2,000 sites
//! with 4 doors from this machine, about 60 MB of XML, and runs the program on it: once into Avro
//! files, and once into nothing. It prints increments a second, increments a second of processor
//! time, and the most memory that the program held.

use std::fs;
use std::process::Command;
use std::time::Instant;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::get;
use futures::stream;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;

const SITES: usize = 2_000;
const DOORS: usize = 4;
const QUARTERS: usize = 96;
const INCREMENTS: usize = SITES * DOORS * QUARTERS;
const SCHEMA: &str = include_str!("../src/pipelines/location_visits/LocationVisits.avsc");
/// Makes a process of this program the one that is measured.
const MEASURED: &str = "MEASURED";

fn main() {
    if std::env::var_os(MEASURED).is_some() {
        let arguments = ["watershed", "run", "location-visits"].map(Into::into);
        let code = watershed_cli::cli::main_from(arguments);
        println!("{} {}", peak_kilobytes(), processor_seconds());
        std::process::exit(code.into());
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let base = serve().await;
        println!(
            "{INCREMENTS} increments, {} MB of XML",
            SITES * site(0).len() / 1_000_000
        );
        for (name, stream) in [
            ("into Avro files", Some("file:stream")),
            ("into nothing", None),
        ] {
            let base = base.clone();
            let line = spawn_blocking(move || measure(&base, stream)).await;
            println!("{name}: {}", line.expect("the run ends"));
        }
    });
}

fn measure(base: &str, stream: Option<&str>) -> String {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("LocationVisits.avsc"), SCHEMA).expect("a schema");
    let this = std::env::current_exe().expect("this program has a path");
    let start = Instant::now();
    let output = Command::new(this)
        .env_clear()
        .env(MEASURED, "1")
        .env("SHOPPERTRAK_API_BASE_URL", base)
        .env("SHOPPERTRAK_USERNAME", "user")
        .env("SHOPPERTRAK_PASSWORD", "password")
        .env("LOCATION_VISITS_SCHEMA_URL", "file:LocationVisits.avsc")
        .env("IGNORE_CACHE", "True")
        .env("LAST_POLL_DATE", "2024-06-29")
        .env("LAST_END_DATE", "2024-06-30")
        .env("IGNORE_KINESIS", if stream.is_some() { "" } else { "True" })
        .env("STREAM_URL", stream.unwrap_or_default())
        .current_dir(folder.path())
        .output()
        .expect("the program runs");
    let seconds = start.elapsed().as_secs_f64();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains(&format!("page 1: {INCREMENTS} read")),
        "{said}"
    );
    let figures = String::from_utf8_lossy(&output.stdout).into_owned();
    let (peak, processor) = figures.trim().split_once(' ').expect("two figures");
    let peak: f64 = peak.parse().expect("kilobytes");
    let processor: f64 = processor.parse().expect("seconds");
    format!(
        "{:.2} s, {:.0} increments/s, {:.0} increments/s of a processor, peak {:.0} MiB",
        seconds,
        INCREMENTS as f64 / seconds,
        INCREMENTS as f64 / processor,
        peak / 1024.0
    )
}

/// A site of the day.
fn site(number: usize) -> String {
    let mut xml = format!("<site siteID=\"S{number:04} branch\"><date dateValue=\"20240630\">");
    for door in 1..=DOORS {
        xml.push_str(&format!("<entrance entranceName=\"EP 0{door}\">"));
        for quarter in 0..QUARTERS {
            let (hour, minute) = (quarter / 4, quarter % 4 * 15);
            let (code, enters) = match (number + quarter) % 50 {
                0 => ("02", 0),
                odd => ("01", odd),
            };
            xml.push_str(&format!(
                "<traffic code=\"{code}\" exits=\"{quarter}\" enters=\"{enters}\" startTime=\"{hour:02}{minute:02}00\"/>\n"
            ));
        }
        xml.push_str("</entrance>");
    }
    xml.push_str("</date></site>");
    xml
}

async fn serve() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    // Made before the clock starts; the measured program has a process of its own.
    let begin = [Bytes::from("<?xml version=\"1.0\"?><sites>")].into_iter();
    let sites = (0..SITES).map(|number| Bytes::from(site(number)));
    let end = [Bytes::from("</sites>")];
    let pieces: Vec<Bytes> = begin.chain(sites).chain(end).collect();
    let answer = move || {
        let pieces = pieces
            .clone()
            .into_iter()
            .map(Ok::<_, std::convert::Infallible>);
        async move { Body::from_stream(stream::iter(pieces)) }
    };
    let app = Router::new().route("/v2.0/service/allsites", get(answer));
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}/v2.0/")
}

fn peak_kilobytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells of processes");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .and_then(|number| number.parse().ok())
        .expect("a number")
}

fn processor_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux tells of processes");
    // Behind the name in brackets: user and system time, in hundredths of a second.
    let fields = stat.rsplit_once(')').expect("a name").1.split_whitespace();
    let times = fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>());
    times
        .map(|ticks| ticks.expect("a number") as f64 / 100.0)
        .sum()
}
