use super::super::fake::{
    Fake, Reply, Row as Line, address_of, all_matched, geoid, matched, no_match,
};
use super::*;

/// One address for each thing that can become of it.
const PAGE: [[&str; 4]; 7] = [
    // Matched at once.
    ["1 Otter St", "Quill", "NY", "10099"],
    // Empty.
    ["", " ", "", ""],
    // Matched after cleaning.
    ["2", "Otter St Apt 2", "Quill NY", "10099"],
    // Matched by NYC Geoclient.
    ["3 Otter St", "Quill", "NY", "10099-1234"],
    // Nowhere.
    ["4 Otter St", "Quill", "NY", "10099"],
    // Empty once it is prepared.
    ["\"'\\", "", "", ""],
    // Nowhere, and nothing that NYC Geoclient could be asked for.
    ["Otter St", "Quill", "NY", "10099"],
];

fn page() -> Vec<Address> {
    PAGE.map(address_of).into()
}

async fn services() -> Fake {
    Fake::both(
        |_, rows| {
            let line = |row: &Line| match row[1].as_str() {
                "1 Otter St" | "2 Otter St Apt 2" => matched(row),
                _ => no_match(row),
            };
            Reply::Text(rows.iter().rev().map(line).collect())
        },
        |_, call| match call["houseNumber"].as_str() {
            "3" => Reply::Text(
                r#"{"address": {"firstBoroughName": "QUEENS", "censusTract2020": " 31  "}}"#.into(),
            ),
            _ => Reply::Text(r#"{"address": {"message": "NOT RECOGNIZED"}}"#.into()),
        },
    )
    .await
}

fn counts(numbers: &[(&'static str, u64)]) -> Counts {
    let mut counts = Counts::default();
    for (name, number) in numbers {
        counts.add(name, *number);
    }
    counts
}

#[tokio::test]
async fn each_attempt_gets_what_the_one_before_left_over() {
    let fake = services().await;
    let attempts = Attempts::new(fake.census_options(), Some(fake.nyc_options())).unwrap();
    let page = page();
    // A second page goes the way of the first.
    for time in 1..=2 {
        let geocoded = attempts.geocode(&page).await.unwrap();
        let expected = [
            Tract::new(geoid("0")),
            None,
            Tract::new(geoid("2")),
            Tract::new("36081003100"),
            None,
            None,
            None,
        ];
        assert_eq!(geocoded.tracts, expected);
        assert_eq!(
            geocoded.counts,
            counts(&[
                ("geocoded by census", 1),
                ("geocoded by census after cleaning", 1),
                ("geocoded by nyc", 1),
                ("no address", 2),
                ("not geocoded", 2),
            ])
        );
        assert_eq!(fake.nyc_calls().len(), 2 * time);
    }
    let requests: Vec<Vec<Line>> = fake
        .census_requests()
        .into_iter()
        .map(|request| request.rows)
        .collect();
    assert_eq!(
        requests[0],
        [
            ["0", "1 Otter St", "Quill", "NY", "10099"],
            ["2", "2", "Otter St Apt 2", "Quill NY", "10099"],
            ["3", "3 Otter St", "Quill", "NY", "10099-1234"],
            ["4", "4 Otter St", "Quill", "NY", "10099"],
            ["6", "Otter St", "Quill", "NY", "10099"],
        ]
    );
    assert_eq!(
        requests[1],
        [
            ["2", "2 Otter St Apt 2", "Quill", "NY", "10099"],
            ["3", "3 Otter St", "Quill", "NY", "10099-1234"],
            ["4", "4 Otter St", "Quill", "NY", "10099"],
            ["6", "Otter St", "Quill", "NY", "10099"],
        ],
        "asked again even if cleaning has changed nothing"
    );
    assert_eq!(requests.len(), 4);
}

#[tokio::test]
async fn without_nyc_geoclient_the_addresses_not_tried_are_counted() {
    let fake = services().await;
    let attempts = Attempts::new(fake.census_options(), None).unwrap();
    let geocoded = attempts.geocode(&page()).await.unwrap();
    assert_eq!(
        geocoded.counts,
        counts(&[
            ("geocoded by census", 1),
            ("geocoded by census after cleaning", 1),
            ("no address", 2),
            ("not geocoded", 3),
            ("not tried with nyc", 2),
        ])
    );
    assert!(fake.nyc_calls().is_empty());
}

#[tokio::test]
async fn rows_missing_from_the_answer_go_on() {
    let fake = Fake::census(|number, rows| match number {
        0 => Reply::Text(matched(&rows[0])),
        _ => all_matched(rows),
    })
    .await;
    let attempts = Attempts::new(fake.census_options(), None).unwrap();
    let geocoded = attempts.geocode(&page()).await.unwrap();
    assert_eq!(
        geocoded.counts,
        counts(&[
            ("geocoded by census", 1),
            ("geocoded by census after cleaning", 4),
            ("no address", 2),
        ])
    );
}

#[tokio::test]
async fn a_failure_of_the_second_request_ends_the_page_too() {
    let fake = Fake::census(|number, rows| match number {
        0 => Reply::Text(rows.iter().map(no_match).collect()),
        _ => Reply::Status(500),
    })
    .await;
    let attempts = Attempts::new(fake.census_options(), Some(fake.nyc_options())).unwrap();
    let error = attempts.geocode(&page()).await.unwrap_err();
    assert_eq!(error.remedy(), Remedy::TryAgain);
    assert!(
        error
            .to_string()
            .starts_with("Failed to retrieve geocoded addresses from API")
    );
    assert!(fake.nyc_calls().is_empty());
}

#[tokio::test]
async fn calls_that_failed_are_counted() {
    let fake = Fake::both(
        |_, rows| Reply::Text(rows.iter().map(no_match).collect()),
        |_, call| match call["houseNumber"].as_str() {
            "3" => Reply::Status(500),
            _ => Reply::Text(r#"{"address": {}}"#.into()),
        },
    )
    .await;
    let attempts = Attempts::new(fake.census_options(), Some(fake.nyc_options())).unwrap();
    let geocoded = attempts.geocode(&page()).await.unwrap();
    assert_eq!(geocoded.counts.get("failed with nyc"), 1);
    assert_eq!(geocoded.counts.get("not geocoded"), 5);
}

#[tokio::test]
async fn nothing_is_asked_about_empty_addresses() {
    let fake = services().await;
    let attempts = Attempts::new(fake.census_options(), Some(fake.nyc_options())).unwrap();
    let geocoded = attempts.geocode(&page()[5..6]).await.unwrap();
    assert_eq!(
        (geocoded.tracts, geocoded.counts.get("no address")),
        (vec![None], 1)
    );
    let geocoded = attempts.geocode(&[]).await.unwrap();
    assert_eq!(
        (geocoded.tracts, geocoded.counts),
        (vec![], Counts::default())
    );
    assert!(fake.census_requests().is_empty());
}
