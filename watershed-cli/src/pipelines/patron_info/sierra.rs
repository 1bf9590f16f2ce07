//! Sierra: pages of patrons.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use watershed::connectors::sql::{Database, Row, Unfit, Value};
use watershed::error::{Error, OrFail as _, Remedy, Result};
use watershed::geocoding::Address;
use watershed::pipeline::Page;
use watershed::privacy::Personal;
use watershed::time::local_date;

use super::super::databases::home_library_code;
use super::cursor::{ChangeCursor, DeletionCursor};

const CHANGED: &str = include_str!("changed.sql");
const DELETED: &str = include_str!("deleted.sql");

/// Columns that are read, by table; for `check`.
pub(super) const COLUMNS: &[(&str, &[&str])] = &[
    (
        "sierra_view.record_metadata",
        &[
            "id",
            "record_type_code",
            "creation_date_gmt",
            "record_last_updated_gmt",
            "deletion_date_gmt",
        ],
    ),
    (
        "sierra_view.patron_record_address",
        &[
            "patron_record_id",
            "display_order",
            "patron_record_address_type_id",
            "addr1",
            "city",
            "region",
            "postal_code",
        ],
    ),
    (
        "sierra_view.patron_view",
        &[
            "id",
            "ptype_code",
            "pcode3",
            "home_library_code",
            "activity_gmt",
        ],
    ),
];

/// A patron who was created or updated.
pub(super) struct Patron {
    pub id: Personal<i64>,
    /// Time of the creation or update that the cursor follows.
    pub at: Timestamp,
    /// What Sierra says, or the column that could not be read.
    pub details: Result<Details, Unfit>,
}

/// What Sierra says about a patron, with New York dates.
pub(super) struct Details {
    pub creation_date_et: Option<Date>,
    pub deletion_date_et: Option<Date>,
    pub circ_active_date_et: Option<Date>,
    pub ptype_code: Option<i32>,
    pub pcode3: Option<i32>,
    pub home_library_code: Option<String>,
    pub address: Address,
    /// The first five characters of the postal code; nothing when it is NULL.
    pub postal_area: Option<String>,
}

/// A patron who was deleted.
pub(super) struct Deletion {
    pub id: Personal<i64>,
    pub date: Date,
}

pub(super) struct Sierra {
    pub database: Database,
    pub zone: TimeZone,
    /// Exclusive upper bound of every page.
    pub bound: Timestamp,
}

impl Sierra {
    /// An embedded file compares instants as text, so that one of another form would be lost.
    pub async fn check_instants(&self) -> Result<()> {
        for column in ["creation_date_gmt", "record_last_updated_gmt"] {
            self.database
                .check_instants("sierra_view.record_metadata", column)
                .await?;
        }
        Ok(())
    }

    /// A page of patrons by the time in `column`.
    pub async fn changed(
        &self,
        column: &'static str,
        after: &ChangeCursor,
        limit: usize,
    ) -> Result<Page<Patron, ChangeCursor>> {
        let parameters = [
            Value::Instant(after.at),
            Value::personal_id(&after.id),
            Value::Instant(self.bound),
            Value::Integer(limit as i64),
        ];
        let rows = self
            .database
            .query(&CHANGED.replace("{column}", column), &parameters)
            .await?;
        let mut patrons: Vec<(ChangeCursor, Patron)> = Vec::new();
        for row in &rows {
            let (id, at) = place(row, Row::instant, column)?;
            // The first row of a patron counts; the others hold further addresses.
            if patrons.last().is_some_and(|(_, last)| last.id == id) {
                continue;
            }
            let details = self.details(row);
            patrons.push((after.behind(at, id.clone()), Patron { id, at, details }));
        }
        let more = patrons.len() == limit;
        Page::new(after, patrons, more)
    }

    /// A page of deleted patrons by date. Today's (UTC) are left for later, because the column
    /// knows no time of day.
    pub async fn deleted(
        &self,
        after: &DeletionCursor,
        limit: usize,
    ) -> Result<Page<Deletion, DeletionCursor>> {
        let today = local_date(self.bound, &TimeZone::UTC);
        let parameters = [
            Value::Date(after.date),
            Value::personal_id(&after.id),
            Value::Date(today),
            Value::Integer(limit as i64),
        ];
        let rows = self.database.query(DELETED, &parameters).await?;
        let mut deletions = Vec::with_capacity(rows.len());
        for row in &rows {
            let (id, date) = place(row, Row::date, "deletion_date_gmt")?;
            deletions.push((
                DeletionCursor {
                    date,
                    id: id.clone(),
                },
                Deletion { id, date },
            ));
        }
        let more = deletions.len() == limit;
        Page::new(after, deletions, more)
    }

    fn details(&self, row: &Row) -> Result<Details, Unfit> {
        let day = |instant: Timestamp| local_date(instant, &self.zone);
        let address_part = |column: &str| -> Result<Option<Personal<String>>, Unfit> {
            Ok(row.personal_text(column)?.map(|text| text.trimmed()))
        };
        let postal_code = address_part("postal_code")?;
        Ok(Details {
            creation_date_et: row.instant("creation_date_gmt")?.map(day),
            deletion_date_et: row.date("deletion_date_gmt")?,
            circ_active_date_et: row.instant("activity_gmt")?.map(day),
            ptype_code: row.integer32("ptype_code")?,
            pcode3: row.integer32("pcode3")?,
            home_library_code: home_library_code(row)?,
            postal_area: postal_code.as_ref().map(|code| code.area(5)),
            address: Address {
                street: address_part("addr1")?.unwrap_or_default(),
                city: address_part("city")?.unwrap_or_default(),
                region: address_part("region")?.unwrap_or_default(),
                postal_code: postal_code.unwrap_or_default(),
            },
        })
    }
}

/// Id and time of a row: without them there is no cursor, so that such a row stops the run.
fn place<T>(
    row: &Row,
    time: impl Fn(&Row, &str) -> Result<Option<T>, Unfit>,
    column: &str,
) -> Result<(Personal<i64>, T)> {
    let what = || "reading a patron of Sierra without a place in the order".to_owned();
    let id = row.personal_integer("id").or_fail(Remedy::FixData, what)?;
    let time = time(row, column).or_fail(Remedy::FixData, what)?;
    match (id, time) {
        (Some(id), Some(time)) => Ok((id, time)),
        _ => {
            Err(Error::new(Remedy::FixData, what())
                .caused_by(format!("its id or {column} is NULL")))
        }
    }
}
