//! Redshift: what was delivered about patrons before.

use std::collections::HashMap;

use watershed::connectors::sql::{Database, Row, Unfit, Value};
use watershed::error::{OrFail as _, Remedy, Result};
use watershed::privacy::Pseudonym;

/// Columns that are read; for `check`. The first is never compared between rows.
pub(super) const COLUMNS: &[&str] = &[
    "patron_id",
    "address_hash",
    "postal_code",
    "geoid",
    "creation_date_et",
    "circ_active_date_et",
    "ptype_code",
    "pcode3",
    "patron_home_library_code",
    "initial_patron_home_library_code",
];

const BY_ADDRESS: &str = "SELECT address_hash, patron_id, geoid, circ_active_date_et, initial_patron_home_library_code \
     FROM {table} WHERE address_hash IN ({list})";
const INITIAL_CODES: &str = "SELECT patron_id, circ_active_date_et, initial_patron_home_library_code \
     FROM {table} WHERE patron_id IN ({list}) AND initial_patron_home_library_code IS NOT NULL";
const BY_PATRON: &str = "SELECT patron_id, address_hash, postal_code, geoid, creation_date_et, circ_active_date_et, \
     ptype_code, pcode3, patron_home_library_code, initial_patron_home_library_code \
     FROM {table} WHERE patron_id IN ({list})";

pub(super) struct Redshift {
    pub database: Database,
    /// Quoted.
    pub table: String,
}

/// What several rows say of one column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Agreed {
    /// None has a value.
    Nothing,
    /// All that have a value have this one: NULL is no disagreement.
    On(String),
    /// They differ; this is the value of the row that was active last.
    Not(String),
}

impl Agreed {
    /// The value, of the row that was active last where they differ.
    pub fn latest(self) -> Option<String> {
        match self {
            Agreed::Nothing => None,
            Agreed::On(value) | Agreed::Not(value) => Some(value),
        }
    }
}

/// The columns of a row in the order of [`COLUMNS`], as text; those that were not asked for are
/// NULL as well.
type Texts = [Option<String>; COLUMNS.len()];

/// All rows of one address hash or patron.
#[derive(Debug)]
pub(super) struct Rows(Vec<Texts>);

impl Rows {
    pub fn agreed(&self, column: &str) -> Agreed {
        let place = place(column);
        let mut values = self.0.iter().filter_map(|row| row[place].as_ref());
        let Some(latest) = values.next() else {
            return Agreed::Nothing;
        };
        if values.all(|value| value == latest) {
            Agreed::On(latest.clone())
        } else {
            Agreed::Not(latest.clone())
        }
    }

    /// Whether the rows differ in any column.
    pub fn differ(&self) -> bool {
        COLUMNS
            .iter()
            .any(|column| matches!(self.agreed(column), Agreed::Not(_)))
    }
}

impl Redshift {
    /// Rows by address hash.
    pub async fn by_address(&self, hashes: &[Pseudonym]) -> Result<HashMap<String, Rows>> {
        self.look_up(BY_ADDRESS, "address_hash", hashes).await
    }

    /// Rows by patron.
    pub async fn by_patron(&self, patrons: &[Pseudonym]) -> Result<HashMap<String, Rows>> {
        self.look_up(BY_PATRON, "patron_id", patrons).await
    }

    /// Initial home library codes by patron; patrons without one are left out.
    pub async fn initial_codes(&self, patrons: &[Pseudonym]) -> Result<HashMap<String, Rows>> {
        self.look_up(INITIAL_CODES, "patron_id", patrons).await
    }

    async fn look_up(
        &self,
        sql: &str,
        key: &'static str,
        values: &[Pseudonym],
    ) -> Result<HashMap<String, Rows>> {
        let mut distinct: Vec<&str> = values.iter().map(Pseudonym::as_str).collect();
        distinct.sort_unstable();
        distinct.dedup();
        let values: Vec<Value> = distinct
            .iter()
            .map(|&value| Value::Text(value.to_owned()))
            .collect();
        let sql = sql.replace("{table}", &self.table);
        let mut found: HashMap<String, Rows> = HashMap::new();
        for row in self.database.query_lists(&sql, &values).await? {
            let row = texts(&row).or_fail(Remedy::FixData, || {
                format!("reading the table {} of Redshift", self.table)
            })?;
            if let Some(key) = row[place(key)].clone() {
                found
                    .entry(key)
                    .or_insert_with(|| Rows(Vec::new()))
                    .0
                    .push(row);
            }
        }
        for rows in found.values_mut() {
            // The row that was active last comes first; then a fixed order, so that the result
            // does not hang on the server's.
            let active = place("circ_active_date_et");
            rows.0
                .sort_by(|a, b| b[active].cmp(&a[active]).then_with(|| a.cmp(b)));
        }
        Ok(found)
    }
}

/// Columns whose empty text is as good as none.
const NAMES: &[&str] = &["patron_id", "address_hash", "geoid"];

fn place(column: &str) -> usize {
    let place = COLUMNS.iter().position(|name| *name == column);
    place.expect("only columns of the list are asked for")
}

fn texts(row: &Row) -> Result<Texts, Unfit> {
    let mut texts = Texts::default();
    for (text, column) in texts.iter_mut().zip(COLUMNS) {
        if row.has(column) {
            // An empty text names nobody and no tract.
            *text = row
                .text(column)?
                .filter(|text| !text.is_empty() || !NAMES.contains(column));
        }
    }
    Ok(texts)
}
