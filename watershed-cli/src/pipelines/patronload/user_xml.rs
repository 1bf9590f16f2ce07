//! A patron as Alma's `user`: the writer, and the only place where patrons cease to be personal.
//!
//! The sequence of elements never changes, so that it is written once for each file, by quick-xml
//! and with all that is the same for every patron: [`UserXml::new`]. A patron is then the fixed
//! pieces with escaped texts between them: whatever a text holds, the document is well-formed.

mod layout;

use std::borrow::Cow;

use jiff::civil::Date;
use quick_xml::escape::{escape, partial_escape};
use watershed::privacy::Personal;

use super::institution::Institution;
use super::patron::{Kind, Patron, Role, Text};
use super::texts::{dashed, preferred, without_line_break};
use layout::Layout;

/// What every file begins with.
pub(super) const HEAD: &str = r#"<?xml version="1.0" encoding="utf-8"?><userRecords>"#;
/// What every file ends with.
pub(super) const TAIL: &str = "</userRecords>";

/// A place that a patron fills.
#[derive(Clone, Copy)]
enum Slot {
    Name,
    First,
    Middle,
    Last,
    Group,
    GroupName,
    Line1,
    Line3,
    City,
    State,
    PostalCode,
    Email,
    FirstPhone,
    SecondPhone,
    PreferredFirst,
    PreferredMiddle,
    PreferredLast,
    InstitutionId,
    Barcode,
    Department,
    DepartmentName,
}

const SLOTS: usize = Slot::DepartmentName as usize + 1;

/// What a patron fills the slots with; nothing is an empty text, or no block.
#[derive(Default)]
struct Filled<'a>([Option<Cow<'a, str>>; SLOTS]);

impl<'a> Filled<'a> {
    fn set(&mut self, slot: Slot, text: impl Into<Cow<'a, str>>) {
        self.0[slot as usize] = Some(text.into());
    }

    /// A text that may be missing.
    fn set_text(&mut self, slot: Slot, text: &'a Text) {
        self.0[slot as usize] = text.as_ref().map(|text| Cow::Borrowed(text.for_alma()));
    }

    fn get(&self, slot: Slot) -> Option<&str> {
        self.0[slot as usize].as_deref()
    }
}

enum Piece {
    Fixed(Vec<u8>),
    Text(Slot),
    Attribute(Slot),
    /// Written when the slot is filled.
    Block(Slot, Vec<Piece>),
}

/// The writer of one kind's patrons on one day.
pub(super) struct UserXml<'a> {
    institution: &'a Institution,
    pieces: Vec<Piece>,
}

impl<'a> UserXml<'a> {
    /// Writes what is the same for every patron of a kind; they expire so long after `today`.
    pub(super) fn new(institution: &'a Institution, kind: Kind, today: Date) -> UserXml<'a> {
        let mut layout = Layout::default();
        layout.user(institution, kind, today);
        UserXml {
            institution,
            pieces: layout.finish(),
        }
    }

    /// Writes a patron. This is the way out of [`Personal`](watershed::privacy::Personal) that
    /// exists for Alma (P6).
    pub(super) fn write(&self, patron: &Patron, out: &mut Vec<u8>) {
        write(&self.pieces, &self.filled(patron), out);
    }

    fn filled<'p>(&'p self, patron: &'p Patron) -> Filled<'p> {
        let mut filled = Filled::default();
        filled.set_text(Slot::Name, &patron.name);
        let names = [
            (Slot::First, Slot::PreferredFirst),
            (Slot::Middle, Slot::PreferredMiddle),
            (Slot::Last, Slot::PreferredLast),
        ];
        for ((slot, preferred_slot), (legal, wanted)) in names
            .into_iter()
            .zip(patron.legal.iter().zip(&patron.preferred))
        {
            let legal = text(legal).trim();
            filled.set(slot, legal);
            filled.set(preferred_slot, preferred(text(wanted).trim(), legal));
        }
        filled.set_text(Slot::Email, &patron.email);
        filled.set_text(Slot::InstitutionId, &patron.institution_id);
        if text(&patron.barcode) != self.institution.identifiers.no_barcode {
            filled.set_text(Slot::Barcode, &patron.barcode);
        }
        match &patron.role {
            Role::Staff {
                office,
                phone,
                group,
                group_name,
                unit,
                unit_name,
            } => {
                let staff = &self.institution.staff;
                filled.set_text(Slot::Line1, office);
                self.fill_phones(&mut filled, [phone, &None]);
                filled.set_text(Slot::Group, group);
                filled.set_text(Slot::GroupName, group_name);
                let code = staff.departments.get(text(unit));
                filled.set(Slot::Department, code.unwrap_or(&staff.other_department));
                filled.set(Slot::DepartmentName, &*staff.no_department_name);
                if unit_name.is_some() {
                    filled.set_text(Slot::DepartmentName, unit_name);
                }
            }
            Role::Student {
                address: [street, second_line, city, state, postal_code],
                term_phones: [first, second],
                office_phone,
                year,
                department,
            } => {
                filled.set_text(Slot::Line1, street);
                filled.set_text(Slot::Line3, second_line);
                filled.set_text(Slot::City, city);
                filled.set_text(Slot::State, state);
                filled.set_text(Slot::PostalCode, postal_code);
                let phones = match (office_phone, first) {
                    (Some(_), home) => [office_phone, home],
                    (None, Some(_)) => [first, &None],
                    (None, None) => [second, &None],
                };
                self.fill_phones(&mut filled, phones);
                let students = &self.institution.student;
                let of_year = students.groups_of_years.get(without_line_break(text(year)));
                let department_group = students
                    .groups_of_departments
                    .get(without_line_break(text(department)));
                filled.set(
                    Slot::Group,
                    department_group.or(of_year).unwrap_or_default(),
                );
                let code = students.departments.get(text(department));
                filled.set(Slot::Department, code.unwrap_or(&students.other_department));
            }
        }
        if filled.get(Slot::Line1).is_none() {
            filled.set(Slot::Line1, &*self.institution.contact.no_address);
        }
        filled
    }

    fn fill_phones<'p>(&self, filled: &mut Filled<'p>, phones: [&'p Text; 2]) {
        for (slot, phone) in [Slot::FirstPhone, Slot::SecondPhone]
            .into_iter()
            .zip(phones)
        {
            if let Some(phone) = phone {
                filled.set(slot, dashed(phone.for_alma()));
            }
        }
    }
}

fn text(text: &Text) -> &str {
    text.as_ref().map_or("", |text| text.for_alma())
}

fn write(pieces: &[Piece], filled: &Filled<'_>, out: &mut Vec<u8>) {
    for piece in pieces {
        match piece {
            Piece::Fixed(bytes) => out.extend_from_slice(bytes),
            Piece::Text(slot) => {
                let text = filled.get(*slot).unwrap_or_default();
                out.extend_from_slice(partial_escape(text).as_bytes());
            }
            Piece::Attribute(slot) => {
                let text = filled.get(*slot).unwrap_or_default();
                out.extend_from_slice(escape(text).as_bytes());
            }
            Piece::Block(slot, pieces) => {
                if filled.get(*slot).is_some() {
                    write(pieces, filled, out);
                }
            }
        }
    }
}

/// A writer of so many students that are there already; it gives the bytes of a file. For the
/// benchmark of this writer.
#[doc(hidden)]
pub fn written(number: usize) -> impl Fn() -> Vec<u8> {
    let institution = Institution::read(None).expect("the built-in one is well-formed");
    let text = |text: &str| Some(Personal::new(text.to_owned()));
    let students: Vec<Patron> = (0..number)
        .map(|i| Patron {
            institution_id: text(&format!("9{i:08}")),
            email: text("student@example.org"),
            name: text(&format!("STUDENT{i}")),
            barcode: text(&format!("29{i:012}")),
            preferred: [None, None, text("Doe")],
            legal: [text("Jane"), text("Q."), text("Doe")],
            role: Role::Student {
                address: ["1 Main Street", "", "Cambridge", "MA", "02139"].map(text),
                term_phones: [text("6172530000"), None],
                office_phone: None,
                year: text("G"),
                department: text("6"),
            },
            dropped: 0,
        })
        .collect();
    move || {
        let xml = UserXml::new(&institution, Kind::Student, Date::constant(2024, 2, 29));
        let mut out = HEAD.as_bytes().to_vec();
        students
            .iter()
            .for_each(|student| xml.write(student, &mut out));
        out.extend(TAIL.bytes());
        out
    }
}
