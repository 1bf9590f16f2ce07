use super::super::fake::{
    CensusRequest, Fake, Reply, all_matched, found, geoid, impatient, matched, no_match,
};
use super::*;

const HTML: &str = "<!DOCTYPE html>\n<html><body><h1>Service Unavailable</h1>\n\
                    <p>Please, try again later, or not</p></body></html>\n";

/// The columns of so many rows.
fn streets(number: usize) -> Vec<[Personal<String>; 4]> {
    let street = |i| {
        [
            format!("{i} Otter St"),
            "Quill".into(),
            "CA".into(),
            "90099".into(),
        ]
    };
    (0..number).map(|i| street(i).map(Personal::new)).collect()
}

fn rows(columns: &[[Personal<String>; 4]]) -> Vec<Row<'_>> {
    let columns = columns.iter().map(<[_; 4]>::each_ref);
    let row = |(number, columns)| Row { number, columns };
    columns.enumerate().map(row).collect()
}

async fn geocode(fake: &Fake, number: usize) -> Result<Vec<Option<Tract>>> {
    let census = Census::new(fake.census_options()).unwrap();
    census.geocode(&rows(&streets(number))).await
}

/// The tracts of `answer` to a request for `number` rows, as text.
fn tracts(number: usize, answer: &str) -> Option<Vec<Option<String>>> {
    let tracts = read(answer, &rows(&streets(number)))?;
    Some(
        tracts
            .iter()
            .map(|tract| tract.as_ref().map(Tract::to_string))
            .collect(),
    )
}

#[test]
fn rows_come_in_any_order_and_some_not_at_all() {
    let answer = [
        found("3", "000100"),
        found("0", "000203"),
        found("99", "000300"),
    ]
    .concat();
    assert_eq!(
        tracts(4, &answer).unwrap(),
        [
            Some("06001000203".into()),
            None,
            None,
            Some("06001000100".into())
        ]
    );
}

#[test]
fn only_a_match_with_a_whole_tract_counts() {
    let tie = found("1", "000100").replace("\"Match\"", "\"Tie\"");
    let short = found("2", "0001");
    let cut = found("3", "000100").replace(",\"1000\"\n", "\n");
    let answer = [
        "0,\"1 Otter St\",No_Match\n",
        &tie,
        &short,
        &cut,
        "4,\"1 Otter St\"\n",
    ]
    .concat();
    assert_eq!(tracts(5, &answer).unwrap(), vec![None; 5]);
}

#[test]
fn a_doubled_row_counts_once_and_a_contradiction_not_at_all() {
    let same = found("0", "000100").repeat(2);
    let other = [
        found("1", "000100"),
        found("1", "000200"),
        found("1", "000100"),
    ]
    .concat();
    let tie = [found("2", "000100"), "2,\"1 Otter St\",Tie\n".into()].concat();
    let answer = [same, other, tie].concat();
    assert_eq!(
        tracts(3, &answer).unwrap(),
        [Some("06001000100".into()), None, None]
    );
}

#[test]
fn what_is_not_the_services_csv_is_no_answer() {
    for answer in [
        "",
        "\n\n",
        HTML,
        "503 Service Unavailable",
        "503\n",
        "{\"errors\": [\"x\", 1]}",
    ] {
        assert_eq!(tracts(2, answer), None, "{answer}");
    }
}

#[tokio::test]
async fn the_request_is_as_the_service_wants_it() {
    let fake = Fake::census(|_, rows| all_matched(rows)).await;
    let columns = [
        ["1 Otter St, Apt \"2\"", "Quill\r\nCity", "", "90099-1234"],
        ["Straße 5\nrear", "…", " CA ", "0"],
    ]
    .map(|row| row.map(|text| Personal::new(text.to_owned())));
    let mut rows = rows(&columns);
    rows[1].number = 7;

    let with_key = CensusOptions {
        key: Some(Secret::new("a&b=c")),
        ..fake.census_options()
    };
    for options in [with_key, fake.census_options()] {
        let found = Census::new(options).unwrap().geocode(&rows).await.unwrap();
        assert_eq!(found, [Tract::new(geoid("0")), Tract::new(geoid("7"))]);
    }

    let [first, second] = <[CensusRequest; 2]>::try_from(fake.census_requests())
        .unwrap_or_else(|_| panic!("two requests"));
    assert_eq!(first.query["benchmark"], "Public_AR_Current");
    assert_eq!(first.query["vintage"], "Current_Current");
    assert_eq!(first.query["key"], "a&b=c");
    assert!(!second.query.contains_key("key"));
    assert_eq!(
        first.rows,
        [
            [
                "0",
                "1 Otter St, Apt \"2\"",
                "Quill\r\nCity",
                "",
                "90099-1234"
            ],
            ["7", "Straße 5\nrear", "…", " CA ", "0"],
        ]
    );
}

#[tokio::test]
async fn nothing_is_asked_about_nothing() {
    let fake = Fake::census(|_, rows| all_matched(rows)).await;
    assert_eq!(geocode(&fake, 0).await.unwrap(), []);
    assert!(fake.sizes().is_empty());
}

#[tokio::test]
async fn a_failure_that_passes_is_tried_twice_more() {
    for fault in 0..6 {
        let fake = Fake::census(move |number, rows| match (number, fault) {
            (2.., _) => all_matched(rows),
            (_, 0) => Reply::Status(500),
            (_, 1) => Reply::Status(404),
            (_, 2) => Reply::Status(204),
            (_, 3) => Reply::Page(200, HTML),
            (_, 4) => Reply::Cut,
            _ => Reply::Page(302, "moved"),
        })
        .await;
        let tracts = geocode(&fake, 3).await.unwrap();
        assert_eq!(
            tracts,
            ["0", "1", "2"].map(|number| Tract::new(geoid(number)))
        );
        assert_eq!(fake.sizes(), [3, 3, 3], "fault {fault}");
    }
}

#[tokio::test]
async fn a_failure_that_stays_ends_the_page() {
    let fake = Fake::census(|_, _| Reply::Page(503, "1 Otter St is no street")).await;
    let error = geocode(&fake, 1_999).await.unwrap_err();
    assert_eq!(error.remedy(), Remedy::TryAgain);
    assert_eq!(
        error.in_one_line(),
        "Failed to retrieve geocoded addresses from API: 1999 addresses in one request: \
         asking 127.0.0.1 for census tracts: the answer was 503 Service Unavailable"
    );
    assert_eq!(fake.sizes(), [1_999; 3], "a half would be too small");
}

#[tokio::test]
async fn a_service_that_is_not_there_is_a_failure_that_may_pass() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap();
    drop(listener);
    let options = CensusOptions {
        url: format!("http://{place}/?secret=1"),
        policy: impatient(Duration::from_secs(60)),
        ..CensusOptions::default()
    };
    let census = Census::new(options).unwrap();
    let error = census.geocode(&rows(&streets(1))).await.unwrap_err();
    assert_eq!(error.remedy(), Remedy::TryAgain);
    assert!(!error.in_one_line().contains("secret"), "{error:?}");
}

#[tokio::test]
async fn silence_is_a_failure_when_the_time_is_over() {
    let fake = Fake::census(|_, _| Reply::Silence).await;
    let options = CensusOptions {
        policy: impatient(Duration::from_millis(100)),
        ..fake.census_options()
    };
    let census = Census::new(options).unwrap();
    let error = census.geocode(&rows(&streets(1))).await.unwrap_err();
    assert_eq!(error.remedy(), Remedy::TryAgain);
    assert_eq!(fake.sizes(), [1; 3]);
}

#[tokio::test]
async fn denied_access_is_not_asked_for_again() {
    for status in [401, 403] {
        let fake = Fake::census(move |_, _| Reply::Status(status)).await;
        let error = geocode(&fake, 3_000).await.unwrap_err();
        assert_eq!(error.remedy(), Remedy::FixAccess);
        assert_eq!(fake.sizes(), [3_000]);
    }
}

#[tokio::test]
async fn halves_arrive_where_the_whole_does_not() {
    // The first half is rounded down.
    for (number, limit) in [(3_000, 1_500), (3_001, 1_501)] {
        let fake = Fake::census(move |_, rows| match rows.len() > limit {
            true => Reply::Status(502),
            false => all_matched(rows),
        })
        .await;
        let tracts = geocode(&fake, number).await.unwrap();
        assert_eq!(tracts.len(), number);
        for (number, tract) in tracts.iter().enumerate() {
            assert_eq!(*tract, Tract::new(geoid(&number.to_string())));
        }
        let mut sizes = fake.sizes();
        sizes.sort_unstable();
        assert_eq!(sizes, [1_500, limit, number, number, number]);
    }
}

#[tokio::test]
async fn the_smallest_part_that_fails_ends_all() {
    let fake = Fake::census(|_, rows| match rows[0][0].as_str() {
        "0" => Reply::Status(500),
        _ => all_matched(rows),
    })
    .await;
    let error = geocode(&fake, 5_000).await.unwrap_err();
    assert_eq!(error.remedy(), Remedy::TryAgain);
    let of_the_first: Vec<usize> = fake
        .census_requests()
        .iter()
        .filter(|request| request.rows[0][0] == "0")
        .map(|request| request.rows.len())
        .collect();
    assert_eq!(
        of_the_first,
        [
            5_000, 5_000, 5_000, 2_500, 2_500, 2_500, 1_250, 1_250, 1_250
        ]
    );
}

#[tokio::test]
async fn ten_thousand_rows_a_request_and_two_requests_at_once() {
    let fake = Fake::meeting(2, 0).await;
    assert_eq!(geocode(&fake, 35_000).await.unwrap(), vec![None; 35_000]);
    let mut sizes = fake.sizes();
    sizes.sort_unstable();
    assert_eq!(sizes, [5_000, 10_000, 10_000, 10_000]);
    assert_eq!(fake.most_at_once().0, 2);
}

#[tokio::test]
async fn some_rows_may_be_missing_from_an_answer() {
    let fake =
        Fake::census(|_, rows| Reply::Text([matched(&rows[2]), no_match(&rows[0])].concat())).await;
    let tracts = geocode(&fake, 3).await.unwrap();
    assert_eq!(tracts, [None, None, Tract::new(geoid("2"))]);
    assert_eq!(fake.sizes(), [3]);
}

#[test]
fn a_url_that_cannot_be_used_is_a_setting_to_fix() {
    for url in [
        "",
        "geocoding.geo.census.gov",
        "ftp://example.org/",
        "http://",
    ] {
        let options = CensusOptions {
            url: url.into(),
            ..CensusOptions::default()
        };
        assert_eq!(
            Census::new(options).unwrap_err().remedy(),
            Remedy::FixSettings,
            "{url}"
        );
    }
}
