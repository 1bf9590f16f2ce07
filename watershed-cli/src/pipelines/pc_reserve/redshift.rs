//! Redshift: where the patrons live, by what `patron-info` delivered.

use std::collections::{BTreeSet, HashMap};

use watershed::connectors::sql::{Database, Value};
use watershed::error::{OrFail as _, Remedy, Result};
use watershed::privacy::Pseudonym;

/// Columns that are read; for `check`.
const COLUMNS: &[&str] = &["patron_id", "postal_code", "geoid"];

const BY_PATRON: &str =
    "SELECT patron_id, postal_code, geoid FROM {table} WHERE patron_id IN ({list})";

/// Where a patron lives, as it is stored.
#[derive(Clone, Default)]
pub(super) struct Area {
    pub postal_code: Option<String>,
    pub geoid: Option<String>,
}

pub(super) struct Redshift {
    pub database: Database,
    /// Quoted.
    pub table: String,
}

/// What was found for a page's patrons.
pub(super) struct Areas {
    /// By patron.
    pub areas: HashMap<String, Area>,
    /// Patrons with more than one row, of whom nothing is said.
    pub ambiguous: u64,
}

impl Redshift {
    /// The areas of patrons.
    pub async fn areas(&self, patrons: BTreeSet<&Pseudonym>) -> Result<Areas> {
        let patrons: Vec<Value> = patrons
            .into_iter()
            .map(|patron| Value::Text(patron.to_string()))
            .collect();
        let sql = BY_PATRON.replace("{table}", &self.table);
        let what = || format!("reading the table {} of Redshift", self.table);
        let mut found: HashMap<String, Vec<Area>> = HashMap::new();
        for row in self.database.query_lists(&sql, &patrons).await? {
            let text = |column| row.text(column).or_fail(Remedy::FixData, what);
            if let Some(patron) = text("patron_id")? {
                found.entry(patron).or_default().push(Area {
                    postal_code: text("postal_code")?,
                    geoid: text("geoid")?,
                });
            }
        }
        let mut areas = HashMap::with_capacity(found.len());
        let mut ambiguous = BTreeSet::new();
        for (patron, mut rows) in found {
            match rows.pop() {
                Some(area) if rows.is_empty() => drop(areas.insert(patron, area)),
                _ => drop(ambiguous.insert(patron)),
            }
        }
        if !ambiguous.is_empty() {
            let list: Vec<&str> = ambiguous.iter().map(String::as_str).collect();
            tracing::warn!(
                "More than one Redshift row found for these patrons: {}",
                list.join(", ")
            );
        }
        Ok(Areas {
            areas,
            ambiguous: ambiguous.len() as u64,
        })
    }

    /// Version and columns; for `check`.
    pub async fn check(&self) -> Result<String> {
        let version = self.database.version().await?;
        self.database.check_columns(&self.table, COLUMNS).await?;
        Ok(version)
    }
}
