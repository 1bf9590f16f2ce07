//! The files that wait, in the order of delivery.

use watershed::connectors::objects::{Inbox, Listed};
use watershed::error::Result;

use super::entities::Entities;
use super::names::{Place, of_key, order_of_delivery};
use super::target::History;

/// A file that was not delivered yet.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub file: Listed,
    /// Place among the entities.
    pub entity: usize,
    pub place: Place,
}

/// What a listing found.
pub(super) struct Found {
    pub waiting: Vec<Waiting>,
    /// Objects that are no files of the entities, and the first of them.
    pub ignored: u64,
    pub first_ignored: Option<String>,
}

/// Lists the folder. Only what waits is kept, because a bucket may hold millions of files.
pub(super) async fn list(folder: &Inbox, entities: &Entities, history: &History) -> Result<Found> {
    let prefix = folder.prefix();
    let mut found = Found {
        waiting: Vec::new(),
        ignored: 0,
        first_ignored: None,
    };
    let mut after: Option<String> = None;
    loop {
        let page = folder.page(after.as_deref()).await?;
        let Some(last) = page.last() else {
            break;
        };
        after = Some(last.key.clone());
        for file in page {
            match of_key(entities, &prefix, &file.key) {
                Some((entity, place)) if !history.has(&file.key, &file.etag) => {
                    found.waiting.push(Waiting {
                        file,
                        entity,
                        place,
                    });
                }
                Some(_) => {}
                None => {
                    found.ignored += 1;
                    found.first_ignored.get_or_insert(file.key);
                }
            }
        }
    }
    found.waiting.sort_by(|one, other| {
        order_of_delivery(one.place, one.entity)
            .cmp(&order_of_delivery(other.place, other.entity))
            .then_with(|| one.file.key.cmp(&other.file.key))
    });
    Ok(found)
}
