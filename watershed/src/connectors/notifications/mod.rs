//! Notifications: NATS (`nats://user:password@host:4222`) and a file of JSON lines (`file:path`).
//!
//! A message is delivered at least once. Its id lets whoever keeps messages drop a second one: a
//! JetStream stream within its `duplicate_window` (two minutes unless it is set), the file among
//! its last mebibyte.

mod lines;
mod nats;

use std::fmt;

use super::objects::local_path;
use crate::error::{Error, Remedy, Result};
use crate::privacy::Secret;
use crate::retry::{Policy, retry};
use lines::Lines;
use nats::Nats;

/// Where others are told what has changed.
#[derive(Debug)]
pub struct Notifications {
    backend: Backend,
    policy: Policy,
}

#[derive(Debug)]
enum Backend {
    Nats(Box<Nats>),
    Lines(Lines),
}

impl Notifications {
    /// Reads the URL; asks nothing of the network yet.
    ///
    /// `nats://` takes the encryption that the server asks for, `tls://` insists on it; the
    /// certificate is then always checked. A cluster's servers are separated by commas. A user
    /// without a password is a token. What is percent-encoded in user and password is decoded.
    ///
    /// # Errors
    /// [`Remedy::FixSettings`] for a URL of another form; it is not repeated, because it may hold a
    /// password.
    pub fn open(url: &Secret, policy: Policy) -> Result<Notifications> {
        let text = url.expose();
        let backend = match text.strip_prefix("file:").filter(|path| !path.is_empty()) {
            Some(path) => Backend::Lines(Lines::new(local_path(path))),
            None => Backend::Nats(Box::new(Nats::new(text)?)),
        };
        Ok(Notifications { backend, policy })
    }

    /// Publishes a message. `Ok` means that the broker has it: the stream that covers the subject
    /// has stored it, or, where there is none, the server has taken it and passed it on to those
    /// who listen. In a file, it is durable.
    ///
    /// A connection is made when it is needed, and made again when it was lost. One try takes no
    /// longer than 20 s, and 5 s more for each further server of a cluster, whatever the broker does.
    ///
    /// # Errors
    /// [`Remedy::TryAgain`] when the broker cannot be reached or does not answer, or its stream
    /// takes no message now; [`Remedy::FixAccess`] when it refuses user or subject;
    /// [`Remedy::FixSettings`] for a subject that NATS does not know and a message larger than it
    /// takes.
    pub async fn publish(&self, subject: &str, message_id: &str, payload: &[u8]) -> Result<()> {
        check_subject(subject)?;
        let what = format!("publishing {message_id} on {subject} to {self}");
        retry(&self.policy, &what, || async {
            match &self.backend {
                Backend::Nats(nats) => nats.publish(&what, subject, message_id, payload).await,
                Backend::Lines(lines) => lines.append(&what, subject, message_id, payload).await,
            }
        })
        .await
    }

    /// One line about the broker, for `check`. Nothing is published.
    pub async fn summary(&self) -> Result<String> {
        match &self.backend {
            Backend::Nats(nats) => {
                let what = format!("connecting to {self}");
                retry(&self.policy, &what, || nats.summary(&what)).await
            }
            Backend::Lines(_) => Ok(self.to_string()),
        }
    }
}

/// The place, without user and password.
impl fmt::Display for Notifications {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.backend {
            Backend::Nats(nats) => nats.fmt(f),
            Backend::Lines(lines) => lines.fmt(f),
        }
    }
}

/// A subject is words between dots; a publisher may use neither wildcards nor blanks, which would
/// cut the line of the protocol.
fn check_subject(subject: &str) -> Result<()> {
    let fits = |word: &str| {
        !word.is_empty()
            && word != "*"
            && word != ">"
            && !word.contains(|c: char| c.is_whitespace() || c.is_control())
    };
    if subject.split('.').all(fits) {
        return Ok(());
    }
    let what = format!("publishing on the subject `{subject}`");
    Err(Error::new(Remedy::FixSettings, what).with_hint("expected words between single dots"))
}
