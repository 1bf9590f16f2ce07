use super::*;
use crate::privacy::Personal;

const HEADER: &str = "street,zip,side,from,to,tract";

fn address(street: &str, postal_code: &str) -> Address {
    Address {
        street: Personal::new(street.to_owned()),
        city: Personal::default(),
        region: Personal::default(),
        postal_code: Personal::new(postal_code.to_owned()),
    }
}

fn build(folder: &Path, rows: &[&str]) -> Result<BuildReport> {
    let csv = format!("{HEADER}\n{}\n", rows.join("\n"));
    Ranges::build(csv.as_bytes(), "streets.csv", &folder.join("ranges"))
}

/// The geocoder of these rows, in a folder that goes away with it.
fn ranges(rows: &[&str]) -> (Ranges, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    build(folder.path(), rows).unwrap();
    (Ranges::open(&folder.path().join("ranges")).unwrap(), folder)
}

/// Whether each address is found in the tract whose last digit is given.
#[track_caller]
fn assert_found(rows: &[&str], expected: &[(&str, &str, Option<u8>)]) {
    let (ranges, _folder) = ranges(rows);
    for (street, postal_code, digit) in expected {
        let geocoded = ranges.look_up(&[address(street, postal_code)]).unwrap();
        let found = geocoded.tracts[0]
            .as_ref()
            .map(|tract| tract.as_str().as_bytes()[10] - b'0');
        assert_eq!(found, *digit, "{street}, {postal_code}");
    }
}

#[test]
fn sides_and_bounds_decide() {
    assert_found(
        &[
            "Otter St,10099,even,2,98,36000000001",
            "OTTER STREET,10099,odd,1,99,36000000002",
            "Quill Ave,10099,both,10,20,36000000003",
        ],
        &[
            ("2 Otter St", "10099", Some(1)),
            ("98 otter street", "10099", Some(1)),
            ("100 Otter St", "10099", None),
            ("1 Otter St", "10099", Some(2)),
            ("99 Otter St Apt 3", "10099", Some(2)),
            ("9 Quill Ave", "10099", None),
            ("10 Quill Ave", "10099", Some(3)),
            ("15 Quill Ave", "10099", Some(3)),
            ("20 Quill Avenue, #4", "10099", Some(3)),
            ("21 Quill Ave", "10099", None),
            ("15 Quill St", "10099", None),
        ],
    );
}

#[test]
fn the_zip_code_decides() {
    assert_found(
        &[
            "Otter St,10098,both,1,9,36000000001",
            "Otter St,01099,both,1,9,25000000002",
        ],
        &[
            ("5 Otter St", "10098", Some(1)),
            ("5 Otter St", " 10098-1234", Some(1)),
            ("5 Otter St", "100981234", Some(1)),
            ("5 Otter St", "01099", Some(2)),
            ("5 Otter St", "10097", None),
            ("5 Otter St", "1099", None),
            ("5 Otter St", "", None),
            ("5 Otter St", "1009🐟", None),
            ("5 Otter St", "１００９８", None),
        ],
    );
}

#[test]
fn numbers_of_queens_are_compared_in_two_parts() {
    assert_found(
        &[
            "182nd St,11399,even,37-02,37-98,36081000001",
            "182nd St,11399,odd,37-1,37-99,36081000002",
            "182nd St,11399,both,38-01,38-99,36081000003",
        ],
        &[
            ("37-12 182nd St", "11399", Some(1)),
            ("3712 182nd St", "11399", Some(1)),
            ("37-2 182 Street", "11399", Some(1)),
            ("37-01 182nd St 2nd Fl", "11399", Some(2)),
            ("38-12A 182nd St", "11399", Some(3)),
            ("37 182nd St", "11399", None),
            ("39-01 182nd St", "11399", None),
        ],
    );
}

#[test]
fn the_narrowest_range_wins_and_a_tie_does_not() {
    assert_found(
        &[
            "Otter St,10099,both,1,999,36000000001",
            "Otter St,10099,both,100,200,36000000002",
            "Otter St,10099,even,150,250,36000000003",
            "Otter St,10099,even,300,310,36000000004",
            "Otter St,10099,even,300,310,36000000004",
        ],
        &[
            ("50 Otter St", "10099", Some(1)),
            ("149 Otter St", "10099", Some(2)),
            ("150 Otter St", "10099", None),
            ("151 Otter St", "10099", Some(2)),
            ("250 Otter St", "10099", Some(3)),
            ("304 Otter St", "10099", Some(4)),
        ],
    );
}

#[tokio::test]
async fn every_address_has_its_entry_and_is_counted() {
    let (ranges, _folder) = ranges(&["Otter St,10099,both,1,9,36000000001"]);
    let mut city_alone = address("", "");
    city_alone.city = Personal::new("Otterville".to_owned());
    let addresses = [
        address("🐟 ' OR 1=1; -- 🐟", "\0\0\0\0\0"),
        address("5 Otter St", "10099"),
        address(" ", "\t"),
        address("99999999999999999999 Otter St", "10099"),
        address("7 OTTER STREET", "10099"),
        city_alone,
    ];
    let geocoded = ranges.geocode(&addresses).await.unwrap();
    let tract = Tract::new("36000000001");
    let expected = [None, tract.clone(), None, None, tract, None];
    assert_eq!(geocoded.tracts, expected);
    assert_eq!(
        geocoded.counts.iter().collect::<Vec<_>>(),
        [
            ("geocoded by ranges", 2),
            ("no address", 1),
            ("not geocoded", 3)
        ]
    );
    assert!(ranges.geocode(&[]).await.unwrap().tracts.is_empty());
}

#[test]
fn a_failed_build_leaves_the_file_alone_and_a_good_one_replaces_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ranges");
    let find = || {
        let ranges = Ranges::open(&path).unwrap();
        let mut geocoded = ranges.look_up(&[address("5 Otter St", "10099")]).unwrap();
        geocoded.tracts.remove(0)
    };
    let streets = [
        "Otter St,10099,both,1,9,36000000001",
        "Otter Street,10098,both,1,9,36000000001",
    ];
    let report = build(folder.path(), &streets).unwrap();
    assert_eq!(
        report,
        BuildReport {
            ranges: 2,
            streets: 1
        }
    );
    // What a killed build has left does not matter.
    fs::write(folder.path().join("ranges.part"), "half").unwrap();
    let error = build(folder.path(), &[streets[0], "Otter St"]).unwrap_err();
    assert_eq!(error.remedy(), Remedy::FixData);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    assert_eq!(find(), Tract::new("36000000001"));
    build(folder.path(), &["Otter St,10099,both,1,9,36000000002"]).unwrap();
    assert_eq!(find(), Tract::new("36000000002"));
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
}

#[test]
fn what_cannot_be_opened_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ranges");
    let open = || {
        let error = Ranges::open(&path).unwrap_err();
        assert_eq!(error.remedy(), Remedy::FixSettings);
        assert!(
            error.to_string().contains(path.to_str().unwrap()),
            "{error}"
        );
        error.in_one_line()
    };
    assert!(open().contains("cannot be read: No such file"));
    for content in ["", "street,zip\n", &"street,zip\n".repeat(1000)] {
        fs::write(&path, content).unwrap();
        assert!(
            open().contains("not a file of address ranges"),
            "{content:.20}"
        );
    }
    fs::remove_file(&path).unwrap();
    let foreign = Connection::open(&path).unwrap();
    foreign.execute(CREATE, ()).unwrap();
    assert!(open().contains("not a file of address ranges"));
    foreign
        .pragma_update(None, "application_id", APPLICATION_ID)
        .unwrap();
    foreign.pragma_update(None, "user_version", 99).unwrap();
    assert!(open().contains("its version is 99, and this program reads version 1"));
    foreign
        .pragma_update(None, "user_version", VERSION)
        .unwrap();
    foreign.execute("DROP TABLE ranges", ()).unwrap();
    assert!(open().contains("not a file of address ranges"));
}

#[test]
fn a_target_that_cannot_be_written_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let rows = ["Otter St,10099,both,1,9,36000000001"];
    let error = build(&folder.path().join("missing"), &rows).unwrap_err();
    assert_eq!(error.remedy(), Remedy::FixAccess);
    assert!(error.to_string().contains("missing/ranges"), "{error}");
}

#[tokio::test]
async fn a_city_of_ranges_serves_a_large_page() {
    let mut csv = HEADER.to_owned();
    for i in 0..100_000 {
        let (street, first) = (i / 100, i % 100 * 10);
        let last = first + 9;
        csv.push_str(&format!(
            "\nOtter {street} St,10099,both,{first},{last},{:011}",
            i
        ));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ranges");
    let report = Ranges::build(csv.as_bytes(), "streets.csv", &path).unwrap();
    assert_eq!(
        report,
        BuildReport {
            ranges: 100_000,
            streets: 1000
        }
    );

    let addresses: Vec<Address> = (0..10_000)
        .map(|i| {
            address(
                &format!("{} Otter {} Street Apt 1", i % 1000, i / 10),
                "10099-1234",
            )
        })
        .collect();
    let geocoded = Ranges::open(&path)
        .unwrap()
        .geocode(&addresses)
        .await
        .unwrap();
    for (i, tract) in geocoded.tracts.into_iter().enumerate() {
        let range = i / 10 * 100 + i % 1000 / 10;
        assert_eq!(tract, Tract::new(format!("{range:011}")), "address {i}");
    }
}
