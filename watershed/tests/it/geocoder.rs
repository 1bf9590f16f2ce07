use watershed::geocoding::{Address, Ranges, Tract};
use watershed::privacy::Personal;
use watershed::testing::contracts;

#[tokio::test]
async fn address_ranges_keep_the_contract_of_a_geocoder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ranges");
    let csv = "street,zip,side,from,to,tract\nOtter St,10099,both,1,99,36061000100\n";
    Ranges::build(csv.as_bytes(), "streets.csv", &path).unwrap();
    let found = Address {
        street: Personal::new("5 Otter Street".to_owned()),
        city: Personal::new("New York".to_owned()),
        region: Personal::new("NY".to_owned()),
        postal_code: Personal::new("10099-1234".to_owned()),
    };
    let tract = Tract::new("36061000100").unwrap();
    contracts::geocoder(&Ranges::open(&path).unwrap(), &found, &tract).await;
}
