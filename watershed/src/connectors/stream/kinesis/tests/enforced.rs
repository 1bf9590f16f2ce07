//! Against a server that throttles as Kinesis does: 1,000 records and 1 MiB a second and shard.

use std::collections::HashSet;

use aws_sdk_kinesis::types::ShardIteratorType;
use axum::extract::DefaultBodyLimit;
use ferrokinesis::create_app;
use ferrokinesis::store::StoreOptions;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;
use crate::connectors::aws::AwsSettings;
use crate::privacy::Secret;

/// A server with one stream, `patrons`; it ends with the value.
struct Server {
    aws: Aws,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(shards: i32) -> Server {
        let (app, _) = create_app(StoreOptions {
            enforce_limits: true,
            create_stream_ms: 0,
            ..StoreOptions::default()
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        // A call of 5 MiB is 7 MiB of base64.
        let app = app.layer(DefaultBodyLimit::max(16 << 20));
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        let settings = AwsSettings {
            region: "us-east-1".into(),
            keys: Some((Secret::new("key"), Secret::new("secret"))),
            endpoints: [("kinesis".into(), endpoint)].into(),
            ..AwsSettings::default()
        };
        let server = Server {
            aws: Aws::new(settings).await,
            task,
        };
        let client = server.kinesis().client;
        let create = client.create_stream().stream_name("patrons");
        create.shard_count(shards).send().await.unwrap();
        let policy = Policy::within(MINUTE);
        let status = || async {
            let answer = client.describe_stream_summary().stream_name("patrons");
            let answer = answer.send().await.unwrap();
            let summary = answer.stream_description_summary.unwrap();
            match summary.stream_status.as_str() {
                "ACTIVE" => Ok(()),
                other => Err(Error::new(Remedy::TryAgain, other)),
            }
        };
        retry(&policy, "creating the stream", status).await.unwrap();
        server
    }

    fn kinesis(&self) -> Kinesis {
        let options = StreamOptions {
            records_per_call: 500,
            retry: MINUTE,
            run: "run".into(),
        };
        Kinesis::new("patrons", &self.aws, options)
    }

    /// Writes past our buckets, as another producer does, until each shard has rejected something.
    async fn exhaust(&self, shards: usize) {
        let kinesis = self.kinesis();
        let listed = kinesis.open_shards().await.unwrap();
        assert_eq!(listed.len(), shards);
        let mut full = HashSet::new();
        while full.len() < shards {
            let keys: Vec<_> = (0..500)
                .map(|_| format!("other {}", fastrand::u64(..)))
                .collect();
            let entries = keys.iter().map(|key| {
                let entry = PutRecordsRequestEntry::builder().partition_key(key);
                entry.data(Blob::new(b"other")).build().unwrap()
            });
            let call = kinesis.client.put_records().stream_name("patrons");
            let answer = call
                .set_records(Some(entries.collect()))
                .send()
                .await
                .unwrap();
            for (key, answer) in keys.iter().zip(answer.records()) {
                if answer.error_code().is_some_and(is_throttling) {
                    full.insert(listed.of_key(key));
                }
            }
        }
    }

    /// All of our records, by key, as a reader of the stream has them.
    async fn arrived(&self) -> HashMap<String, Vec<Vec<u8>>> {
        let client = self.kinesis().client;
        let mut arrived: HashMap<_, Vec<_>> = HashMap::new();
        let shards = client.list_shards().stream_name("patrons");
        for shard in shards.send().await.unwrap().shards() {
            let start = client.get_shard_iterator().stream_name("patrons");
            let start = start.shard_id(&shard.shard_id);
            let start = start.shard_iterator_type(ShardIteratorType::TrimHorizon);
            let mut next = start.send().await.unwrap().shard_iterator;
            loop {
                let read = client.get_records().set_shard_iterator(next);
                let answer = read.send().await.unwrap();
                for record in answer.records() {
                    let key = record.partition_key.clone().unwrap();
                    let data = record.data.as_ref().to_vec();
                    if key.starts_with("key ") {
                        arrived.entry(key).or_default().push(data);
                    }
                }
                if answer.records().is_empty() {
                    break;
                }
                next = answer.next_shard_iterator;
            }
        }
        arrived
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test]
async fn throttled_on_four_shards_everything_arrives_in_order() {
    let server = Server::start(4).await;
    let kinesis = server.kinesis();
    server.exhaust(4).await;
    let put = kinesis.put(page(300, 5)).await.unwrap();
    assert!(put.rejected.is_empty());
    assert_in_order(&server.arrived().await, 300, 5, "");
}

#[tokio::test]
async fn large_records_fill_calls_up_to_what_the_server_takes() {
    let server = Server::start(4).await;
    let large = (0..8).map(|key| StreamRecord {
        key: format!("key {key}"),
        data: [&0_u32.to_be_bytes()[..], &vec![7; (RECORD_BYTES / 2) - 10]]
            .concat()
            .into(),
    });
    let put = server.kinesis().put(large.collect()).await.unwrap();
    assert!(put.rejected.is_empty());
    assert_in_order(&server.arrived().await, 8, 1, "");
}
