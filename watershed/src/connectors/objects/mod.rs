//! Objects: S3 (`s3://bucket/key`), local files (`file:path`) and memory behind one type.
//!
//! [`Object::replace`] is the compare-and-set that the state is made of. S3 and memory have it as
//! a conditional put by ETag; for local files it is a lock file, a comparison, and a rename.

mod folder;
mod inbox;
mod local;
mod unfinished;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use bytes::Bytes;
use object_store::aws::{AmazonS3, AmazonS3Builder, AwsCredential};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    ClientOptions, CredentialProvider, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions,
    RetryConfig, UpdateVersion,
};

pub use folder::{Folder, PART_BYTES, Stored, Upload};
pub use inbox::{Inbox, Listed};
pub(crate) use local::{sync_folder, write_whole};

use super::aws::{Aws, GIVE_CREDENTIALS, remedy_of_code};
use super::http::install_tls_provider;
use crate::error::{Error, Remedy, Result};
use crate::retry::{Policy, retry};

/// Time of one request, its body included.
const CALL: Duration = Duration::from_secs(60);

/// The place of one object, or of a folder of them.
#[derive(Clone)]
pub struct Object {
    backend: Backend,
    policy: Policy,
}

#[derive(Clone)]
enum Backend {
    Local(PathBuf),
    Store {
        store: Arc<dyn ObjectStore>,
        root: String,
        path: Path,
    },
}

/// What an object held when it was read; [`Object::replace`] compares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Version {
    /// The bytes themselves: local files have no version of their own.
    Content(Bytes),
    /// ETag of the store.
    Tag(String),
}

/// How a [`Object::replace`] ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replaced {
    /// Ours is there now, with this version.
    Done(Version),
    /// Somebody else's is there; nothing was written.
    Conflict,
}

impl Object {
    /// Opens the place that a URL names; asks nothing of the network yet.
    ///
    /// # Errors
    /// [`Remedy::FixSettings`] for a URL of another form.
    pub fn open(url: &str, aws: &Aws, policy: Policy) -> Result<Object> {
        let backend = if let Some(path) = url.strip_prefix("file:").filter(|path| !path.is_empty())
        {
            Backend::Local(local_path(path))
        } else if let Some(rest) = url.strip_prefix("s3://") {
            let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
            let path = Path::parse(key.trim_end_matches('/'));
            let path = path
                .ok()
                .filter(|_| !bucket.is_empty())
                .ok_or_else(|| unknown(url))?;
            Backend::Store {
                store: Arc::new(s3(bucket, aws, CALL)?),
                root: format!("s3://{bucket}/"),
                path,
            }
        } else {
            return Err(unknown(url));
        };
        Ok(Object { backend, policy })
    }

    /// A place that lives in this process alone.
    pub fn in_memory(name: &str) -> Object {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        Object {
            backend: Backend::Store {
                store,
                root: "memory:".into(),
                path: Path::from(name),
            },
            policy: Policy::within(Duration::ZERO),
        }
    }

    /// The object `name` (which may hold slashes) below this place.
    pub fn below(&self, name: &str) -> Object {
        let backend = match &self.backend {
            Backend::Local(path) => Backend::Local(path.join(name)),
            Backend::Store { store, root, path } => Backend::Store {
                store: store.clone(),
                root: root.clone(),
                path: name
                    .split('/')
                    .fold(path.clone(), |path, part| path.join(part)),
            },
        };
        Object {
            backend,
            policy: self.policy.clone(),
        }
    }

    /// The object's bytes and version; nothing where there is no such object.
    pub async fn read(&self) -> Result<Option<(Bytes, Version)>> {
        let what = format!("reading {self}");
        retry(&self.policy, &what, || async {
            match &self.backend {
                Backend::Local(path) => local::read(path.clone(), &what).await,
                Backend::Store { store, path, .. } => match store.get(path).await {
                    Ok(answer) => {
                        let tag = answer.meta.e_tag.clone();
                        let bytes = answer
                            .bytes()
                            .await
                            .map_err(|error| store_error(&what, error))?;
                        Ok(Some((bytes, Version::Tag(tag.unwrap_or_default()))))
                    }
                    Err(error) if is_missing(&error) => Ok(None),
                    Err(error) => Err(store_error(&what, error)),
                },
            }
        })
        .await
    }

    /// Whether there is such an object, from its head alone.
    pub async fn exists(&self) -> Result<bool> {
        let what = format!("looking for {self}");
        retry(&self.policy, &what, || async {
            match &self.backend {
                Backend::Local(path) => local::exists(path.clone(), &what).await,
                Backend::Store { store, path, .. } => match store.head(path).await {
                    Ok(_) => Ok(true),
                    Err(object_store::Error::NotFound { .. }) => Ok(false),
                    Err(error) => Err(store_error(&what, error)),
                },
            }
        })
        .await
    }

    /// Writes the object whole, over what may be there. A local file is readable by its owner
    /// alone, and is durable when this returns.
    pub async fn write(&self, bytes: Bytes) -> Result<()> {
        let what = format!("writing {self}");
        retry(&self.policy, &what, || async {
            match &self.backend {
                Backend::Local(path) => local::write(path.clone(), bytes.clone(), &what).await,
                Backend::Store { store, path, .. } => {
                    store
                        .put(path, bytes.clone().into())
                        .await
                        .map_err(|error| store_error(&what, error))?;
                    Ok(())
                }
            }
        })
        .await
    }

    /// Adds `new` at the end of an object that holds `before`; durable when this returns. A store
    /// without appending gets the whole object again.
    pub async fn append(&self, before: &[u8], new: &[u8]) -> Result<()> {
        match &self.backend {
            Backend::Local(path) => {
                local::append(path.clone(), new.to_vec(), format!("writing {self}")).await
            }
            Backend::Store { .. } => self.write([before, new].concat().into()).await,
        }
    }

    /// Whether [`append`](Object::append) writes only what is new.
    pub fn appends_cheaply(&self) -> bool {
        matches!(self.backend, Backend::Local(_))
    }

    /// Compare-and-set: writes `bytes` if the object still has the `expected` version (`None`: if
    /// there is no such object).
    ///
    /// A conflict after a lost answer may be of our own making; the caller reads and compares.
    pub async fn replace(&self, expected: Option<&Version>, bytes: Bytes) -> Result<Replaced> {
        let what = format!("writing {self}");
        retry(&self.policy, &what, || async {
            let (store, path) = match &self.backend {
                Backend::Local(path) => {
                    return local::replace(path.clone(), expected.cloned(), bytes.clone(), &what)
                        .await;
                }
                Backend::Store { store, path, .. } => (store, path),
            };
            let mode = match expected {
                None => PutMode::Create,
                Some(Version::Tag(tag)) => PutMode::Update(UpdateVersion {
                    e_tag: Some(tag.clone()),
                    version: None,
                }),
                Some(Version::Content(_)) => {
                    return Err(Error::new(Remedy::ReportBug, what.clone())
                        .caused_by("a version of another store"));
                }
            };
            let options = PutOptions {
                mode,
                ..PutOptions::default()
            };
            match store.put_opts(path, bytes.clone().into(), options).await {
                Ok(put) => Ok(Replaced::Done(Version::Tag(put.e_tag.unwrap_or_default()))),
                Err(
                    object_store::Error::Precondition { .. }
                    | object_store::Error::AlreadyExists { .. },
                ) => Ok(Replaced::Conflict),
                // S3 answers 404 to a conditional put whose object was deleted meanwhile.
                Err(error) if expected.is_some() && is_missing(&error) => Ok(Replaced::Conflict),
                Err(error) => Err(store_error(&what, error)),
            }
        })
        .await
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.backend {
            Backend::Local(path) => write!(f, "file:{}", path.display()),
            Backend::Store { root, path, .. } => write!(f, "{root}{path}"),
        }
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `file:path` and `file:///path` alike.
pub(crate) fn local_path(after_scheme: &str) -> PathBuf {
    PathBuf::from(after_scheme.strip_prefix("//").unwrap_or(after_scheme))
}

fn unknown(url: &str) -> Error {
    Error::new(Remedy::FixSettings, format!("opening `{url}`"))
        .with_hint("expected file:path or s3://bucket/key")
}

fn s3(bucket: &str, aws: &Aws, limit: Duration) -> Result<AmazonS3> {
    install_tls_provider();
    let no_retries = RetryConfig {
        max_retries: 0,
        ..RetryConfig::default()
    };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(aws.region())
        .with_client_options(
            ClientOptions::new()
                .with_allow_http(true)
                .with_timeout(limit),
        )
        .with_retry(no_retries);
    if let Some(provider) = aws.credentials() {
        builder = builder.with_credentials(Arc::new(S3Credentials(provider)));
    }
    if let Some(endpoint) = aws.endpoint("s3") {
        builder = builder
            .with_endpoint(endpoint)
            .with_virtual_hosted_style_request(false);
    }
    builder.build().map_err(|cause| {
        Error::new(Remedy::FixSettings, format!("opening s3://{bucket}")).caused_by(cause)
    })
}

/// The SDK's credentials, as `object_store` wants them.
#[derive(Debug)]
struct S3Credentials(SharedCredentialsProvider);

#[async_trait]
impl CredentialProvider for S3Credentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let found = self.0.provide_credentials().await.map_err(|source| {
            object_store::Error::Unauthenticated {
                path: String::new(),
                source: source.into(),
            }
        })?;
        Ok(Arc::new(AwsCredential {
            key_id: found.access_key_id().to_owned(),
            secret_key: found.secret_access_key().to_owned(),
            token: found.session_token().map(str::to_owned),
        }))
    }
}

/// Whether it is the object that is missing, and not the bucket: S3 answers 404 to both.
fn is_missing(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::NotFound { .. })
        && !error.to_string().contains("<Code>NoSuchBucket</Code>")
}

fn store_error(what: &str, error: object_store::Error) -> Error {
    use object_store::Error as Store;
    let words = error.to_string();
    // S3 tells its code inside an XML body: `<Code>ExpiredToken</Code>`.
    let element = |name: &str| {
        let (_, rest) = words.split_once(&format!("<{name}>"))?;
        Some(rest.split_once('<')?.0)
    };
    let code = element("Code");
    let remedy = match &error {
        Store::PermissionDenied { .. } | Store::Unauthenticated { .. } | Store::NotFound { .. } => {
            Remedy::FixAccess
        }
        Store::InvalidPath { .. } | Store::NotImplemented { .. } | Store::NotSupported { .. } => {
            Remedy::FixSettings
        }
        _ => code.map_or(Remedy::TryAgain, remedy_of_code),
    };
    let cause = match code.zip(element("Message")) {
        Some((code, message)) => format!("{code}: {message}"),
        None => words.chars().take(400).collect(),
    };
    let error = Error::new(remedy, what).caused_by(cause);
    match code {
        None if remedy == Remedy::FixAccess => error.with_hint(GIVE_CREDENTIALS),
        _ => error,
    }
}
