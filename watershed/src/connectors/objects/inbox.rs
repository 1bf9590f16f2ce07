//! A folder that others write: listed in the order of its keys, read piece by piece.

use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore};

use super::local::off_the_async_threads;
use super::{
    Aws, CALL, Error, Policy, Remedy, Result, local_path, retry, s3, store_error, unknown,
};

/// A folder that others write, of objects that may be very many: `s3://bucket/path` or `file:path`.
#[derive(Clone)]
pub struct Inbox {
    backend: Backend,
    policy: Policy,
}

#[derive(Clone)]
enum Backend {
    Local(PathBuf),
    Store {
        store: Arc<dyn ObjectStore>,
        bucket: String,
        prefix: Path,
    },
}

/// An object of a folder, as its listing has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its whole key in a bucket; below the folder, for local files.
    pub key: String,
    /// Its version; for a local file size and time of change.
    pub etag: String,
    /// Its size.
    pub bytes: u64,
    /// When it was written.
    pub last_modified: Timestamp,
}

impl Inbox {
    /// Objects that are listed at once.
    pub const PAGE: usize = 10_000;

    /// Opens the folder that a URL names; asks nothing of the network yet.
    ///
    /// # Errors
    /// [`Remedy::FixSettings`] for a URL of another form.
    pub fn open(url: &str, aws: &Aws, policy: Policy) -> Result<Inbox> {
        let backend = if let Some(path) = url.strip_prefix("file:").filter(|path| !path.is_empty())
        {
            Backend::Local(local_path(path))
        } else if let Some(rest) = url.strip_prefix("s3://") {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            let prefix = Path::parse(prefix.trim_end_matches('/'));
            Backend::Store {
                store: Arc::new(s3(bucket, aws, CALL)?),
                bucket: bucket.to_owned(),
                prefix: prefix
                    .ok()
                    .filter(|_| !bucket.is_empty())
                    .ok_or_else(|| unknown(url))?,
            }
        } else {
            return Err(unknown(url));
        };
        Ok(Inbox { backend, policy })
    }

    /// The part of a key that comes before the objects' names below the folder.
    pub fn prefix(&self) -> String {
        match &self.backend {
            Backend::Local(_) => String::new(),
            Backend::Store { prefix, .. } if prefix.as_ref().is_empty() => String::new(),
            Backend::Store { prefix, .. } => format!("{prefix}/"),
        }
    }

    /// The next objects behind the key `after` in the order of the keys' bytes, at most
    /// [`Inbox::PAGE`]; none when there are no more.
    pub async fn page(&self, after: Option<&str>) -> Result<Vec<Listed>> {
        let what = format!("listing {self}");
        retry(&self.policy, &what, || async {
            match &self.backend {
                Backend::Local(root) => {
                    let (root, after) = (root.clone(), after.map(str::to_owned));
                    off_the_async_threads(&what, move || list_local(&root, after.as_deref())).await
                }
                Backend::Store { store, prefix, .. } => {
                    let prefix = Some(prefix).filter(|prefix| !prefix.as_ref().is_empty());
                    let objects = match after {
                        None => store.list(prefix),
                        Some(after) => {
                            store.list_with_offset(prefix, &Path::parse(after).unwrap_or_default())
                        }
                    };
                    objects
                        .take(Inbox::PAGE)
                        .map_ok(listed)
                        .try_collect()
                        .await
                        .map_err(|error| store_error(&what, error))
                }
            }
        })
        .await
    }

    /// Some bytes of an object, as long as it is still the version that was listed.
    ///
    /// # Errors
    /// [`Remedy::TryAgain`] when another version stands in its place, or none: list again.
    pub async fn read(&self, object: &Listed, range: Range<u64>) -> Result<Bytes> {
        let what = format!("reading {}", object.key);
        let changed = || {
            Error::new(
                Remedy::TryAgain,
                format!("{what}: it changed since it was listed"),
            )
        };
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let expected = range.end - range.start;
        let bytes = retry(&self.policy, &what, || async {
            match &self.backend {
                Backend::Local(root) => {
                    let (path, etag) = (root.join(&object.key), object.etag.clone());
                    let range = range.clone();
                    off_the_async_threads(&what, move || read_local(&path, &etag, range)).await
                }
                Backend::Store { store, .. } => {
                    let options = GetOptions {
                        if_match: Some(object.etag.clone()),
                        range: Some(GetRange::Bounded(range.clone())),
                        ..GetOptions::default()
                    };
                    let path = Path::parse(&object.key).unwrap_or_default();
                    let answer = match store.get_opts(&path, options).await {
                        Ok(answer) => answer,
                        Err(
                            object_store::Error::Precondition { .. }
                            | object_store::Error::NotFound { .. },
                        ) => return Ok(None),
                        Err(error) => return Err(store_error(&what, error)),
                    };
                    let bytes = answer.bytes().await;
                    bytes.map(Some).map_err(|error| store_error(&what, error))
                }
            }
        })
        .await?;
        bytes
            .filter(|bytes| bytes.len() as u64 == expected)
            .ok_or_else(changed)
    }
}

impl fmt::Display for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.backend {
            Backend::Local(path) => write!(f, "file:{}", path.display()),
            Backend::Store { bucket, prefix, .. } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

fn listed(meta: object_store::ObjectMeta) -> Listed {
    Listed {
        key: meta.location.to_string(),
        etag: meta.e_tag.unwrap_or_default(),
        bytes: meta.size,
        last_modified: Timestamp::from_microsecond(meta.last_modified.timestamp_micros())
            .unwrap_or(Timestamp::UNIX_EPOCH),
    }
}

fn list_local(root: &FilePath, after: Option<&str>) -> io::Result<Vec<Listed>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            // A link's target counts; one that leads nowhere is no object.
            let Ok(meta) = fs::metadata(&path) else {
                continue;
            };
            if meta.is_dir() {
                folders.push(path);
                continue;
            }
            let key = path.strip_prefix(root).unwrap_or(&path).to_string_lossy();
            if after.is_none_or(|after| *key > *after) {
                found.push(Listed {
                    key: key.into_owned(),
                    etag: version(&meta),
                    bytes: meta.len(),
                    last_modified: meta
                        .modified()
                        .ok()
                        .and_then(|time| time.try_into().ok())
                        .unwrap_or(Timestamp::UNIX_EPOCH),
                });
            }
        }
    }
    found.sort_by(|one, other| one.key.cmp(&other.key));
    found.truncate(Inbox::PAGE);
    Ok(found)
}

fn version(meta: &Metadata) -> String {
    format!(
        "{:x}-{:x}.{:x}",
        meta.len(),
        meta.mtime(),
        meta.mtime_nsec()
    )
}

/// The bytes, or nothing when the file is another one now, or gone.
fn read_local(path: &FilePath, etag: &str, range: Range<u64>) -> io::Result<Option<Bytes>> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    if version(&file.metadata()?) != etag {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(range.start))?;
    let length = range.end - range.start;
    let mut bytes = Vec::with_capacity(length as usize);
    file.take(length).read_to_end(&mut bytes)?;
    Ok(Some(bytes.into()))
}
