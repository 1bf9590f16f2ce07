//! One file on its way into its folder: a local file, one call, or an upload in parts.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use bytes::Bytes;
use object_store::multipart::PartId;
use object_store::{MultipartId, ObjectStoreExt as _};
use tokio::task::JoinSet;

use super::{Backend, Folder, Stored, below, local_tag, remove_local};
use crate::connectors::objects::local::{off_the_async_threads, sync_folder};
use crate::connectors::objects::store_error;
use crate::error::{Error, Remedy, Result};
use crate::retry::retry;

/// What is written at a time. S3 takes parts of 5 MiB and more, 10,000 of them an object.
pub const PART_BYTES: usize = 8 << 20;

/// Parts on their way at a time; each is in memory until it is stored.
const PARTS_AT_ONCE: usize = 2;

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
    pub(super) fn begin(folder: Folder, name: String) -> Upload {
        Upload {
            folder,
            name,
            state: State::Empty,
        }
    }

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
            let what = format!("writing {}: out of order", self.folder.place(&self.name));
            return Err(Error::new(Remedy::ReportBug, what));
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
                    sync_folder(&path)?;
                    Ok(Some(local_tag(&file.metadata()?)))
                })
                .await?
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

/// Makes a new file, and never writes into one of the same name that somebody else may be writing.
fn create(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new()
        .create_new(true)
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
