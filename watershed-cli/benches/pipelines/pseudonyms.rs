//! One bcrypt hash after another, by others, against eight in step.
//!
//! What is compared takes turns within one run, so that a busy machine slows both, and is measured
//! in processor time, in which other programs do not count (Linux's; elsewhere the clock's).

use std::fs;
use std::hint::black_box;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use bcrypt_lanes::WIDTH;

use super::measure::{AgainstPeer, Found, peer};

const SALT: [u8; 16] = *b"a salt of no one";
const REPEATS: usize = 21;

static GOING_ON: AtomicBool = AtomicBool::new(false);

/// A hash on one core at two costs, and what a second core brings.
pub fn pseudonyms() -> Found {
    let mut peers = Vec::new();
    for cost in [7, 10] {
        let (mut theirs, mut ours) = (Times::default(), Times::default());
        for _ in 0..REPEATS {
            theirs.add(cost, 1, || {
                black_box(bcrypt::bcrypt(cost, SALT, black_box(b"481036337\0")));
            });
            ours.add(cost, WIDTH, || hash(cost));
        }
        let ours = ours.a_hash();
        let mut line = |peer, theirs| {
            peers.push(AgainstPeer {
                what: format!("a pseudonym at cost {cost} on one core"),
                peer,
                ours,
                theirs,
            });
        };
        line("the crate bcrypt".to_owned(), theirs.a_hash());
        if let Some((theirs, name)) = peer(&["bcrypt", &cost.to_string()]) {
            line(format!("{name} of PyPI"), theirs);
        }
    }
    peers.extend(two_cores(7));
    Found {
        floors: Vec::new(),
        peers,
    }
}

/// Two threads at once against one; a hash of two takes half as long when neither waits.
fn two_cores(cost: u32) -> Option<AgainstPeer> {
    if thread::available_parallelism().map_or(1, |cores| cores.get()) < 2 {
        return None;
    }
    let (mut one, mut two) = (Times::default(), Times::default());
    for _ in 0..REPEATS {
        one.add(cost, WIDTH, || hash(cost));
        let other = thread::scope(|scope| {
            let other = scope.spawn(|| {
                let mut times = Times::default();
                times.add(cost, WIDTH, || hash(cost));
                times
            });
            two.add(cost, WIDTH, || hash(cost));
            other.join().expect("hashing does not panic")
        });
        two.0.extend(other.0);
    }
    Some(AgainstPeer {
        what: format!("a pseudonym at cost {cost} on two cores"),
        peer: "watershed on one".to_owned(),
        ours: two.a_hash() / 2.0,
        theirs: one.a_hash(),
    })
}

/// Seconds a hash.
#[derive(Default)]
struct Times(Vec<f64>);

impl Times {
    /// Works as often as takes about a tenth of a second: the system counts a processor's time in
    /// steps of up to four milliseconds.
    fn add(&mut self, cost: u32, hashes: usize, work: impl Fn()) {
        let times = (8 << 10_u32.saturating_sub(cost)) / hashes;
        let (before, start) = (processor_time(), Instant::now());
        (0..times).for_each(|_| work());
        let taken = match (before, processor_time()) {
            (Some(before), Some(after)) => after - before,
            _ => start.elapsed(),
        };
        self.0.push(taken.as_secs_f64() / (times * hashes) as f64);
    }

    /// The median of a hash.
    fn a_hash(mut self) -> f64 {
        self.0.sort_by(f64::total_cmp);
        self.0[self.0.len() / 2]
    }
}

/// How long this thread has been running on a processor.
fn processor_time() -> Option<Duration> {
    let line = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(line.split(' ').next()?.parse().ok()?))
}

/// Eight in step, as the library does it.
fn hash(cost: u32) {
    let texts: Vec<String> = (0..WIDTH).map(|i| (481_036_337 + i).to_string()).collect();
    let texts: Vec<&[u8]> = texts.iter().map(String::as_bytes).collect();
    black_box(bcrypt_lanes::hash(
        cost,
        &SALT,
        black_box(&texts),
        &GOING_ON,
    ));
}
