//! The open shards of a stream: which of them a key belongs to, and how much each may be sent now.
//!
//! This is pacing alone. A list that has grown stale by a resharding sends more slowly, or runs
//! into rejections, and delivers all the same.

use std::collections::VecDeque;
use std::time::Duration;

use md5::{Digest as _, Md5};
use tokio::time::Instant;

/// A shard takes 1,000 records and 1 MiB a second, partition keys included: Kinesis developer
/// guide, quotas and limits.
const FULL: Tokens = Tokens {
    records: 1000.0,
    bytes: (1 << 20) as f64,
};
/// The span that the limits are about.
const SECOND: Duration = Duration::from_secs(1);
/// What is taken within such a step comes back together, a second after the step's end. So few
/// large calls stay few large calls; and most tokens come back a little late, which two calls that
/// are not equally long on their way need.
const STEP: Duration = Duration::from_millis(20);
/// A throttled bucket keeps this part of [`FULL`], so that it notices when there is room again.
const LEAST: f64 = 0.05;
/// … and wins this part of [`FULL`] back each second.
const RECOVERY: f64 = 0.2;

/// An amount of records, or of what a shard allows.
#[derive(Clone, Copy, Debug)]
struct Tokens {
    records: f64,
    bytes: f64,
}

impl Tokens {
    fn of_record(bytes: usize) -> Tokens {
        Tokens {
            records: 1.0,
            bytes: bytes as f64,
        }
    }

    fn times(self, factor: f64) -> Tokens {
        self.plus(factor - 1.0, self)
    }

    fn plus(self, factor: f64, other: Tokens) -> Tokens {
        Tokens {
            records: self.records + factor * other.records,
            bytes: self.bytes + factor * other.bytes,
        }
    }

    fn at_most(self, other: Tokens) -> Tokens {
        Tokens {
            records: self.records.min(other.records),
            bytes: self.bytes.min(other.bytes),
        }
    }

    fn at_least(self, other: Tokens) -> Tokens {
        Tokens {
            records: self.records.max(other.records),
            bytes: self.bytes.max(other.bytes),
        }
    }
}

/// The open shards, each with its bucket.
#[derive(Debug)]
pub(super) struct Shards {
    /// In the order of the hash ranges, and never empty.
    shards: Vec<Shard>,
}

#[derive(Debug)]
struct Shard {
    /// The range ends where the next shard's begins.
    first_hash: u128,
    bucket: Bucket,
}

impl Shards {
    /// One shard for all keys, for a stream whose shards may not be listed.
    pub(super) fn unknown() -> Shards {
        Shards::new(vec![0])
    }

    /// The shards by the first hash of each one's range.
    pub(super) fn new(mut first_hashes: Vec<u128>) -> Shards {
        first_hashes.sort_unstable();
        if first_hashes.is_empty() {
            return Shards::unknown();
        }
        let shards = first_hashes.into_iter().map(|first_hash| Shard {
            first_hash,
            bucket: Bucket::full(),
        });
        Shards {
            shards: shards.collect(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.shards.len()
    }

    /// The shard of a partition key: Kinesis takes the key's MD5 as an integer of 128 bits, and the
    /// shard in whose range it lies (PutRecords, API reference).
    pub(super) fn of_key(&self, key: &str) -> usize {
        let hash = u128::from_be_bytes(Md5::digest(key).into());
        self.shards
            .partition_point(|shard| shard.first_hash <= hash)
            .saturating_sub(1)
    }

    /// Takes the tokens of a record, if there are enough.
    pub(super) fn take(&mut self, shard: usize, bytes: usize, now: Instant) -> bool {
        self.shards[shard].bucket.take(bytes, now)
    }

    /// When the next token of an empty bucket comes back.
    pub(super) fn free_at(&self, shard: usize) -> Option<Instant> {
        self.shards[shard].bucket.free_at()
    }

    /// A record was rejected although its bucket had tokens for it, at `taken`.
    pub(super) fn throttled(&mut self, shard: usize, bytes: usize, taken: Instant) {
        self.shards[shard].bucket.throttled(bytes, taken);
    }
}

/// A token bucket that begins full, and to which each token comes back a second after it was taken:
/// a full bucket may be emptied at once, and yet no second sees more than the bucket holds. (With a
/// steady refill it would be up to twice that, of which Kinesis rejects the half.)
///
/// When others write to the shard too, each rejection makes the bucket smaller by the tokens of the
/// rejected record. So it shrinks to about what the others leave, and tries a little more with each
/// second.
#[derive(Debug)]
struct Bucket {
    size: Tokens,
    /// When the size was last counted up.
    grown: Option<Instant>,
    out: Tokens,
    /// The parts of `out` by the end of the step in which they were taken; oldest first.
    taken: VecDeque<(Instant, Tokens)>,
}

impl Bucket {
    fn full() -> Bucket {
        Bucket {
            size: FULL,
            grown: None,
            out: FULL.times(0.0),
            taken: VecDeque::new(),
        }
    }

    fn take(&mut self, bytes: usize, now: Instant) -> bool {
        self.roll(now);
        let record = Tokens::of_record(bytes);
        let out = self.out.plus(1.0, record);
        let fits = out.records <= self.size.records && out.bytes <= self.size.bytes;
        // A bucket that shrank below a large record lets it through alone.
        if !fits && self.out.records > 0.0 {
            return false;
        }
        self.out = out;
        match self.taken.back_mut() {
            Some((end, tokens)) if now <= *end => *tokens = tokens.plus(1.0, record),
            _ => self.taken.push_back((now + STEP, record)),
        }
        true
    }

    /// Puts back what was taken long enough ago, and lets a small bucket grow.
    fn roll(&mut self, now: Instant) {
        while let Some((_, tokens)) = self.taken.pop_front_if(|(end, _)| *end + SECOND <= now) {
            self.out = self.out.plus(-1.0, tokens);
        }
        let grown = self.grown.replace(now).unwrap_or(now);
        let seconds = now.duration_since(grown).as_secs_f64();
        self.size = self.size.plus(RECOVERY * seconds, FULL).at_most(FULL);
    }

    fn free_at(&self) -> Option<Instant> {
        self.taken.front().map(|(end, _)| *end + SECOND)
    }

    fn throttled(&mut self, bytes: usize, taken: Instant) {
        let record = Tokens::of_record(bytes);
        let smaller = self.size.plus(-1.0, record);
        self.size = smaller.at_least(FULL.times(LEAST));
        // The shard did not count the record, so its tokens come back at once.
        let step = self.taken.partition_point(|(end, _)| *end < taken);
        if let Some((end, tokens)) = self.taken.get_mut(step)
            && *end - STEP <= taken
        {
            *tokens = tokens.plus(-1.0, record);
            self.out = self.out.plus(-1.0, record);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDS: usize = 1000;
    const MIB: usize = 1 << 20;
    /// When everything has come back that was taken at once.
    const BACK: Duration = Duration::from_millis(1020);

    /// Takes as many as there are tokens for.
    fn drain(bucket: &mut Bucket, bytes: usize, now: Instant) -> usize {
        (0..).take_while(|_| bucket.take(bytes, now)).count()
    }

    #[test]
    fn a_key_belongs_to_the_shard_in_whose_range_its_md5_lies() {
        let quarter = 1 << 126;
        let shards = Shards::new(vec![2 * quarter, 0, 3 * quarter, quarter]);
        // MD5 of "": d41d8cd9…; "a": 0cc175b9…; "b": 92eb5ffe…; "c": 4a8a08f0….
        assert_eq!(
            ["", "a", "b", "c"].map(|key| shards.of_key(key)),
            [3, 0, 2, 1]
        );
    }

    #[test]
    fn a_range_begins_with_its_first_hash() {
        let hash = u128::from_be_bytes(Md5::digest("a").into());
        assert_eq!(Shards::new(vec![0, hash]).of_key("a"), 1);
        assert_eq!(Shards::new(vec![0, hash + 1]).of_key("a"), 0);
        // A list with a gap: the shard beside it paces the key.
        assert_eq!(Shards::new(vec![hash + 1, hash + 2]).of_key("a"), 0);
        assert_eq!(Shards::new(Vec::new()).of_key("a"), 0);
    }

    #[test]
    fn no_second_sees_more_than_a_shard_takes() {
        for (bytes, allowed) in [(100, RECORDS), (MIB / 8, 8), (MIB, 1)] {
            let start = Instant::now();
            let mut bucket = Bucket::full();
            let mut sent = Vec::new();
            for millisecond in (0..10_000).step_by(7) {
                let now = start + Duration::from_millis(millisecond);
                sent.push((now, drain(&mut bucket, bytes, now)));
            }
            for (from, _) in &sent {
                let second = from..&(*from + Duration::from_secs(1));
                let records = sent.iter().filter(|(at, _)| second.contains(&at));
                assert!(records.map(|(_, count)| count).sum::<usize>() <= allowed);
            }
            let all: usize = sent.iter().map(|(_, count)| count).sum();
            assert!(all * 10 >= allowed * 95, "{all} of {bytes} bytes");
        }
    }

    #[test]
    fn a_bucket_begins_with_a_second_of_tokens() {
        let now = Instant::now();
        let mut bucket = Bucket::full();
        assert_eq!(drain(&mut bucket, 100, now), RECORDS);
        assert_eq!(bucket.free_at(), Some(now + BACK));
        assert_eq!(drain(&mut bucket, 100, now + BACK), RECORDS);
    }

    #[test]
    fn a_throttled_bucket_shrinks_to_what_went_through_and_recovers() {
        let mut now = Instant::now();
        let mut bucket = Bucket::full();
        assert_eq!(drain(&mut bucket, 100, now), RECORDS);
        for _ in 0..400 {
            bucket.throttled(100, now);
        }
        // The rejected ones' tokens came back, but there is no room for more.
        assert_eq!(drain(&mut bucket, 100, now), 0);
        now += BACK;
        let sent = drain(&mut bucket, 100, now);
        assert!((780..830).contains(&sent), "{sent}");
        for _ in 0..3 {
            now += BACK;
            drain(&mut bucket, 100, now);
        }
        assert_eq!(drain(&mut bucket, 100, now + BACK), RECORDS);
    }

    #[test]
    fn a_bucket_that_is_always_throttled_still_sends_and_lets_large_records_through() {
        let mut now = Instant::now();
        let mut bucket = Bucket::full();
        for _ in 0..100 {
            for _ in 0..drain(&mut bucket, MIB, now) {
                bucket.throttled(MIB, now);
            }
            now += BACK;
            assert!(bucket.take(MIB, now));
            bucket.throttled(MIB, now);
            now += BACK;
        }
    }
}
