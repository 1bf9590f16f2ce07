//! Objects as local files: written aside, fsynced, renamed; readable by their owner alone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::task::spawn_blocking;

use super::{Replaced, Version};
use crate::error::{Error, Remedy, Result};

pub(super) async fn read(path: PathBuf, what: &str) -> Result<Option<(Bytes, Version)>> {
    off_the_async_threads(what, move || {
        Ok(content(&path)?.map(|bytes| (bytes.clone(), Version::Content(bytes))))
    })
    .await
}

/// A folder in its place is an error here, as it is when it is read.
pub(super) async fn exists(path: PathBuf, what: &str) -> Result<bool> {
    off_the_async_threads(what, move || match fs::metadata(&path) {
        Ok(found) if found.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    })
    .await
}

pub(super) async fn write(path: PathBuf, bytes: Bytes, what: &str) -> Result<()> {
    off_the_async_threads(what, move || write_whole(&path, &bytes)).await
}

pub(super) async fn append(path: PathBuf, new: Vec<u8>, what: String) -> Result<()> {
    off_the_async_threads(&what, move || {
        fs::create_dir_all(folder(&path))?;
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&path)?;
        file.write_all(&new)?;
        file.sync_all()?;
        sync_folder(&path)
    })
    .await
}

pub(super) async fn replace(
    path: PathBuf,
    expected: Option<Version>,
    bytes: Bytes,
    what: &str,
) -> Result<Replaced> {
    off_the_async_threads(what, move || {
        // P5: whichever links lead to a file, its lock is one, and the file itself is replaced.
        let path = fs::canonicalize(&path).unwrap_or(path);
        fs::create_dir_all(folder(&path))?;
        // The lock is the kernel's: it goes with the process, so that no stale one can stay.
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(beside(&path, "lock"))?;
        lock.lock()?;
        if content(&path)?.map(Version::Content) != expected {
            return Ok(Replaced::Conflict);
        }
        write_whole(&path, &bytes)?;
        Ok(Replaced::Done(Version::Content(bytes)))
    })
    .await
}

pub(super) async fn off_the_async_threads<T: Send + 'static>(
    what: &str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T> {
    spawn_blocking(work)
        .await
        // Its cause would repeat the words of a panic (P6).
        .map_err(|_| Error::new(Remedy::ReportBug, what))?
        .map_err(|cause| Error::new(Remedy::FixAccess, what).caused_by(cause))
}

fn content(path: &Path) -> io::Result<Option<Bytes>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes aside, makes it durable, and renames: a reader sees the old file or the new one.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(folder(path))?;
    let aside = beside(path, "part");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&aside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&aside, path)?;
    sync_folder(path)
}

pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder(path))?.sync_all()
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}
