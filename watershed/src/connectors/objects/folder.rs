//! A folder of files too large for memory: `s3://bucket/prefix` or `file:dir`.

mod upload;

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use object_store::memory::InMemory;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};

pub use upload::{PART_BYTES, Upload};

use super::local::{off_the_async_threads, sync_folder};
use super::unfinished::UnfinishedUploads;
use super::{is_missing, local_path, s3, store_error, unknown};
use crate::connectors::aws::Aws;
use crate::error::{Error, Remedy, Result};
use crate::retry::{Policy, retry};

/// S3 copies an object of some gigabytes within one request.
const CALL: Duration = Duration::from_secs(600);

/// A folder of files, each written once and as a stream. Names are relative to it, and may hold
/// slashes.
#[derive(Clone)]
pub struct Folder {
    backend: Backend,
    policy: Policy,
}

#[derive(Clone)]
#[expect(clippy::large_enum_variant, reason = "a run has one or two of them")]
enum Backend {
    Local(PathBuf),
    Store {
        store: Arc<dyn Store>,
        root: String,
        prefix: Path,
        /// Nothing where there is no such list.
        unfinished: Option<UnfinishedUploads>,
    },
}

trait Store: ObjectStore + MultipartStore {}

impl<S: ObjectStore + MultipartStore> Store for S {}

/// A file that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its name, relative to the folder.
    pub name: String,
    /// What tells this very file from a later one of its name: an ETag, or what the file system
    /// knows of a local file. Nothing in a list of local files.
    pub tag: Option<String>,
}

impl Folder {
    /// Opens the folder that a URL names; asks nothing of the network yet.
    ///
    /// # Errors
    /// [`Remedy::FixSettings`] for a URL of another form, and for a bucket without a prefix: who
    /// clears a folder would clear the bucket.
    pub fn open(url: &str, aws: &Aws, policy: Policy) -> Result<Folder> {
        let backend = if let Some(path) = url.strip_prefix("file:").filter(|path| !path.is_empty())
        {
            Backend::Local(local_path(path))
        } else if let Some(rest) = url.strip_prefix("s3://") {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            let path = Path::parse(prefix.trim_matches('/'));
            let prefix = path.ok().filter(|path| !path.as_ref().is_empty());
            let prefix = prefix.filter(|_| !bucket.is_empty()).ok_or_else(|| {
                Error::new(Remedy::FixSettings, format!("opening `{url}`"))
                    .with_hint("expected file:dir or s3://bucket/prefix")
            })?;
            Backend::Store {
                store: Arc::new(s3(bucket, aws, CALL)?),
                root: format!("s3://{bucket}/"),
                unfinished: Some(UnfinishedUploads::of(aws, bucket, &prefix)?),
                prefix,
            }
        } else {
            return Err(unknown(url));
        };
        Ok(Folder { backend, policy })
    }

    /// A folder that lives in this process alone.
    pub fn in_memory(name: &str) -> Folder {
        Folder {
            backend: Backend::Store {
                store: Arc::new(InMemory::new()),
                root: "memory:".into(),
                prefix: Path::from(name),
                unfinished: None,
            },
            policy: Policy::within(Duration::ZERO),
        }
    }

    /// The files whose names end like this, also those in folders below; all pages of the list.
    pub async fn list(&self, ending: &str) -> Result<Vec<Stored>> {
        let what = format!("listing {self}");
        let mut found = retry(&self.policy, &what, || async {
            match &self.backend {
                Backend::Local(folder) => local_files(folder.clone(), &what).await,
                Backend::Store { store, prefix, .. } => {
                    let listed = store.list(Some(prefix)).map(|listed| {
                        let listed = listed.map_err(|error| store_error(&what, error))?;
                        let path = listed.location.as_ref();
                        let name = path.strip_prefix(prefix.as_ref()).unwrap_or_default();
                        Ok(Stored {
                            name: name.trim_start_matches('/').to_owned(),
                            tag: listed.e_tag,
                        })
                    });
                    listed.try_collect().await
                }
            }
        })
        .await?;
        found.retain(|stored: &Stored| stored.name.ends_with(ending));
        Ok(found)
    }

    /// The file as it is there now; nothing where there is none.
    pub async fn find(&self, name: &str) -> Result<Option<Stored>> {
        let what = format!("looking for {}", self.place(name));
        retry(&self.policy, &what, || async {
            let stored = |tag| Stored {
                name: name.to_owned(),
                tag,
            };
            match &self.backend {
                Backend::Local(folder) => {
                    let path = folder.join(name);
                    let looked = off_the_async_threads(&what, move || match fs::metadata(&path) {
                        Ok(file) => Ok(Some(local_tag(&file))),
                        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                        Err(error) => Err(error),
                    });
                    Ok(looked.await?.map(|tag| stored(Some(tag))))
                }
                Backend::Store { store, prefix, .. } => {
                    match store.head(&below(prefix, name)).await {
                        Ok(found) => Ok(Some(stored(found.e_tag))),
                        Err(error) if is_missing(&error) => Ok(None),
                        Err(error) => Err(store_error(&what, error)),
                    }
                }
            }
        })
        .await
    }

    /// Removes these files; one that is not there is no error.
    pub async fn remove(&self, names: &[String]) -> Result<()> {
        let what = format!("removing {} files of {self}", names.len());
        if names.is_empty() {
            return Ok(());
        }
        retry(&self.policy, &what, || async {
            let (store, prefix) = match &self.backend {
                Backend::Local(folder) => {
                    let paths: Vec<PathBuf> = names.iter().map(|name| folder.join(name)).collect();
                    return off_the_async_threads(&what, move || remove_local(&paths)).await;
                }
                Backend::Store { store, prefix, .. } => (store, prefix),
            };
            // In one call a thousand.
            let paths: Vec<_> = names.iter().map(|name| Ok(below(prefix, name))).collect();
            let mut removed = store.delete_stream(futures::stream::iter(paths).boxed());
            while let Some(one) = removed.next().await {
                match one {
                    Ok(_) => {}
                    Err(error) if is_missing(&error) => {}
                    Err(error) => return Err(store_error(&what, error)),
                }
            }
            Ok(())
        })
        .await
    }

    /// Gives a file its final name, over one that may be there. In a store it is copied, and then
    /// removed under the old name; a reader sees each name whole or not at all.
    ///
    /// # Errors
    /// [`Remedy::FixAccess`] where there is no file `from`.
    pub async fn rename(&self, from: &str, to: &str) -> Result<()> {
        let what = format!("renaming {} to {to}", self.place(from));
        retry(&self.policy, &what, || async {
            match &self.backend {
                Backend::Local(folder) => {
                    let (from, to) = (folder.join(from), folder.join(to));
                    off_the_async_threads(&what, move || {
                        fs::rename(&from, &to)?;
                        sync_folder(&to)
                    })
                    .await
                }
                Backend::Store { store, prefix, .. } => store
                    .copy(&below(prefix, from), &below(prefix, to))
                    .await
                    .map_err(|error| store_error(&what, error)),
            }
        })
        .await?;
        tracing::trace!(room = "copied");
        match &self.backend {
            Backend::Local(_) => Ok(()),
            Backend::Store { .. } => self.remove(&[from.to_owned()]).await,
        }
    }

    /// Ends the uploads that somebody began and never finished, of files whose names end like this.
    /// They are no files yet, but S3 stores and charges their parts. Gives their number.
    pub async fn end_unfinished(&self, ending: &str) -> Result<usize> {
        let Backend::Store {
            store,
            unfinished: Some(unfinished),
            ..
        } = &self.backend
        else {
            return Ok(0);
        };
        let what = format!("looking for unfinished uploads in {self}");
        let list = || unfinished.list(&what, ending);
        let uploads = retry(&self.policy, &what, list).await?;
        for (path, id) in &uploads {
            let what = format!("ending an unfinished upload in {self}");
            retry(&self.policy, &what, || async {
                match store.abort_multipart(path, id).await {
                    Ok(()) => Ok(()),
                    Err(error) if is_missing(&error) => Ok(()),
                    Err(error) => Err(store_error(&what, error)),
                }
            })
            .await?;
        }
        Ok(uploads.len())
    }

    /// Begins a file. It is there when [`Upload::finish`] has returned; one that is dropped before
    /// may leave traces: [`Upload::abandon`] leaves none.
    pub fn upload(&self, name: &str) -> Upload {
        Upload::begin(self.clone(), name.to_owned())
    }

    fn place(&self, name: &str) -> String {
        format!("{self}/{name}")
    }
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.backend {
            Backend::Local(path) => write!(f, "file:{}", path.display()),
            Backend::Store { root, prefix, .. } => write!(f, "{root}{prefix}"),
        }
    }
}

impl fmt::Debug for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The key of a file, as it is: `Path::join` would write some characters in another way, and name
/// an object that is not there.
fn below(prefix: &Path, name: &str) -> Path {
    Path::parse(format!("{prefix}/{name}")).unwrap_or_else(|_| {
        let parts = name.split('/');
        parts.fold(prefix.clone(), |path, part| path.join(part))
    })
}

async fn local_files(folder: PathBuf, what: &str) -> Result<Vec<Stored>> {
    off_the_async_threads(what, move || {
        let mut found = Vec::new();
        let mut folders = vec![folder.clone()];
        while let Some(current) = folders.pop() {
            let entries = match fs::read_dir(&current) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            for entry in entries {
                let entry = entry?;
                let path = entry.path();
                // Not through a link: what lies behind it is none of this folder.
                if entry.file_type()?.is_dir() {
                    folders.push(path);
                } else if let Some(name) = name_below(&folder, &path) {
                    found.push(Stored { name, tag: None });
                }
            }
        }
        found.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(found)
    })
    .await
}

/// Nothing for a name that is not UTF-8: it is none of ours.
fn name_below(folder: &FilePath, path: &FilePath) -> Option<String> {
    Some(path.strip_prefix(folder).ok()?.to_str()?.to_owned())
}

/// Number, length and time of the last change.
fn local_tag(file: &fs::Metadata) -> String {
    let (seconds, nanoseconds) = (file.mtime(), file.mtime_nsec());
    format!("{}-{}-{seconds}.{nanoseconds:09}", file.ino(), file.len())
}

fn remove_local(paths: &[PathBuf]) -> io::Result<()> {
    for path in paths {
        match fs::remove_file(path) {
            Ok(()) => sync_folder(path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
