//! What the program delivered, and what it set aside.

use aws_sdk_kinesis::types::ShardIteratorType;
use serde_avro_fast::object_container_file_encoding::Reader;
use serde_avro_fast::{Schema, from_datum_slice};
use serde_json::Value as Json;

use super::{SCHEMA, Systems, World, server};
use crate::program::files;

impl World {
    /// The bytes of all records delivered so far; on Kinesis in the order of their shards.
    pub async fn delivered_bytes(&self) -> Vec<Vec<u8>> {
        let records = self.delivered_with_keys().await;
        records.into_iter().map(|(_, data)| data).collect()
    }

    /// Partition keys and data of the records in Kinesis, shard by shard.
    pub async fn delivered_with_keys(&self) -> Vec<(String, Vec<u8>)> {
        let Systems::Servers(servers) = &self.systems else {
            panic!("embedded records have containers")
        };
        let endpoint = server("WATERSHED_TEST_AWS");
        let config =
            aws_sdk_kinesis::config::Builder::from(servers.aws.config()).endpoint_url(endpoint);
        let kinesis = aws_sdk_kinesis::Client::from_conf(config.build());
        let shards = kinesis
            .list_shards()
            .stream_name(&servers.stream)
            .send()
            .await
            .expect("shards");
        let mut records = Vec::new();
        for shard in shards.shards() {
            let iterator = kinesis
                .get_shard_iterator()
                .stream_name(&servers.stream)
                .shard_id(shard.shard_id())
                .shard_iterator_type(ShardIteratorType::TrimHorizon);
            let mut next = iterator.send().await.expect("an iterator").shard_iterator;
            while let Some(iterator) = next.take() {
                let page = kinesis
                    .get_records()
                    .shard_iterator(iterator)
                    .send()
                    .await
                    .expect("records");
                if page.records().is_empty() {
                    break;
                }
                records.extend(page.records().iter().map(|record| {
                    (
                        record.partition_key().unwrap_or_default().to_owned(),
                        record.data().as_ref().to_vec(),
                    )
                }));
                next = page.next_shard_iterator;
            }
        }
        for (key, record) in &records {
            for hidden in &self.program.hidden {
                let found = record
                    .windows(hidden.len())
                    .any(|window| window == hidden.as_bytes());
                let found = found || key.contains(hidden.as_str());
                assert!(!found, "P6 is broken: `{hidden}` in a record");
            }
        }
        records
    }

    /// All records delivered so far; from files in their order.
    pub async fn delivered(&self) -> Vec<Json> {
        let schema: Schema = SCHEMA.parse().expect("the schema");
        match &self.systems {
            Systems::Embedded => {
                let mut records = Vec::new();
                for path in files(&self.path("stream")) {
                    let bytes = std::fs::read(path).expect("a file of records");
                    let mut reader = Reader::from_slice(&bytes).expect("an Avro file");
                    records.extend(
                        reader
                            .deserialize::<Json>()
                            .map(|record| record.expect("a record")),
                    );
                }
                records
            }
            Systems::Servers(_) => {
                let records = self.delivered_bytes().await;
                records
                    .iter()
                    .map(|record| from_datum_slice(record, &schema).expect("a record"))
                    .collect()
            }
        }
    }

    /// Lines of all dead letters.
    pub fn dead_letters(&self) -> Vec<Json> {
        let folder = self.path("state/dead-letters");
        let lines = files(&folder).into_iter().flat_map(|path| {
            let text = std::fs::read_to_string(path).expect("dead letters are UTF-8");
            text.lines()
                .map(|line| serde_json::from_str(line).expect("a line of JSON"))
                .collect::<Vec<Json>>()
        });
        lines.collect()
    }
}
