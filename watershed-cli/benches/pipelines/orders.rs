//! A large file into PostgreSQL: its floor is `psql`'s `\\copy` of the same file.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::SystemTime;

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use super::measure::{AgainstFloor, AgainstPeer, Found, Taken, peer, seconds, watershed};

const ROWS: u64 = 1_494_975;
/// Each is measured so often, by turns; the best counts.
const TIMES: usize = 3;
/// What is measured, in this order.
const NAMES: [&str; 2] = ["first load", "reload of equal rows"];

const ENTITIES: &str = "\
source: speed
process: orders
schema: dbo
event_id: event_id
entities:
  - name: order
    key: [order_id]
    columns:
      order_id: bigint
      strategy_id: int not null
      symbol: varchar(16) not null
      side: varchar(4) not null
      quantity: numeric(18,4) not null
      price: numeric(18,6)
      is_live: boolean not null
      placed_at: timestamptz not null
      remark: text
      event_id: bigint not null
";

const COLUMNS: &str =
    "order_id,strategy_id,symbol,side,quantity,price,is_live,placed_at,remark,event_id";

const TABLE: &str = "CREATE TABLE by_psql (order_id bigint PRIMARY KEY, strategy_id int NOT NULL, \
    symbol varchar(16) NOT NULL, side varchar(4) NOT NULL, quantity numeric(18,4) NOT NULL, \
    price numeric(18,6), is_live boolean NOT NULL, placed_at timestamptz NOT NULL, remark text, \
    event_id bigint NOT NULL)";

/// The first load of a table, and the same file again, of which no row is new.
pub fn orders() -> Found {
    let Ok(server) = std::env::var("WATERSHED_TEST_POSTGRES") else {
        eprintln!("orders: left out, because WATERSHED_TEST_POSTGRES is not set");
        return Found::default();
    };
    let folder = TempDir::new().expect("a folder");
    let place = folder.path().join("bucket/dbo/order");
    fs::create_dir_all(&place).expect("a folder of our own");
    let file = place.join("LOAD00000001.csv.gz");
    write_rows(&file).expect("a file of our own");
    fs::write(folder.path().join("entities.yaml"), ENTITIES).expect("entities");

    let database = format!("orders_speed_{}", std::process::id());
    let target = format!("{server}/{database}?sslmode=disable");
    let settings = format!(
        "ENTITIES: entities.yaml\nSOURCE: file:bucket\nTARGET: {target}\nRUN_AS_SERVICE: False\n"
    );
    fs::write(folder.path().join("settings.yaml"), settings).expect("settings");
    let admin = format!("{server}/postgres");
    let drop = format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)");
    let mut floor = f64::INFINITY;
    let mut loads: [Option<Taken>; 2] = [None, None];
    for _ in 0..TIMES {
        psql(&admin, &drop);
        psql(&admin, &format!("CREATE DATABASE {database}"));
        psql(&target, TABLE);
        psql(&target, "CHECKPOINT");
        floor = floor.min(seconds(|| copy(&target, &file)));
        for (load, counts) in loads.iter_mut().zip([
            format!("create: {ROWS}, amend: 0"),
            "create: 0, amend: 0".to_owned(),
        ]) {
            psql(&target, "CHECKPOINT");
            let arguments = ["run", "orders", "--config", "settings.yaml"];
            let mut taken = watershed(folder.path(), &arguments);
            assert!(taken.log.contains(&counts), "{}", taken.log);
            // Another version of the same file: every row is there already.
            let again = File::options().append(true).open(&file).expect("the file");
            again
                .set_modified(SystemTime::now())
                .expect("it is our own");
            if let Some(before) = load {
                taken.peak_mib = taken.peak_mib.max(before.peak_mib);
                taken.seconds = taken.seconds.min(before.seconds);
            }
            *load = Some(taken);
        }
    }
    let loads: Vec<Taken> = loads.into_iter().flatten().collect();
    let peers = peers(&folder.path().join("named.csv.gz"), &file, &target, &loads);
    psql(&admin, &drop);
    let lines = NAMES.iter().zip(&loads).map(|(name, taken)| AgainstFloor {
        pipeline: "orders",
        what: format!(
            "{name}: {ROWS} rows ({:.0} a second)",
            ROWS as f64 / taken.seconds
        ),
        seconds: taken.seconds,
        peak_mib: taken.peak_mib,
        floor,
        of: "`\\copy` of the same file with `psql`".to_owned(),
    });
    Found {
        floors: lines.collect(),
        peers,
    }
}

/// The same rows by others, into tables as they make them: without types as narrow as ours, and
/// some without a primary key. Their file begins with the names of the columns, which they need.
fn peers(named: &Path, file: &Path, target: &str, loads: &[Taken]) -> Vec<AgainstPeer> {
    let mut head = GzEncoder::new(Vec::new(), Compression::default());
    writeln!(head, "{COLUMNS}").expect("memory takes all");
    let mut bytes = head.finish().expect("memory takes all");
    bytes.extend(fs::read(file).expect("our own file"));
    fs::write(named, bytes).expect("a file of our own");

    let mut lines = Vec::new();
    for tool in ["sling", "dlt"] {
        for ((mode, what), ours) in ["load", "reload"].iter().zip(NAMES).zip(loads) {
            psql(target, "CHECKPOINT");
            let named = named.display().to_string();
            let Some((theirs, peer)) = peer(&[tool, mode, &named, target]) else {
                continue;
            };
            lines.push(AgainstPeer {
                what: format!("{what}: {ROWS} rows into PostgreSQL"),
                peer,
                ours: ours.seconds,
                theirs,
            });
        }
    }
    lines
}

fn copy(target: &str, file: &Path) {
    let from = format!("PROGRAM 'gzip -dc {}'", file.display());
    psql(
        target,
        &format!("\\copy by_psql FROM {from} (FORMAT csv, NULL 'NULL')"),
    );
}

fn psql(url: &str, command: &str) {
    let status = Command::new("psql")
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", command, url])
        .stdout(Stdio::null())
        .status();
    assert!(status.expect("psql runs").success(), "{command}");
}

fn write_rows(path: &Path) -> std::io::Result<()> {
    let mut random = fastrand::Rng::with_seed(42);
    let mut file = BufWriter::new(GzEncoder::new(File::create(path)?, Compression::default()));
    for id in 1..=ROWS {
        let price = match id % 11 {
            0 => "NULL".to_owned(),
            _ => format!("{}.{:06}", random.u32(1..10_000), random.u32(0..1_000_000)),
        };
        let remark = ["\"a remark, quoted\"", "NULL", "plain", "plain", "\"\""][id as usize % 5];
        writeln!(
            file,
            "{id},{},S{:05},{},{}.{:04},{price},{},2022-09-{:02} {:02}:{:02}:{:02}.{:03},{remark},{}",
            random.u32(1..500),
            random.u32(0..20_000),
            if random.bool() { "buy" } else { "sell" },
            random.u32(1..100_000),
            random.u32(0..10_000),
            random.u8(0..2),
            random.u8(1..30),
            random.u8(0..24),
            random.u8(0..60),
            random.u8(0..60),
            random.u16(0..1_000),
            1_000_000_000 + id
        )?;
    }
    file.into_inner()?.finish()?.sync_all()
}
