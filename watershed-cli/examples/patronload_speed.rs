//! How fast `patronload` writes its files, and in how much memory: staff and students from a SQLite
//! warehouse into a local folder.
//!
//! ```sh
//! cargo run --release -p watershed-cli --example patronload_speed -- 100000 500000
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Instant;

use fastrand::Rng;
use rusqlite::{Connection, params};
use watershed::settings::{Settings, Sources};
use watershed_cli::pipelines::{Job, Options, patronload};

const TABLES: &str = "
    CREATE TABLE LIBRARY_EMPLOYEE (MIT_ID TEXT, EMAIL_ADDRESS TEXT, KRB_NAME_UPPERCASE TEXT, LIBRARY_ID TEXT,
        PREFERRED_FIRST_NAME TEXT, PREFERRED_MIDDLE_NAME TEXT, PREFERRED_LAST_NAME TEXT, LEGAL_FIRST_NAME TEXT,
        LEGAL_MIDDLE_NAME TEXT, LEGAL_LAST_NAME TEXT, OFFICE_ADDRESS TEXT, OFFICE_PHONE TEXT, APPOINTMENT_END_DATE TEXT,
        LIBRARY_PERSON_TYPE_CODE TEXT, LIBRARY_PERSON_TYPE TEXT, ORG_UNIT_ID TEXT, ORG_UNIT_TITLE TEXT,
        POSITION_TITLE TEXT, DIRECTORY_TITLE TEXT);
    CREATE TABLE LIBRARY_STUDENT (MIT_ID TEXT, EMAIL_ADDRESS TEXT, KRB_NAME_UPPERCASE TEXT, LIBRARY_ID TEXT,
        PREFERRED_FIRST_NAME TEXT, PREFERRED_MIDDLE_NAME TEXT, PREFERRED_LAST_NAME TEXT, LEGAL_FIRST_NAME TEXT,
        LEGAL_MIDDLE_NAME TEXT, LEGAL_LAST_NAME TEXT, TERM_STREET1 TEXT, TERM_STREET2 TEXT, TERM_CITY TEXT,
        TERM_STATE TEXT, TERM_ZIP TEXT, TERM_PHONE1 TEXT, TERM_PHONE2 TEXT, OFFICE_PHONE TEXT, STUDENT_YEAR TEXT,
        HOME_DEPARTMENT TEXT);";

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u32| {
        arguments
            .next()
            .map_or(default, |n| n.parse().expect("a number"))
    };
    let (staff, students) = (number(100_000), number(500_000));
    let folder = tempfile::tempdir().expect("a folder");
    warehouse(&folder.path().join("warehouse.db"), staff, students).expect("a warehouse");

    let place = folder.path().display().to_string();
    let values = [
        ("DATA_WAREHOUSE_URL", format!("sqlite:{place}/warehouse.db")),
        ("OUTPUT_URL", format!("file:{place}/alma")),
        ("MAIL_URL", format!("file:{place}/mail")),
        ("WORKSPACE", "speed".into()),
        ("SES_SEND_FROM_EMAIL", "a@example.org".into()),
        ("SES_RECIPIENT_EMAIL", "b@example.org".into()),
    ];
    let values = values.map(|(name, text)| (name.to_owned(), text));
    let sources = Sources {
        environment: BTreeMap::from(values),
        ..Sources::default()
    };
    let job: &Job = &patronload::JOB;
    let settings = Settings::gather(job.all_settings(), &[], &sources);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    forget_peak();
    let start = Instant::now();
    let outcome = runtime.block_on((job.run)(&settings, &Options::default()));
    let seconds = start.elapsed().as_secs_f64();
    outcome.result.expect("the run goes well");

    let written: u64 = outcome.report.modes.iter().map(|mode| mode.delivered).sum();
    let zips = fs::read_dir(folder.path().join("alma")).expect("zips");
    let bytes: u64 = zips
        .map(|zip| zip.expect("a zip").metadata().expect("a size").len())
        .sum();
    println!(
        "{written} patrons in {seconds:.2} s: {:.0} a second; {:.1} MB of zips; peak memory {} MiB",
        written as f64 / seconds,
        bytes as f64 / 1e6,
        peak_mebibytes()
    );
}

fn warehouse(path: &Path, staff: u32, students: u32) -> rusqlite::Result<()> {
    let mut rng = Rng::with_seed(17);
    let mut connection = Connection::open(path)?;
    connection.execute_batch(TABLES)?;
    let transaction = connection.transaction()?;
    for (letter, table, number) in [
        ('E', "LIBRARY_EMPLOYEE", staff),
        ('S', "LIBRARY_STUDENT", students),
    ] {
        let more = if letter == 'E' { 9 } else { 10 };
        let places = vec!["?"; 10 + more].join(", ");
        let mut insert = transaction.prepare(&format!("INSERT INTO {table} VALUES ({places})"))?;
        for i in 0..number {
            let word = |rng: &mut Rng| -> String {
                (0..rng.usize(4..10)).map(|_| rng.lowercase()).collect()
            };
            let id = format!("9{:08}", rng.u32(..100_000_000));
            let name = format!("{letter}{}{i}", word(&mut rng).to_uppercase());
            let (email, barcode) = (format!("{name}@example.org"), format!("29{i:012}"));
            let (first, last) = (word(&mut rng), word(&mut rng));
            let phone = format!("617{:07}", rng.u32(..10_000_000));
            if letter == 'E' {
                insert.execute(params![
                    id,
                    email,
                    name,
                    barcode,
                    first,
                    None::<String>,
                    last,
                    word(&mut rng),
                    None::<String>,
                    last,
                    format!("{}-{}", rng.u32(1..70), rng.u32(100..600)),
                    phone,
                    "2030-06-30",
                    "21",
                    "Staff - Campus",
                    "10000536",
                    "Libraries",
                    "Librarian",
                    "Librarian"
                ])?;
            } else {
                insert.execute(params![
                    id,
                    email,
                    name,
                    barcode,
                    None::<String>,
                    None::<String>,
                    last,
                    first,
                    word(&mut rng),
                    last,
                    format!("{} {} Street", rng.u32(1..900), word(&mut rng)),
                    None::<String>,
                    "Cambridge",
                    "MA",
                    "02139",
                    phone,
                    None::<String>,
                    None::<String>,
                    "G",
                    "6"
                ])?;
            }
        }
    }
    transaction.commit()
}

/// Lets the kernel forget how much memory was in use so far: making the warehouse took some.
fn forget_peak() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

fn peak_mebibytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or_default() / 1024
}
