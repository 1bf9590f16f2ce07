use std::io::Read as _;

use watershed::connectors::aws::Aws;
use watershed::connectors::kms::Kms;
use watershed::error::{Error, OrFail as _, Remedy, Result};
use watershed::privacy::Secret;

use super::args::ConfigAction;
use super::{screen, sources};

/// Encrypts a value for `ENCRYPTED_VARIABLES`. It is read from stdin, so that it stands neither
/// in the shell's history nor in the list of processes.
pub(super) async fn config(action: ConfigAction) -> Result<u8> {
    let ConfigAction::Encrypt { key, name, set } = action;
    let mut value = String::new();
    let read = std::io::stdin().read_to_string(&mut value);
    read.or_fail(Remedy::FixSettings, || {
        "reading the value from stdin".into()
    })?;
    let value = value
        .strip_suffix('\n')
        .map_or(&*value, |value| value.strip_suffix('\r').unwrap_or(value));
    if value.is_empty() {
        return Err(Error::new(
            Remedy::FixSettings,
            "reading the value from stdin: there is none",
        ));
    }
    let aws = Aws::new(sources::gather_aws(&set)?).await;
    let encrypted = Kms::new(&aws).encrypt(&key, &Secret::new(value)).await?;
    screen::print(&match name {
        Some(name) => format!("{name}: {encrypted}\n"),
        None => format!("{encrypted}\n"),
    });
    Ok(0)
}
