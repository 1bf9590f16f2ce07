//! What a door counter saw.

use jiff::civil::DateTime;

/// One door's count in one quarter of an hour.
#[derive(Clone, Debug, PartialEq)]
pub struct Visit {
    /// ShopperTrak's site.
    pub site: Option<String>,
    /// Number of the door.
    pub orbit: Option<i32>,
    /// Wall time of the library, without a zone.
    pub start: DateTime,
    /// People who came in.
    pub enters: Option<i32>,
    /// People who went out.
    pub exits: Option<i32>,
    /// Whether the counter worked.
    pub healthy: bool,
    /// Whether people should have been counted and were not.
    pub missing: bool,
}
