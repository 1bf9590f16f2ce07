//! How fast a Kinesis stream is filled: records a second, and the share of what its shards allow.
//!
//! `cargo run -p watershed --example kinesis_pressure` measures against a server in this process
//! that throttles as Kinesis does, at 1,000 records and 1 MiB a second and shard. The clock starts
//! behind a first second's worth of records, because the shards hold that much ready at the start.

use std::time::{Duration, Instant};

use axum::extract::DefaultBodyLimit;
use bytes::Bytes;
use ferrokinesis::actions::{Operation, dispatch};
use ferrokinesis::create_app;
use ferrokinesis::store::{Store, StoreOptions};
use futures::future::{Either, select};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::yield_now;
use tokio::time::interval;
use watershed::connectors::aws::{Aws, AwsSettings};
use watershed::connectors::stream::{Stream, StreamOptions, StreamRecord};
use watershed::error::Result;
use watershed::formats::avro::{Encoder, Field, Record};
use watershed::privacy::Secret;

const SHARDS: usize = 4;
/// A shard takes this each second.
const SHARD_RECORDS: f64 = 1000.0;
const SHARD_BYTES: f64 = (1 << 20) as f64;
/// As long as a pseudonym.
const KEY_BYTES: usize = 31;

/// What is sent.
struct Load {
    name: &'static str,
    record_bytes: usize,
    page: usize,
    pages: usize,
    records_of_a_key: usize,
    /// The part of each shard that another producer writes to. It does not try again what is
    /// rejected, so we may get more than what it leaves.
    rival: f64,
}

impl Load {
    /// How many of its records all shards take in one second.
    fn first_second(&self) -> usize {
        let record = (self.record_bytes + KEY_BYTES) as f64;
        (SHARDS as f64 * SHARD_RECORDS.min(SHARD_BYTES / record)) as usize
    }
}

const LOADS: &[Load] = &[
    Load {
        name: "small records",
        record_bytes: 40,
        page: 4_850,
        pages: 8,
        records_of_a_key: 1,
        rival: 0.0,
    },
    Load {
        name: "small records, three of a key in a page",
        record_bytes: 40,
        page: 5_400,
        pages: 7,
        records_of_a_key: 3,
        rival: 0.0,
    },
    Load {
        name: "small records, pages of 500",
        record_bytes: 40,
        page: 500,
        pages: 77,
        records_of_a_key: 1,
        rival: 0.0,
    },
    Load {
        name: "records of 4 kB",
        record_bytes: 4_000,
        page: 1_000,
        pages: 10,
        records_of_a_key: 1,
        rival: 0.0,
    },
    Load {
        name: "records of 4 kB, pages of 10,000",
        record_bytes: 4_000,
        page: 10_000,
        pages: 2,
        records_of_a_key: 1,
        rival: 0.0,
    },
    Load {
        name: "small records, half of each shard taken by another producer",
        record_bytes: 40,
        page: 5_000,
        pages: 4,
        records_of_a_key: 1,
        rival: 0.5,
    },
];

#[tokio::main]
async fn main() -> Result<()> {
    for load in LOADS {
        measure(load).await?;
    }
    Ok(())
}

/// Sends pages as fast as the stream takes them.
async fn measure(load: &Load) -> Result<()> {
    let (stream, store) = stream().await?;
    let first = Load {
        page: load.first_second(),
        pages: 1,
        records_of_a_key: 1,
        ..*load
    };
    send(&stream, &first).await?;
    let start = Instant::now();
    let sent = select(
        Box::pin(send(&stream, load)),
        Box::pin(write_beside(&store, load.rival)),
    );
    match sent.await {
        Either::Left((sent, _)) => sent?,
        Either::Right(((), _)) => unreachable!("the other producer never ends"),
    }
    let seconds = start.elapsed().as_secs_f64();
    let records = (load.page * load.pages) as f64;
    let bytes = records * (load.record_bytes + KEY_BYTES) as f64;
    let allowed = SHARDS as f64 * seconds * (1.0 - load.rival);
    let share = f64::max(
        records / (allowed * SHARD_RECORDS),
        bytes / (allowed * SHARD_BYTES),
    );
    println!(
        "{}: {:.0} records/s, {:.1} MiB/s in {seconds:.1} s; {:.0} % of what {SHARDS} shards allow",
        load.name,
        records / seconds,
        bytes / seconds / SHARD_BYTES,
        100.0 * share,
    );
    Ok(())
}

async fn send(stream: &Stream, load: &Load) -> Result<()> {
    let data = Bytes::from(vec![b'x'; load.record_bytes]);
    let keys = load.page / load.records_of_a_key;
    for page in 0..load.pages {
        let records = (0..load.page).map(|place| {
            let patron = page * keys + place % keys;
            StreamRecord {
                key: format!("{patron:0KEY_BYTES$}"),
                data: data.clone(),
            }
        });
        let put = stream.put(records.collect()).await?;
        assert!(put.rejected.is_empty(), "nothing here is to be rejected");
    }
    Ok(())
}

/// Another producer, who takes a part of each shard.
async fn write_beside(store: &Store, part: f64) {
    if part == 0.0 {
        return std::future::pending().await;
    }
    let ticks = 20;
    let count = (SHARD_RECORDS * SHARDS as f64 * part) as usize / ticks;
    let mut tick = interval(Duration::from_secs(1) / ticks as u32);
    loop {
        tick.tick().await;
        let records: Vec<_> = (0..count)
            .map(|_| json!({"PartitionKey": fastrand::u64(..).to_string(), "Data": "b3RoZXI="}))
            .collect();
        let call = json!({"StreamName": "pressure", "Records": records});
        // What is rejected of it is its own affair.
        let _ = dispatch(store, Operation::PutRecords, call).await;
    }
}

/// A new server with one stream.
async fn stream() -> Result<(Stream, Store)> {
    let (app, store) = create_app(StoreOptions {
        enforce_limits: true,
        create_stream_ms: 0,
        ..StoreOptions::default()
    });
    let create = json!({"StreamName": "pressure", "ShardCount": SHARDS});
    dispatch(&store, Operation::CreateStream, create)
        .await
        .expect("the server makes a stream");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    // A call of 5 MiB is 7 MiB of base64.
    let app = app.layer(DefaultBodyLimit::max(16 << 20));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let aws = Aws::new(AwsSettings {
        region: "us-east-1".into(),
        keys: Some((Secret::new("key"), Secret::new("secret"))),
        endpoints: [("kinesis".into(), endpoint)].into(),
        ..AwsSettings::default()
    })
    .await;
    let options = StreamOptions {
        records_per_call: 500,
        retry: Duration::from_secs(60),
        run: "pressure".into(),
    };
    let encoder = Encoder::new::<Ready>(SCHEMA, "the example")?;
    let stream = Stream::open("kinesis:pressure", &encoder, &aws, options)?;
    // The stream is there a moment after it was made.
    while !stream.summary().await?.contains("ACTIVE") {
        yield_now().await;
    }
    Ok((stream, store))
}

/// The records here are bytes already; a stream wants an encoder all the same.
struct Ready;

const SCHEMA: &str = r#"{"type": "record", "name": "ready", "fields": []}"#;

impl Record for Ready {
    const FIELDS: &'static [&'static str] = &[];
    const NEWER: &'static [&'static str] = &[];

    fn values(&self) -> Vec<Field<'_>> {
        Vec::new()
    }
}
