use std::fs::File;

use watershed::error::{OrFail as _, Remedy, Result};
use watershed::geocoding::Ranges;

use super::args::GeocoderAction;
use super::screen::{self, thousands};

pub(super) fn geocoder(action: GeocoderAction) -> Result<u8> {
    let GeocoderAction::Build { csv, file } = action;
    let name = csv.display().to_string();
    let source = File::open(&csv).or_fail(Remedy::FixSettings, || {
        format!("reading address ranges from {name}")
    })?;
    let built = Ranges::build(source, &name, &file)?;
    screen::print(&format!(
        "{} ranges of {} streets in {}\n",
        thousands(built.ranges),
        thousands(built.streets),
        file.display()
    ));
    Ok(0)
}
