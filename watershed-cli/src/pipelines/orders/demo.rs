//! Invented orders for the demo: full loads of four entities and three rounds of changes, into SQLite.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use fastrand::Rng;
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::ToSpan as _;
use jiff::civil::date;
use watershed::error::{OrFail as _, Remedy, Result};

const STRATEGIES: i64 = 25;
const BROKERS: i64 = 8;
const ORDERS: i64 = 6_000;
const ROUNDS: i64 = 3;

/// Writes everything that a run needs below `folder`.
pub(super) async fn prepare(folder: &Path) -> Result<()> {
    let mut rng = Rng::with_seed(23);
    write_bucket(&folder.join("bucket/dbo"), &mut rng)
        .or_fail(Remedy::FixAccess, || "making the demo's bucket".into())?;
    let place = folder.display();
    let settings = format!(
        "\
# The demo's settings. Again: watershed run orders --config {place}/settings.yaml
ENTITIES: {place}/entities.yaml
SOURCE: file:{place}/bucket
TARGET: sqlite:{place}/trading.db
NATS: file:{place}/notifications.jsonl
RUN_AS_SERVICE: False
ON_BAD_ROW: quarantine
"
    );
    let entities = include_str!("../../../../config/orders/entities.yaml");
    for (name, text) in [("entities.yaml", entities), ("settings.yaml", &settings)] {
        fs::write(folder.join(name), text)
            .or_fail(Remedy::FixAccess, || format!("writing {place}/{name}"))?;
    }
    Ok(())
}

fn write_bucket(schema: &Path, rng: &mut Rng) -> io::Result<()> {
    let strategies = (1..=STRATEGIES).map(|id| strategy(id, rng)).collect();
    write(schema, "strategy/LOAD00000001", strategies)?;
    let brokers = (1..=BROKERS).map(broker).collect();
    write(schema, "broker/LOAD00000001", brokers)?;
    // The counter is hexadecimal.
    for (part, name) in ["00000009", "0000000A"].into_iter().enumerate() {
        let ids = part as i64 * ORDERS / 2 + 1..=(part as i64 + 1) * ORDERS / 2;
        let orders = ids.clone().map(|id| order(id, "open", id, rng)).collect();
        write(schema, &format!("order/LOAD{name}"), orders)?;
        let executions = ids
            .filter(|id| id % 3 == 0)
            .map(|id| execution(id, 1, id, rng))
            .collect();
        write(schema, &format!("execution/LOAD{name}"), executions)?;
    }
    for round in 0..ROUNDS {
        changes(schema, round, rng)?;
    }
    Ok(())
}

/// New orders, some of them filled in the same file, older ones filled, and a few cancelled.
fn changes(schema: &Path, round: i64, rng: &mut Rng) -> io::Result<()> {
    let first = ORDERS + round * 200 + 1;
    let event = |i: i64| ORDERS * 10 + round * 1_000 + i;
    let mut orders = Vec::new();
    let mut executions = Vec::new();
    for (i, id) in (first..first + 200).enumerate() {
        orders.push(format!("I,{}", order(id, "open", event(i as i64), rng)));
        if i % 4 == 0 {
            orders.push(format!("U,{}", order(id, "filled", event(i as i64), rng)));
            executions.push(format!("I,{}", execution(id, 1, event(i as i64), rng)));
        }
    }
    for _ in 0..50 {
        let id = rng.i64(1..ORDERS);
        orders.push(format!("U,{}", order(id, "filled", event(500), rng)));
    }
    for _ in 0..10 {
        let id = rng.i64(1..ORDERS);
        orders.push(format!("D,{}", order(id, "cancelled", event(600), rng)));
    }
    if round == 1 {
        // A row that does not fit: it is set aside, and the others are applied.
        orders.push(order(first, "open", event(700), rng).replacen(&first.to_string(), "I,ten", 1));
    }
    write(schema, &format!("order/20260302-09{round}512345"), orders)?;
    write(
        schema,
        &format!("execution/20260302-09{round}5123456"),
        executions,
    )
}

fn strategy(id: i64, rng: &mut Rng) -> String {
    let name = ["Mean reversion", "Momentum, \"fast\"", "Pairs", "Carry"][rng.usize(0..4)];
    let name = name.replace('"', "\"\"");
    let parameters = format!("{{\"\"window\"\": {}, \"\"cap\"\": null}}", rng.u32(5..200));
    let capital = match id % 7 {
        0 => "NULL".to_owned(),
        _ => format!("{}.50", rng.u32(100_000..9_000_000)),
    };
    format!(
        "{id},S{id:03},\"{name}\",\"{parameters}\",{},{capital},2026-01-05 08:00:00",
        id % 2
    )
}

fn broker(id: i64) -> String {
    let country = ["US", "GB", "DE", "JP"][id as usize % 4];
    format!("{id},\"Broker {id}, {country}\",{country},0.000{id}5,09:30:00,16:00:00")
}

fn order(id: i64, status: &str, event: i64, rng: &mut Rng) -> String {
    let placed = date(2026, 3, 2).at(9, 0, 0, 0) + (id % 20_000).seconds();
    let client = format!("{:08x}-0000-4000-8000-{:012x}", rng.u32(..), id);
    let symbol = ["AAPL", "MSFT", "BRK.B", "VOD"][rng.usize(0..4)];
    let side = ["buy", "sell"][rng.usize(0..2)];
    let limit = match rng.u32(0..5) {
        0 => "NULL".to_owned(),
        _ => format!("{}.{:06}", rng.u32(10..900), rng.u32(0..1_000_000)),
    };
    format!(
        "{id},{},{},{client},{side},{symbol},{},{limit},{status},{}+01,{event}",
        rng.i64(1..=STRATEGIES),
        rng.i64(1..=BROKERS),
        rng.u32(1..500) * 100,
        placed.strftime("%Y-%m-%d %H:%M:%S.%3f")
    )
}

fn execution(order: i64, number: i64, event: i64, rng: &mut Rng) -> String {
    format!(
        "{order},{number},{}.0,{}.{:04},2026-03-04,2026-03-02T10:00:00.{:06}Z,0x{:08X},{event}",
        rng.u32(1..500) * 100,
        rng.u32(10..900),
        rng.u32(0..10_000),
        rng.u32(0..1_000_000),
        rng.u32(..)
    )
}

fn write(schema: &Path, name: &str, rows: Vec<String>) -> io::Result<()> {
    let path = schema.join(format!("{name}.csv.gz"));
    fs::create_dir_all(path.parent().unwrap_or(schema))?;
    let mut file = GzEncoder::new(File::create(path)?, Compression::default());
    for row in rows {
        writeln!(file, "{row}")?;
    }
    file.finish()?.sync_all()
}
