//! The labels of the `usaddress` model.

/// What a token of an address is, in the terms of the United States Thoroughfare, Landmark, and
/// Postal Address Data Standard that `usaddress` follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Label {
    AddressNumber,
    AddressNumberPrefix,
    AddressNumberSuffix,
    BuildingName,
    CornerOf,
    CountryName,
    IntersectionSeparator,
    LandmarkName,
    NotAddress,
    OccupancyIdentifier,
    OccupancyType,
    PlaceName,
    Recipient,
    StateName,
    StreetName,
    StreetNamePostDirectional,
    StreetNamePostModifier,
    StreetNamePostType,
    StreetNamePreDirectional,
    StreetNamePreModifier,
    StreetNamePreType,
    SubaddressIdentifier,
    SubaddressType,
    UspsBoxGroupId,
    UspsBoxGroupType,
    UspsBoxId,
    UspsBoxType,
    ZipCode,
    ZipPlus4,
}

/// The labels that make up a street, in the order in which rule 3 writes them.
pub(super) const STREET: [Label; 7] = [
    Label::StreetNamePreDirectional,
    Label::StreetNamePreModifier,
    Label::StreetNamePreType,
    Label::StreetName,
    Label::StreetNamePostType,
    Label::StreetNamePostModifier,
    Label::StreetNamePostDirectional,
];

/// The labels that make up the second line of an address, in the order in which rule 3 writes them.
pub(super) const SECOND_LINE: [Label; 4] = [
    Label::BuildingName,
    Label::SubaddressType,
    Label::OccupancyType,
    Label::OccupancyIdentifier,
];

impl Label {
    /// The label by its name in the model.
    pub(super) fn named(name: &str) -> Option<Label> {
        Some(match name {
            "AddressNumber" => Label::AddressNumber,
            "AddressNumberPrefix" => Label::AddressNumberPrefix,
            "AddressNumberSuffix" => Label::AddressNumberSuffix,
            "BuildingName" => Label::BuildingName,
            "CornerOf" => Label::CornerOf,
            "CountryName" => Label::CountryName,
            "IntersectionSeparator" => Label::IntersectionSeparator,
            "LandmarkName" => Label::LandmarkName,
            "NotAddress" => Label::NotAddress,
            "OccupancyIdentifier" => Label::OccupancyIdentifier,
            "OccupancyType" => Label::OccupancyType,
            "PlaceName" => Label::PlaceName,
            "Recipient" => Label::Recipient,
            "StateName" => Label::StateName,
            "StreetName" => Label::StreetName,
            "StreetNamePostDirectional" => Label::StreetNamePostDirectional,
            "StreetNamePostModifier" => Label::StreetNamePostModifier,
            "StreetNamePostType" => Label::StreetNamePostType,
            "StreetNamePreDirectional" => Label::StreetNamePreDirectional,
            "StreetNamePreModifier" => Label::StreetNamePreModifier,
            "StreetNamePreType" => Label::StreetNamePreType,
            "SubaddressIdentifier" => Label::SubaddressIdentifier,
            "SubaddressType" => Label::SubaddressType,
            "USPSBoxGroupID" => Label::UspsBoxGroupId,
            "USPSBoxGroupType" => Label::UspsBoxGroupType,
            "USPSBoxID" => Label::UspsBoxId,
            "USPSBoxType" => Label::UspsBoxType,
            "ZipCode" => Label::ZipCode,
            "ZipPlus4" => Label::ZipPlus4,
            _ => return None,
        })
    }
}
