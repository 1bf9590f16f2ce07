//! The list of all sites.

use std::collections::BTreeSet;

use serde_json::Value as Json;
use watershed::connectors::objects::Object;
use watershed::error::{Error, Remedy, Result};

/// Reads the ids of all sites: a JSON array.
///
/// # Errors
/// [`Remedy::FixSettings`] when there is no such object, [`Remedy::FixData`] when it is something
/// else.
pub(super) async fn all_sites(object: &Object) -> Result<BTreeSet<String>> {
    let what = || format!("reading the ids of all sites in {object}");
    let Some((bytes, _)) = object.read().await? else {
        return Err(Error::new(Remedy::FixSettings, what())
            .caused_by("there is no such object")
            .with_hint(
                "ALL_SITES_URL names it, or ALL_SITES_S3_BUCKET and ALL_SITES_S3_RESOURCE",
            ));
    };
    ids(&bytes).ok_or_else(|| {
        Error::new(Remedy::FixData, what()).caused_by("expected a JSON array of texts")
    })
}

fn ids(bytes: &[u8]) -> Option<BTreeSet<String>> {
    let Ok(Json::Array(members)) = serde_json::from_slice(bytes) else {
        return None;
    };
    let mut ids = BTreeSet::new();
    for member in members {
        let id = member.as_str()?.trim();
        if !id.is_empty() {
            ids.insert(id.to_owned());
        }
    }
    Some(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_an_array_of_texts() {
        let list = ids(br#"["bb", " aa ", "bb", "", "\u00f1and\u00fa/branch"]"#).unwrap();
        assert_eq!(Vec::from_iter(list), ["aa", "bb", "ñandú/branch"]);
        for other in ["", "{}", "[1]", "[null]", "aa"] {
            assert_eq!(ids(other.as_bytes()), None, "{other}");
        }
    }
}
