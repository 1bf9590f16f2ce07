//! The samples, level by level: rules from given labels, tokens and labels, and the whole.

use serde_json::Value;

use super::labels::Label;
use super::reformat::{Labelled, reformat};
use super::*;

/// Addresses with the tokens and labels of `usaddress`, and the columns made of them by the
/// program that this one replaces; where its version of the model and 0.5.16 differ, by both.
fn cases() -> Vec<Value> {
    include_str!("testdata/cases.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).expect("a sample is JSON"))
        .collect()
}

fn text(columns: &Value, name: impl serde_json::value::Index) -> &str {
    columns[name].as_str().expect("a column is text")
}

fn personal(text: &str) -> Personal<String> {
    Personal::new(text.to_owned())
}

fn address(columns: &Value) -> Address {
    Address {
        street: personal(text(columns, "address")),
        city: personal(text(columns, "city")),
        region: personal(text(columns, "region")),
        postal_code: personal(text(columns, "postal_code")),
    }
}

fn cleaned(columns: &Value) -> CleanedAddress {
    CleanedAddress {
        address: personal(text(columns, "address")),
        city: personal(text(columns, "city")),
        region: personal(text(columns, "region")),
        postal_code: personal(text(columns, "postal_code")),
        house_number: personal(text(columns, "house_number")),
        street_name: personal(text(columns, "street_name")),
    }
}

fn labelled(tokens: &Value) -> Vec<Labelled<'_>> {
    let tokens = tokens.as_array().expect("tokens are a list");
    let label = |token: &Value| Label::named(text(token, 1)).expect("a label of the model");
    tokens
        .iter()
        .map(|token| (token[0].as_str().expect("text"), label(token)))
        .collect()
}

/// What 0.5.16 makes of a case, where that differs from what its predecessor made.
fn of_0516<'a>(case: &'a Value, member: &str) -> &'a Value {
    case.get(format!("{member}_0516")).unwrap_or(&case[member])
}

#[test]
fn given_labels_make_the_columns_of_every_sample() {
    let mut compared = 0;
    for (i, case) in cases().iter().enumerate() {
        let prepared = prepare(&address(&case["input"]));
        for version in ["", "_0516"] {
            let Some(tokens) = case.get(format!("tokens{version}")) else {
                continue;
            };
            let output = case
                .get(format!("output{version}"))
                .unwrap_or(&case["output"]);
            let made = reformat(&prepared, &labelled(tokens));
            // Personal values print nothing: the line of the sample has to do.
            assert!(made == cleaned(output), "sample {}{version}", i + 1);
            compared += 1;
        }
    }
    assert_eq!(compared, 308 + 21);
}

#[test]
fn the_model_labels_every_sample_as_usaddress_does() {
    let cleaner = Cleaner::new();
    for (i, case) in cases().iter().enumerate() {
        let full = full_text(&prepare(&address(&case["input"])));
        assert_eq!(full, personal(text(case, "full_address")));
        let tokens = tokens::tokenise(full.for_geocoder());
        let labels = cleaner.model.label(&tokens);
        let labelled_here: Vec<_> = tokens.into_iter().zip(labels).collect();
        assert_eq!(
            labelled_here,
            labelled(of_0516(case, "tokens")),
            "sample {}",
            i + 1
        );
    }
}

#[test]
fn every_sample_is_cleaned_as_before() {
    let cleaner = Cleaner::new();
    for (i, case) in cases().iter().enumerate() {
        let made = cleaner.clean(&address(&case["input"]));
        assert!(made == cleaned(of_0516(case, "output")), "sample {}", i + 1);
    }
}

#[test]
fn parts_are_put_where_they_belong() {
    let cleaner = Cleaner::new();
    for (input, expected) in [
        (
            ["123", "REAL AVE APT 1", "NEW YORK NY", "10001"],
            [
                "123 REAL AVE APT 1",
                "NEW YORK",
                "NY",
                "10001",
                "123",
                "REAL AVE",
            ],
        ),
        // The model of 0.5.10 took these two for one long street, and the city for a part of it.
        (
            ["455 5TH AVE", "455 5TH AVE", "NEW YORK NY", "10016"],
            ["455 5TH AVE", "NEW YORK", "NY", "10016", "455", "5TH AVE"],
        ),
        (
            ["250 W 40th St", "N1EW YO2RK", "NY.", "10018"],
            [
                "250 W 40th St N1EW",
                "YORK",
                "NY",
                "10018",
                "250",
                "W 40th St",
            ],
        ),
        (
            ["40 Lincoln Center Plaza", "New York", "NY", "10023-7498"],
            [
                "40 Lincoln Center Plaza",
                "New York",
                "NY",
                "10023-7498",
                "",
                "",
            ],
        ),
    ] {
        let [street, city, region, postal_code] = input.map(personal);
        let made = cleaner.clean(&Address {
            street,
            city,
            region,
            postal_code,
        });
        let [
            address,
            city,
            region,
            postal_code,
            house_number,
            street_name,
        ] = expected.map(personal);
        let expected = CleanedAddress {
            address,
            city,
            region,
            postal_code,
            house_number,
            street_name,
        };
        assert!(made == expected, "{input:?}");
    }
}

#[test]
fn quotes_and_backslashes_are_taken_out_before_all_else() {
    let raw = Address {
        street: personal("12 O'Brien \"Rear\" St\\"),
        city: personal("New York"),
        region: personal(""),
        postal_code: personal("\u{a0}"),
    };
    let prepared = prepare(&raw);
    assert_eq!(prepared.street, personal("12 OBrien Rear St"));
    assert_eq!(prepare(&prepared), prepared);
    assert_eq!(full_text(&prepared), personal("12 OBrien Rear St New York"));
    let cleaner = Cleaner::new();
    assert_eq!(cleaner.clean(&raw), cleaner.clean(&prepared));
}

#[test]
fn a_second_street_is_not_part_of_the_first() {
    let label = |name| Label::named(name).expect("a label of the model");
    let tokens = [
        ("W", label("StreetNamePreDirectional")),
        ("42nd", label("StreetName")),
        ("St", label("StreetNamePostType")),
        ("and", label("IntersectionSeparator")),
        ("5th", label("StreetName")),
        ("Ave", label("StreetNamePostType")),
    ];
    let empty = Address {
        street: personal(""),
        city: personal("Kept"),
        region: personal(""),
        postal_code: personal(""),
    };
    let once = reformat(&empty, &tokens);
    assert_eq!(once.address, personal("W 42nd St"));
    assert_eq!(once.city, personal(""));

    // A city on both sides is a repeated label: then the raw labels count, of both streets.
    let mut repeated = vec![("Bronx", label("PlaceName"))];
    repeated.extend(tokens);
    repeated.extend([("Bronx", label("PlaceName")), ("10451", label("ZipCode"))]);
    let twice = reformat(&empty, &repeated);
    assert_eq!(twice.address, personal("W 42nd 5th St Ave"));
    assert_eq!(twice.city, personal("Bronx"));
}

#[test]
fn any_text_is_cleaned_without_panic() {
    let mixed = "((a é, &amp;1 \u{301}👍🏽 #½ \n ß;שלום\0";
    let long = ["(", "x", "#", mixed].map(|text| text.repeat(100_000 / text.len()));
    let short = [
        "",
        " ",
        "...",
        "'\"\\",
        "\0",
        "a\0b",
        "e\u{301}",
        "\u{202e}א",
        "&#38;amp;",
        "½",
        "_",
    ];
    let texts = long.into_iter().chain(short.map(str::to_owned));
    let cleaner = Cleaner::new();
    for text in texts {
        let made = cleaner.clean(&Address {
            street: personal(&text),
            city: personal(""),
            region: personal(""),
            postal_code: personal(""),
        });
        assert!(made.house_number.for_geocoder().is_ascii());
        assert_eq!(format!("{:?}", made.city), "Personal");
    }
}
