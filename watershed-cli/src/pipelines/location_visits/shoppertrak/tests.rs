use std::time::Duration;

use jiff::civil::date;
use watershed::privacy::Secret;

use super::document::{Document, NotXml, read};
use super::web::Web;
use super::*;

const DAY: Date = date(2024, 3, 29);

fn parsed(xml: &str) -> Result<Document, NotXml> {
    read(xml.as_bytes(), DAY, false)
}

/// A document with one entrance that holds `traffic`.
fn entrance(traffic: &str) -> String {
    format!(
        r#"<sites><site siteID="aa"><date dateValue="20240329"><entrance entranceName="EP 1">{traffic}</entrance></date></site></sites>"#
    )
}

/// What a reading says, in one line.
fn line(reading: &Reading) -> String {
    match reading {
        Ok(visit) => {
            let number = |number: Option<i32>| number.map_or("-".into(), |n| n.to_string());
            format!(
                "{} {} {} {} {} {}",
                visit.site.as_deref().unwrap_or("-"),
                number(visit.orbit),
                visit.start,
                number(visit.enters),
                number(visit.exits),
                if visit.healthy {
                    "healthy"
                } else {
                    "unhealthy"
                }
            )
        }
        Err(letter) => format!("set aside: {}: {}", letter.position, letter.reason),
    }
}

fn lines(xml: &str) -> Vec<String> {
    parsed(xml).unwrap().readings.iter().map(line).collect()
}

#[test]
fn an_increment_is_small() {
    assert_eq!(size_of::<Reading>(), 56);
}

#[test]
fn increments_come_in_the_order_of_the_document() {
    let xml = r#"<?xml version="1.0" encoding="UTF-8"?><!-- c --><sites>
        <site siteID=" dd north; wing &amp; co "><date dateValue="20240329">
          <entrance entranceName=" EP02 "><traffic code="01" exits=" 5 " enters="+6" startTime="010000"/></entrance>
          <entrance entranceName='EP X1'><traffic code=" 01 " exits="2" enters="1" startTime="234500"></traffic></entrance>
          <entrance><traffic exits="2" startTime="000000"/></entrance>
        </date><date dateValue="20240329"><entrance entranceName="12"><traffic code="02" enters="n/a" exits="3.0" startTime="000000"/></entrance></date></site>
        <site><date dateValue="20240329"><entrance entranceName="1"><traffic code="99" enters="0" exits="0" startTime="000000"/></entrance></date></site>
        <site siteID="&#241;and&#xFA;/branch"><date dateValue="20240329"><entrance entranceName="1"><traffic code="01" enters="0" exits="0" startTime="000000"/></entrance></date></site>
        </sites>"#;
    assert_eq!(
        lines(xml),
        [
            "dd north; wing & co 2 2024-03-29T01:00:00 6 5 healthy",
            "dd north; wing & co - 2024-03-29T23:45:00 1 2 healthy",
            "dd north; wing & co - 2024-03-29T00:00:00 - 2 unhealthy",
            "dd north; wing & co 12 2024-03-29T00:00:00 - - unhealthy",
            "- 1 2024-03-29T00:00:00 0 0 unhealthy",
            "ñandú/branch 1 2024-03-29T00:00:00 0 0 healthy",
        ]
    );
    let oddities: Vec<String> = parsed(xml).unwrap().oddities.lines().collect();
    assert_eq!(
        oddities,
        [
            "2 entrances without an orbit, the first at site dd north; wing & co, entrance EP X1, 2024-03-29",
            "2 increments of unknown code, the first at site dd north; wing & co, entrance , 2024-03-29 000000",
            "2 increments without enters, the first at site dd north; wing & co, entrance , 2024-03-29 000000",
            "1 increments without exits, the first at site dd north; wing & co, entrance 12, 2024-03-29 000000",
            "1 sites without an id, the first at the top",
        ]
    );
}

#[test]
fn only_direct_children_are_on_the_way() {
    let traffic = r#"<traffic code="01" enters="1" exits="1" startTime="090000"/>"#;
    for xml in [
        format!("<sites>{traffic}</sites>"),
        format!(r#"<sites><site siteID="aa">{traffic}</site></sites>"#),
        format!(
            r#"<sites><group><site siteID="aa"><date dateValue="20240329"><entrance>{traffic}</entrance></date></site></group></sites>"#
        ),
        entrance(&format!("<more>{traffic}</more>")),
        format!("<traffic>{traffic}</traffic>"),
    ] {
        let document = parsed(&xml).unwrap();
        assert!(document.has_traffic, "{xml}");
        assert!(document.readings.is_empty(), "{xml}");
    }
    // A traffic element may have children, and what follows it counts.
    let xml = entrance(&format!(
        r#"<traffic code="01" startTime="080000"><more><traffic/></more></traffic>{traffic}"#
    ));
    assert_eq!(lines(&xml).len(), 2);
}

#[test]
fn a_start_that_cannot_be_read_is_set_aside_with_its_place() {
    let good = r#"<traffic code="01" enters="1" exits="1" startTime="090000"/>"#;
    for (traffic, reason) in [
        (
            r#"<traffic code="01" enters="1"/>"#,
            "startTime: expected HHMMSS",
        ),
        (
            r#"<traffic enters="1" startTime="9 am"/>"#,
            "startTime: expected HHMMSS",
        ),
        (
            r#"<traffic startTime="246000"/>"#,
            "startTime: expected HHMMSS",
        ),
        (
            r#"<traffic startTime="090000" enters="2147483648"/>"#,
            "enters: expected a whole number of 32 bits",
        ),
        (
            r#"<traffic startTime="090000" exits="-2147483649"/>"#,
            "exits: expected a whole number of 32 bits",
        ),
    ] {
        let document = parsed(&entrance(&format!("{good}{traffic}{good}"))).unwrap();
        let letter = document.readings[1].as_ref().unwrap_err();
        assert_eq!(letter.reason, reason, "{traffic}");
        assert_eq!(letter.key.as_deref(), Some("aa"));
        assert!(
            letter
                .position
                .starts_with("site aa, entrance EP 1, 2024-03-29"),
            "{}",
            letter.position
        );
        assert!(letter.record.as_ref().unwrap().is_object());
        assert!(document.readings[0].is_ok() && document.readings[2].is_ok());
    }
    for date in ["", r#"dateValue="soon""#, r#"dateValue="20240230""#] {
        let xml = entrance(good).replace(r#"dateValue="20240329""#, date);
        let document = parsed(&xml).unwrap();
        assert_eq!(document.other_date, None, "{date}");
        let letter = document.readings[0].as_ref().unwrap_err();
        assert_eq!(letter.reason, "dateValue: expected YYYYMMDD");
    }
}

#[test]
fn a_start_time_that_comes_twice_is_kept_twice() {
    let twice = r#"<traffic code="01" startTime="120000" enters="1" exits="1"/>"#.repeat(3);
    let document = parsed(&entrance(&twice)).unwrap();
    assert_eq!(document.readings.len(), 3);
    let oddities: Vec<String> = document.oddities.lines().collect();
    assert_eq!(
        oddities,
        ["2 start times that came before, the first at site aa, entrance EP 1, 2024-03-29 120000"]
    );
    // Another entrance, even of the same name, is another matter.
    let once = r#"<traffic code="01" startTime="120000" enters="1" exits="1"/>"#;
    let two = entrance(&format!(
        r#"{once}</entrance><entrance entranceName="EP 1">{once}"#
    ));
    assert_eq!(parsed(&two).unwrap().oddities.lines().count(), 0);
}

#[test]
fn the_older_service_may_name_an_entrance_otherwise() {
    let xml =
        entrance(r#"<traffic code="01" startTime="120000"/>"#).replace("entranceName=", "name=");
    for (older, orbit) in [(true, Some(1)), (false, None)] {
        let document = read(xml.as_bytes(), DAY, older).unwrap();
        assert_eq!(document.readings[0].as_ref().unwrap().orbit, orbit);
    }
    let both = xml.replace(r#"name="EP 1""#, r#"name="EP 1" entranceName="EP 2""#);
    let document = read(both.as_bytes(), DAY, true).unwrap();
    assert_eq!(document.readings[0].as_ref().unwrap().orbit, Some(2));
}

#[test]
fn what_an_xml_parser_refuses_is_unusable() {
    let traffic = r#"<traffic code="01" enters="1" exits="1" startTime="090000"/>"#;
    let good = entrance(traffic);
    for bad in [
        String::new(),
        "  ".into(),
        "busy, try later".into(),
        "<!-- nothing -->".into(),
        format!("\n<?xml version=\"1.0\"?>{good}"),
        format!("<!-- c --><?xml version=\"1.0\"?>{good}"),
        format!("{good}{good}"),
        format!("{good}done"),
        format!("x{good}"),
        good.replace("</sites>", ""),
        good.replace("</site>", "</sites>"),
        good.replace("exits=\"1\"", "exits=1"),
        good.replace("exits=\"1\"", "exits"),
        good.replace("exits=\"1\"", "enters=\"1\""),
        good.replace("exits=\"1\"", "exits=\"<\""),
        good.replace("exits=\"1\"", "exits=\"&nbsp;\""),
        good.replace("siteID=\"aa\"", "siteID=\"a & b\""),
        good.replace("siteID=\"aa\"", "siteID=\"aa\" siteID=\"bb\""),
        good.replace("<entrance", "&nbsp;<entrance"),
        good.replace("<entrance", "<!-- a -- b --><entrance"),
        good[..good.len() / 2].to_owned(),
    ] {
        assert!(parsed(&bad).is_err(), "{bad}");
    }
    let mut latin1 = good.clone().into_bytes();
    let place = good.find("aa").unwrap();
    latin1[place] = 0xe4;
    assert!(read(&latin1[..], DAY, false).is_err());

    for fine in [
        format!("\u{feff}<?xml version=\"1.0\"?>{good}"),
        format!("<!DOCTYPE sites>{good}<!-- end -->\n"),
        good.replace("<entrance", "&lt;&#65;<![CDATA[<]]><?pi?><entrance"),
    ] {
        assert_eq!(lines(&fine).len(), 1, "{fine}");
    }
}

fn judged(xml: &str) -> String {
    let document = parsed(xml).unwrap();
    match judge(document, Question::AllSites, DAY) {
        Ok(Verdict::Done(Answer::Visits(readings))) => format!("{} readings", readings.len()),
        Ok(Verdict::Done(Answer::Unusable(fault))) => fault.to_string(),
        Ok(Verdict::Done(Answer::LimitReached)) => "limit".into(),
        Ok(Verdict::Again(at_last)) => format!("again: {at_last}"),
        Err(error) => format!("{:?}: {}", error.remedy(), error.in_one_line()),
    }
}

#[test]
fn the_table_of_answers() {
    let traffic = r#"<traffic code="01" enters="1" exits="1" startTime="090000"/>"#;
    let good = entrance(traffic);
    let with = |error: &str| good.replace("<sites>", &format!("<sites>{error}"));
    for (name, xml, expected) in [
        ("fine", good.clone(), "1 readings"),
        (
            "the request limit",
            "<message><error>E107</error></message>".into(),
            "TryAgain: Failed to retrieve all sites visits data of 2024-03-29: API limit exceeded (E107)",
        ),
        (
            "busy",
            "<message><error>E108</error></message>".into(),
            "again: ShopperTrak is busy (E108)",
        ),
        (
            "busy, the other code",
            "<message><error> E000\n</error></message>".into(),
            "again: ShopperTrak is busy (E000)",
        ),
        (
            "no such site",
            "<message><error>E104</error></message>".into(),
            "the answer is the error E104",
        ),
        (
            "another text",
            "<message><error><![CDATA[tired]]></error></message>".into(),
            "the answer is the error tired",
        ),
        (
            "an error beside traffic, and at the end",
            good.replace("</sites>", "<error>E110</error></sites>"),
            "the answer is the error E110",
        ),
        ("an empty error", with("<error/>"), "1 readings"),
        ("a blank error", with("<error> \n</error>"), "1 readings"),
        (
            "an error with a child before its text",
            with("<error><code/>E107</error>"),
            "1 readings",
        ),
        (
            "the first error counts",
            with("<error/><error>E107</error>"),
            "1 readings",
        ),
        (
            "an error that is no child of the root",
            good.replace("<date", "<error>E107</error><date"),
            "1 readings",
        ),
        ("no traffic", entrance(""), "No traffic found in the answer"),
        (
            "the wrong date",
            good.replace("20240329", "20240328"),
            "the answer is about 2024-03-28",
        ),
        (
            "the wrong date at the end",
            good.replace("</site>", "<date dateValue=\"20240330\"/></site>"),
            "the answer is about 2024-03-30",
        ),
        (
            "an error outweighs the wrong date",
            with("<error>E101</error>").replace("20240329", "20240328"),
            "the answer is the error E101",
        ),
        (
            "no traffic outweighs the wrong date",
            entrance("").replace("20240329", "20240328"),
            "No traffic found in the answer",
        ),
    ] {
        assert_eq!(judged(&xml), expected, "{name}");
    }
}

/// A day whose every increment is malformed is refused, and not held in memory first.
#[test]
fn malformed_increments_are_kept_up_to_a_bound() {
    let good = r#"<traffic code="01" enters="1" exits="1" startTime="090000"/>"#;
    let bad = r#"<traffic code="01" enters="1" exits="1" startTime="noon"/>"#;
    let xml = entrance(&format!("{}{good}", bad.repeat(100_001)));
    let document = parsed(&xml).unwrap();
    assert_eq!(document.readings.len(), 100_001);
    let refused = judge(document, Question::AllSites, DAY).err().unwrap();
    assert_eq!(
        format!("{:?}: {}", refused.remedy(), refused.in_one_line()),
        "FixSettings: Failed to retrieve all sites visits data of 2024-03-29: \
         setting aside 100001 of its 100002 increments: startTime: expected HHMMSS"
    );
    // What the answer says about itself comes first.
    let busy = xml.replace("</sites>", "<error>E108</error></sites>");
    assert_eq!(judged(&busy), "again: ShopperTrak is busy (E108)");
}

#[test]
fn a_request_is_built_as_the_old_program_built_it() {
    let secret = Secret::new("x");
    let web = |url| Web::new(url, &secret, &secret, Duration::from_secs(1)).unwrap();
    for base in [
        "https://stws.example.com/EnterpriseFlash/v2.0",
        "https://stws.example.com/EnterpriseFlash/v2.0/",
        "https://stws.example.com/EnterpriseFlash/v2.0/service",
        "https://stws.example.com/EnterpriseFlash/v2.0/service/",
    ] {
        assert_eq!(
            web(base).url(Question::AllSites, DAY),
            "https://stws.example.com/EnterpriseFlash/v2.0/service/allsites?date=20240329&increment=15&total_property_only=false&detail=entrance"
        );
    }
    let older = web("http://stws.example.com/v1.0/service/");
    assert_eq!(
        older.url(Question::Site("ñandú/b~r.a_n-ch; &?#%+ 1"), DAY),
        "http://stws.example.com/v1.0/service/site/%C3%B1and%C3%BA/b~r.a_n-ch%3B%20%26%3F%23%25%2B%201?date=20240329&increment=15&total_property=N"
    );
    assert!(Web::new("ftp://x", &secret, &secret, Duration::ZERO).is_err());
}
