//! A day of many sites: its floor is to read its XML, and nothing else.

use std::fs;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::get;
use futures::stream;
use quick_xml::Reader;
use quick_xml::events::Event;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::measure::{AgainstFloor, Found, seconds, watershed};

const SITES: usize = 2_000;
const DOORS: usize = 4;
const QUARTERS: usize = 96;
const INCREMENTS: usize = SITES * DOORS * QUARTERS;
/// Each is measured so often, by turns; the best counts.
const TIMES: usize = 5;

/// A day of 2,000 sites, about 60 MB of XML, from a server on this machine into Avro files. What is
/// compared is processor time: the program's, reading, judging, encoding and writing, against
/// that of reading the same XML's elements and attributes from memory.
pub fn location_visits() -> Found {
    let runtime = Runtime::new().expect("a runtime");
    let pieces = pieces();
    let megabytes = pieces.iter().map(Bytes::len).sum::<usize>() / 1_000_000;
    let base = runtime.block_on(serve(pieces.clone()));
    let text = pieces.concat();
    let (mut taken, mut floor) = (run(&base), f64::INFINITY);
    for _ in 0..TIMES {
        floor = floor.min(seconds(|| read(&text)));
        let again = run(&base);
        let peak_mib = again.peak_mib.max(taken.peak_mib);
        if again.processor < taken.processor {
            taken = again;
        }
        taken.peak_mib = peak_mib;
    }
    AgainstFloor {
        pipeline: "location-visits",
        what: format!(
            "a day of {INCREMENTS} increments ({:.0} a second of a processor, {:.0} by the clock)",
            INCREMENTS as f64 / taken.processor,
            INCREMENTS as f64 / taken.seconds
        ),
        seconds: taken.processor,
        peak_mib: taken.peak_mib,
        floor,
        of: format!("reading {megabytes} MB of XML from memory; both of processor time"),
    }
    .into()
}

fn run(base: &str) -> super::measure::Taken {
    let folder = TempDir::new().expect("a folder");
    let schema = include_str!("../../src/pipelines/location_visits/LocationVisits.avsc");
    fs::write(folder.path().join("schema.avsc"), schema).expect("a schema");
    let settings = format!(
        "SHOPPERTRAK_API_BASE_URL: {base}\nSHOPPERTRAK_USERNAME: user\nSHOPPERTRAK_PASSWORD: password\n\
         LOCATION_VISITS_SCHEMA_URL: file:schema.avsc\nIGNORE_CACHE: True\nLAST_POLL_DATE: 2024-06-29\n\
         LAST_END_DATE: 2024-06-30\nSTREAM_URL: file:stream\n"
    );
    fs::write(folder.path().join("settings.yaml"), settings).expect("settings");
    let arguments = ["run", "location-visits", "--config", "settings.yaml"];
    let taken = watershed(folder.path(), &arguments);
    let read = format!("page 1: {INCREMENTS} read, {INCREMENTS} delivered");
    assert!(taken.log.contains(&read), "{}", taken.log);
    taken
}

/// Looks at every attribute, as every reader of such a text must.
fn read(text: &[u8]) {
    let mut reader = Reader::from_reader(text);
    let (mut buffer, mut attributes) = (Vec::new(), 0);
    loop {
        buffer.clear();
        match reader.read_event_into(&mut buffer).expect("XML") {
            Event::Start(element) | Event::Empty(element) => {
                attributes += element.attributes().with_checks(false).flatten().count();
            }
            Event::Eof => break,
            _ => {}
        }
    }
    assert!(attributes > 4 * INCREMENTS);
}

fn pieces() -> Vec<Bytes> {
    let begin = [Bytes::from("<?xml version=\"1.0\"?><sites>")].into_iter();
    let sites = (0..SITES).map(|number| Bytes::from(site(number)));
    begin
        .chain(sites)
        .chain([Bytes::from("</sites>")])
        .collect()
}

/// A site of the day.
fn site(number: usize) -> String {
    let mut xml = format!("<site siteID=\"S{number:04} branch\"><date dateValue=\"20240630\">");
    for door in 1..=DOORS {
        xml.push_str(&format!("      <entrance entranceName=\"EP 0{door}\">\n"));
        for quarter in 0..QUARTERS {
            let (hour, minute) = (quarter / 4, quarter % 4 * 15);
            let (code, enters) = match (number + quarter) % 50 {
                0 => ("02", 0),
                odd => ("01", odd),
            };
            xml.push_str(&format!(
                "        <traffic code=\"{code}\" exits=\"{quarter}\" enters=\"{enters}\" startTime=\"{hour:02}{minute:02}00\"/>\n"
            ));
        }
        xml.push_str("</entrance>");
    }
    xml.push_str("</date></site>");
    xml
}

async fn serve(pieces: Vec<Bytes>) -> String {
    let answer = move || {
        let pieces = pieces
            .clone()
            .into_iter()
            .map(Ok::<_, std::convert::Infallible>);
        async move { Body::from_stream(stream::iter(pieces)) }
    };
    let app = Router::new().route("/v2.0/service/allsites", get(answer));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}/v2.0/")
}
