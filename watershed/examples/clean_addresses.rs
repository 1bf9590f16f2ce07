//! How many addresses a second are cleaned on one core: `cargo run --release --example
//! clean_addresses -p watershed`. Addresses are invented; one line is printed.

use std::hint::black_box;
use std::time::Instant;

use fastrand::Rng;
use watershed::geocoding::{Address, Cleaner};
use watershed::privacy::Personal;

const STREETS: [&str; 8] = [
    "Grand Army Plaza",
    "5th Ave",
    "W 40th St",
    "Lincoln Center Plz",
    "Broadway",
    "Avenue of the Americas",
    "37th Road",
    "Saint Marks Pl",
];
const UNITS: [&str; 6] = ["", "", " Apt 3B", " #12", ", Fl 2", " Unit 7-C"];
const CITIES: [&str; 5] = [
    "New York",
    "Brooklyn",
    "Staten Island",
    "Long Island City",
    "NEW YORK NY",
];

fn main() {
    let mut rng = Rng::with_seed(1);
    let mut pick = |texts: &[&str]| texts[rng.usize(0..texts.len())].to_owned();
    let addresses: Vec<Address> = (0..100_000)
        .map(|i| Address {
            street: Personal::new(format!(
                "{} {}{}",
                i % 2_000 + 1,
                pick(&STREETS),
                pick(&UNITS)
            )),
            city: Personal::new(pick(&CITIES)),
            region: Personal::new("NY".into()),
            postal_code: Personal::new(format!("{}", 10_001 + i % 290)),
        })
        .collect();
    let cleaner = Cleaner::new();
    let start = Instant::now();
    for address in &addresses {
        black_box(cleaner.clean(address));
    }
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{:.0} addresses a second on one core",
        addresses.len() as f64 / seconds
    );
}
