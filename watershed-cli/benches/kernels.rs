//! What the pipelines spend their time with, by itself, each beside its bytes through memory.
//! `cargo bench -p watershed-cli --bench kernels`.

use std::hint::black_box;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bcrypt_lanes::WIDTH;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use jiff::civil::date;
use watershed::formats::avro::{Encoder, Field, Record};
use watershed::formats::copy;
use watershed::formats::csv::CsvReader;
use watershed::formats::values::{ColumnType, ValueReader};
use watershed_cli::pipelines::{location_visits, patronload};

const COUNT: usize = 10_000;

fn pseudonyms(criterion: &mut Criterion) {
    static GOING_ON: AtomicBool = AtomicBool::new(false);
    let salt = *b"a salt of no one";
    let texts: Vec<String> = (0..WIDTH).map(|i| (481_036_337 + i).to_string()).collect();
    let texts: Vec<&[u8]> = texts.iter().map(String::as_bytes).collect();
    let mut group = criterion.benchmark_group("pseudonyms at cost 7");
    group.throughput(Throughput::Elements(1));
    group.bench_function("the crate bcrypt", |bencher| {
        bencher.iter(|| bcrypt::bcrypt(7, salt, black_box(b"481036337\0")));
    });
    group.throughput(Throughput::Elements(WIDTH as u64));
    group.bench_function("eight in step", |bencher| {
        bencher.iter(|| bcrypt_lanes::hash(7, &salt, black_box(&texts), &GOING_ON));
    });
    group.finish();
}

struct Patron(String);

impl Record for Patron {
    const FIELDS: &'static [&'static str] = &[
        "patron_id",
        "address_hash",
        "postal_code",
        "ptype_code",
        "is_new",
    ];
    const NEWER: &'static [&'static str] = &[];

    fn values(&self) -> Vec<Field<'_>> {
        vec![
            Field::Text(&self.0),
            Field::Text("NkCIpL9EVO8dKZhxNU2O07e2Nke5y3u"),
            Field::Null,
            Field::Integer(10),
            Field::Boolean(true),
        ]
    }
}

const SCHEMA: &str = r#"{"name": "Patron", "type": "record", "fields": [
    {"name": "patron_id", "type": "string"}, {"name": "address_hash", "type": ["null", "string"]},
    {"name": "postal_code", "type": ["null", "string"]}, {"name": "ptype_code", "type": ["null", "int"]},
    {"name": "is_new", "type": "boolean"}]}"#;

fn avro(criterion: &mut Criterion) {
    let patrons: Vec<Patron> = (0..COUNT).map(|i| Patron(format!("{i:031}"))).collect();
    let encoder = Encoder::new::<Patron>(SCHEMA, "this benchmark").expect("a schema");
    let encode = || {
        let mut encoding = encoder.start();
        let datums = patrons.iter().map(|patron| encoding.encode(patron));
        datums.collect::<Result<Vec<_>, _>>().expect("all fit")
    };
    compare(criterion, "Avro", &encode().concat(), encode);
}

fn xml(criterion: &mut Criterion) {
    let write = patronload::written(COUNT);
    compare(criterion, "Alma's XML", &write(), &write);
}

fn csv(criterion: &mut Criterion) {
    let rows: String = (0..COUNT)
        .map(|i| {
            format!(
                "{i},S{i:05},{i}.2500,{},2022-09-02 03:04:05.123,plain\n",
                i % 2
            )
        })
        .collect();
    let columns = [
        "bigint",
        "varchar(16)",
        "numeric(18,4)",
        "boolean",
        "timestamptz",
        "text",
    ];
    let columns = columns.map(|column| ColumnType::parse(column).expect("a type"));
    let mut out = Vec::new();
    let read = || {
        out.clear();
        let (mut reader, mut values) = (CsvReader::new(rows.as_bytes()), ValueReader::default());
        while let Some(row) = reader.read().expect("memory can be read") {
            copy::begin_row(columns.len(), &mut out);
            for (number, kind) in columns.iter().enumerate() {
                let text = row.field(number).text;
                let scalar = values.read(*kind, text).expect("it is one");
                copy::value(*kind, scalar, &mut out);
            }
        }
        out.len()
    };
    compare(criterion, "CSV to binary COPY", rows.as_bytes(), read);
}

fn shoppertrak(criterion: &mut Criterion) {
    let mut day = "<sites>".to_owned();
    for site in 0..COUNT / 100 {
        day += &format!(
            "<site siteID=\"S{site:04}\"><date dateValue=\"20240630\"><entrance entranceName=\"EP 01\">"
        );
        for quarter in 0..96 {
            let (hour, minute) = (quarter / 4, quarter % 4 * 15);
            day += &format!(
                "<traffic code=\"01\" exits=\"{quarter}\" enters=\"7\" startTime=\"{hour:02}{minute:02}00\"/>"
            );
        }
        day += "</entrance></date></site>";
    }
    day += "</sites>";
    compare(criterion, "ShopperTrak's XML", day.as_bytes(), || {
        location_visits::read(black_box(day.as_bytes()), date(2024, 6, 30))
    });
}

/// `work` of so many bytes, beside their copy.
fn compare<T>(criterion: &mut Criterion, name: &str, bytes: &[u8], mut work: impl FnMut() -> T) {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("watershed", |bencher| bencher.iter(&mut work));
    group.bench_function("bytes through memory", |bencher| {
        bencher.iter(|| black_box(bytes).to_vec());
    });
    group.finish();
}

criterion_group! {
    name = kernels;
    config = Criterion::default().measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_secs(1));
    targets = pseudonyms, avro, xml, csv, shoppertrak
}
criterion_main!(kernels);
