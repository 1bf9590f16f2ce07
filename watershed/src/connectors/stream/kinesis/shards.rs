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
/// What is taken within such a step comes back together, a second after the step's end: mostly a
/// little late, which two calls that are not equally long on their way need.
const STEP: Duration = Duration::from_millis(20);
/// A bucket in use saves up this part of its size, so that its flow is even; an idle one fills up.
const SAVED: f64 = 0.1;
/// How long a key waits for an even flow's next tokens; the records of a call gather meanwhile.
const PAUSE: Duration = Duration::from_millis(50);
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

    /// When a bucket that has no tokens for a record at `now` may have them.
    pub(super) fn free_at(&self, shard: usize, now: Instant) -> Instant {
        self.shards[shard].bucket.free_at(now)
    }

    /// A record was rejected although its bucket had tokens for it, at `taken`.
    pub(super) fn throttled(&mut self, shard: usize, bytes: usize, taken: Instant) {
        self.shards[shard].bucket.throttled(bytes, taken);
    }
}

/// A token bucket that begins full and fills up again within a second. A full one may be emptied at
/// once; and so that even then no second sees more than the bucket holds, it also waits until what
/// it gave in the last second is less than that. (Else the first second would see twice as much, of
/// which Kinesis rejects the half.)
///
/// When others write to the shard too, each rejection makes the bucket smaller by the tokens of the
/// rejected record. So it shrinks to about what the others leave, and tries a little more with each
/// second.
#[derive(Debug)]
struct Bucket {
    size: Tokens,
    /// What may be taken now. A large record leaves a debt.
    level: Tokens,
    /// When size and level were last counted up.
    counted: Option<Instant>,
    /// What was taken in the last second.
    out: Tokens,
    /// The parts of `out` by the end of the step in which they were taken; oldest first.
    taken: VecDeque<(Instant, Tokens)>,
}

impl Bucket {
    fn full() -> Bucket {
        Bucket {
            size: FULL,
            level: FULL,
            counted: None,
            out: FULL.times(0.0),
            taken: VecDeque::new(),
        }
    }

    fn take(&mut self, bytes: usize, now: Instant) -> bool {
        self.roll(now);
        let record = Tokens::of_record(bytes);
        let out = self.out.plus(1.0, record);
        if !self.is_filled() {
            return false;
        }
        let fits = out.records <= self.size.records && out.bytes <= self.size.bytes;
        // A bucket that shrank below a large record lets it through alone.
        if !fits && self.out.records > 0.0 {
            return false;
        }
        self.out = out;
        self.level = self.level.plus(-1.0, record);
        match self.taken.back_mut() {
            Some((end, tokens)) if now <= *end => *tokens = tokens.plus(1.0, record),
            _ => self.taken.push_back((now + STEP, record)),
        }
        true
    }

    fn is_filled(&self) -> bool {
        self.level.records > 0.0 && self.level.bytes > 0.0
    }

    /// Lets pass the time since the last time.
    fn roll(&mut self, now: Instant) {
        let last = self.counted.replace(now).unwrap_or(now);
        let passed = now.duration_since(last).as_secs_f64();
        self.size = self.size.plus(RECOVERY * passed, FULL).at_most(FULL);
        let idle = self.taken.back().map_or(last, |(end, _)| *end + SECOND);
        let idle = idle.clamp(last, now);
        self.fill(idle.duration_since(last), SAVED);
        self.fill(now.duration_since(idle), 1.0);
        while let Some((_, tokens)) = self.taken.pop_front_if(|(end, _)| *end + SECOND <= now) {
            self.out = self.out.plus(-1.0, tokens);
        }
    }

    fn fill(&mut self, time: Duration, part: f64) {
        let most = self.size.times(part).at_least(self.level);
        self.level = self.level.plus(time.as_secs_f64(), self.size).at_most(most);
    }

    fn free_at(&self, now: Instant) -> Instant {
        let given_all =
            self.out.records + 1.0 > self.size.records || self.out.bytes >= self.size.bytes;
        match self.taken.front() {
            Some((end, _)) if given_all || self.is_filled() => *end + SECOND,
            _ => now + PAUSE,
        }
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
            self.level = self.level.plus(1.0, record);
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
    fn a_bucket_begins_full_goes_on_evenly_and_fills_up_when_idle() {
        let now = Instant::now();
        let mut bucket = Bucket::full();
        assert_eq!(drain(&mut bucket, 100, now), RECORDS);
        assert_eq!(drain(&mut bucket, 100, now + BACK / 2), 0);
        assert_eq!(drain(&mut bucket, 100, now + BACK), RECORDS / 10);
        assert_eq!(drain(&mut bucket, 100, now + BACK + PAUSE), RECORDS / 20);
        assert_eq!(drain(&mut bucket, 100, now + 4 * BACK), RECORDS);
    }

    #[test]
    fn a_throttled_bucket_shrinks_to_what_went_through_and_recovers() {
        let mut now = Instant::now();
        let mut bucket = Bucket::full();
        assert_eq!(drain(&mut bucket, 100, now), RECORDS);
        for _ in 0..700 {
            bucket.throttled(100, now);
        }
        // The rejected ones' tokens came back, but there is no room for more.
        assert_eq!(drain(&mut bucket, 100, now), 0);
        // An idle second fills what is left of it, which grows.
        now += 2 * BACK;
        let sent = drain(&mut bucket, 100, now);
        assert!((690..720).contains(&sent), "{sent}");
        assert_eq!(drain(&mut bucket, 100, now + 3 * BACK), RECORDS);
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
