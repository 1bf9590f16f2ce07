//! The pipelines against the floor of their work, in one run.
//! `cargo bench -p watershed-cli --bench pipelines`.
//!
//! Prints a line a measurement, as a table of Markdown: what was done, how long it took, the floor
//! that was measured beside it, and the ratio. Arguments pick pipelines by name. `orders` needs
//! `psql`, and a PostgreSQL server in `WATERSHED_TEST_POSTGRES`, where it makes a database and drops
//! it; without them it is left out.

mod location_visits;
mod measure;
mod orders;
mod patronload;
mod pollers;

use measure::Line;

/// A pipeline, and what measures it.
type Benchmark = (&'static str, fn() -> Vec<Line>);

const BENCHMARKS: &[Benchmark] = &[
    ("patron-info", pollers::patron_info),
    ("pc-reserve", pollers::pc_reserve),
    ("location-visits", location_visits::location_visits),
    ("patronload", patronload::patronload),
    ("orders", orders::orders),
];

fn main() {
    let picked: Vec<String> = std::env::args()
        .skip(1)
        // `cargo bench` says so to every benchmark.
        .filter(|argument| argument != "--bench")
        .collect();
    let is_picked =
        |name: &str| picked.is_empty() || picked.iter().any(|picked| name.contains(picked));
    println!("{}", measure::HEAD);
    for (_, benchmark) in BENCHMARKS.iter().filter(|(name, _)| is_picked(name)) {
        for line in benchmark() {
            println!("{line}");
        }
    }
}
