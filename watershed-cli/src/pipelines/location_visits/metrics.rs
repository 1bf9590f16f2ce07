//! What a service counts of ShopperTrak. The names are documented in docs/operating.md.

use std::time::Duration;

use metrics::{counter, describe_counter, describe_histogram, histogram};

const REQUESTS: &str = "watershed_shoppertrak_requests_total";
const WAITS: &str = "watershed_shoppertrak_wait_seconds";

/// Describes them; what has not happened yet is 0, and not unknown.
pub(super) fn begin() {
    describe_counter!(REQUESTS, "Requests to ShopperTrak.");
    describe_histogram!(
        WAITS,
        "Waits before ShopperTrak was asked again, in seconds."
    );
    counter!(REQUESTS).increment(0);
}

pub(super) fn requested() {
    counter!(REQUESTS).increment(1);
}

/// A wait begins: whoever looks while it lasts sees it.
pub(super) fn waiting(wait: Duration) {
    histogram!(WAITS).record(wait);
}
