use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use watershed::error::{OrFail as _, Remedy, Result};

use super::args::NewAction;
use super::screen;
use crate::pipelines::orders::template;

/// Writes the files of a new loader; nothing that is there is written over.
pub(super) fn new(action: NewAction) -> Result<u8> {
    let NewAction::Loader { name, sample } = action;
    let entities = format!("config/orders/{name}-entities.yaml");
    let settings = format!("config/orders/{name}.yaml");
    let texts = [
        (&settings, template::settings(&name, &entities)),
        (&entities, template::entities(&name, sample.as_deref())?),
    ];
    for (path, text) in texts {
        write(Path::new(path), &text)
            .map_err(|error| error.with_hint("move what is there away, or choose another name"))?;
    }
    screen::print(&format!(
        "{settings}\n{entities}\n\nNext: SOURCE=… TARGET=… watershed check orders --env {name}\n"
    ));
    Ok(0)
}

fn write(path: &Path, text: &str) -> Result<()> {
    let what = || format!("writing {}", path.display());
    fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).or_fail(Remedy::FixAccess, what)?;
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .or_fail(Remedy::FixSettings, what)
}
