//! The rules of the specification, each case by its name there.

use std::collections::BTreeMap;

use super::world::{STAFF, STUDENTS, User, World, in_every_warehouse};

const LEAP_DAY: &str = include_str!("../testdata/leap_day/inputs/warehouse.sql");
const LEAP_DAY_STAFF: &str =
    include_str!("../testdata/leap_day/expected/staff_2024-02-29_00.00.00.xml");
const LEAP_DAY_STUDENTS: &str =
    include_str!("../testdata/leap_day/expected/student_2024-02-29_00.00.00.xml");
const DEPARTMENTS: &str = include_str!("../testdata/departments.tsv");

const NAME: &str = "KRB_NAME_UPPERCASE";

/// Text of the only element at a path.
fn text<'a>(user: &'a User, path: &str) -> &'a str {
    let found = user.get(path).unwrap_or_else(|| panic!("no {path}"));
    assert_eq!(found.len(), 1, "{path}: {found:?}");
    &found[0].0
}

fn described<'a>(user: &'a User, path: &str) -> (&'a str, Option<&'a str>) {
    let attributes = &user[path][0].1;
    (text(user, path), attributes.get("desc").map(String::as_str))
}

/// Types and numbers of the phones, in their order.
fn phones(user: &User) -> Vec<(&str, &str)> {
    assert!(user.contains_key("contact_info/phones"), "`phones` stays");
    let list = |path: &str| user.get(path).map(Vec::as_slice).unwrap_or_default();
    let kinds = list("contact_info/phones/phone/phone_types/phone_type");
    let numbers = list("contact_info/phones/phone/phone_number");
    assert_eq!(kinds.len(), numbers.len());
    let pairs = kinds.iter().zip(numbers);
    pairs.map(|(kind, number)| (&*kind.0, &*number.0)).collect()
}

/// Codes and values of the identifiers.
fn identifiers(user: &User) -> Vec<(&str, &str)> {
    let kinds = &user["user_identifiers/user_identifier/id_type"];
    let values = &user["user_identifiers/user_identifier/value"];
    let pairs = kinds.iter().zip(values);
    pairs.map(|(kind, value)| (&*kind.0, &*value.0)).collect()
}

const GROUP: &str = "user_group";
const DEPARTMENT: &str = "user_statistics/user_statistic/statistic_category";
const LINE1: &str = "contact_info/addresses/address/line1";
const ADDRESS: &str = "contact_info/addresses/address";

in_every_warehouse! {
    async fn the_sample_of_the_old_program(world) {
        let twin = LEAP_DAY.replace("SET client_encoding = 'UTF8';", "");
        world.in_warehouse("DROP TABLE LIBRARY_EMPLOYEE").await;
        world.in_warehouse("DROP TABLE LIBRARY_STUDENT").await;
        world.in_warehouse(&twin).await;
        let ended = world.run().await.expect(0);
        ended.says("staff: XML created and zipped");
        assert_eq!(world.stored().await, [
            "patronload/staff_2024-02-29_00.00.00.zip",
            "patronload/student_2024-02-29_00.00.00.zip",
        ]);
        for (kind, expected) in [("staff", LEAP_DAY_STAFF), ("student", LEAP_DAY_STUDENTS)] {
            let file = world.only_file(kind).await;
            assert_eq!(file.name, format!("{kind}_2024-02-29_00.00.00.xml"));
            assert!(file.deflated);
            // The expected one goes the same way through Python's canonical form.
            assert_eq!(file.canonical, canonical(expected), "{kind}");
        }
    }

    // 5.2.1, 5.2.2: who is skipped, and that the order is kept.
    async fn names_decide_who_is_written(world) {
        for (name, id) in [("FIRST", "1"), ("", "2"), ("   ", "3"), ("first", "4"), ("FIRST", "5"), ("BOTH", "6"), ("FIRST ", "7")] {
            world.add(STAFF, &[(NAME, name), ("MIT_ID", id)]).await;
        }
        world.add(STAFF, &[("MIT_ID", "8")]).await;
        for (name, id) in [("BOTH", "9"), ("STUDENT", "10"), ("Both", "11"), ("STUDENT", "12")] {
            world.add(STUDENTS, &[(NAME, name), ("MIT_ID", id)]).await;
        }
        let ended = world.run().await.expect(0);
        ended.says("staff: 8 rows read, 5 patrons written, 3 skipped, 0 set aside");
        ended.says("student: 4 rows read, 2 patrons written, 2 skipped, 0 set aside");
        let ids = |users: &[User]| -> Vec<(String, String)> {
            users.iter().map(|user| (text(user, "primary_id").to_owned(), identifiers(user)[0].1.to_owned())).collect()
        };
        let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect()
        };
        let staff = world.only_file("staff").await.users;
        assert_eq!(ids(&staff), pairs(&[("FIRST@MIT.EDU", "1"), ("   @MIT.EDU", "3"), ("first@MIT.EDU", "4"), ("BOTH@MIT.EDU", "6"), ("FIRST @MIT.EDU", "7")]));
        let students = world.only_file("student").await.users;
        assert_eq!(ids(&students), pairs(&[("STUDENT@MIT.EDU", "10"), ("Both@MIT.EDU", "11")]));
        let mail = &world.mails()[0];
        for words in ["staff, skipped: 2 no name", "staff, skipped: 1 name already used", "student, skipped: 2 name already used"] {
            assert!(mail.contains(words), "{words} in {mail}");
        }
    }

    // 5.3: names.
    async fn legal_and_preferred_names(world) {
        let cases = [
            ("trimmed", "\u{2003} Pat \u{a0}", " Patricia\t", "Pat", "Patricia"),
            ("SAME", "PATRICIA ", " Patricia", "", "Patricia"),
            ("SHARP", "Strauß", "STRAUSS", "Strauß", "STRAUSS"),
            ("ACCENT", "Elodie", "Élodie", "Elodie", "Élodie"),
            ("UPPER", "ÉLODIE", "élodie", "", "élodie"),
            ("NONE", "", "Patricia", "", "Patricia"),
            ("BLANK", "   ", "Patricia", "", "Patricia"),
            ("NOLEGAL", "Pat", "", "Pat", ""),
            ("MARKUP", "<b>Pat</b> & \"Co\"", "O'Brien", "<b>Pat</b> & \"Co\"", "O'Brien"),
        ];
        for table in [STAFF, STUDENTS] {
            for (name, preferred, legal, ..) in &cases {
                let name = format!("{name}{}", &table[8..9]);
                world.add(table, &[
                    (NAME, &name),
                    ("PREFERRED_FIRST_NAME", preferred), ("LEGAL_FIRST_NAME", legal),
                    ("PREFERRED_MIDDLE_NAME", preferred), ("LEGAL_MIDDLE_NAME", legal),
                    ("PREFERRED_LAST_NAME", preferred), ("LEGAL_LAST_NAME", legal),
                ]).await;
            }
        }
        world.run().await.expect(0);
        for (kind, letter) in [("staff", "E"), ("student", "S")] {
            let users = world.users(kind).await;
            for (name, _, _, preferred, legal) in &cases {
                let user = &users[&format!("{name}{letter}@MIT.EDU")];
                for part in ["first", "middle", "last"] {
                    assert_eq!(text(user, &format!("{part}_name")), *legal, "{name}");
                    assert_eq!(text(user, &format!("pref_{part}_name")), *preferred, "{name}");
                }
            }
        }
    }

    // 5.3: the table's columns for staff, and E: '' when NULL or empty.
    async fn what_staff_have(world) {
        world.add(STAFF, &[
            (NAME, "FULL"), ("MIT_ID", "900000001"), ("LIBRARY_ID", "29080000000001"), ("EMAIL_ADDRESS", "full@mit.example"),
            ("OFFICE_ADDRESS", "14S-1 & more"), ("OFFICE_PHONE", "6172530000"), ("LIBRARY_PERSON_TYPE_CODE", "21"),
            ("LIBRARY_PERSON_TYPE", "Staff <\"Campus\">"), ("ORG_UNIT_ID", "10000536"), ("ORG_UNIT_TITLE", "Libraries & \"Archives\""),
        ]).await;
        world.add(STAFF, &[(NAME, "NULLS")]).await;
        world.add(STAFF, &[
            (NAME, "EMPTY"), ("MIT_ID", ""), ("LIBRARY_ID", ""), ("EMAIL_ADDRESS", ""), ("OFFICE_ADDRESS", ""), ("OFFICE_PHONE", ""),
            ("LIBRARY_PERSON_TYPE_CODE", ""), ("LIBRARY_PERSON_TYPE", ""), ("ORG_UNIT_ID", ""), ("ORG_UNIT_TITLE", ""),
        ]).await;
        world.add(STAFF, &[
            (NAME, "BLANKS"), ("MIT_ID", "  "), ("LIBRARY_ID", "  "), ("EMAIL_ADDRESS", "  "), ("OFFICE_ADDRESS", "  "), ("OFFICE_PHONE", "  "),
            ("LIBRARY_PERSON_TYPE_CODE", "  "), ("ORG_UNIT_ID", " 10000536"), ("ORG_UNIT_TITLE", "  "),
        ]).await;
        world.add(STAFF, &[(NAME, "NOBARCODE"), ("LIBRARY_ID", "NONE")]).await;
        world.add(STAFF, &[(NAME, "ABARCODE"), ("LIBRARY_ID", "none")]).await;
        world.run().await.expect(0);
        let users = world.users("staff").await;
        let user = &users["FULL@MIT.EDU"];
        assert_eq!(described(user, GROUP), ("21", Some("Staff <\"Campus\">")));
        assert_eq!(described(user, DEPARTMENT), ("YC", Some("Libraries & \"Archives\"")));
        assert_eq!(text(user, LINE1), "14S-1 & more");
        assert_eq!(phones(user), [("office", "617-253-0000")]);
        assert_eq!(identifiers(user), [("02", "900000001"), ("01", "29080000000001")]);
        assert_eq!(text(user, "contact_info/emails/email/email_address"), "full@mit.example");
        for (path, expected) in [("line3", "MIT"), ("city", ""), ("state_province", ""), ("postal_code", "00000")] {
            assert_eq!(text(user, &format!("{ADDRESS}/{path}")), expected, "{path}");
        }
        assert_eq!(described(user, "gender"), ("", Some("")));
        assert_eq!(text(user, "is_researcher"), "false");
        for name in ["NULLS", "EMPTY"] {
            let user = &users[&format!("{name}@MIT.EDU")];
            assert_eq!(described(user, GROUP), ("", Some("")), "{name}");
            assert_eq!(described(user, DEPARTMENT), ("ZQ", Some("Unknown")), "{name}");
            assert_eq!(text(user, LINE1), "NO ADDRESS ON FILE IN DATA WAREHOUSE", "{name}");
            assert!(phones(user).is_empty(), "{name}");
            assert_eq!(identifiers(user), [("02", "")], "{name}");
            assert!(user.contains_key("contact_info/emails") && !user.contains_key("contact_info/emails/email"), "{name}");
        }
        // A value that consists of blanks is written as it is, and a key is not trimmed.
        let user = &users["BLANKS@MIT.EDU"];
        assert_eq!(described(user, GROUP), ("  ", Some("")));
        assert_eq!(described(user, DEPARTMENT), ("ZQ", Some("  ")));
        assert_eq!(text(user, LINE1), "  ");
        assert_eq!(phones(user), [("office", "  ")]);
        assert_eq!(identifiers(user), [("02", "  "), ("01", "  ")]);
        assert_eq!(text(user, "contact_info/emails/email/email_address"), "  ");
        assert_eq!(identifiers(&users["NOBARCODE@MIT.EDU"]).len(), 1);
        assert_eq!(identifiers(&users["ABARCODE@MIT.EDU"])[1], ("01", "none"));
    }

    // 5.3.3: the table of student phones, and the students' own columns.
    async fn what_students_have(world) {
        let (a, b, c) = ("6175550001", "6175550002", "6175550003");
        let dashed = |phone: &str| format!("{}-{}-{}", &phone[..3], &phone[3..6], &phone[6..]);
        let cases = [
            ("ABC", a, b, c, Some(a), Some(b)),
            ("A-C", a, "", c, Some(a), None),
            ("-BC", "", b, c, Some(b), None),
            ("--C", "", "", c, Some(c), None),
            ("---", "", "", "", None, None),
            ("AB-", a, b, "", Some(a), Some(b)),
            ("A--", a, "", "", Some(a), None),
            ("-B-", "", b, "", Some(b), None),
        ];
        for (name, office, first, second, ..) in cases {
            world.add(STUDENTS, &[(NAME, name), ("OFFICE_PHONE", office), ("TERM_PHONE1", first), ("TERM_PHONE2", second)]).await;
        }
        world.add(STUDENTS, &[(NAME, "BLANK"), ("OFFICE_PHONE", " "), ("TERM_PHONE1", "b")]).await;
        world.add(STUDENTS, &[
            (NAME, "FULL"), ("MIT_ID", "800000002"), ("LIBRARY_ID", "29070000000002"), ("TERM_STREET1", "2 Vassar Street"), ("TERM_STREET2", "Room 5"),
            ("TERM_CITY", "Cambridge & Co"), ("TERM_STATE", "MA"), ("TERM_ZIP", "02139"), ("STUDENT_YEAR", "G"), ("HOME_DEPARTMENT", "6"),
        ]).await;
        world.run().await.expect(0);
        let users = world.users("student").await;
        for (name, _, _, _, office, home) in cases {
            let expected = [("office", office), ("home", home)];
            let expected: Vec<(&str, String)> = expected.into_iter().filter_map(|(kind, phone)| Some((kind, dashed(phone?)))).collect();
            let found = phones(&users[&format!("{name}@MIT.EDU")]);
            let found: Vec<(&str, String)> = found.into_iter().map(|(kind, phone)| (kind, phone.to_owned())).collect();
            assert_eq!(found, expected, "{name}");
        }
        assert_eq!(phones(&users["BLANK@MIT.EDU"]), [("office", " "), ("home", "b")]);
        let preferred = &users["ABC@MIT.EDU"]["contact_info/phones/phone"];
        assert_eq!([&*preferred[0].1["preferred"], &*preferred[1].1["preferred"]], ["true", "false"]);
        let user = &users["FULL@MIT.EDU"];
        assert!(!user.contains_key("gender"));
        assert_eq!(described(user, GROUP), ("32", None));
        assert_eq!(described(user, DEPARTMENT), ("UH", Some("")));
        assert_eq!(text(user, "is_researcher"), "");
        for (path, expected) in [("line1", "2 Vassar Street"), ("line3", "Room 5"), ("city", "Cambridge & Co"), ("state_province", "MA"), ("postal_code", "02139")] {
            assert_eq!(text(user, &format!("{ADDRESS}/{path}")), expected, "{path}");
        }
        let user = &users["---@MIT.EDU"];
        for (path, expected) in [("line1", "NO ADDRESS ON FILE IN DATA WAREHOUSE"), ("line3", ""), ("city", ""), ("state_province", ""), ("postal_code", "")] {
            assert_eq!(text(user, &format!("{ADDRESS}/{path}")), expected, "{path}");
        }
        assert_eq!(described(user, GROUP), ("", None));
        assert_eq!(described(user, DEPARTMENT), ("ZZ", Some("")));
    }

    // 5.3.4: user groups of students, with the QUIRK of the trailing line break in both columns.
    async fn groups_of_students(world) {
        let cases = [
            ("1", "", "31"), ("2", "", "31"), ("3", "", "31"), ("4", "", "31"), ("U", "", "31"), ("u", "", "31"), ("G", "", "32"), ("g", "", "32"),
            ("5", "", ""), ("0", "", ""), ("11", "", ""), ("G ", "", ""), ("", "", ""), ("12", "", ""),
            ("G\n", "", "32"), ("G\n\n", "", ""), ("\nG", "", ""),
            ("G", "NIU", "54"), ("", "NIV", "54"), ("5", "NIW", "54"), ("1", "NIT", "54"), ("", "NIR", "54"), ("", "NIH", "54"),
            ("G", "NIG", "32"), ("G", "niu", "32"), ("G", "NIU ", "32"), ("", "NIUX", ""), ("1", "NIU\n", "54"), ("1", "NIU\n\n", "31"),
        ];
        for (i, (year, department, _)) in cases.iter().enumerate() {
            world.add(STUDENTS, &[(NAME, &format!("S{i}")), ("STUDENT_YEAR", year), ("HOME_DEPARTMENT", department)]).await;
        }
        world.run().await.expect(0);
        let users = world.users("student").await;
        for (i, (year, department, group)) in cases.iter().enumerate() {
            assert_eq!(described(&users[&format!("S{i}@MIT.EDU")], GROUP), (*group, None), "{year:?} {department:?}");
        }
    }

    // 5.3.2: phones, in one column as in another.
    async fn phone_texts(world) {
        let cases = [
            ("6172531000", "617-253-1000"), ("16172531000", "161-725-31000"), ("(617) 253-1000", "(617) 253-1000"),
            ("x6172531000y6172532000", "x617-253-1000y617-253-2000"), ("٦١٧٢٥٣١٠٠٠", "٦١٧-٢٥٣-١٠٠٠"),
        ];
        for (i, (phone, _)) in cases.iter().enumerate() {
            world.add(STAFF, &[(NAME, &format!("P{i}")), ("OFFICE_PHONE", phone)]).await;
        }
        world.run().await.expect(0);
        let users = world.users("staff").await;
        for (i, (_, expected)) in cases.iter().enumerate() {
            assert_eq!(phones(&users[&format!("P{i}@MIT.EDU")]), [("office", *expected)]);
        }
    }

    // 5.3.6: what XML 1.0 forbids is dropped and counted, and all else stays.
    async fn control_characters(world) {
        world.add(STAFF, &[
            (NAME, "BEL\u{7}L"), ("LEGAL_FIRST_NAME", "Zer\u{1}li\u{1f}na"), ("OFFICE_ADDRESS", "a\tb\nc\u{fffe}"),
            ("ORG_UNIT_TITLE", "\u{b}Physics"), ("LIBRARY_PERSON_TYPE", "\u{7f}\u{85}Staff"),
        ]).await;
        // The same name, but for what is dropped: it would be the same primary id.
        world.add(STAFF, &[(NAME, "BELL")]).await;
        // Nothing is left of this one, and Alma takes no patron without a name.
        world.add(STAFF, &[(NAME, "\u{7}\u{8}"), ("EMAIL_ADDRESS", "zerlina.quux@mit.example"), ("LEGAL_LAST_NAME", "Quillfeather")]).await;
        let ended = world.run().await.expect(6);
        ended.says("staff: 3 rows read, 1 patrons written, 1 skipped, 1 set aside");
        ended.says("staff: 5 characters dropped that XML forbids");
        let users = world.users("staff").await;
        let user = &users["BELL@MIT.EDU"];
        assert_eq!(text(user, "first_name"), "Zerlina");
        assert_eq!(text(user, LINE1), "a\tb\nc");
        assert_eq!(described(user, DEPARTMENT).1, Some("Physics"));
        assert_eq!(described(user, GROUP).1, Some("\u{7f}\u{85}Staff"));
        let letters = world.dead_letters();
        assert_eq!(letters.len(), 1);
        assert_eq!(letters[0]["reason"], "column KRB_NAME_UPPERCASE: expected characters that XML can hold");
    }

    // What is dropped can leave nothing: such a text is an empty one.
    async fn a_text_of_control_characters_alone_is_empty(world) {
        let staff = ["EMAIL_ADDRESS", "LIBRARY_ID", "OFFICE_ADDRESS", "OFFICE_PHONE", "ORG_UNIT_TITLE", "LIBRARY_PERSON_TYPE"];
        let mut values = vec![(NAME, "STAFF1")];
        values.extend(staff.map(|column| (column, "\u{7}\u{1f}")));
        world.add(STAFF, &values).await;
        world.add(STUDENTS, &[(NAME, "STUDENT1"), ("OFFICE_PHONE", "\u{7}"), ("TERM_PHONE1", "6175550001"), ("TERM_STREET1", "\u{7}")]).await;
        world.add(STUDENTS, &[(NAME, "STUDENT2"), ("LIBRARY_ID", "NONE\u{7}")]).await;
        let ended = world.run().await.expect(0);
        ended.says("staff: 12 characters dropped that XML forbids");
        let user = &world.users("staff").await["STAFF1@MIT.EDU"];
        assert!(!user.contains_key("contact_info/emails/email"));
        assert_eq!(identifiers(user), [("02", "")]);
        assert_eq!(text(user, LINE1), "NO ADDRESS ON FILE IN DATA WAREHOUSE");
        assert!(phones(user).is_empty());
        assert_eq!(described(user, DEPARTMENT), ("ZQ", Some("Unknown")));
        assert_eq!(described(user, GROUP), ("", Some("")));
        let users = world.users("student").await;
        let user = &users["STUDENT1@MIT.EDU"];
        assert_eq!(phones(user), [("office", "617-555-0001")]);
        assert_eq!(text(user, LINE1), "NO ADDRESS ON FILE IN DATA WAREHOUSE");
        assert_eq!(identifiers(&users["STUDENT2@MIT.EDU"]), [("02", "")]);
    }

    // 5.3: the bytes, which a parser would not tell: declaration, empty elements, escapes.
    async fn the_bytes_of_a_file(world) {
        world.add(STAFF, &[(NAME, "STAFF1"), ("LEGAL_FIRST_NAME", "<&>\"'"), ("ORG_UNIT_TITLE", "<&>\"")]).await;
        world.run().await.expect(0);
        for kind in ["staff", "student"] {
            let bytes = world.only_file(kind).await.bytes;
            assert!(bytes.starts_with("<?xml version=\"1.0\" encoding=\"utf-8\"?><userRecords>"), "{kind}");
            assert!(!bytes.contains("/>"), "{kind}");
        }
        let bytes = world.only_file("staff").await.bytes;
        for words in ["<first_name>&lt;&amp;&gt;\"'</first_name>", "<middle_name></middle_name>", "<gender desc=\"\"></gender>",
            "<statistic_category desc=\"&lt;&amp;&gt;&quot;\">ZQ</statistic_category>"] {
            assert!(bytes.contains(words), "{words}");
        }
    }

    // 5.3.7
    async fn empty_tables(world) {
        world.run().await.expect(0);
        for kind in ["staff", "student"] {
            let file = world.only_file(kind).await;
            assert!(file.users.is_empty());
            assert_eq!(file.canonical, "<userRecords></userRecords>");
        }
        assert_eq!(world.mails().len(), 1);
    }

    // Nobody is told of one that Alma will refuse but by a count.
    async fn identifiers_that_come_twice_are_counted(world) {
        world.add(STAFF, &[(NAME, "A"), ("MIT_ID", "900000001"), ("LIBRARY_ID", "29080000000001")]).await;
        world.add(STUDENTS, &[(NAME, "B"), ("MIT_ID", "900000001"), ("LIBRARY_ID", "29080000000001")]).await;
        world.add(STUDENTS, &[(NAME, "C"), ("LIBRARY_ID", "NONE")]).await;
        world.add(STUDENTS, &[(NAME, "D"), ("LIBRARY_ID", "NONE")]).await;
        let ended = world.run().await.expect(0);
        ended.says("student: 1 with the id of another patron");
        ended.says("student: 1 with the barcode of another patron");
        assert_eq!(world.users("student").await.len(), 3);
    }
}

/// Python's canonical form of an XML document, by way of a zip that Python reads.
fn canonical(xml: &str) -> String {
    let script =
        "import sys, xml.etree.ElementTree as ET; print(ET.canonicalize(sys.argv[1]), end='')";
    let python = std::process::Command::new(crate::world::server("WATERSHED_TEST_PYTHON"))
        .args(["-c", script, xml])
        .output()
        .unwrap();
    assert!(python.status.success());
    String::from_utf8(python.stdout).unwrap()
}

/// 5.3.1: months are those of the calendar, cut to the last day of the month.
#[tokio::test(flavor = "multi_thread")]
async fn month_ends_and_leap_days() {
    let mut world = World::embedded();
    world.add(STAFF, &[(NAME, "A")]).await;
    // Days are those of UTC, wherever the machine stands.
    world.set("TZ", "Pacific/Kiritimati");
    for (now, expires, purged) in [
        ("2023-08-31 12:00:00Z", "2024-02-29Z", "2026-02-28Z"),
        ("2024-02-29 12:00:00Z", "2024-08-29Z", "2026-08-29Z"),
        ("2023-12-31 23:59:59Z", "2024-06-30Z", "2026-06-30Z"),
        ("2024-08-31 12:00:00Z", "2025-02-28Z", "2027-02-28Z"),
        ("2025-08-30 12:00:00Z", "2026-02-28Z", "2028-02-29Z"),
        ("2025-03-31 12:00:00Z", "2025-09-30Z", "2027-09-30Z"),
        // In UTC it is tomorrow.
        ("2023-12-31 23:00:00-05", "2024-07-01Z", "2026-07-01Z"),
    ] {
        world.set("AS_OF", now);
        world.run().await.expect(0);
        let user = &world.users("staff").await["A@MIT.EDU"];
        assert_eq!(text(user, "expiry_date"), expires, "{now}");
        assert_eq!(text(user, "purge_date"), purged, "{now}");
    }
    let mails = world.mails();
    for (mail, day) in mails.iter().zip(["2023-08-31", "2024-02-29", "2023-12-31"]) {
        assert!(mail.contains(&format!("file creation {day}")), "{mail}");
    }
}

/// 5.3.5: every key of the old configuration, and those that only look like one.
#[tokio::test(flavor = "multi_thread")]
async fn department_codes() {
    let mut world = World::embedded();
    let rows: Vec<[&str; 3]> = DEPARTMENTS
        .lines()
        .skip(1)
        .map(|line| line.split('\t').collect::<Vec<_>>().try_into().unwrap())
        .collect();
    assert_eq!(rows.len(), 347 + 67);
    let others = [
        ["staff", " 10000554", "ZQ"],
        ["staff", "6", "ZQ"],
        ["student", "21w", "ZZ"],
        ["student", "6 ", "ZZ"],
    ];
    for (i, [kind, department, _]) in rows.iter().chain(&others).enumerate() {
        let (table, column) = match *kind {
            "staff" => (STAFF, "ORG_UNIT_ID"),
            _ => (STUDENTS, "HOME_DEPARTMENT"),
        };
        world
            .add(table, &[(NAME, &format!("D{i}")), (column, department)])
            .await;
    }
    world.run().await.expect(0);
    let users = [world.users("staff").await, world.users("student").await];
    let users: BTreeMap<&String, &User> = users.iter().flatten().collect();
    for (i, [kind, department, code]) in rows.iter().chain(&others).enumerate() {
        let user = users[&format!("D{i}@MIT.EDU")];
        assert_eq!(text(user, DEPARTMENT), *code, "{kind} {department}");
    }
}

/// A record that cannot be read is set aside with its column; the others are written, and columns
/// that nobody uses may hold what they like.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_cannot_be_read_is_set_aside() {
    let mut world = World::embedded();
    world.add_many(STAFF, "GOOD", 20).await;
    for hidden in ["ZERLINAQUUX", "zerlina.quux@mit.example"] {
        world.program.hidden.push(hidden.into());
    }
    let sql = "INSERT INTO LIBRARY_EMPLOYEE (KRB_NAME_UPPERCASE, EMAIL_ADDRESS, OFFICE_PHONE)
        VALUES ('ZERLINAQUUX', 'zerlina.quux@mit.example', x'ff');
        INSERT INTO LIBRARY_EMPLOYEE (KRB_NAME_UPPERCASE, APPOINTMENT_END_DATE, POSITION_TITLE) VALUES ('ODD', x'ff', x'ff');";
    world.in_warehouse(sql).await;
    let ended = world.run().await.expect(6);
    ended.says("records were set aside in file:dead-letters/patronload/");
    assert_eq!(world.users("staff").await.len(), 21);
    let letters = world.dead_letters();
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!(letters[0]["position"], "LIBRARY_EMPLOYEE, row 21");
    assert_eq!(
        letters[0]["reason"],
        "column OFFICE_PHONE: expected text and not bytes"
    );
    let mail = &world.mails()[0];
    assert!(
        mail.contains("Patronload file creation") && mail.contains("set aside"),
        "{mail}"
    );
}

/// So many bad records for one reason are a changed source: Alma keeps what it has.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_source_stops_the_run() {
    let mut world = World::embedded();
    world.put("patronload/staff_old.zip", b"old").await;
    world.add_many(STAFF, "GOOD", 20).await;
    let bad =
        "INSERT INTO LIBRARY_EMPLOYEE (KRB_NAME_UPPERCASE, OFFICE_PHONE) VALUES ('BAD', x'ff');";
    world.in_warehouse(&bad.repeat(10)).await;
    let ended = world.run().await.expect(3);
    ended.says("setting aside 10 of the 30 rows of staff");
    assert_eq!(world.stored().await, ["patronload/staff_old.zip"]);
}
