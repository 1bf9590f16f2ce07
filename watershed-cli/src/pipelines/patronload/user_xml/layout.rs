//! Alma's `user`, element by element: what is the same for all, and the slots in between.

use jiff::ToSpan as _;
use jiff::civil::Date;
use quick_xml::Writer;
use quick_xml::events::{BytesEnd, BytesStart, BytesText, Event};

use super::super::institution::{Code, Institution};
use super::super::patron::Kind;
use super::{Piece, Slot};

/// Writes the sequence of elements, and cuts it at the slots.
pub(super) struct Layout {
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

    pub(super) fn finish(mut self) -> Vec<Piece> {
        let rest = std::mem::take(self.writer.get_mut());
        self.pieces.push(Piece::Fixed(rest));
        self.pieces
    }

    pub(super) fn user(&mut self, institution: &Institution, kind: Kind, today: Date) {
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
