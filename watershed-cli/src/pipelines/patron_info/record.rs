use watershed::formats::avro::{Field, Record};
use watershed::privacy::Pseudonym;

use super::super::sending::Subject;

/// A patron as it is delivered: nothing in it is personal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PatronInfo {
    pub patron_id: Pseudonym,
    pub address_hash: Option<String>,
    pub postal_code: Option<String>,
    pub geoid: Option<String>,
    pub creation_date_et: Option<String>,
    pub deletion_date_et: Option<String>,
    pub circ_active_date_et: Option<String>,
    pub ptype_code: Option<i32>,
    pub pcode3: Option<i32>,
    pub patron_home_library_code: Option<String>,
    pub initial_patron_home_library_code: Option<String>,
}

impl Record for PatronInfo {
    const FIELDS: &'static [&'static str] = &[
        "patron_id",
        "address_hash",
        "postal_code",
        "geoid",
        "creation_date_et",
        "deletion_date_et",
        "circ_active_date_et",
        "ptype_code",
        "pcode3",
        "patron_home_library_code",
        "initial_patron_home_library_code",
    ];

    const NEWER: &'static [&'static str] = &["initial_patron_home_library_code"];

    fn values(&self) -> Vec<Field<'_>> {
        vec![
            Field::Text(self.patron_id.as_str()),
            self.address_hash.as_deref().into(),
            self.postal_code.as_deref().into(),
            self.geoid.as_deref().into(),
            self.creation_date_et.as_deref().into(),
            self.deletion_date_et.as_deref().into(),
            self.circ_active_date_et.as_deref().into(),
            self.ptype_code.into(),
            self.pcode3.into(),
            self.patron_home_library_code.as_deref().into(),
            self.initial_patron_home_library_code.as_deref().into(),
        ]
    }
}

impl Subject for PatronInfo {
    fn subject(&self) -> &Pseudonym {
        &self.patron_id
    }

    fn key(&self) -> &Pseudonym {
        &self.patron_id
    }
}
