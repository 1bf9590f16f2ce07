//! Sierra: from barcodes to patrons.

use std::collections::{BTreeSet, HashMap};

use watershed::connectors::sql::{Database, Row, Unfit, Value};
use watershed::error::{Error, OrFail as _, Remedy, Result};
use watershed::privacy::Personal;

use super::super::databases::home_library_code;

/// An index stands on the same expression.
const BY_BARCODE: &str = "SELECT record_id, (index_tag || index_entry) AS tagged_barcode \
     FROM sierra_view.phrase_entry WHERE (index_tag || index_entry) IN ({list})";
const BY_ID: &str = "SELECT id, barcode, ptype_code, pcode3, home_library_code \
     FROM sierra_view.patron_view WHERE id IN ({list})";

/// Columns that are read, by table; for `check`.
pub(super) const COLUMNS: &[(&str, &[&str])] = &[
    (
        "sierra_view.phrase_entry",
        &["record_id", "index_tag", "index_entry"],
    ),
    (
        "sierra_view.patron_view",
        &["id", "barcode", "ptype_code", "pcode3", "home_library_code"],
    ),
];

/// What Sierra says about the patron of a barcode; nothing where rows contradict each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Details {
    pub ptype_code: Option<i32>,
    pub pcode3: Option<i32>,
    pub home_library_code: Option<String>,
}

/// The one patron of a barcode.
pub(super) struct Patron {
    pub id: Personal<i64>,
    /// What Sierra says, or the column that could not be read.
    pub details: Result<Details, Unfit>,
}

/// A row of `patron_view`.
struct View {
    barcode: Option<Personal<String>>,
    details: Result<Details, Unfit>,
}

pub(super) struct Sierra {
    pub database: Database,
}

impl Sierra {
    /// The patrons of distinct barcodes; a barcode of nobody, or of several, is left out.
    pub async fn patrons(
        &self,
        barcodes: Vec<Personal<String>>,
    ) -> Result<HashMap<Personal<String>, Patron>> {
        let ids = self.ids(barcodes).await?;
        let distinct: BTreeSet<&Personal<i64>> = ids.values().collect();
        let distinct: Vec<Value> = distinct.into_iter().map(Value::personal_id).collect();
        let mut views: HashMap<Personal<i64>, Vec<View>> = HashMap::new();
        for row in self.database.query_lists(BY_ID, &distinct).await? {
            if let Some(id) = row.personal_integer("id").or_fail(Remedy::FixData, what)? {
                views.entry(id).or_default().push(view(&row));
            }
        }
        let patron = |(barcode, id): (Personal<String>, Personal<i64>)| {
            let details = views
                .get(&id)
                .map_or(Ok(Details::default()), |views| choose(views, &barcode));
            (barcode, Patron { id, details })
        };
        Ok(ids.into_iter().map(patron).collect())
    }

    /// The ids of barcodes that have exactly one.
    async fn ids(
        &self,
        barcodes: Vec<Personal<String>>,
    ) -> Result<HashMap<Personal<String>, Personal<i64>>> {
        let tag = Personal::new("b".to_owned());
        // By the text that Sierra is asked for, so that nothing of its answer has to be cut off.
        let by_tagged: HashMap<Personal<String>, Personal<String>> = barcodes
            .into_iter()
            // PostgreSQL knows no NUL, so that nobody has such a barcode there.
            .filter(|barcode| !barcode.has_nul())
            .map(|barcode| (Personal::join(&[&tag, &barcode], ""), barcode))
            .collect();
        let tagged: Vec<Value> = by_tagged.keys().map(Value::personal_text).collect();
        let mut found: HashMap<Personal<String>, BTreeSet<Personal<i64>>> = HashMap::new();
        for row in self.database.query_lists(BY_BARCODE, &tagged).await? {
            let id = row.personal_integer("record_id");
            let tagged = row.personal_text("tagged_barcode");
            let id = id.or_fail(Remedy::FixData, what)?;
            let tagged = tagged.or_fail(Remedy::FixData, what)?;
            let (Some(id), Some(tagged)) = (id, tagged) else {
                continue;
            };
            let barcode = by_tagged.get(&tagged).ok_or_else(|| {
                Error::new(Remedy::ReportBug, what()).caused_by("it was not asked for")
            })?;
            found.entry(barcode.clone()).or_default().insert(id);
        }
        let only = |(barcode, ids): (_, BTreeSet<Personal<i64>>)| {
            (ids.len() == 1).then(|| Some((barcode, ids.into_iter().next()?)))?
        };
        Ok(found.into_iter().filter_map(only).collect())
    }

    /// Version and columns; for `check`.
    pub async fn check(&self) -> Result<String> {
        let version = self.database.version().await?;
        for (table, columns) in COLUMNS {
            self.database.check_columns(table, columns).await?;
        }
        Ok(version)
    }
}

fn what() -> String {
    "reading a barcode's patron in Sierra".into()
}

fn view(row: &Row) -> View {
    let (barcode, unreadable) = match row.personal_text("barcode") {
        Ok(barcode) => (barcode, None),
        Err(unfit) => (None, Some(unfit)),
    };
    View {
        barcode,
        details: unreadable.map_or_else(|| details(row), Err),
    }
}

fn details(row: &Row) -> Result<Details, Unfit> {
    Ok(Details {
        ptype_code: row.integer32("ptype_code")?,
        pcode3: row.integer32("pcode3")?,
        home_library_code: home_library_code(row)?,
    })
}

/// First the rows with the barcode, if there are any, else all of the patron; then rows that say
/// the same count once. Several that are left contradict each other, and say nothing.
fn choose(views: &[View], barcode: &Personal<String>) -> Result<Details, Unfit> {
    let has_it = |view: &&View| view.barcode.as_ref() == Some(barcode);
    let any_has_it = views.iter().any(|view| has_it(&view));
    let mut distinct: Vec<&Details> = Vec::new();
    for view in views.iter().filter(|view| !any_has_it || has_it(view)) {
        let details = view.details.as_ref().map_err(Clone::clone)?;
        if !distinct.contains(&details) {
            distinct.push(details);
        }
    }
    Ok(match distinct[..] {
        [only] => only.clone(),
        _ => Details::default(),
    })
}
