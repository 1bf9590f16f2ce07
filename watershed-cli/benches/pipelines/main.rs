//! The pipelines against the floor of their work, and what they are made of against others, in one
//! run. `cargo bench -p watershed-cli --bench pipelines`; `scripts/bench` brings what it can use.
//!
//! Prints two tables of Markdown, ratios first. Arguments pick benchmarks by name. `orders` needs
//! `psql`, and a PostgreSQL server in `WATERSHED_TEST_POSTGRES`, where it makes a database and drops
//! it; without them it is left out, as are peers that are not there.

mod avro;
mod location_visits;
mod measure;
mod orders;
mod patronload;
mod pollers;
mod pseudonyms;

use measure::{AgainstFloor, AgainstPeer, Found};

/// A name, and what measures it.
type Benchmark = (&'static str, fn() -> Found);

const BENCHMARKS: &[Benchmark] = &[
    ("patron-info", pollers::patron_info),
    ("pc-reserve", pollers::pc_reserve),
    ("location-visits", location_visits::location_visits),
    ("patronload", patronload::patronload),
    ("orders", orders::orders),
    ("pseudonyms", pseudonyms::pseudonyms),
    ("avro", avro::avro),
];

fn main() {
    let picked: Vec<String> = std::env::args()
        .skip(1)
        // `cargo bench` says so to every benchmark.
        .filter(|argument| argument != "--bench")
        .collect();
    let is_picked =
        |name: &str| picked.is_empty() || picked.iter().any(|picked| name.contains(picked));
    let mut found = Found::default();
    for (name, benchmark) in BENCHMARKS.iter().filter(|(name, _)| is_picked(name)) {
        eprintln!("measuring {name}");
        let Found { floors, peers } = benchmark();
        found.floors.extend(floors);
        found.peers.extend(peers);
    }
    if !found.floors.is_empty() {
        println!("## Against floors\n\n{}", AgainstFloor::HEAD);
        found.floors.iter().for_each(|line| println!("{line}"));
    }
    if !found.peers.is_empty() {
        println!("\n## Against others\n\n{}", AgainstPeer::HEAD);
        found.peers.iter().for_each(|line| println!("{line}"));
    }
}
