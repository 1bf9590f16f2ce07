//! A patron as Alma's `user`: the writer, and the only place where patrons cease to be personal.
//!
//! The sequence of elements never changes, so that it is written once for each file, by quick-xml
//! and with all that is the same for every patron: [`UserXml::new`]. A patron is then the fixed
//! pieces with escaped texts between them: whatever a text holds, the document is well-formed.

use std::borrow::Cow;

use jiff::ToSpan as _;
use jiff::civil::Date;
use quick_xml::Writer;
use quick_xml::escape::{escape, partial_escape};
use quick_xml::events::{BytesEnd, BytesStart, BytesText, Event};
use watershed::privacy::Personal;

use super::institution::{Code, Institution};
use super::patron::{Kind, Patron, Role, Text};
use super::texts::{dashed, preferred, without_line_break};

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

/// Writes the sequence of elements, and cuts it at the slots.
struct Layout {
    writer: Writer<Vec<u8>>,
    pieces: Vec<Piece>,
}

impl Default for Layout {
    fn default() -> Layout {
        Layout {
            writer: Writer::new(Vec::new()),
            pieces: Vec::new(),
        }
    }
}

type Attributes<'a> = &'a [(&'a str, &'a str)];

impl Layout {
    fn event(&mut self, event: Event<'_>) {
        let written = self.writer.write_event(event);
        written.expect("memory takes whatever is written");
    }

    fn start(&mut self, name: &str, attributes: Attributes<'_>) {
        let start = BytesStart::new(name).with_attributes(attributes.iter().copied());
        self.event(Event::Start(start));
    }

    fn end(&mut self, name: &str) {
        self.event(Event::End(BytesEnd::new(name)));
        self.line();
    }

    fn line(&mut self) {
        self.writer.get_mut().push(b'\n');
    }

    /// A place for a text of the patron, here.
    fn cut(&mut self, place: Piece) {
        let fixed = std::mem::take(self.writer.get_mut());
        self.pieces.push(Piece::Fixed(fixed));
        self.pieces.push(place);
    }

    /// An element that has elements of its own.
    fn nested(&mut self, name: &str, attributes: Attributes<'_>, inner: impl FnOnce(&mut Layout)) {
        self.start(name, attributes);
        self.line();
        inner(self);
        self.end(name);
    }

    /// An element that is there when the slot is filled.
    fn block(&mut self, slot: Slot, inner: impl FnOnce(&mut Layout)) {
        let mut block = Layout::default();
        inner(&mut block);
        self.cut(Piece::Block(slot, block.finish()));
    }

    fn fixed(&mut self, name: &str, attributes: Attributes<'_>, text: &str) {
        self.start(name, attributes);
        self.event(Event::Text(BytesText::new(text)));
        self.end(name);
    }

    fn code(&mut self, name: &str, code: &Code) {
        self.fixed(name, &[("desc", &code.name)], &code.code);
    }

    /// An element that nobody fills.
    fn empty(&mut self, name: &str) {
        self.fixed(name, &[], "");
    }

    fn nameless(&mut self, name: &str) {
        self.fixed(name, &[("desc", "")], "");
    }

    fn text(&mut self, name: &str, slot: Slot) {
        self.start(name, &[]);
        self.cut(Piece::Text(slot));
        self.end(name);
    }

    /// An element whose `desc` is the patron's, too.
    fn named(&mut self, name: &str, described: Slot, slot: Slot) {
        let out = self.writer.get_mut();
        out.extend_from_slice(format!("<{name} desc=\"").as_bytes());
        self.cut(Piece::Attribute(described));
        self.writer.get_mut().extend_from_slice(b"\">");
        self.cut(Piece::Text(slot));
        self.end(name);
    }

    fn finish(mut self) -> Vec<Piece> {
        let rest = std::mem::take(self.writer.get_mut());
        self.pieces.push(Piece::Fixed(rest));
        self.pieces
    }

    fn user(&mut self, institution: &Institution, kind: Kind, today: Date) {
        let record = &institution.record;
        let after = |months: u16| {
            let day = today.checked_add(i64::from(months).months());
            day.expect("`Config::read` refuses a present that is too late for it")
                .strftime("%Y-%m-%dZ")
                .to_string()
        };
        self.nested("user", &[], |user| {
            user.code("record_type", &record.record_type);
            user.start("primary_id", &[]);
            user.cut(Piece::Text(Slot::Name));
            user.event(Event::Text(BytesText::new(&institution.primary_id_suffix)));
            user.end("primary_id");
            user.text("first_name", Slot::First);
            user.text("middle_name", Slot::Middle);
            user.text("last_name", Slot::Last);
            user.nameless("user_title");
            user.nameless("job_category");
            user.empty("job_description");
            match kind {
                Kind::Staff => {
                    user.nameless("gender");
                    user.named("user_group", Slot::GroupName, Slot::Group);
                }
                Kind::Student => user.text("user_group", Slot::Group),
            }
            user.nameless("campus_code");
            user.empty("web_site_url");
            user.code("cataloger_level", &record.cataloger_level);
            user.code("preferred_language", &record.preferred_language);
            user.fixed("expiry_date", &[], &after(institution.expires_after_months));
            user.fixed("purge_date", &[], &after(institution.purged_after_months));
            user.code("account_type", &record.account_type);
            user.fixed("external_id", &[], &record.external_id);
            user.empty("password");
            user.empty("force_password_change");
            user.code("status", &record.status);
            user.empty("status_date");
            user.nested("contact_info", &[], |contact| {
                contact.contact_info(institution, kind);
            });
            user.text("pref_first_name", Slot::PreferredFirst);
            user.text("pref_middle_name", Slot::PreferredMiddle);
            user.text("pref_last_name", Slot::PreferredLast);
            user.empty("pref_name_suffix");
            let researcher = match kind {
                Kind::Staff => &institution.staff.is_researcher,
                Kind::Student => &institution.student.is_researcher,
            };
            user.fixed("is_researcher", &[], researcher);
            user.nested("user_identifiers", &[], |list| {
                list.identifiers(institution)
            });
            user.nested("user_roles", &[], |roles| roles.role(institution));
            user.empty("user_blocks");
            user.empty("user_notes");
            user.nested("user_statistics", &[], |list| {
                list.department(institution, kind)
            });
            user.empty("proxy_for_users");
        });
    }

    fn contact_info(&mut self, institution: &Institution, kind: Kind) {
        let contact = &institution.contact;
        let own = [
            ("preferred", "true"),
            ("segment_type", &*institution.record.segment_type),
        ];
        self.nested("addresses", &[], |addresses| {
            addresses.nested("address", &own, |address| {
                address.text("line1", Slot::Line1);
                match kind {
                    Kind::Staff => {
                        address.fixed("line3", &[], &institution.staff.line3);
                        address.empty("city");
                        address.empty("state_province");
                        address.fixed("postal_code", &[], &institution.staff.postal_code);
                    }
                    Kind::Student => {
                        address.text("line3", Slot::Line3);
                        address.text("city", Slot::City);
                        address.text("state_province", Slot::State);
                        address.text("postal_code", Slot::PostalCode);
                    }
                }
                address.nameless("country");
                address.fixed("address_note", &[], &contact.address_note);
                address.nested("address_types", &[], |types| {
                    types.code("address_type", &contact.address_type);
                });
            });
        });
        self.nested("emails", &[], |emails| {
            emails.block(Slot::Email, |block| {
                block.nested("email", &own, |email| {
                    email.text("email_address", Slot::Email);
                    email.nested("email_types", &[], |types| {
                        types.code("email_type", &contact.email_type);
                    });
                });
            });
        });
        self.nested("phones", &[], |phones| {
            for (slot, preferred, kind) in [
                (Slot::FirstPhone, "true", &contact.office_phone_type),
                (Slot::SecondPhone, "false", &contact.home_phone_type),
            ] {
                let attributes = [
                    ("preferred", preferred),
                    ("preferred_sms", "false"),
                    ("segment_type", &*institution.record.segment_type),
                ];
                phones.block(slot, |block| {
                    block.nested("phone", &attributes, |phone| {
                        phone.text("phone_number", slot);
                        phone.nested("phone_types", &[], |types| types.code("phone_type", kind));
                    });
                });
            }
        });
    }

    fn identifiers(&mut self, institution: &Institution) {
        let owner = [("segment_type", &*institution.record.segment_type)];
        let status = &institution.record.status.code;
        for (slot, kind) in [
            (Slot::InstitutionId, &institution.identifiers.institution),
            (Slot::Barcode, &institution.identifiers.barcode),
        ] {
            let write = |layout: &mut Layout| {
                layout.nested("user_identifier", &owner, |identifier| {
                    identifier.code("id_type", kind);
                    identifier.text("value", slot);
                    identifier.fixed("status", &[], status);
                });
            };
            match slot {
                Slot::Barcode => self.block(slot, write),
                _ => write(self),
            }
        }
    }

    fn role(&mut self, institution: &Institution) {
        self.nested("user_role", &[], |role| {
            role.code("status", &institution.role.status);
            role.code("scope", &institution.role.scope);
            role.code("role_type", &institution.role.role_type);
            role.empty("parameters");
        });
    }

    fn department(&mut self, institution: &Institution, kind: Kind) {
        let owner = [("segment_type", &*institution.record.segment_type)];
        self.nested("user_statistic", &owner, |statistic| {
            match kind {
                Kind::Staff => {
                    statistic.named("statistic_category", Slot::DepartmentName, Slot::Department);
                }
                Kind::Student => {
                    statistic.start("statistic_category", &[("desc", "")]);
                    statistic.cut(Piece::Text(Slot::Department));
                    statistic.end("statistic_category");
                }
            }
            statistic.code("category_type", &institution.department_type);
        });
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
