//! Amazon Kinesis: several calls at once, as fast as the shards take it, and each key in order.
//!
//! [`queues`] says which records may go, [`shards`] how many of them; here they are sent.

mod queues;
mod shards;
#[cfg(test)]
mod tests;

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::Builder;
use aws_sdk_kinesis::error::ProvideErrorMetadata as _;
use aws_sdk_kinesis::operation::list_shards::ListShardsOutput;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, PutRecordsResultEntry, Shard};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use ring::digest::{SHA256, digest};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use super::{Put, StreamOptions, StreamRecord};
use crate::connectors::aws::{Aws, sdk_error};
use crate::error::{Error, Remedy, Result};
use crate::retry::{Policy, retry};
use queues::{Pending, Queues, Verdict, is_throttling};
use shards::Shards;

/// Kinesis accepts 500 records a call: PutRecords, API reference.
const CALL_RECORDS: usize = 500;
/// … and 5 MiB, partition keys included.
const CALL_BYTES: usize = 5 << 20;
/// … and 1 MiB a record, its partition key included.
const RECORD_BYTES: usize = 1 << 20;
/// Longest partition key, in characters.
const KEY_CHARACTERS: usize = 256;
/// Calls that may be under way at once. Four calls of 500 records, answered in 50 ms, feed 40
/// shards; each holds up to 5 MiB.
const CALLS_IN_FLIGHT: usize = 4;
/// Time limit of one try of a call.
const CALL_TIME: Duration = Duration::from_secs(60);

/// A Kinesis data stream.
#[derive(Debug)]
pub struct Kinesis {
    client: Client,
    /// Its ARN or its name.
    stream: String,
    options: StreamOptions,
    /// Listed by the first page that has something to send. The buckets outlive a page, as the
    /// second that they count does.
    shards: Mutex<Option<Shards>>,
}

impl Kinesis {
    pub(super) fn new(stream: &str, aws: &Aws, options: StreamOptions) -> Kinesis {
        let mut config = Builder::from(aws.config());
        if let Some(endpoint) = aws.endpoint("kinesis") {
            config = config.endpoint_url(endpoint);
        }
        Kinesis::with_client(stream, Client::from_conf(config.build()), options)
    }

    fn with_client(stream: &str, client: Client, options: StreamOptions) -> Kinesis {
        Kinesis {
            client,
            stream: stream.to_owned(),
            options,
            shards: Mutex::new(None),
        }
    }

    /// Sends the records, those of one key in their order (P4). Rejected records alone are sent
    /// again, with growing jittered waits, while the rest goes on.
    ///
    /// Everything happens within this future: to drop it is to cancel all calls (P7).
    pub(super) async fn put(&self, records: Vec<StreamRecord>) -> Result<Put> {
        let mut put = Put::default();
        let mut sendable = Vec::with_capacity(records.len());
        for (place, mut record) in records.into_iter().enumerate() {
            record.key = partition_key(record.key);
            match unsendable(&record) {
                Some(reason) => put.rejected.push((place, reason)),
                None => sendable.push((place, record)),
            }
        }
        if !sendable.is_empty() {
            put.rejected.extend(self.send(sendable).await?);
            put.rejected.sort_unstable();
        }
        Ok(put)
    }

    /// Sends records, each with its place; returns the places of those that will never go through.
    async fn send(&self, records: Vec<(usize, StreamRecord)>) -> Result<Vec<(usize, String)>> {
        // Held until all is sent: two pages never have records of one key in flight (P4).
        let mut shards = self.shards.lock().await;
        let shards = match &mut *shards {
            Some(shards) => shards,
            unlisted => unlisted.insert(self.open_shards().await?),
        };
        let most = self.options.records_per_call.clamp(1, CALL_RECORDS);
        let mut queues = Queues::new(records, shards);
        let mut calls = FuturesUnordered::new();
        let mut rejected = Vec::new();
        let mut last_success = None;
        loop {
            while calls.len() < CALLS_IN_FLIGHT {
                let batch = queues.batch(most, shards, Instant::now());
                if batch.is_empty() {
                    break;
                }
                calls.push(self.call(batch));
            }
            let wake = queues
                .wake(shards, Instant::now())
                .filter(|_| calls.len() < CALLS_IN_FLIGHT);
            let (batch, answers) = tokio::select! {
                Some(answer) = calls.next() => answer?,
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => continue,
                else => return Ok(rejected),
            };
            let now = Instant::now();
            if answers.iter().any(|answer| answer.error_code().is_none()) {
                last_success = Some(now);
            }
            for (mut pending, answer) in batch.into_iter().zip(answers) {
                let Some(code) = answer.error_code() else {
                    queues.done(&pending);
                    continue;
                };
                if is_throttling(code) {
                    queues.throttled(&pending, shards);
                }
                match pending.judge(code, now, self.options.retry, last_success) {
                    Verdict::Again(at) => queues.again(pending, at),
                    Verdict::SetAside(tries) => {
                        let reason = format!("Kinesis refused the record {tries} times: {code}");
                        rejected.push((pending.place, reason));
                        queues.refused(&pending);
                    }
                    Verdict::GiveUp => return Err(self.gave_up(code)),
                }
            }
        }
    }

    /// One call, tried until it is answered. The records come back, each with its answer.
    async fn call(
        &self,
        batch: Vec<Pending>,
    ) -> Result<(Vec<Pending>, Vec<PutRecordsResultEntry>)> {
        let what = format!("writing to the stream {}", self.stream);
        let answers = retry(&self.policy(), &what, || self.put_records(&batch, &what)).await;
        let answers = answers.map_err(|error| self.call_failed(&error))?;
        if answers.len() != batch.len() {
            let answer = Error::new(Remedy::TryAgain, "an answer with another number of records");
            return Err(self.call_failed(&answer));
        }
        Ok((batch, answers))
    }

    async fn put_records(
        &self,
        batch: &[Pending],
        what: &str,
    ) -> Result<Vec<PutRecordsResultEntry>> {
        let entries = batch.iter().map(|pending| {
            PutRecordsRequestEntry::builder()
                .partition_key(&pending.record.key)
                .data(Blob::from_maybe_shared(pending.record.data.clone()))
                .build()
                .expect("an entry has its key and data")
        });
        self.client
            .put_records()
            .set_stream_arn(self.arn())
            .set_stream_name(self.name())
            .set_records(Some(entries.collect()))
            .send()
            .await
            .map(|answer| answer.records)
            .map_err(|error| sdk_error(what.to_owned(), error))
    }

    /// The open shards; one for all keys when listing them is denied.
    async fn open_shards(&self) -> Result<Shards> {
        let what = format!("listing the shards of the stream {}", self.stream);
        let policy = self.policy();
        let mut first_hashes = Vec::new();
        let mut token = None;
        loop {
            let page = retry(&policy, &what, || self.list_shards(token.clone(), &what)).await;
            let Some(page) = page.map_err(|error| self.call_failed(&error))? else {
                tracing::warn!(
                    "{what} is denied: sending no more than one shard takes; allow kinesis:ListShards for more"
                );
                return Ok(Shards::unknown());
            };
            first_hashes.extend(page.shards().iter().filter_map(first_hash_of_open));
            token = page.next_token;
            if token.is_none() {
                return Ok(Shards::new(first_hashes));
            }
        }
    }

    /// One page of the list; nothing when listing is denied.
    async fn list_shards(
        &self,
        token: Option<String>,
        what: &str,
    ) -> Result<Option<ListShardsOutput>> {
        // A token stands for the stream, and Kinesis does not take both.
        let (arn, name) = match token {
            None => (self.arn(), self.name()),
            Some(_) => (None, None),
        };
        let answer = self
            .client
            .list_shards()
            .set_stream_arn(arn)
            .set_stream_name(name)
            .set_next_token(token)
            .send()
            .await;
        match answer {
            Ok(page) => Ok(Some(page)),
            Err(error)
                if matches!(error.code(), Some("AccessDeniedException" | "AccessDenied")) =>
            {
                Ok(None)
            }
            Err(error) => Err(sdk_error(what.to_owned(), error)),
        }
    }

    pub(super) async fn summary(&self) -> Result<String> {
        let what = format!("describing the stream {}", self.stream);
        let policy = Policy::within(Duration::from_secs(10));
        let answer = retry(&policy, &what, || async {
            self.client
                .describe_stream_summary()
                .set_stream_arn(self.arn())
                .set_stream_name(self.name())
                .send()
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

    fn policy(&self) -> Policy {
        Policy::within(self.options.retry).each(CALL_TIME)
    }

    fn arn(&self) -> Option<String> {
        self.stream.starts_with("arn:").then(|| self.stream.clone())
    }

    fn name(&self) -> Option<String> {
        let is_arn = self.stream.starts_with("arn:");
        (!is_arn).then(|| self.stream.clone())
    }

    /// The words are those that operators' alarms look for.
    fn call_failed(&self, error: &Error) -> Error {
        let what = format!("Error sending records to Kinesis stream {}", self.stream);
        let hint = error.hint().map(str::to_owned);
        let failed = Error::new(error.remedy(), what).caused_by(error.in_one_line());
        match hint {
            Some(hint) => failed.with_hint(hint),
            None => failed,
        }
    }

    /// The words are those that operators' alarms look for.
    fn gave_up(&self, code: &str) -> Error {
        let what = format!("Failed to send records to Kinesis stream {}", self.stream);
        let seconds = self.options.retry.as_secs_f64();
        Error::new(Remedy::TryAgain, what).caused_by(format!("{code} for {seconds} s"))
    }
}

/// Where the shard's hash range begins; nothing for a shard that was closed by a resharding. A range
/// that nobody can read is left out: its neighbour paces the keys.
fn first_hash_of_open(shard: &Shard) -> Option<u128> {
    let numbers = shard.sequence_number_range.as_ref();
    if numbers.is_some_and(|numbers| numbers.ending_sequence_number.is_some()) {
        return None;
    }
    shard.hash_key_range()?.starting_hash_key.parse().ok()
}

/// Why Kinesis would not take the record, however often it is asked.
fn unsendable(record: &StreamRecord) -> Option<String> {
    let bytes = record.data.len();
    if bytes == 0 {
        Some("the record is empty".into())
    } else if bytes + record.key.len() > RECORD_BYTES {
        Some(format!(
            "the record has {bytes} bytes, and Kinesis takes 1 MiB"
        ))
    } else {
        None
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
