//! How fast `orders` loads 1,494,975 rows of 10 columns, beside `psql`'s `\copy` of the same file in
//! the same run, and how much memory it takes.
//!
//! Needs `psql` and a server in `WATERSHED_TEST_POSTGRES`, where it makes a database and drops it:
//! `cargo build --release && cargo run --release -p watershed-cli --example orders_speed`.

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;

const ROWS: u64 = 1_494_975;
/// Each is measured so often, by turns; the best counts.
const TIMES: usize = 3;

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

const TABLE: &str = "CREATE TABLE by_psql (order_id bigint PRIMARY KEY, strategy_id int NOT NULL, \
    symbol varchar(16) NOT NULL, side varchar(4) NOT NULL, quantity numeric(18,4) NOT NULL, \
    price numeric(18,6), is_live boolean NOT NULL, placed_at timestamptz NOT NULL, remark text, \
    event_id bigint NOT NULL)";

type Done<T> = Result<T, Box<dyn Error>>;

fn main() -> Done<()> {
    let server = std::env::var("WATERSHED_TEST_POSTGRES")?;
    let folder = std::env::temp_dir().join(format!("orders-speed-{}", std::process::id()));
    let place = folder.join("bucket/dbo/order");
    fs::create_dir_all(&place)?;
    let file = place.join("LOAD00000001.csv.gz");
    write_rows(&file)?;
    fs::write(folder.join("entities.yaml"), ENTITIES)?;
    println!("{ROWS} rows, {} bytes of gzip", fs::metadata(&file)?.len());

    let database = format!("orders_speed_{}", std::process::id());
    let admin = format!("{server}/postgres");
    let target = format!("{server}/{database}?sslmode=disable");
    let drop = format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)");
    let mut best = [Duration::MAX; 3];
    let mut memory = 0;
    for _ in 0..TIMES {
        psql(&admin, &drop)?;
        psql(&admin, &format!("CREATE DATABASE {database}"))?;
        psql(&target, TABLE)?;
        memory = memory.max(measure(&folder, &file, &target, &mut best)?);
    }
    psql(&admin, &drop)?;
    fs::remove_dir_all(&folder)?;
    let seconds = best.map(|time| time.as_secs_f64());
    for (what, seconds_of) in ["psql \\copy", "first load", "all-match reload"]
        .iter()
        .zip(seconds)
    {
        println!(
            "{what:<18} {seconds_of:6.2} s, {:.2} times",
            seconds_of / seconds[0]
        );
    }
    println!("peak memory        {:6.1} MiB", memory as f64 / 1024.0);
    Ok(())
}

/// `\copy`, a first load, and the same file again; gives the peak memory in KiB.
fn measure(folder: &Path, file: &Path, target: &str, best: &mut [Duration; 3]) -> Done<u64> {
    let path = file.display();
    let copy = format!("\\copy by_psql FROM PROGRAM 'gzip -dc {path}' (FORMAT csv, NULL 'NULL')");
    psql(target, "CHECKPOINT")?;
    let began = Instant::now();
    psql(target, &copy)?;
    best[0] = best[0].min(began.elapsed());
    let mut memory = 0;
    for (place, ends) in [(1, "create: 1494975, amend: 0"), (2, "create: 0, amend: 0")] {
        psql(target, "CHECKPOINT")?;
        let began = Instant::now();
        memory = memory.max(watershed(folder, target, ends)?);
        best[place] = best[place].min(began.elapsed());
        // Another version of the same file: every row is there already.
        File::options()
            .append(true)
            .open(file)?
            .set_modified(SystemTime::now())?;
    }
    println!("so far: {best:.2?}");
    Ok(memory)
}

/// Runs the program once; gives its peak memory in KiB.
fn watershed(folder: &Path, target: &str, ends: &str) -> Done<u64> {
    let example = std::env::current_exe()?;
    let build = example.parent().and_then(Path::parent);
    let program: PathBuf = build.ok_or("no build folder")?.join("watershed");
    let mut child = Command::new(&program)
        .args(["run", "orders"])
        .env("ENTITIES", folder.join("entities.yaml"))
        .env(
            "SOURCE",
            format!("file:{}", folder.join("bucket").display()),
        )
        .env("TARGET", target)
        .env("RUN_AS_SERVICE", "False")
        .stderr(Stdio::piped())
        .spawn()?;
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait()?.is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        peak = peak.max(kib.unwrap_or(0));
        std::thread::sleep(Duration::from_millis(20));
    }
    let ended = child.wait_with_output()?;
    let log = String::from_utf8_lossy(&ended.stderr);
    match ended.status.success() && log.contains(ends) {
        true => Ok(peak),
        false => Err(format!("{} did not say `{ends}`:\n{log}", program.display()).into()),
    }
}

fn psql(url: &str, command: &str) -> Done<()> {
    let status = Command::new("psql")
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", command, url])
        .stdout(Stdio::null())
        .status()?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("psql failed: {command}").into()),
    }
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
