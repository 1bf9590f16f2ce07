//! Sentry: errors of runs, for whoever watches them there.
//!
//! Of Sentry's crates only the types are used. What their client would gather by itself (contexts,
//! the machine's name, stack traces, the words of a panic) might hold a personal value (P6).

use std::fmt;
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use sentry_types::Dsn;
use sentry_types::protocol::v7::{Envelope, Event, Level};

use super::http::Http;
use crate::error::{Error, OrFail as _, Remedy, Result};
use crate::privacy::Secret;
use crate::retry::{Policy, retry};

/// A project in Sentry.
#[derive(Clone)]
pub struct Sentry {
    dsn: Dsn,
    environment: Option<String>,
    http: Http,
}

/// How long a report may take: it must not keep a program from its end.
const EACH: Duration = Duration::from_secs(5);

impl fmt::Debug for Sentry {
    /// The DSN holds a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sentry at {}", self.dsn.host())
    }
}

impl Sentry {
    /// Reads the DSN; asks nothing of the network yet.
    ///
    /// # Errors
    /// [`Remedy::FixSettings`] when it is none. It is not repeated.
    pub fn new(dsn: &Secret, environment: Option<&str>) -> Result<Sentry> {
        let dsn = dsn.expose().parse::<Dsn>().map_err(|_| {
            Error::new(Remedy::FixSettings, "reading SENTRY_DSN: it is no DSN")
                .with_hint("expected https://key@host/project")
        })?;
        Ok(Sentry {
            dsn,
            environment: environment.map(str::to_owned),
            http: Http::without_redirects(EACH)?,
        })
    }

    /// Reports an error. The message must hold nothing personal, as those of [`Error`] do not.
    pub async fn report(&self, message: &str, tags: &[(&str, &str)]) -> Result<()> {
        let what = "reporting an error to Sentry";
        let tags = tags
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let event = Event {
            level: Level::Error,
            logger: Some("watershed".into()),
            message: Some(message.to_owned()),
            environment: self.environment.clone().map(Into::into),
            release: Some(concat!("watershed@", env!("CARGO_PKG_VERSION")).into()),
            tags: tags.collect(),
            ..Event::default()
        };
        let mut body = Vec::new();
        Envelope::from(event)
            .to_writer(&mut body)
            .or_fail(Remedy::ReportBug, || what.into())?;
        let url = self.dsn.envelope_api_url();
        let agent = concat!("watershed/", env!("CARGO_PKG_VERSION"));
        let key = self.dsn.to_auth(Some(agent)).to_string();
        let policy = Policy::within(Duration::from_secs(10)).tries(3);
        retry(&policy, what, || async {
            let request = self
                .http
                .post(url.as_str())
                .header("X-Sentry-Auth", &key)
                .header(CONTENT_TYPE, "application/x-sentry-envelope")
                .body(body.clone());
            self.http.send(what, request).await.map(drop)
        })
        .await
    }
}
