use std::collections::HashMap;

use super::super::fake::{Fake, Reply, all_matched, impatient};
use super::*;
use crate::privacy::Personal;

fn addresses(number: usize) -> Vec<CleanedAddress> {
    let text = |text: String| Personal::new(text);
    (0..number)
        .map(|i| CleanedAddress {
            address: Personal::default(),
            city: Personal::default(),
            region: Personal::default(),
            postal_code: text("10099-1234".into()),
            house_number: text(i.to_string()),
            street_name: text("Otter & Quill St".into()),
        })
        .collect()
}

async fn fake(
    script: impl Fn(usize, &HashMap<String, String>) -> Reply + Send + Sync + 'static,
) -> Fake {
    Fake::both(|_, rows| all_matched(rows), script).await
}

async fn geocode(fake: &Fake, number: usize) -> Result<Asked> {
    let addresses = addresses(number);
    let nyc = Nyc::new(fake.nyc_options()).unwrap();
    nyc.geocode(&addresses.iter().collect::<Vec<_>>()).await
}

fn in_manhattan(tract: &str) -> Reply {
    Reply::Text(format!(
        r#"{{"address": {{"firstBoroughName": "MANHATTAN", "censusTract2020": "{tract}", "x": 1}}}}"#
    ))
}

fn tract_of(answer: &str) -> Option<String> {
    let answer: Answer = serde_json::from_str(answer).unwrap();
    answer.address.tract().map(|tract| tract.to_string())
}

#[test]
fn a_tract_has_six_digits_whatever_blanks_are_left() {
    for (tract, expected) in [
        ("  31  ", Some("003100")),
        (" 10201", Some("010201")),
        ("  1502", Some("001502")),
        ("1571  ", Some("157100")),
        ("000100", Some("000100")),
        ("10201", Some("010201")),
        ("  31", Some("003100")),
        ("31  ", Some("003100")),
        ("187", Some("018700")),
        ("8", Some("000800")),
        ("1502", None),
    ] {
        assert_eq!(six_digits(tract).as_deref(), expected, "{tract:?}");
    }
}

#[test]
fn boroughs_are_counties() {
    for (borough, expected) in [
        ("BRONX", Some("36005003100")),
        ("BROOKLYN", Some("36047003100")),
        ("MANHATTAN ", Some("36061003100")),
        ("QUEENS", Some("36081003100")),
        ("STATEN IS", Some("36085003100")),
        ("STATEN ISLAND", Some("36085003100")),
        ("YONKERS", None),
        ("", None),
    ] {
        let answer = format!(
            r#"{{"address": {{"firstBoroughName": "{borough}", "censusTract2010": "  31  "}}}}"#
        );
        assert_eq!(tract_of(&answer).as_deref(), expected, "{borough:?}");
    }
    assert_eq!(
        tract_of(r#"{"address": {"censusTract2010": "  31  "}}"#),
        None
    );
}

#[test]
fn the_newest_tract_that_is_not_empty_counts() {
    let answer = |tracts: &str| {
        tract_of(&format!(
            r#"{{"address": {{{tracts}, "firstBoroughName": "BRONX"}}}}"#
        ))
    };
    assert_eq!(
        answer(
            r#""censusTract1990": "   4  ", "censusTract2020": "   1  ", "censusTract2010": "   2  ""#
        ),
        Some("36005000100".into())
    );
    assert_eq!(
        answer(
            r#""censusTract2020": "      ", "censusTract2010": null, "censusTract2000": " 301  ""#
        ),
        Some("36005030100".into())
    );
    assert_eq!(
        answer(r#""censusTract1990": " 40102""#),
        Some("36005040102".into())
    );
    assert_eq!(
        answer(r#""censusTract2020": "", "message": "NOT FOUND""#),
        None
    );
    assert_eq!(answer(r#""censusTract2020": "A SIGN""#), None);
}

#[tokio::test]
async fn a_call_names_house_number_street_and_postal_code() {
    let fake = fake(|_, _| in_manhattan("  31  ")).await;
    let asked = geocode(&fake, 1).await.unwrap();
    assert_eq!(asked.tracts, [Tract::new("36061003100")]);
    let call = &fake.nyc_calls()[0];
    assert_eq!(call["houseNumber"], "0");
    assert_eq!(call["street"], "Otter & Quill St");
    assert_eq!(call["zip"], "10099-1234");
    assert_eq!(call.len(), 3);
}

#[tokio::test]
async fn a_failure_that_passes_is_tried_again() {
    for fault in 0..4 {
        let fake = fake(move |number, _| match (number, fault) {
            (2.., _) => in_manhattan("  31  "),
            (_, 0) => Reply::Status(503),
            (_, 1) => Reply::Page(200, "<html>, busy</html>"),
            (_, 2) => Reply::Cut,
            _ => Reply::Status(429),
        })
        .await;
        let asked = geocode(&fake, 1).await.unwrap();
        assert_eq!(asked.tracts, [Tract::new("36061003100")]);
        assert_eq!(
            (asked.failed, fake.nyc_calls().len()),
            (0, 3),
            "fault {fault}"
        );
    }
}

#[tokio::test]
async fn a_call_that_fails_is_an_address_without_a_tract() {
    for (status, calls) in [(500, 22), (400, 20), (403, 20)] {
        let fake = fake(move |_, call| match call["houseNumber"].as_str() {
            "4" => Reply::Status(status),
            number => in_manhattan(&format!("{number:>4}  ")),
        })
        .await;
        let asked = geocode(&fake, 20).await.unwrap();
        for (i, tract) in asked.tracts.iter().enumerate() {
            let expected = Tract::new(format!("36061{i:04}00")).filter(|_| i != 4);
            assert_eq!(*tract, expected);
        }
        assert_eq!(
            (asked.failed, fake.nyc_calls().len()),
            (1, calls),
            "{status}"
        );
    }
}

#[tokio::test]
async fn a_few_failures_are_no_end_even_if_they_are_all() {
    let fake = fake(|_, _| Reply::Status(500)).await;
    let asked = geocode(&fake, 9).await.unwrap();
    assert_eq!((asked.tracts, asked.failed), (vec![None; 9], 9));
}

#[tokio::test]
async fn a_service_that_is_down_ends_the_page() {
    let fake = fake(|_, call| match call["houseNumber"].parse().unwrap() {
        ..100 => in_manhattan("  31  "),
        100.. => Reply::Page(500, "Otter St is no street"),
    })
    .await;
    let error = geocode(&fake, 1_000).await.unwrap_err();
    assert_eq!(error.remedy(), Remedy::TryAgain);
    assert_eq!(
        error.in_one_line(),
        "Failed to retrieve geocoded addresses from API: NYC Geoclient: \
         asking 127.0.0.1 for a census tract: the answer was 500 Internal Server Error"
    );
    assert!(fake.nyc_calls().len() < 200, "the rest is not asked for");
}

#[tokio::test]
async fn silence_is_a_failure_when_the_time_is_over() {
    let fake = fake(|_, _| Reply::Silence).await;
    let nyc = Nyc::new(NycOptions {
        policy: impatient(Duration::from_millis(100)),
        ..fake.nyc_options()
    })
    .unwrap();
    let asked = nyc.geocode(&[&addresses(1)[0]]).await.unwrap();
    assert_eq!((asked.failed, fake.nyc_calls().len()), (1, 3));
}

#[tokio::test]
async fn access_denied_to_all_ends_the_page_however_short() {
    for number in [1, 30] {
        let fake = fake(|_, _| Reply::Status(403)).await;
        let error = geocode(&fake, number).await.unwrap_err();
        assert_eq!(error.remedy(), Remedy::FixAccess);
        assert!(!format!("{error:?}").contains(super::super::fake::KEY));
    }
    // Without its key the service says 401.
    let fake = fake(|_, _| in_manhattan("  31  ")).await;
    let nyc = Nyc::new(NycOptions {
        key: None,
        ..fake.nyc_options()
    })
    .unwrap();
    let error = nyc.geocode(&[&addresses(1)[0]]).await.unwrap_err();
    assert_eq!(error.remedy(), Remedy::FixAccess);
}

#[tokio::test]
async fn eight_calls_at_once() {
    let fake = Fake::meeting(0, 8).await;
    assert_eq!(geocode(&fake, 40).await.unwrap().tracts, vec![None; 40]);
    assert_eq!(fake.most_at_once().1, 8);
}

#[test]
fn settings_that_cannot_be_used_are_to_fix() {
    let key = Some(Secret::new("two\nlines"));
    for options in [
        NycOptions::new("api.nyc.gov", None),
        NycOptions::new("https://api.nyc.gov", key),
    ] {
        let error = Nyc::new(options).unwrap_err();
        assert_eq!(error.remedy(), Remedy::FixSettings);
        assert!(!format!("{error:?}").contains("lines"));
    }
}
