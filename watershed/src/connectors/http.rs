//! HTTP: one client with time limits, and statuses turned into remedies.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::header::{HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy as Redirects;
use tokio::net::TcpStream;
use tokio::time::timeout;
use url::Url;

use reqwest::{Client, RequestBuilder, Response, StatusCode};

use crate::error::{Error, OrFail as _, Remedy, Result};
use crate::privacy::Secret;

/// An HTTP client; clones share its connections.
#[derive(Clone, Debug)]
pub struct Http(Client);

impl Http {
    /// A client that trusts the platform's roots and `SSL_CERT_FILE`; `limit` is the time of one
    /// request, from its start to the last byte of the answer.
    pub fn new(limit: Duration) -> Result<Http> {
        Http::with(limit, Redirects::default())
    }

    /// As [`Http::new`], for requests that hold personal values (P6) or a key in a header: they go
    /// to the address in the settings and nowhere else, and a redirect is answered with an error.
    pub fn without_redirects(limit: Duration) -> Result<Http> {
        Http::with(limit, Redirects::none())
    }

    fn with(limit: Duration, redirects: Redirects) -> Result<Http> {
        install_tls_provider();
        let client = Client::builder()
            .timeout(limit)
            .redirect(redirects)
            .connect_timeout(Duration::from_secs(30))
            .user_agent(concat!("watershed/", env!("CARGO_PKG_VERSION")))
            .build()
            .or_fail(Remedy::ReportBug, || "setting up HTTP".into())?;
        Ok(Http(client))
    }

    /// A GET request.
    pub fn get(&self, url: &str) -> RequestBuilder {
        self.0.get(url)
    }

    /// A POST request.
    pub fn post(&self, url: &str) -> RequestBuilder {
        self.0.post(url)
    }

    /// Sends a request and gives its answer, whatever its status.
    ///
    /// # Errors
    /// [`Remedy::TryAgain`] when no answer came.
    pub async fn exchange(&self, what: &str, request: RequestBuilder) -> Result<Response> {
        // The URL is left out of the cause: a query may hold a key.
        request.send().await.map_err(|cause| broken(what, cause))
    }

    /// Sends a request and gives its answer if the status is 2xx.
    ///
    /// # Errors
    /// `what` says what was being tried. [`Remedy::TryAgain`] when no answer came, for 408, 429
    /// and 5xx (with the answer's `Retry-After`), [`Remedy::FixAccess`] for 401 and 403,
    /// [`Remedy::FixSettings`] for anything else.
    pub async fn send(&self, what: &str, request: RequestBuilder) -> Result<Response> {
        let answer = self.exchange(what, request).await?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let remedy = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Remedy::FixAccess,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Remedy::TryAgain,
            _ if status.is_server_error() => Remedy::TryAgain,
            _ => Remedy::FixSettings,
        };
        let retry_after = answer.headers().get(RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok());
        Err(Error::new(remedy, what)
            .caused_by(format!("the answer was {status}"))
            .with_retry_after(retry_after.and_then(|value| wait_of(value, Timestamp::now()))))
    }

    /// Sends a request and reads the answer's body as text.
    pub async fn text(&self, what: &str, request: RequestBuilder) -> Result<String> {
        self.send(what, request)
            .await?
            .text()
            .await
            .map_err(|cause| broken(what, cause))
    }
}

/// Reads the next piece of an answer's body, decompressed; nothing behind the last one.
///
/// # Errors
/// [`Remedy::TryAgain`] when the body ends before its announced end, or its time is over.
pub async fn next_piece(what: &str, answer: &mut Response) -> Result<Option<Bytes>> {
    answer.chunk().await.map_err(|cause| broken(what, cause))
}

/// The value of `Authorization` for basic authentication (RFC 7617). User and password go as
/// Latin-1 where that has all their characters, as older clients send them, else as UTF-8.
pub fn basic_authorization(user: &Secret, password: &Secret) -> HeaderValue {
    let both = Secret::new(format!("{}:{}", user.expose(), password.expose()));
    let latin1: Option<Vec<u8>> = both
        .expose()
        .chars()
        .map(|character| u8::try_from(u32::from(character)).ok())
        .collect();
    let bytes = latin1.unwrap_or_else(|| both.expose().as_bytes().to_vec());
    let text = format!("Basic {}", STANDARD.encode(bytes));
    let mut value = HeaderValue::try_from(text).expect("base64 is plain ASCII");
    value.set_sensitive(true);
    value
}

/// The wait that `Retry-After` asks for: seconds, or a date (RFC 9110, 10.2.3).
fn wait_of(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
    // A date that has passed asks for no wait.
    Some(Duration::try_from(date.duration_since(now)).unwrap_or_default())
}

/// A URL as it may be printed: a query may hold a key, and a user a password.
pub fn without_secrets(url: &str) -> String {
    match Url::parse(url) {
        Ok(mut parsed) if parsed.has_host() => {
            let _ = parsed.set_username("");
            let _ = parsed.set_password(None);
            parsed.set_query(None);
            parsed.into()
        }
        _ => url.split('?').next().unwrap_or_default().to_owned(),
    }
}

/// Connects to the host of a URL and sends nothing; gives the host and port. For `check`, where a
/// request would be spent.
pub async fn connects(url: &str) -> Result<String> {
    let parsed =
        Url::parse(url).or_fail(Remedy::FixSettings, || format!("reading the URL `{url}`"))?;
    let address = parsed.host_str().zip(parsed.port_or_known_default());
    let (host, port) = address.ok_or_else(|| {
        Error::new(
            Remedy::FixSettings,
            format!("reading the URL `{url}`: it names no host"),
        )
    })?;
    let what = || format!("connecting to {host}:{port}");
    match timeout(Duration::from_secs(10), TcpStream::connect((host, port))).await {
        Ok(connected) => connected
            .map(|_| format!("{host}:{port}"))
            .or_fail(Remedy::TryAgain, what),
        Err(_) => Err(Error::new(Remedy::TryAgain, what()).caused_by("no answer within 10 s")),
    }
}

/// Names the TLS provider for every HTTP client of the process. A customer may have compiled in a
/// second one; the first to be installed stays.
pub(crate) fn install_tls_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn broken(what: &str, cause: reqwest::Error) -> Error {
    let remedy = if cause.is_builder() {
        Remedy::FixSettings
    } else {
        Remedy::TryAgain
    };
    let mut words = String::new();
    let cause = cause.without_url();
    let mut error: Option<&dyn std::error::Error> = Some(&cause);
    while let Some(inner) = error {
        if !words.is_empty() {
            words.push_str(": ");
        }
        words.push_str(&inner.to_string());
        error = inner.source();
    }
    Error::new(remedy, what).caused_by(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_password_go_as_latin_1_where_it_has_them() {
        for (user, password, expected) in [
            ("st-user", "st:pass", "Basic c3QtdXNlcjpzdDpwYXNz"),
            ("käse", "ÿ", "Basic a+RzZTr/"),
            ("käse", "€", "Basic a8Okc2U64oKs"),
        ] {
            let value = basic_authorization(&Secret::new(user), &Secret::new(password));
            assert_eq!(value.to_str().unwrap(), expected, "{user}");
            assert_eq!(format!("{value:?}"), "Sensitive");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        let wait = |value| wait_of(value, now).map(|wait| wait.as_secs());
        assert_eq!(wait(" 90 "), Some(90));
        assert_eq!(wait("Thu, 01 Jan 2026 12:01:30 GMT"), Some(90));
        assert_eq!(wait("Thu, 01 Jan 2026 11:00:00 GMT"), Some(0));
        assert_eq!(wait("soon"), None);
        assert_eq!(wait("-5"), None);
    }
}
