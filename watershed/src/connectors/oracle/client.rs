//! Oracle's client library: a process loads one, once, and keeps it.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use oracle::InitParams;

use super::fault;
use crate::error::{Error, Remedy, Result};

/// Where the library was loaded from: a folder, or wherever the machine's loader looks. Nothing
/// while none is loaded; one that could not be loaded is looked for again.
static LOADED: Mutex<Option<Option<PathBuf>>> = Mutex::new(None);

/// Loads the library, from a folder or from where the machine's loader looks. Blocks.
///
/// # Errors
/// [`Remedy::FixSettings`] when there is none, or when the process has one from elsewhere: a second
/// one cannot be loaded, and the first is not the one that is asked for.
pub(super) fn load(folder: Option<&Path>) -> Result<()> {
    let mut loaded = LOADED.lock().expect("loading does not panic");
    if let Some(from) = &*loaded {
        return match folder {
            Some(folder) if from.as_deref() != Some(folder) => Err(elsewhere(folder)),
            _ => Ok(()),
        };
    }
    let what = "loading Oracle's client library";
    let failed = |cause| fault::error(what, &cause);
    let mut parameters = InitParams::new();
    let driver = concat!("watershed : ", env!("CARGO_PKG_VERSION"));
    parameters.default_driver_name(driver).map_err(failed)?;
    if let Some(folder) = folder {
        parameters.oracle_client_lib_dir(folder).map_err(failed)?;
    }
    let by_us = parameters.init().map_err(failed)?;
    match folder {
        // Other code of this process was first, and nobody can say where it loaded from.
        Some(folder) if !by_us => Err(elsewhere(folder)),
        _ => {
            *loaded = Some(folder.map(Path::to_owned));
            Ok(())
        }
    }
}

fn elsewhere(folder: &Path) -> Error {
    Error::new(
        Remedy::FixSettings,
        format!(
            "loading Oracle's client library from {}: this process has loaded one from elsewhere already, and it can have only one",
            folder.display()
        ),
    )
}
