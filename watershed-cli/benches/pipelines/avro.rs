//! Records as Avro, against the library that the Python programs use.

use std::hint::black_box;

use watershed::formats::avro::{Encoder, Field, Record};

use super::measure::{AgainstPeer, Found, peer, seconds};

const RECORDS: u32 = 500_000;
const PLACE: &str = "src/pipelines/location_visits/LocationVisits.avsc";

struct Visit(i32);

impl Record for Visit {
    const FIELDS: &'static [&'static str] = &[
        "shoppertrak_site_id",
        "orbit",
        "increment_start",
        "enters",
        "exits",
        "is_healthy_data",
        "is_missing_data",
        "is_fresh",
        "poll_date",
    ];
    const NEWER: &'static [&'static str] = &[];

    fn values(&self) -> Vec<Field<'_>> {
        vec![
            Field::Text("S0001 branch"),
            Field::Integer(1),
            Field::Text("2024-06-30 09:45:00"),
            Field::Integer(self.0),
            Field::Integer(34),
            Field::Boolean(true),
            Field::Boolean(false),
            Field::Boolean(true),
            Field::Text("2024-07-01"),
        ]
    }
}

/// One record after another on one core.
pub fn avro() -> Found {
    let place = format!("{}/{PLACE}", env!("CARGO_MANIFEST_DIR"));
    let Some((theirs, peer)) = peer(&["fastavro", &place, &RECORDS.to_string()]) else {
        return Found::default();
    };
    let schema = std::fs::read_to_string(&place).expect("the schema");
    let encoder = Encoder::new::<Visit>(&schema, &place).expect("a schema of these fields");
    let mut encoding = encoder.start();
    let taken = seconds(|| {
        for enters in 0..RECORDS {
            let datum = encoding.encode(&Visit(enters as i32));
            black_box(datum.expect("it fits"));
        }
    });
    Found {
        floors: Vec::new(),
        peers: vec![AgainstPeer {
            what: "a record of nine fields as Avro".to_owned(),
            peer,
            ours: taken / f64::from(RECORDS),
            theirs,
        }],
    }
}
