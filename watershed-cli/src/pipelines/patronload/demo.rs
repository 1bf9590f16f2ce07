//! Invented staff and students for the demo: a data warehouse as a SQLite file.

use std::fs;
use std::path::Path;

use fastrand::Rng;
use rusqlite::{Connection, ToSql};
use watershed::error::{OrFail as _, Remedy, Result};

use super::patron::Kind;

const STAFF: u32 = 400;
const STUDENTS: u32 = 2_400;
/// Every so many-th student works there, too, and is staff.
const BOTH: u32 = 60;

const FIRST: &[&str] = &[
    "Ada", "Benoît", "Chipo", "Dalia", "Emre", "Femi", "Grace", "Hùng", "Ines", "Jun",
];
const LAST: &[&str] = &[
    "Quillfeather",
    "O'Marrow",
    "Vantongeren",
    "Ås",
    "Brightwater",
    "de la Peña",
];

/// Writes everything that a run needs below `folder`.
pub(super) async fn prepare(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)
        .or_fail(Remedy::FixAccess, || format!("making {}", folder.display()))?;
    warehouse(&folder.join("warehouse.db")).or_fail(Remedy::FixAccess, || {
        "making the demo's data warehouse".into()
    })?;
    let place = folder.display();
    let settings = format!(
        "\
# The demo's settings. Again: watershed run patronload --config {place}/settings.yaml
DATA_WAREHOUSE_URL: sqlite:{place}/warehouse.db
OUTPUT_URL: file:{place}/alma
MAIL_URL: file:{place}/mail
SES_SEND_FROM_EMAIL: watershed@example.org
SES_RECIPIENT_EMAIL: library@example.org
WORKSPACE: demo
AS_OF: 2026-03-02 12:00:00Z
"
    );
    let path = folder.join("settings.yaml");
    fs::write(&path, settings).or_fail(Remedy::FixAccess, || format!("writing {}", path.display()))
}

type Values = Vec<Option<String>>;

fn warehouse(path: &Path) -> rusqlite::Result<()> {
    let mut rng = Rng::with_seed(17);
    let mut connection = Connection::open(path)?;
    let transaction = connection.transaction()?;
    for kind in Kind::ALL {
        let columns: Vec<String> = kind
            .columns()
            .iter()
            .map(|name| format!("{name} TEXT"))
            .collect();
        let (table, columns) = (kind.table(), columns.join(", "));
        transaction.execute(&format!("CREATE TABLE {table} ({columns})"), [])?;
        let places = vec!["?"; kind.columns().len()].join(", ");
        let insert = format!("INSERT INTO {table} VALUES ({places})");
        let number = match kind {
            Kind::Staff => STAFF,
            Kind::Student => STUDENTS,
        };
        for i in 0..number {
            let mut values: Vec<Box<dyn ToSql>> = Vec::new();
            for value in patron(kind, i, &mut rng) {
                values.push(Box::new(value));
            }
            if kind == Kind::Student && i == 1_234 {
                // Bytes that are no text: this one is set aside.
                values[10] = Box::new(b"Sch\xf6ne Aussicht".to_vec());
            }
            let values = values.iter().map(|value| &**value);
            transaction
                .prepare_cached(&insert)?
                .execute(rusqlite::params_from_iter(values))?;
        }
    }
    transaction.commit()
}

fn patron(kind: Kind, i: u32, rng: &mut Rng) -> Values {
    let some = |text: &str| Some(text.to_owned());
    // A student who works there has the account of a member of staff.
    let (letter, number) = match kind {
        Kind::Student if i.is_multiple_of(BOTH) => ('E', i / BOTH),
        Kind::Student => ('S', i),
        Kind::Staff => ('E', i),
    };
    let first = FIRST[rng.usize(..FIRST.len())];
    let last = LAST[rng.usize(..LAST.len())];
    let name = format!("{letter}{number:05}");
    let called = match rng.u32(0..4) {
        0 => some(FIRST[rng.usize(..FIRST.len())]),
        1 => some(&first.to_uppercase()),
        _ => None,
    };
    let phone = |rng: &mut Rng| {
        let number = format!("617555{:04}", rng.u32(0..10_000));
        (rng.u32(0..3) > 0).then_some(number)
    };
    let mut values = vec![
        Some(format!("9{letter}{number:07}")),
        (i % 50 != 7).then(|| format!("{}@example.org", name.to_lowercase())),
        // A few have no account yet.
        (i % 97 != 5).then_some(name),
        match i % 9 {
            0 => some("NONE"),
            1 => None,
            _ => Some(format!("2{letter}{number:012}")),
        },
        called,
        None,
        some(last),
        some(first),
        (rng.u32(0..3) == 0).then(|| FIRST[rng.usize(..FIRST.len())].to_owned()),
        some(last),
    ];
    match kind {
        Kind::Staff => values.extend([
            Some(format!("14S-{}", rng.u32(100..400))),
            phone(rng),
            some("2030-06-30"),
            some("21"),
            some("Staff - Campus"),
            some(["10000554", "10002466", "10000536", "99999999"][rng.usize(..4)]),
            // A tab that somebody typed stays, a bell does not.
            some(["Libraries", "Physics & Friends", "Bell\u{7}works"][rng.usize(..3)]),
            some("Librarian"),
            some("Librarian"),
        ]),
        Kind::Student => values.extend([
            Some(format!("{} Vassar Street", rng.u32(1..600))),
            None,
            some("Cambridge"),
            some("MA"),
            some("02139"),
            phone(rng),
            phone(rng),
            phone(rng),
            some(["1", "2", "3", "4", "U", "G", "G", ""][rng.usize(..8)]),
            some(["6", "8", "18", "NIW", "XX"][rng.usize(..5)]),
        ]),
    }
    values
}
