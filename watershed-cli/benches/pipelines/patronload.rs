//! A snapshot of all patrons: its floor is to deflate its XML, and nothing else.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;

use fastrand::Rng;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use rusqlite::{Connection, params};
use tempfile::TempDir;
use zip::ZipArchive;

use super::measure::{AgainstFloor, Found, seconds, watershed};

const STAFF: u32 = 100_000;
const STUDENTS: u32 = 500_000;

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

/// Staff and students from SQLite into zips in a local folder. The floor is what one core needs to
/// deflate the same XML from memory, as fast as it can.
pub fn patronload() -> Found {
    let folder = TempDir::new().expect("a folder");
    warehouse(&folder.path().join("warehouse.db")).expect("a warehouse");
    let settings = "DATA_WAREHOUSE_URL: sqlite:warehouse.db\nOUTPUT_URL: file:alma\nMAIL_URL: file:mail\n\
        WORKSPACE: speed\nSES_SEND_FROM_EMAIL: a@example.org\nSES_RECIPIENT_EMAIL: b@example.org\n";
    fs::write(folder.path().join("settings.yaml"), settings).expect("settings");
    let arguments = ["run", "patronload", "--config", "settings.yaml"];
    let taken = watershed(folder.path(), &arguments);
    for (kind, number) in [("staff", STAFF), ("student", STUDENTS)] {
        let written = format!("{kind}: {number} rows read, {number} patrons written");
        assert!(taken.log.contains(&written), "{}", taken.log);
    }
    let texts = texts(&folder.path().join("alma"));
    let megabytes = texts.iter().map(Vec::len).sum::<usize>() / 1_000_000;
    let floor = seconds(|| texts.iter().for_each(|text| deflate(text)));
    AgainstFloor {
        pipeline: "patronload",
        what: format!(
            "{} patrons from SQLite ({:.0} a second)",
            STAFF + STUDENTS,
            f64::from(STAFF + STUDENTS) / taken.seconds
        ),
        seconds: taken.seconds,
        peak_mib: taken.peak_mib,
        floor,
        of: format!("deflating {megabytes} MB of XML from memory on one core"),
    }
    .into()
}

/// What the zips hold.
fn texts(folder: &Path) -> Vec<Vec<u8>> {
    let zips = fs::read_dir(folder).expect("zips");
    let read = |zip: fs::DirEntry| {
        let file = fs::File::open(zip.path()).expect("a zip");
        let mut archive = ZipArchive::new(file).expect("a zip");
        let mut text = Vec::new();
        let mut entry = archive.by_index(0).expect("a file in the zip");
        entry.read_to_end(&mut text).expect("its text");
        text
    };
    zips.map(|zip| read(zip.expect("a zip"))).collect()
}

fn deflate(text: &[u8]) {
    let mut encoder = DeflateEncoder::new(std::io::sink(), Compression::fast());
    encoder.write_all(text).expect("memory takes all");
    encoder.finish().expect("memory takes all");
}

fn warehouse(path: &Path) -> rusqlite::Result<()> {
    let mut rng = Rng::with_seed(17);
    let mut connection = Connection::open(path)?;
    connection.execute_batch(TABLES)?;
    let transaction = connection.transaction()?;
    for (letter, table, number) in [
        ('E', "LIBRARY_EMPLOYEE", STAFF),
        ('S', "LIBRARY_STUDENT", STUDENTS),
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
