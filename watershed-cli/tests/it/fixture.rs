//! Invented patrons, and the systems that know them: Sierra and Redshift.

use rusqlite::{Connection, params};

/// A patron as Sierra has them. Instants are UTC (`2024-06-15 03:30:00`), dates `YYYY-MM-DD`.
#[derive(Clone, Debug, Default)]
pub struct Patron {
    pub id: i64,
    pub created: Option<&'static str>,
    pub updated: Option<&'static str>,
    pub deleted: Option<&'static str>,
    pub addresses: Vec<Address>,
    pub details: Vec<Details>,
}

/// A row of `patron_record_address`.
#[derive(Clone, Debug, Default)]
pub struct Address {
    pub order: Option<i32>,
    pub kind: Option<i32>,
    pub street: Option<String>,
    pub city: Option<&'static str>,
    pub region: Option<&'static str>,
    pub postal_code: Option<&'static str>,
}

/// A row of `patron_view`.
#[derive(Clone, Debug, Default)]
pub struct Details {
    pub ptype_code: Option<i32>,
    pub pcode3: Option<i32>,
    pub home_library_code: Option<&'static str>,
    pub activity: Option<&'static str>,
}

/// A row of the Redshift table.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    pub patron_id: Option<String>,
    pub address_hash: Option<String>,
    pub postal_code: Option<&'static str>,
    pub geoid: Option<&'static str>,
    pub created: Option<&'static str>,
    pub active: Option<&'static str>,
    pub ptype_code: Option<i32>,
    pub pcode3: Option<i32>,
    pub home: Option<&'static str>,
    pub initial: Option<&'static str>,
}

impl Patron {
    pub fn created(id: i64, at: &'static str) -> Patron {
        Patron {
            id,
            created: Some(at),
            ..Patron::default()
        }
    }

    pub fn updated(id: i64, at: &'static str) -> Patron {
        Patron {
            id,
            updated: Some(at),
            ..Patron::default()
        }
    }

    pub fn deleted(id: i64, on: &'static str) -> Patron {
        Patron {
            id,
            deleted: Some(on),
            ..Patron::default()
        }
    }

    pub fn at(mut self, address: Address) -> Patron {
        self.addresses.push(address);
        self
    }

    pub fn with(mut self, details: Details) -> Patron {
        self.details.push(details);
        self
    }

    /// What of this patron must never come to light.
    pub fn hidden(&self) -> Vec<String> {
        let mut hidden = vec![self.id.to_string()];
        for address in &self.addresses {
            let street = address
                .street
                .as_deref()
                .map(|street| street.trim().to_owned());
            let city = address.city.map(|city| city.trim().to_owned());
            let code = address
                .postal_code
                .filter(|code| code.trim().len() > 5)
                .map(|code| code.trim().to_owned());
            hidden.extend(
                [street, city, code]
                    .into_iter()
                    .flatten()
                    .filter(|text| text.len() > 3),
            );
        }
        hidden
    }
}

/// An address that the test's geocoder knows: tract 36061000100.
pub fn known_address() -> Address {
    Address {
        order: Some(0),
        kind: Some(1),
        street: Some("476 Quince Terrace".into()),
        city: Some("Tidewaterville"),
        region: Some("NY"),
        postal_code: Some("10018"),
    }
}

/// Address ranges of the test's geocoder.
pub const RANGES: &str = "street,zip,side,from,to,tract\n\
    QUINCE TER,10018,even,2,998,36061000100\n\
    QUINCE TER,10018,odd,1,999,36061000200\n";

/// Sierra's schema, for PostgreSQL; SQLite takes the same types.
pub const SIERRA: [&str; 3] = [
    "CREATE TABLE sierra_view.record_metadata (id bigint, record_type_code char(1), record_num int, \
     creation_date_gmt timestamptz, deletion_date_gmt date, record_last_updated_gmt timestamptz)",
    "CREATE TABLE sierra_view.patron_record_address (patron_record_id bigint, patron_record_address_type_id int, \
     display_order int, addr1 varchar(1000), city varchar(1000), region varchar(1000), postal_code varchar(100))",
    "CREATE TABLE sierra_view.patron_view (id bigint, ptype_code smallint, home_library_code varchar(5), \
     pcode3 smallint, activity_gmt timestamptz)",
];

pub const REDSHIFT: &str = "CREATE TABLE patron_info_qa (patron_id varchar(31), address_hash varchar(31), \
    postal_code varchar(5), geoid varchar(11), creation_date_et date, deletion_date_et date, \
    circ_active_date_et date, ptype_code smallint, pcode3 smallint, patron_home_library_code varchar(5), \
    initial_patron_home_library_code varchar(5))";

/// A text as a SQL literal.
fn literal(text: Option<&str>) -> String {
    text.map_or("NULL".into(), |text| {
        format!("'{}'", text.replace('\'', "''"))
    })
}

fn number(number: Option<i32>) -> String {
    number.map_or("NULL".into(), |number| number.to_string())
}

/// INSERT statements for PostgreSQL; instants are read in UTC.
pub fn insert_patrons(patrons: &[Patron]) -> String {
    let mut sql = String::from("SET timezone TO 'UTC';\n");
    for patron in patrons {
        let id = patron.id;
        sql.push_str(&format!(
            "INSERT INTO sierra_view.record_metadata VALUES ({id}, 'p', 0, {}, {}, {});\n",
            literal(patron.created),
            literal(patron.deleted),
            literal(patron.updated)
        ));
        for address in &patron.addresses {
            sql.push_str(&format!(
                "INSERT INTO sierra_view.patron_record_address VALUES ({id}, {}, {}, {}, {}, {}, {});\n",
                number(address.kind),
                number(address.order),
                literal(address.street.as_deref()),
                literal(address.city),
                literal(address.region),
                literal(address.postal_code)
            ));
        }
        for details in &patron.details {
            sql.push_str(&format!(
                "INSERT INTO sierra_view.patron_view VALUES ({id}, {}, {}, {}, {});\n",
                number(details.ptype_code),
                literal(details.home_library_code),
                number(details.pcode3),
                literal(details.activity)
            ));
        }
    }
    sql
}

/// INSERT statements for the Redshift table.
pub fn insert_stored(rows: &[Stored]) -> String {
    let values = rows.iter().map(|row| {
        format!(
            "INSERT INTO patron_info_qa VALUES ({}, {}, {}, {}, {}, NULL, {}, {}, {}, {}, {});\n",
            literal(row.patron_id.as_deref()),
            literal(row.address_hash.as_deref()),
            literal(row.postal_code),
            literal(row.geoid),
            literal(row.created),
            literal(row.active),
            number(row.ptype_code),
            number(row.pcode3),
            literal(row.home),
            literal(row.initial)
        )
    });
    values.collect()
}

/// Adds patrons to the embedded Sierra, as its twin writes them: instants with six decimals.
pub fn insert_embedded(connection: &Connection, patrons: &[Patron]) -> rusqlite::Result<()> {
    let instant = |text: Option<&str>| {
        text.map(|text| {
            if text.contains('.') {
                text.to_owned()
            } else {
                format!("{text}.000000")
            }
        })
    };
    for patron in patrons {
        connection.execute(
            "INSERT INTO record_metadata VALUES (?, 'p', 0, ?, ?, ?)",
            params![
                patron.id,
                instant(patron.created),
                patron.deleted,
                instant(patron.updated)
            ],
        )?;
        for address in &patron.addresses {
            let Address {
                order,
                kind,
                street,
                city,
                region,
                postal_code,
            } = address;
            connection.execute(
                "INSERT INTO patron_record_address VALUES (?, ?, ?, ?, ?, ?, ?)",
                params![patron.id, kind, order, street, city, region, postal_code],
            )?;
        }
        for details in &patron.details {
            let Details {
                ptype_code,
                pcode3,
                home_library_code,
                activity,
            } = details;
            connection.execute(
                "INSERT INTO patron_view VALUES (?, ?, ?, ?, ?)",
                params![
                    patron.id,
                    ptype_code,
                    home_library_code,
                    pcode3,
                    instant(*activity)
                ],
            )?;
        }
    }
    Ok(())
}
