use watershed::formats::avro::{Field, Record};
use watershed::privacy::Pseudonym;

use super::super::sending::Subject;

/// A session as it is delivered: nothing in it is personal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PcReserve {
    pub patron_id: Pseudonym,
    pub ptype_code: Option<i32>,
    pub patron_home_library_code: Option<String>,
    pub pcode3: Option<i32>,
    pub postal_code: Option<String>,
    pub geoid: Option<String>,
    pub key: Pseudonym,
    pub minutes_used: Option<i32>,
    pub transaction_et: String,
    pub branch: Option<String>,
    pub area: Option<String>,
    pub staff_override: Option<String>,
    pub patron_retrieval_status: &'static str,
}

impl Record for PcReserve {
    const FIELDS: &'static [&'static str] = &[
        "patron_id",
        "ptype_code",
        "patron_home_library_code",
        "pcode3",
        "postal_code",
        "geoid",
        "key",
        "minutes_used",
        "transaction_et",
        "branch",
        "area",
        "staff_override",
        "patron_retrieval_status",
    ];

    const NEWER: &'static [&'static str] = &[];

    fn values(&self) -> Vec<Field<'_>> {
        vec![
            Field::Text(self.patron_id.as_str()),
            self.ptype_code.into(),
            self.patron_home_library_code.as_deref().into(),
            self.pcode3.into(),
            self.postal_code.as_deref().into(),
            self.geoid.as_deref().into(),
            Field::Text(self.key.as_str()),
            self.minutes_used.into(),
            Field::Text(&self.transaction_et),
            self.branch.as_deref().into(),
            self.area.as_deref().into(),
            self.staff_override.as_deref().into(),
            Field::Text(self.patron_retrieval_status),
        ]
    }
}

impl Subject for PcReserve {
    fn subject(&self) -> &Pseudonym {
        &self.patron_id
    }

    fn key(&self) -> &Pseudonym {
        &self.key
    }
}
