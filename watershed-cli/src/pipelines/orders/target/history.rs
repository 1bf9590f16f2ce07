use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use watershed::error::{Error, Remedy, Result};

use super::super::entities::Entities;
use super::super::names::Place;
use super::Delivery;

/// What was delivered so far. A bucket may hold millions of files, so that each takes 16 bytes
/// here.
#[derive(Default)]
pub(in super::super) struct History {
    /// Fingerprints of key and ETag.
    delivered: HashSet<u128>,
    /// Fingerprints of the full-load files' keys.
    full_loads: HashSet<u128>,
    /// The last file of each entity in its order, by the entity's name.
    last: Vec<(String, Place, String)>,
    pub next_id: i64,
    pub max_event_id: Option<i64>,
}

impl History {
    pub(in super::super) fn new() -> History {
        History {
            next_id: 1,
            ..History::default()
        }
    }

    /// Notes a delivery.
    pub(in super::super) fn add(
        &mut self,
        id: i64,
        key: &str,
        etag: &str,
        entity: &str,
        max_event_id: Option<i64>,
    ) {
        self.delivered.insert(fingerprint(&(key, etag)));
        self.next_id = self.next_id.max(id + 1);
        self.max_event_id = self.max_event_id.max(max_event_id);
        let Some(place) = Place::of_key(key) else {
            return;
        };
        if place.is_full_load() {
            self.full_loads.insert(fingerprint(&key));
        }
        match self.last.iter_mut().find(|(name, ..)| name == entity) {
            Some((_, last, last_key)) if place > *last => {
                *last = place;
                key.clone_into(last_key);
            }
            Some(_) => {}
            None => self.last.push((entity.into(), place, key.into())),
        }
    }

    /// Whether this version of the file was delivered.
    pub(in super::super) fn has(&self, key: &str, etag: &str) -> bool {
        self.delivered.contains(&fingerprint(&(key, etag)))
    }

    /// Refuses a file that is late: it sorts before one of its entity that was delivered already.
    ///
    /// A full load that is restarted writes its files again, under their old keys: that sets
    /// nothing back as long as no changes were delivered.
    pub(in super::super) fn check_late(
        &self,
        delivery: &Delivery,
        entities: &Entities,
    ) -> Result<()> {
        let name = &entities.list[delivery.entity].name;
        let Some((_, last, last_key)) = self.last.iter().find(|(there, ..)| there == name) else {
            return Ok(());
        };
        let key = &delivery.file.key;
        let restarted =
            last.is_full_load() && self.full_loads.contains(&fingerprint(&key.as_str()));
        if delivery.place >= *last || restarted {
            return Ok(());
        }
        let what = format!("delivering {key}: it is late, {last_key} was delivered before it");
        Err(Error::new(Remedy::FixData, what).with_hint(
            "applied now, it would set rows back; if that is what you want, run with --allow-late",
        ))
    }
}

/// Two independent hashes, so that no two files of one bucket are ever taken for one.
fn fingerprint(of: &impl std::hash::Hash) -> u128 {
    let half = |seed: u8| {
        let mut hasher = DefaultHasher::new();
        (seed, of).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    half(0) << 64 | half(1)
}
