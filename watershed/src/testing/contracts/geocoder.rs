use crate::geocoding::{Address, Geocoder, Tract};
use crate::privacy::Personal;

/// The contract of a [`Geocoder`]: one tract an address, in the order of the addresses, whatever
/// stands between them. `found` is an address that lies in `tract`.
///
/// # Panics
/// When the contract is broken.
pub async fn geocoder(geocoder: &dyn Geocoder, found: &Address, tract: &Tract) {
    let nowhere = Address {
        street: Personal::new("1 Nowhere At All".to_owned()),
        city: Personal::default(),
        region: Personal::default(),
        postal_code: Personal::new("00000".to_owned()),
    };
    let empty = Address {
        street: Personal::default(),
        city: Personal::default(),
        region: Personal::default(),
        postal_code: Personal::default(),
    };
    for (order, expected) in [
        (vec![], vec![]),
        (vec![found], vec![Some(tract)]),
        (vec![&nowhere], vec![None]),
        (vec![&empty], vec![None]),
        (
            vec![&nowhere, found, &empty, found],
            vec![None, Some(tract), None, Some(tract)],
        ),
    ] {
        let addresses: Vec<Address> = order.into_iter().cloned().collect();
        let geocoded = geocoder
            .geocode(&addresses)
            .await
            .expect("geocoding succeeds");
        let tracts: Vec<Option<&Tract>> = geocoded.tracts.iter().map(Option::as_ref).collect();
        assert_eq!(tracts, expected, "one tract an address, in their order");
    }
}
