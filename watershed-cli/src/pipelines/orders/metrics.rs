//! What a service counts of its deliveries. The names are documented in docs/operating.md.

use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use super::entities::Entities;
use super::target::Applied;

const ROWS: &str = "watershed_rows_total";
const DELIVERIES: &str = "watershed_deliveries_total";
const BYTES: &str = "watershed_delivered_bytes_total";
const DURATION: &str = "watershed_delivery_duration_seconds";
const WAITING: &str = "watershed_files_waiting";
const PENDING: &str = "watershed_notifications_pending";
const UNSENT: &str = "watershed_notification_failures_total";

/// Describes them, and begins each at 0: what has not happened yet is not unknown.
pub(super) fn begin(entities: &Entities) {
    describe_counter!(ROWS, "Rows by entity and operation.");
    describe_counter!(DELIVERIES, "Files applied.");
    describe_counter!(BYTES, "Bytes of the files applied, as they are stored.");
    describe_histogram!(DURATION, "Duration of the deliveries in seconds.");
    describe_gauge!(WAITING, "Files that wait.");
    describe_gauge!(PENDING, "Notifications that the broker does not have yet.");
    describe_counter!(UNSENT, "Failed tries to publish notifications.");
    for entity in &entities.list {
        delivered(&entity.name, &Applied::default());
    }
    counter!(BYTES).increment(0);
    counter!(UNSENT).increment(0);
    waiting(0);
    pending(0);
}

/// A delivery was committed.
pub(super) fn committed(entity: &str, applied: &Applied, bytes: u64, took: Duration) {
    delivered(entity, applied);
    counter!(DELIVERIES, "entity" => entity.to_owned()).increment(1);
    counter!(BYTES).increment(bytes);
    histogram!(DURATION).record(took);
}

fn delivered(entity: &str, applied: &Applied) {
    counter!(DELIVERIES, "entity" => entity.to_owned()).increment(0);
    for (operation, number) in [
        ("create", applied.created),
        ("amend", applied.amended),
        ("remove", applied.removed),
        ("unchanged", applied.unchanged),
        ("set_aside", applied.rejected),
    ] {
        counter!(ROWS, "entity" => entity.to_owned(), "operation" => operation).increment(number);
    }
}

pub(super) fn waiting(files: usize) {
    gauge!(WAITING).set(files as f64);
}

pub(super) fn pending(messages: u64) {
    gauge!(PENDING).set(messages as f64);
}

/// The broker did not take a message.
pub(super) fn unsent() {
    counter!(UNSENT).increment(1);
}
