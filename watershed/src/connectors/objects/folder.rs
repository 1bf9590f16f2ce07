//! A folder of files too large for memory: `s3://bucket/prefix` or `file:dir`.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::memory::InMemory;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{MultipartId, ObjectStore, ObjectStoreExt as _};
use tokio::task::JoinSet;

use super::local::{off_the_async_threads, sync_folder};
use super::unfinished::UnfinishedUploads;
use super::{is_missing, local_path, s3, store_error, unknown};
use crate::connectors::aws::Aws;
use crate::error::{Error, Remedy, Result};
use crate::retry::{Policy, retry};

/// What is written at a time. S3 takes parts of 5 MiB and more, 10,000 of them an object.
pub const PART_BYTES: usize = 8 << 20;

/// Parts on their way at a time; each is in memory until it is stored.
const PARTS_AT_ONCE: usize = 2;

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
    /// What tells this very file from a later one of its name: an ETag; nothing for local files.
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
                Backend::Local(folder) => Ok(folder.join(name).exists().then(|| stored(None))),
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
        Upload {
            folder: self.clone(),
            name: name.to_owned(),
            state: State::Empty,
        }
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

fn below(prefix: &Path, name: &str) -> Path {
    let parts = name.split('/');
    parts.fold(prefix.clone(), |path, part| path.join(part))
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
                let path = entry?.path();
                if path.is_dir() {
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

/// A file on its way into its folder.
pub struct Upload {
    folder: Folder,
    name: String,
    state: State,
}

enum State {
    Empty,
    Local(File),
    /// The first bytes, which may be the last: then one call stores them.
    Held(Bytes),
    Parts {
        id: MultipartId,
        begun: usize,
        on_the_way: JoinSet<Result<(usize, PartId)>>,
        done: Vec<(usize, PartId)>,
    },
}

impl Upload {
    /// Writes the next bytes: [`PART_BYTES`] of them, or at the end the rest. A local file can be
    /// read by its owner alone.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        let what = format!("writing {}", self.folder.place(&self.name));
        let state = std::mem::replace(&mut self.state, State::Empty);
        self.state = match (state, &self.folder.backend) {
            (state, Backend::Local(folder)) => {
                let path = folder.join(&self.name);
                let file = off_the_async_threads(&what, move || {
                    let mut file = match state {
                        State::Local(file) => file,
                        _ => create(&path)?,
                    };
                    file.write_all(&bytes)?;
                    Ok(file)
                });
                State::Local(file.await?)
            }
            (State::Held(first), Backend::Store { store, prefix, .. }) => {
                let path = below(prefix, &self.name);
                let id = retry(&self.folder.policy, &what, || async {
                    let id = store.create_multipart(&path).await;
                    id.map_err(|error| store_error(&what, error))
                })
                .await?;
                self.state = State::Parts {
                    id,
                    begun: 0,
                    on_the_way: JoinSet::new(),
                    done: Vec::new(),
                };
                self.begin_part(first).await?;
                return self.begin_part(bytes).await;
            }
            (state @ State::Parts { .. }, Backend::Store { .. }) => {
                self.state = state;
                return self.begin_part(bytes).await;
            }
            (_, Backend::Store { .. }) => State::Held(bytes),
        };
        Ok(())
    }

    /// Sends a part off, as soon as there is room for it.
    async fn begin_part(&mut self, bytes: Bytes) -> Result<()> {
        let (
            State::Parts {
                id,
                begun,
                on_the_way,
                done,
            },
            Backend::Store { store, prefix, .. },
        ) = (&mut self.state, &self.folder.backend)
        else {
            return Err(self.folder.out_of_order(&self.name));
        };
        while on_the_way.len() >= PARTS_AT_ONCE {
            done.push(arrived(on_the_way.join_next().await)?);
        }
        let (store, path, id, number) =
            (store.clone(), below(prefix, &self.name), id.clone(), *begun);
        *begun += 1;
        let policy = self.folder.policy.clone();
        let what = format!("writing {}", self.folder.place(&self.name));
        on_the_way.spawn(async move {
            let part = retry(&policy, &what, || async {
                let part = store
                    .put_part(&path, &id, number, bytes.clone().into())
                    .await;
                part.map_err(|error| store_error(&what, error))
            });
            Ok((number, part.await?))
        });
        Ok(())
    }

    /// Ends the file; it is durable and whole when this returns.
    pub async fn finish(mut self) -> Result<Stored> {
        let what = format!("writing {}", self.folder.place(&self.name));
        let state = std::mem::replace(&mut self.state, State::Empty);
        let policy = &self.folder.policy;
        let tag = match (state, &self.folder.backend) {
            (state, Backend::Local(folder)) => {
                let path = folder.join(&self.name);
                off_the_async_threads(&what, move || {
                    let file = match state {
                        State::Local(file) => file,
                        _ => create(&path)?,
                    };
                    file.sync_all()?;
                    sync_folder(&path)
                })
                .await?;
                None
            }
            (
                State::Parts {
                    id,
                    mut on_the_way,
                    mut done,
                    ..
                },
                Backend::Store { store, prefix, .. },
            ) => {
                while let Some(part) = on_the_way.join_next().await {
                    done.push(arrived(Some(part))?);
                }
                done.sort_by_key(|(number, _)| *number);
                let path = below(prefix, &self.name);
                let put = retry(policy, &what, || async {
                    let parts = done.iter().map(|(_, part)| part.clone()).collect();
                    let put = store.complete_multipart(&path, &id, parts).await;
                    put.map_err(|error| store_error(&what, error))
                });
                put.await?.e_tag
            }
            (state, Backend::Store { store, prefix, .. }) => {
                let bytes = match state {
                    State::Held(bytes) => bytes,
                    _ => Bytes::new(),
                };
                let path = below(prefix, &self.name);
                let put = retry(policy, &what, || async {
                    let put = store.put(&path, bytes.clone().into()).await;
                    put.map_err(|error| store_error(&what, error))
                });
                put.await?.e_tag
            }
        };
        Ok(Stored {
            name: self.name,
            tag,
        })
    }

    /// Gives the file up, and removes what is there of it. Tried once: the next run clears what
    /// stays.
    pub async fn abandon(mut self) {
        let gone = match (&mut self.state, &self.folder.backend) {
            (State::Parts { id, on_the_way, .. }, Backend::Store { store, prefix, .. }) => {
                on_the_way.shutdown().await;
                let path = below(prefix, &self.name);
                let aborted = store.abort_multipart(&path, id).await;
                aborted.map_err(|error| store_error("ending an upload", error))
            }
            (State::Local(_), Backend::Local(folder)) => {
                let path = folder.join(&self.name);
                off_the_async_threads("removing an upload", move || remove_local(&[path])).await
            }
            _ => Ok(()),
        };
        if let Err(error) = gone {
            tracing::info!("{}", error.in_one_line());
        }
    }
}

impl Folder {
    fn out_of_order(&self, name: &str) -> Error {
        Error::new(
            Remedy::ReportBug,
            format!("writing {}: out of order", self.place(name)),
        )
    }
}

fn create(path: &FilePath) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)
}

fn arrived(
    part: Option<Result<Result<(usize, PartId)>, tokio::task::JoinError>>,
) -> Result<(usize, PartId)> {
    match part {
        Some(Ok(part)) => part,
        // Its cause would repeat the words of a panic (P6).
        _ => Err(Error::new(Remedy::ReportBug, "writing a part of a file")),
    }
}
