//! The mode deleted: what was delivered before, once more, with the date of deletion.

use std::sync::Arc;

use watershed::error::Result;
use watershed::pipeline::{Counts, Delivered, Page, Pipeline, Transformed};
use watershed::privacy::{Personal, Pseudonym, Pseudonymiser};

use super::super::sending::unreadable;
use super::active::note_differences;
use super::cursor::DeletionCursor;
use super::delivery::{Delivery, Outgoing, Shaped};
use super::record::PatronInfo;
use super::redshift::{Redshift, Rows};
use super::sierra::{Deletion, Sierra};

/// Patrons deleted behind the cursor; a new run begins with the cursor's whole date again.
pub(super) struct Deleted {
    pub sierra: Arc<Sierra>,
    pub redshift: Arc<Redshift>,
    pub pseudonymiser: Arc<Pseudonymiser>,
    pub delivery: Arc<Delivery>,
    pub page: usize,
}

impl Pipeline for Deleted {
    const NAME: &'static str = "deleted";
    const READ_AHEAD: usize = 2;
    type Cursor = DeletionCursor;
    type Input = Deletion;
    type Output = Outgoing;

    async fn poll(&self, after: &DeletionCursor) -> Result<Page<Deletion, DeletionCursor>> {
        self.sierra.deleted(after, self.page).await
    }

    async fn transform(&self, inputs: Vec<Deletion>) -> Result<Transformed<Outgoing>> {
        let (deletions, proposal) = self.delivery.propose(inputs, |deletion| &deletion.id);
        tracing::trace!(room = "shaped");

        let ids: Vec<Personal<String>> = deletions
            .iter()
            .map(|deletion| deletion.id.to_text())
            .collect();
        let pseudonyms = self.pseudonymiser.pseudonyms(&ids).await?;
        let known = self.redshift.by_patron(&pseudonyms).await?;
        let mut noted = Counts::default();
        note_differences(known.values(), &mut noted);
        tracing::trace!(room = "protected");

        let mut shaped = Vec::with_capacity(deletions.len());
        let mut set_aside = Vec::new();
        for (deletion, id) in deletions.into_iter().zip(pseudonyms) {
            let rows = known.get(id.as_str());
            if rows.is_none() {
                noted.add("not delivered before", 1);
            }
            let date = deletion.date.to_string();
            match record(id.clone(), &date, rows) {
                Ok(record) => shaped.push(Shaped {
                    record,
                    position: date,
                }),
                Err(reason) => set_aside.push(unreadable(&id, date, reason)),
            }
        }
        Ok(self.delivery.encode(shaped, proposal, set_aside, noted))
    }

    async fn deliver(&self, outputs: Vec<Outgoing>) -> Result<Delivered> {
        self.delivery.deliver(outputs).await
    }
}

/// The patron's stored row with the date of deletion; without one, these two alone.
fn record(
    patron_id: Pseudonym,
    deletion_date: &str,
    rows: Option<&Rows>,
) -> Result<PatronInfo, String> {
    let text = |column: &str| rows.and_then(|rows| rows.agreed(column).latest());
    let number = |column: &str| -> Result<Option<i32>, String> {
        let number = text(column).map(|text| text.trim().parse());
        number
            .transpose()
            .map_err(|_| format!("Redshift, column {column}: expected a whole number of 32 bits"))
    };
    Ok(PatronInfo {
        patron_id,
        address_hash: text("address_hash"),
        postal_code: text("postal_code"),
        geoid: text("geoid"),
        creation_date_et: text("creation_date_et"),
        deletion_date_et: Some(deletion_date.to_owned()),
        circ_active_date_et: text("circ_active_date_et"),
        ptype_code: number("ptype_code")?,
        pcode3: number("pcode3")?,
        patron_home_library_code: text("patron_home_library_code"),
        initial_patron_home_library_code: text("initial_patron_home_library_code"),
    })
}
