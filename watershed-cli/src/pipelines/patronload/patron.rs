//! Patrons as the warehouse has them: staff and students.

use std::cell::Cell;

use watershed::connectors::sql::Row;
use watershed::privacy::Personal;

/// Staff or students: what is read, and what the files are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Staff,
    Student,
}

const STAFF_COLUMNS: &[&str] = &[
    "MIT_ID",
    "EMAIL_ADDRESS",
    "KRB_NAME_UPPERCASE",
    "LIBRARY_ID",
    "PREFERRED_FIRST_NAME",
    "PREFERRED_MIDDLE_NAME",
    "PREFERRED_LAST_NAME",
    "LEGAL_FIRST_NAME",
    "LEGAL_MIDDLE_NAME",
    "LEGAL_LAST_NAME",
    "OFFICE_ADDRESS",
    "OFFICE_PHONE",
    "APPOINTMENT_END_DATE",
    "LIBRARY_PERSON_TYPE_CODE",
    "LIBRARY_PERSON_TYPE",
    "ORG_UNIT_ID",
    "ORG_UNIT_TITLE",
    "POSITION_TITLE",
    "DIRECTORY_TITLE",
];

const STUDENT_COLUMNS: &[&str] = &[
    "MIT_ID",
    "EMAIL_ADDRESS",
    "KRB_NAME_UPPERCASE",
    "LIBRARY_ID",
    "PREFERRED_FIRST_NAME",
    "PREFERRED_MIDDLE_NAME",
    "PREFERRED_LAST_NAME",
    "LEGAL_FIRST_NAME",
    "LEGAL_MIDDLE_NAME",
    "LEGAL_LAST_NAME",
    "TERM_STREET1",
    "TERM_STREET2",
    "TERM_CITY",
    "TERM_STATE",
    "TERM_ZIP",
    "TERM_PHONE1",
    "TERM_PHONE2",
    "OFFICE_PHONE",
    "STUDENT_YEAR",
    "HOME_DEPARTMENT",
];

impl Kind {
    /// In the order in which they are read: somebody who is both is staff.
    pub(super) const ALL: [Kind; 2] = [Kind::Staff, Kind::Student];

    /// What files, reports and logs call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Staff => "staff",
            Kind::Student => "student",
        }
    }

    pub(super) fn table(self) -> &'static str {
        match self {
            Kind::Staff => "LIBRARY_EMPLOYEE",
            Kind::Student => "LIBRARY_STUDENT",
        }
    }

    /// In the order in which [`Patron::read`] takes them.
    pub(super) fn columns(self) -> &'static [&'static str] {
        match self {
            Kind::Staff => STAFF_COLUMNS,
            Kind::Student => STUDENT_COLUMNS,
        }
    }

    /// All rows in the warehouse's own order, which is kept.
    pub(super) fn select(self) -> String {
        format!("SELECT {} FROM {}", self.columns().join(", "), self.table())
    }

    pub(super) fn count(self) -> String {
        format!("SELECT count(*) AS patrons FROM {}", self.table())
    }
}

/// A text about a patron, without the characters that XML cannot hold; nothing where the warehouse
/// has NULL or an empty one, or one of such characters alone.
pub(super) type Text = Option<Personal<String>>;

/// A patron. Nothing of it is trimmed.
pub(super) struct Patron {
    pub institution_id: Text,
    pub email: Text,
    pub name: Text,
    pub barcode: Text,
    /// First, middle, last.
    pub preferred: [Text; 3],
    pub legal: [Text; 3],
    pub role: Role,
    /// Characters that XML cannot hold.
    pub dropped: u64,
}

/// What only staff or only students have.
pub(super) enum Role {
    Staff {
        office: Text,
        phone: Text,
        group: Text,
        group_name: Text,
        unit: Text,
        unit_name: Text,
    },
    Student {
        /// Street, second line, city, state, postal code.
        address: [Text; 5],
        term_phones: [Text; 2],
        office_phone: Text,
        year: Text,
        department: Text,
    },
}

impl Patron {
    /// Reads a row of [`Kind::select`].
    ///
    /// # Errors
    /// Why the patron is set aside: a column that is no text, or a name of characters alone that
    /// XML cannot hold. Without a value (P6).
    pub(super) fn read(kind: Kind, row: Row) -> Result<Patron, String> {
        let mut values = row.into_personal_texts();
        let dropped = Cell::new(0);
        let mut text = || -> Result<Text, String> {
            let value = values.next().transpose();
            let Some(value) = value.map_err(|unfit| unfit.to_string())?.flatten() else {
                return Ok(None);
            };
            let (value, illegal) = value.legal_in_xml();
            dropped.set(dropped.get() + illegal);
            // Of which nothing is left is empty, too.
            Ok(Some(value).filter(|value| !value.is_empty()))
        };
        let (institution_id, email) = (text()?, text()?);
        let before = dropped.get();
        let name = text()?;
        if name.is_none() && dropped.get() > before {
            return Err("column KRB_NAME_UPPERCASE: expected characters that XML can hold".into());
        }
        let barcode = text()?;
        let preferred = [text()?, text()?, text()?];
        let legal = [text()?, text()?, text()?];
        let role = match kind {
            Kind::Staff => {
                let (office, phone) = (text()?, text()?);
                // APPOINTMENT_END_DATE, whatever it is.
                let _ = text();
                Role::Staff {
                    office,
                    phone,
                    group: text()?,
                    group_name: text()?,
                    unit: text()?,
                    unit_name: text()?,
                }
            }
            Kind::Student => Role::Student {
                address: [text()?, text()?, text()?, text()?, text()?],
                term_phones: [text()?, text()?],
                office_phone: text()?,
                year: text()?,
                department: text()?,
            },
        };
        Ok(Patron {
            institution_id,
            email,
            name,
            barcode,
            preferred,
            legal,
            role,
            dropped: dropped.get(),
        })
    }
}
