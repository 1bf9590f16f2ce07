use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::Builder;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, PutRecordsResultEntry};
use ring::digest::{SHA256, digest};
use tokio::time::{Instant, sleep_until};

use super::{Put, StreamOptions, StreamRecord};
use crate::connectors::aws::{Aws, sdk_error};
use crate::error::{Error, Remedy, Result};
use crate::retry::{Policy, retry};

/// Kinesis accepts 500 records a call: PutRecords, API reference.
const CALL_RECORDS: usize = 500;
/// … and 5 MiB, partition keys included.
const CALL_BYTES: usize = 5 << 20;
/// … and 1 MiB a record, its partition key included.
const RECORD_BYTES: usize = 1 << 20;
/// Longest partition key, in characters.
const KEY_CHARACTERS: usize = 256;
/// The code of an entry that its shard had no room for.
const THROTTLED: &str = "ProvisionedThroughputExceededException";

/// A Kinesis data stream.
#[derive(Debug)]
pub struct Kinesis {
    client: Client,
    stream: String,
    options: StreamOptions,
}

/// A record that is still to be sent.
struct Pending {
    place: usize,
    record: StreamRecord,
    tries: u32,
    first_failure: Option<Instant>,
}

impl Kinesis {
    pub(super) fn new(stream: &str, aws: &Aws, options: StreamOptions) -> Kinesis {
        let mut config = Builder::from(aws.config());
        if let Some(endpoint) = aws.endpoint("kinesis") {
            config = config.endpoint_url(endpoint);
        }
        Kinesis {
            client: Client::from_conf(config.build()),
            stream: stream.to_owned(),
            options,
        }
    }

    /// Sends the records: each call holds at most one record of a key, so that a rejected record
    /// is never overtaken by a later one of its key (P4). Rejected records alone are sent again,
    /// with growing jittered waits, while the rest goes on.
    pub(super) async fn put(&self, records: Vec<StreamRecord>) -> Result<Put> {
        let mut put = Put::default();
        let mut queues = Queues::default();
        for (place, mut record) in records.into_iter().enumerate() {
            record.key = partition_key(record.key);
            if record.data.len() + record.key.len() > RECORD_BYTES {
                let bytes = record.data.len();
                put.rejected.push((
                    place,
                    format!("the record has {bytes} bytes, and Kinesis takes 1 MiB"),
                ));
            } else {
                queues.push(Pending {
                    place,
                    record,
                    tries: 0,
                    first_failure: None,
                });
            }
        }
        let policy = Policy::within(self.options.retry).each(Duration::from_secs(60));
        let mut last_success = None;
        while let Some(wake) = queues.wake() {
            sleep_until(wake).await;
            let batch = queues.batch(self.options.records_per_call.clamp(1, CALL_RECORDS));
            let answers = retry(&policy, "sending records to Kinesis", || self.call(&batch)).await;
            let answers = answers.map_err(|error| {
                Error::new(
                    error.remedy(),
                    format!("Error sending records to Kinesis stream {}", self.stream),
                )
                .caused_by(error.in_one_line())
            })?;
            if answers.len() != batch.len() {
                return Err(Error::new(
                    Remedy::TryAgain,
                    "sending records to Kinesis: the answer has another number of records",
                ));
            }
            let now = Instant::now();
            for (mut pending, answer) in batch.into_iter().zip(answers) {
                let Some(code) = answer.error_code() else {
                    last_success = Some(now);
                    queues.done(&pending.record.key);
                    continue;
                };
                pending.tries += 1;
                let since = *pending.first_failure.get_or_insert(now);
                if now.duration_since(since) < self.options.retry {
                    queues.again(pending, now);
                } else if code != THROTTLED && last_success.is_some_and(|success| success >= since)
                {
                    let tries = pending.tries;
                    put.rejected.push((
                        pending.place,
                        format!("Kinesis refused the record {tries} times: {code}"),
                    ));
                    queues.refused(&pending.record.key, since);
                } else {
                    // Throttling, or an outage: it says nothing about the record.
                    return Err(self.gave_up(code));
                }
            }
        }
        Ok(put)
    }

    async fn call(&self, batch: &[Pending]) -> Result<Vec<PutRecordsResultEntry>> {
        let entries = batch.iter().map(|pending| {
            PutRecordsRequestEntry::builder()
                .partition_key(&pending.record.key)
                .data(Blob::new(pending.record.data.to_vec()))
                .build()
                .expect("an entry has its key and data")
        });
        let call = self
            .client
            .put_records()
            .set_records(Some(entries.collect()));
        let call = if self.has_arn() {
            call.stream_arn(&self.stream)
        } else {
            call.stream_name(&self.stream)
        };
        let answer = call.send().await;
        let answer = answer
            .map_err(|error| sdk_error(format!("writing to the stream {}", self.stream), error))?;
        Ok(answer.records)
    }

    pub(super) async fn summary(&self) -> Result<String> {
        let what = format!("describing the stream {}", self.stream);
        let policy = Policy::within(Duration::from_secs(10));
        let answer = retry(&policy, &what, || async {
            let call = self.client.describe_stream_summary();
            let call = if self.has_arn() {
                call.stream_arn(&self.stream)
            } else {
                call.stream_name(&self.stream)
            };
            call.send()
                .await
                .map_err(|error| sdk_error(what.clone(), error))
        })
        .await?;
        let Some(summary) = answer.stream_description_summary else {
            return Ok(self.stream.clone());
        };
        Ok(format!(
            "Kinesis {}: {}, {} open shards",
            summary.stream_name, summary.stream_status, summary.open_shard_count
        ))
    }

    fn has_arn(&self) -> bool {
        self.stream.starts_with("arn:")
    }

    fn gave_up(&self, code: &str) -> Error {
        let what = format!("Failed to send records to Kinesis stream {}", self.stream);
        let seconds = self.options.retry.as_secs();
        Error::new(Remedy::TryAgain, what).caused_by(format!("{code} for {seconds} s"))
    }
}

/// The records of a page by key: the first of each key may be sent, the others wait for it.
#[derive(Default)]
struct Queues {
    by_key: HashMap<String, VecDeque<Pending>>,
    /// Keys whose first record may be sent now, in the order of the records.
    ready: VecDeque<String>,
    /// Keys whose first record was rejected, and when it may be sent again.
    waiting: Vec<(Instant, String)>,
}

impl Queues {
    fn push(&mut self, pending: Pending) {
        let key = pending.record.key.clone();
        let queue = self.by_key.entry(key.clone()).or_default();
        if queue.is_empty() {
            self.ready.push_back(key);
        }
        queue.push_back(pending);
    }

    /// When the next batch can be made; nothing when all is sent.
    fn wake(&self) -> Option<Instant> {
        if self.ready.is_empty() {
            self.waiting.iter().map(|(at, _)| *at).min()
        } else {
            Some(Instant::now())
        }
    }

    fn batch(&mut self, most: usize) -> Vec<Pending> {
        let now = Instant::now();
        let (due, waiting): (Vec<_>, Vec<_>) =
            self.waiting.drain(..).partition(|(at, _)| *at <= now);
        self.waiting = waiting;
        for (_, key) in due {
            self.ready.push_front(key);
        }
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < most {
            let Some(key) = self.ready.pop_front() else {
                break;
            };
            let queue = self.by_key.get_mut(&key).expect("a ready key has a queue");
            let first = queue.front().expect("a ready key's queue is not empty");
            bytes += first.record.data.len() + key.len();
            if bytes > CALL_BYTES {
                self.ready.push_front(key);
                break;
            }
            batch.extend(queue.pop_front());
        }
        debug_assert!(
            batch
                .iter()
                .map(|pending| &pending.record.key)
                .collect::<HashSet<_>>()
                .len()
                == batch.len()
        );
        batch
    }

    /// The record of this key that was in the batch is dealt with.
    fn done(&mut self, key: &str) {
        match self.by_key.get(key) {
            Some(queue) if !queue.is_empty() => self.ready.push_back(key.to_owned()),
            _ => drop(self.by_key.remove(key)),
        }
    }

    /// The record was refused for good. Those behind it have waited as long as it has, so that they
    /// are judged at their first try: else each would wait anew, and with nothing else left to go
    /// through, the second would be taken for an outage.
    fn refused(&mut self, key: &str, since: Instant) {
        let next = self.by_key.get_mut(key).and_then(VecDeque::front_mut);
        if let Some(next) = next {
            next.first_failure = Some(since);
        }
        self.done(key);
    }

    /// The record is sent again, before any other of its key.
    fn again(&mut self, pending: Pending, now: Instant) {
        let bound = Duration::from_millis(100 << pending.tries.min(8));
        let wait = bound.mul_f64(0.5 + 0.5 * fastrand::f64());
        let key = pending.record.key.clone();
        self.by_key
            .entry(key.clone())
            .or_default()
            .push_front(pending);
        self.waiting.push((now + wait, key));
    }
}

/// The key as Kinesis takes it: a key that is too long is replaced by its hash.
fn partition_key(key: String) -> String {
    if key.is_empty() {
        return "unknown".into();
    }
    if key.chars().count() <= KEY_CHARACTERS {
        return key;
    }
    digest(&SHA256, key.as_bytes())
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(place: usize, key: &str, bytes: usize) -> Pending {
        let record = StreamRecord {
            key: key.into(),
            data: vec![0; bytes].into(),
        };
        Pending {
            place,
            record,
            tries: 0,
            first_failure: None,
        }
    }

    fn places(batch: &[Pending]) -> Vec<usize> {
        batch.iter().map(|pending| pending.place).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_rejected_record_is_not_overtaken_by_a_later_one_of_its_key() {
        let mut queues = Queues::default();
        for (place, key) in ["a", "b", "a", "c", "a"].into_iter().enumerate() {
            queues.push(pending(place, key, 10));
        }
        let mut batch = queues.batch(500);
        assert_eq!(places(&batch), [0, 1, 3]);
        let rejected = batch.remove(0);
        queues.again(
            Pending {
                tries: 1,
                ..rejected
            },
            Instant::now(),
        );
        queues.done("b");
        queues.done("c");
        sleep_until(queues.wake().expect("a is waiting")).await;
        let batch = queues.batch(500);
        assert_eq!(places(&batch), [0]);
        queues.done("a");
        assert_eq!(places(&queues.batch(500)), [2]);
        queues.done("a");
        assert_eq!(places(&queues.batch(500)), [4]);
        queues.done("a");
        assert!(queues.wake().is_none());
    }

    #[test]
    fn a_call_has_at_most_500_records_and_5_mib() {
        let mut queues = Queues::default();
        for place in 0..501 {
            queues.push(pending(place, &place.to_string(), 1));
        }
        assert_eq!(queues.batch(500).len(), 500);
        assert_eq!(queues.batch(500).len(), 1);
        for place in 0..6 {
            queues.push(pending(place, &format!("k{place}"), RECORD_BYTES - 2));
        }
        assert_eq!(queues.batch(500).len(), 5);
        assert_eq!(queues.batch(500).len(), 1);
    }

    #[test]
    fn a_long_key_is_hashed_and_an_empty_one_is_unknown() {
        assert_eq!(partition_key("k".repeat(256)), "k".repeat(256));
        assert_eq!(partition_key("k".repeat(257)).len(), 64);
        assert_eq!(partition_key(String::new()), "unknown");
    }
}
