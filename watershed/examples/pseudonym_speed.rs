//! How fast pseudonyms are made: ours against the `bcrypt` crate on one core, two threads against
//! one, and whole pages.
//!
//! ```sh
//! cargo run --release -p watershed --example pseudonym_speed
//! cargo run --release -p watershed --example pseudonym_speed -- 7 every-width
//! ```
//!
//! Arguments: costs (7 and 10 unless told), `every-width` for 1 to 8 texts in step. What is
//! compared takes turns within one run, so that a busy machine slows both. Two figures are given:
//! by medians of the processor's time, which other programs do not count in, and by minima of the
//! clock's. Processor time is Linux's; elsewhere both are the clock's.

use std::fs;
use std::hint::black_box;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use bcrypt_lanes::WIDTH;
use watershed::privacy::{Personal, Pseudonymiser, Secret};

const SALT: [u8; 16] = *b"a salt of no one";

static GOING_ON: AtomicBool = AtomicBool::new(false);

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let every_width = arguments.iter().any(|argument| argument == "every-width");
    let mut costs: Vec<u32> = arguments.iter().filter_map(|a| a.parse().ok()).collect();
    if costs.is_empty() {
        costs = vec![7, 10];
    }
    for cost in costs {
        let widths = if every_width {
            1..=WIDTH
        } else {
            WIDTH..=WIDTH
        };
        against_the_crate(cost, widths.collect());
        two_threads_against_one(cost);
        page(cost).await;
    }
}

/// Prints, for each width, how many times as fast as the crate it is.
fn against_the_crate(cost: u32, widths: Vec<usize>) {
    let mut theirs = Times::default();
    let mut ours: Vec<Times> = widths.iter().map(|_| Times::default()).collect();
    for _ in 0..21 {
        theirs.add(cost, 1, || {
            black_box(bcrypt::bcrypt(cost, SALT, black_box(b"481036337\0")));
        });
        for (width, ours) in widths.iter().zip(&mut ours) {
            ours.add(cost, *width, || hash(cost, *width));
        }
    }
    let (their_median, their_minimum) = theirs.a_hash();
    for (width, ours) in widths.iter().zip(ours) {
        let (median, minimum) = ours.a_hash();
        println!(
            "x{:.2} by medians, x{:.2} by minima: cost {cost}, {width} in step against the crate; \
             {:.1} against {:.1} hashes a second",
            their_median / median,
            their_minimum / minimum,
            1.0 / median,
            1.0 / their_median,
        );
    }
}

/// Prints how many times as many hashes two threads make as one.
fn two_threads_against_one(cost: u32) {
    if thread::available_parallelism().map_or(1, |cores| cores.get()) < 2 {
        return;
    }
    let (mut one, mut two) = (Times::default(), Times::default());
    for _ in 0..21 {
        one.add(cost, WIDTH, || hash(cost, WIDTH));
        let other = thread::scope(|scope| {
            let other = scope.spawn(|| {
                let mut times = Times::default();
                times.add(cost, WIDTH, || hash(cost, WIDTH));
                times
            });
            two.add(cost, WIDTH, || hash(cost, WIDTH));
            other.join().expect("hashing does not panic")
        });
        two.processor.extend(other.processor);
        two.clock.extend(other.clock);
    }
    let ((one_median, one_minimum), (two_median, two_minimum)) = (one.a_hash(), two.a_hash());
    println!(
        "x{:.2} by medians, x{:.2} by minima: cost {cost}, two threads against one",
        2.0 * one_median / two_median,
        2.0 * one_minimum / two_minimum,
    );
}

/// Prints how fast a page of new values goes through a [`Pseudonymiser`], on the clock.
async fn page(cost: u32) {
    let values = WIDTH << 13_u32.saturating_sub(cost);
    let salt = Secret::new(format!("$2b${cost:02}$GoldenTestSaltForNYPLu"));
    let pseudonymiser = Pseudonymiser::new(&salt).expect("the salt is of its form");
    let page: Vec<_> = (0..values)
        .map(|i| Personal::new((481_036_337 + i).to_string()))
        .collect();
    let start = Instant::now();
    black_box(pseudonymiser.pseudonyms(&page).await).expect("nothing panics");
    println!(
        "{:.0} a second: cost {cost}, a page of {values} values on all cores",
        values as f64 / start.elapsed().as_secs_f64()
    );
}

/// Seconds a hash, of the processor and of the clock.
#[derive(Default)]
struct Times {
    processor: Vec<f64>,
    clock: Vec<f64>,
}

impl Times {
    /// Works as often as takes about a tenth of a second: the system counts a processor's time in
    /// steps of up to four milliseconds.
    fn add(&mut self, cost: u32, hashes: usize, work: impl Fn()) {
        let times = (8 << 10_u32.saturating_sub(cost)) / hashes.min(8);
        let before = processor_time();
        let mut clock = Duration::ZERO;
        for _ in 0..times {
            let start = Instant::now();
            work();
            let elapsed = start.elapsed();
            clock += elapsed;
            self.clock.push(elapsed.as_secs_f64() / hashes as f64);
        }
        let processor = match (before, processor_time()) {
            (Some(before), Some(after)) => after - before,
            _ => clock,
        };
        self.processor
            .push(processor.as_secs_f64() / (times * hashes) as f64);
    }

    /// The median of the processor's and the minimum of the clock's.
    fn a_hash(mut self) -> (f64, f64) {
        self.processor.sort_by(f64::total_cmp);
        let minimum = self.clock.into_iter().fold(f64::INFINITY, f64::min);
        (self.processor[self.processor.len() / 2], minimum)
    }
}

/// How long this thread has been running on a processor.
fn processor_time() -> Option<Duration> {
    let line = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(line.split(' ').next()?.parse().ok()?))
}

fn hash(cost: u32, width: usize) {
    let texts: Vec<String> = (0..width).map(|i| (481_036_337 + i).to_string()).collect();
    let texts: Vec<&[u8]> = texts.iter().map(String::as_bytes).collect();
    black_box(bcrypt_lanes::hash(
        cost,
        &SALT,
        black_box(&texts),
        &GOING_ON,
    ));
}
