//! The records of a page on their way out, by key and by shard.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::CALL_BYTES;
use super::shards::Shards;
use crate::connectors::stream::StreamRecord;

/// Upper bound of the wait after a first rejection; each further bound is twice the one before.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// No wait is longer, so that a record does not sleep through the end of an outage.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// The code of an entry that its shard had no room for.
const THROTTLED: &str = "ProvisionedThroughputExceededException";

/// A record that is not durable yet.
#[derive(Debug)]
pub(super) struct Pending {
    /// Place in the page.
    pub(super) place: usize,
    pub(super) record: StreamRecord,
    /// Number of its key in [`Queues`].
    key: usize,
    /// When the tokens for its last try were taken.
    taken: Option<Instant>,
    rejections: u32,
    first_rejection: Option<Instant>,
    /// When its first try that was rejected for another reason than throttling was made, and
    /// answered.
    first_refusal: Option<(Option<Instant>, Instant)>,
}

/// What becomes of a rejected record.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// It is sent again at this time.
    Again(Instant),
    /// It will never go through, after so many tries.
    SetAside(u32),
    /// Kinesis takes nothing: that says nothing about the record.
    GiveUp,
}

impl Pending {
    /// Bytes as Kinesis counts them: the partition key's are included.
    pub(super) fn bytes(&self) -> usize {
        self.record.data.len() + self.record.key.len()
    }

    /// Judges a rejection at `now`, when the last record that went through did so at
    /// `last_success`.
    ///
    /// Throttling never sets a record aside, and so the time that a record was merely throttled does
    /// not count towards it. A success counts from when the refused try was made, not from its
    /// answer: where the record is the last of its page, there is no later one.
    pub(super) fn judge(
        &mut self,
        code: &str,
        now: Instant,
        retry: Duration,
        last_success: Option<Instant>,
    ) -> Verdict {
        self.rejections += 1;
        let first_rejection = *self.first_rejection.get_or_insert(now);
        let (since, others_pass) = if is_throttling(code) {
            (first_rejection, false)
        } else {
            let (tried, answered) = *self.first_refusal.get_or_insert((self.taken, now));
            (answered, last_success.is_some() && last_success >= tried)
        };
        if now.duration_since(since) < retry {
            let doubled = FIRST_WAIT.saturating_mul(1 << self.rejections.min(16));
            let wait = doubled
                .min(LONGEST_WAIT)
                .mul_f64(0.5 + 0.5 * fastrand::f64());
            // The last try is made when the time is over, not some time after.
            return Verdict::Again((now + wait).min(since + retry));
        }
        if others_pass {
            return Verdict::SetAside(self.rejections);
        }
        Verdict::GiveUp
    }
}

/// Whether a shard had no room for the record.
pub(super) fn is_throttling(code: &str) -> bool {
    code == THROTTLED
}

/// The records of a page by key. Only the first of a key can be sent: the others wait until it is
/// dealt with, whatever becomes of it, so none overtakes (P4).
#[derive(Debug)]
pub(super) struct Queues {
    keys: Vec<Key>,
    /// For each shard the keys whose first record can be sent, but for the shard's bucket.
    ready: Vec<VecDeque<usize>>,
    /// Keys whose first record was rejected, and when it is sent again.
    waiting: BinaryHeap<Reverse<(Instant, usize)>>,
    /// Where the next call begins to collect, so that no shard comes last each time.
    next_shard: usize,
}

#[derive(Debug)]
struct Key {
    shard: usize,
    records: VecDeque<Pending>,
    /// Whether its first record is in a call.
    in_flight: bool,
}

impl Queues {
    /// Sorts records, each with its place in the page, by their keys.
    pub(super) fn new(records: Vec<(usize, StreamRecord)>, shards: &Shards) -> Queues {
        let mut queues = Queues {
            keys: Vec::new(),
            ready: vec![VecDeque::new(); shards.len()],
            waiting: BinaryHeap::new(),
            next_shard: 0,
        };
        let mut numbers = HashMap::new();
        for (place, record) in records {
            let key = match numbers.get(&record.key) {
                Some(&key) => key,
                None => {
                    let key = queues.add_key(shards.of_key(&record.key));
                    numbers.insert(record.key.clone(), key);
                    key
                }
            };
            queues.keys[key].records.push_back(Pending {
                place,
                record,
                key,
                taken: None,
                rejections: 0,
                first_rejection: None,
                first_refusal: None,
            });
        }
        queues
    }

    fn add_key(&mut self, shard: usize) -> usize {
        let key = self.keys.len();
        self.keys.push(Key {
            shard,
            records: VecDeque::new(),
            in_flight: false,
        });
        self.ready[shard].push_back(key);
        key
    }

    /// The records of the next call: of as many shards as have tokens, one of a key, `most` at most.
    /// Empty when nothing can be sent before [`Queues::wake`].
    pub(super) fn batch(&mut self, most: usize, shards: &mut Shards, now: Instant) -> Vec<Pending> {
        self.end_waits(now);
        let mut turn: VecDeque<usize> = (self.next_shard..self.ready.len())
            .chain(0..self.next_shard)
            .filter(|&shard| !self.ready[shard].is_empty())
            .collect();
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < most {
            let Some(shard) = turn.pop_front() else {
                break;
            };
            let Some(&key) = self.ready[shard].front() else {
                continue;
            };
            let first = self.keys[key].records.front();
            let size = first.expect("a ready key has a record").bytes();
            if bytes + size > CALL_BYTES {
                break;
            }
            if !shards.take(shard, size, now) {
                continue;
            }
            bytes += size;
            batch.extend(self.send_first(shard, now));
            turn.push_back(shard);
        }
        self.next_shard = turn.front().copied().unwrap_or(0);
        batch
    }

    fn end_waits(&mut self, now: Instant) {
        while let Some(&Reverse((at, key))) = self.waiting.peek() {
            if at > now {
                break;
            }
            self.waiting.pop();
            // Before those that were not sent yet: its time runs.
            self.ready[self.keys[key].shard].push_front(key);
        }
    }

    fn send_first(&mut self, shard: usize, now: Instant) -> Option<Pending> {
        let key = &mut self.keys[self.ready[shard].pop_front()?];
        debug_assert!(!key.in_flight, "P4: one record of a key in flight");
        key.in_flight = true;
        let mut first = key.records.pop_front()?;
        first.taken = Some(now);
        Some(first)
    }

    /// When the next batch can be made, if one cannot be made now. Nothing when all records are
    /// sent, or wait for calls in flight.
    pub(super) fn wake(&self, shards: &Shards, now: Instant) -> Option<Instant> {
        let held = self.ready.iter().enumerate();
        let held = held.filter(|(_, keys)| !keys.is_empty());
        let refill = held.map(|(shard, _)| shards.free_at(shard, now)).min();
        let waited = self.waiting.peek().map(|&Reverse((at, _))| at);
        refill.into_iter().chain(waited).min()
    }

    /// The record is dealt with; the next of its key may go.
    pub(super) fn done(&mut self, pending: &Pending) {
        let key = &mut self.keys[pending.key];
        key.in_flight = false;
        if !key.records.is_empty() {
            self.ready[key.shard].push_back(pending.key);
        }
    }

    /// The record is refused for good. Those behind it have waited as long as it has, and are judged
    /// at their first try: else each would wait anew, and with nothing else left to go through, the
    /// second would be taken for an outage.
    pub(super) fn refused(&mut self, pending: &Pending) {
        let next = self.keys[pending.key].records.front_mut();
        if let Some(next) = next.filter(|next| next.first_refusal.is_none()) {
            next.first_refusal = pending.first_refusal;
        }
        self.done(pending);
    }

    /// The record is sent again at a time, before any other of its key.
    pub(super) fn again(&mut self, pending: Pending, at: Instant) {
        self.waiting.push(Reverse((at, pending.key)));
        let key = &mut self.keys[pending.key];
        key.in_flight = false;
        key.records.push_front(pending);
    }

    /// The record's shard had no room for it, although its bucket said so.
    pub(super) fn throttled(&self, pending: &Pending, shards: &mut Shards) {
        if let Some(taken) = pending.taken {
            shards.throttled(self.keys[pending.key].shard, pending.bytes(), taken);
        }
    }
}
