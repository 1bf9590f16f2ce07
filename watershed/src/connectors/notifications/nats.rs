use std::fmt;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::connection::State;
use async_nats::{
    Client, ConnectErrorKind, ConnectOptions, Event, HeaderMap, Request, ServerAddr, ServerError,
};
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use tokio::sync::{Mutex, watch};
use tokio::time::timeout;
use url::Url;

use crate::connectors::http::install_tls_provider;
use crate::error::{Error, Remedy, Result};
use crate::privacy::Secret;

/// How long the broker may take for each of its answers.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Answers which streams cover a subject; where there is no JetStream, nobody listens on it.
const STREAM_NAMES: &str = "$JS.API.STREAM.NAMES";
/// The header by which a stream recognises a message that it has stored already.
const MESSAGE_ID: &str = "Nats-Msg-Id";

const LOST: &str = "the connection was lost";

/// A NATS server or cluster: one connection, made when it is needed and made again when it was
/// lost.
pub(super) struct Nats {
    servers: Vec<ServerAddr>,
    login: Option<Login>,
    connection: Mutex<Option<Connection>>,
}

#[derive(Clone, PartialEq)]
enum Login {
    Token(Secret),
    User(Secret, Secret),
}

struct Connection {
    client: Client,
    heard: watch::Sender<Heard>,
}

/// What the client reports beside the answers.
#[derive(Default)]
struct Heard {
    /// What the server forbade, in its own words: it answers no refused message.
    forbidden: Vec<String>,
    /// The connection was lost, and with it every answer that was awaited.
    lost: bool,
}

/// What became of a request.
enum Answer {
    Text(Bytes),
    /// Nobody listens on the subject, and the server said so.
    Nobody,
    /// This user may not publish there.
    Forbidden,
}

#[derive(Deserialize)]
struct StreamNames {
    #[serde(default)]
    streams: Option<Vec<String>>,
}

/// What a stream answers to a message.
#[derive(Deserialize)]
struct Acknowledgement {
    stream: Option<String>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    code: u16,
    #[serde(default)]
    description: String,
}

impl Nats {
    pub(super) fn new(urls: &str) -> Result<Nats> {
        let mut servers = Vec::new();
        let mut login = None;
        for (i, url) in urls.split(',').enumerate() {
            // The further servers of a list may be host and port alone.
            let short = i > 0 && !url.contains("://");
            let scheme = if short { "nats://" } else { "" };
            let (server, own) = server(&format!("{scheme}{}", url.trim())).map_err(|why| {
                Error::new(Remedy::FixSettings, "reading the URL of the notifications")
                    .caused_by(why)
                    .with_hint("expected nats://user:password@host:4222, or file: and a path")
            })?;
            servers.push(server);
            if let (Some(one), Some(other)) = (&login, &own)
                && one != other
            {
                let what = "reading the URL of the notifications: its servers have different users";
                return Err(Error::new(Remedy::FixSettings, what));
            }
            login = login.or(own);
        }
        Ok(Nats {
            servers,
            login,
            connection: Mutex::default(),
        })
    }

    pub(super) async fn publish(
        &self,
        what: &str,
        subject: &str,
        message_id: &str,
        payload: &[u8],
    ) -> Result<()> {
        self.with_connection(what, async |connection| {
            connection.publish(what, subject, message_id, payload).await
        })
        .await
    }

    pub(super) async fn summary(&self, what: &str) -> Result<String> {
        self.with_connection(what, async |connection| {
            connection.covered(what, "watershed").await?;
            let server = connection.client.server_info();
            let encrypted =
                server.tls_required || self.servers.iter().any(ServerAddr::tls_required);
            Ok(format!(
                "nats-server {}{}{}",
                server.version,
                if server.jetstream { ", JetStream" } else { "" },
                if encrypted {
                    ", encrypted"
                } else {
                    ", not encrypted"
                },
            ))
        })
        .await
    }

    /// Works on the connection, and makes one if there is none. After a failure the next call makes
    /// a new one: what the lost one still holds back must not come after it.
    async fn with_connection<T>(
        &self,
        what: &str,
        work: impl AsyncFnOnce(&Connection) -> Result<T>,
    ) -> Result<T> {
        let mut slot = self.connection.lock().await;
        let connection = match slot.take().filter(Connection::is_unbroken) {
            Some(connection) => connection,
            None => self.connect(what).await?,
        };
        let done = work(&connection).await?;
        *slot = Some(connection);
        Ok(done)
    }

    async fn connect(&self, what: &str) -> Result<Connection> {
        install_tls_provider();
        let heard = watch::Sender::new(Heard::default());
        let noted = heard.clone();
        let mut options = ConnectOptions::new()
            .name("watershed")
            .connection_timeout(ANSWER_WITHIN)
            // It ends when every server was tried once, so that none goes on in the background for
            // each connection that was given up here.
            .max_reconnects(self.servers.len())
            .event_callback(move |event| {
                noted.send_modify(|heard| match event {
                    Event::ServerError(ServerError::Other(words)) => heard.forbidden.push(words),
                    Event::Disconnected => heard.lost = true,
                    _ => {}
                });
                std::future::ready(())
            });
        options = match &self.login {
            None => options,
            Some(Login::Token(token)) => options.token(token.expose().to_owned()),
            Some(Login::User(user, password)) => {
                options.user_and_password(user.expose().to_owned(), password.expose().to_owned())
            }
        };
        let what = format!("{what}: connecting");
        let limit = ANSWER_WITHIN * self.servers.len() as u32;
        match timeout(limit, options.connect(&self.servers[..])).await {
            Ok(Ok(client)) => Ok(Connection { client, heard }),
            Ok(Err(cause)) => Err(unconnected(&what, &cause)),
            Err(_) => Err(no_answer(&what)),
        }
    }
}

impl Connection {
    async fn publish(
        &self,
        what: &str,
        subject: &str,
        message_id: &str,
        payload: &[u8],
    ) -> Result<()> {
        self.heard.send_modify(|heard| heard.forbidden.clear());
        let mut headers = HeaderMap::new();
        headers.insert(MESSAGE_ID, message_id);
        let payload = Bytes::copy_from_slice(payload);
        if self.covered(what, subject).await? {
            return match self.ask(what, subject, headers, payload).await? {
                Answer::Text(answer) => stored(what, &answer),
                Answer::Forbidden => Err(refused(what)),
                // The stream went away meanwhile.
                Answer::Nobody => Err(Error::new(Remedy::TryAgain, what).caused_by("no stream")),
            };
        }
        let sent = self
            .client
            .publish_with_headers(subject.to_owned(), headers, payload);
        sent.await.map_err(|cause| match cause.kind() {
            async_nats::client::PublishErrorKind::MaxPayloadExceeded => self.too_large(what),
            _ => Error::new(Remedy::TryAgain, what).caused_by(cause),
        })?;
        // The client's own `flush` ends when the message is in the socket. The server answers in
        // order, so that its answer to a question tells that it has taken the message before it. A
        // refusal is reported before that answer, but on another path inside the client: the second
        // answer is there when that path has long been walked.
        for _ in 0..2 {
            self.covered(what, subject).await?;
        }
        if self.is_forbidden(subject) {
            return Err(refused(what));
        }
        // Else the question was answered on another connection than that of the message.
        if !self.is_unbroken() {
            return Err(Error::new(Remedy::TryAgain, what).caused_by(LOST));
        }
        Ok(())
    }

    /// Whether a stream stores what is published on the subject.
    async fn covered(&self, what: &str, subject: &str) -> Result<bool> {
        let question = serde_json::json!({ "subject": subject }).to_string();
        let headers = HeaderMap::new();
        match self
            .ask(what, STREAM_NAMES, headers, question.into())
            .await?
        {
            Answer::Nobody => Ok(false),
            Answer::Forbidden => {
                tracing::debug!(
                    "{what}: this user may not ask for streams, so that none is waited for"
                );
                Ok(false)
            }
            Answer::Text(answer) => {
                // An account without JetStream answers with an error: no streams.
                let names: Option<StreamNames> = serde_json::from_slice(&answer).ok();
                let streams = names.and_then(|names| names.streams);
                Ok(streams.is_some_and(|streams| !streams.is_empty()))
            }
        }
    }

    /// Sends a message that asks for an answer, and awaits it.
    async fn ask(
        &self,
        what: &str,
        subject: &str,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<Answer> {
        let mut request = Request::new().payload(payload).timeout(None);
        if !headers.is_empty() {
            request = request.headers(headers);
        }
        // Only a refusal of this very request is its answer.
        self.heard.send_modify(|heard| {
            heard.forbidden.retain(|words| !forbids(words, subject));
        });
        let mut heard = self.heard.subscribe();
        let reported = async {
            let heard = heard.wait_for(|heard| heard.verdict(what, subject).is_some());
            let verdict = heard
                .await
                .ok()
                .and_then(|heard| heard.verdict(what, subject));
            verdict.unwrap_or_else(|| Err(Error::new(Remedy::ReportBug, what)))
        };
        let answer = async {
            tokio::select! {
                answer = self.client.send_request(subject.to_owned(), request) => match answer {
                    Ok(message) => Ok(Answer::Text(message.payload)),
                    Err(cause) => match cause.kind() {
                        RequestErrorKind::NoResponders => Ok(Answer::Nobody),
                        RequestErrorKind::MaxPayloadExceeded => Err(self.too_large(what)),
                        _ => Err(Error::new(Remedy::TryAgain, what).caused_by(cause)),
                    },
                },
                verdict = reported => verdict,
            }
        };
        match timeout(ANSWER_WITHIN, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(no_answer(what)),
        }
    }

    /// Whether it is still the connection that was made at first: the client makes a new one by
    /// itself, and what was on its way is lost then.
    fn is_unbroken(&self) -> bool {
        let made = self.client.statistics().connects.load(Ordering::Relaxed);
        made == 1 && self.client.connection_state() == State::Connected
    }

    fn is_forbidden(&self, subject: &str) -> bool {
        let heard = self.heard.borrow();
        heard.forbidden.iter().any(|words| forbids(words, subject))
    }

    fn too_large(&self, what: &str) -> Error {
        let most = self.client.max_payload();
        Error::new(Remedy::FixSettings, what)
            .caused_by(format!("the server takes messages of {most} bytes at most"))
            .with_hint("see `max_payload` in the server's configuration")
    }
}

impl Heard {
    /// What it means for a question on this subject, if anything.
    fn verdict(&self, what: &str, subject: &str) -> Option<Result<Answer>> {
        let error = |remedy, why: &str| Some(Err(Error::new(remedy, what).caused_by(why)));
        let any =
            |forbids: &dyn Fn(&str) -> bool| self.forbidden.iter().any(|words| forbids(words));
        if self.lost {
            error(Remedy::TryAgain, LOST)
        } else if any(&forbids_answers) {
            let why = "this user may not subscribe to _INBOX.>, where the server's answers come";
            error(Remedy::FixAccess, why)
        } else {
            any(&|words| forbids(words, subject)).then_some(Ok(Answer::Forbidden))
        }
    }
}

/// `Permissions Violation for Publish to "orders.meta.change"`.
fn forbids(words: &str, subject: &str) -> bool {
    words.contains(" Publish to ") && words.contains(&format!("\"{subject}\""))
}

/// `Permissions Violation for Subscription to "_INBOX.7d.*"`.
fn forbids_answers(words: &str) -> bool {
    words.contains(" Subscription to ")
}

/// What a stream's answer means.
fn stored(what: &str, answer: &[u8]) -> Result<()> {
    let error = |words: String| Error::new(Remedy::TryAgain, what).caused_by(words);
    match serde_json::from_slice(answer) {
        Ok(Acknowledgement {
            error: Some(refusal),
            ..
        }) => {
            let Refusal { code, description } = refusal;
            Err(error(format!("the stream answers {code}: {description}")))
        }
        // Also for one that it had already.
        Ok(Acknowledgement {
            stream: Some(_), ..
        }) => Ok(()),
        _ => Err(error("the answer is not a stream's".into())),
    }
}

fn refused(what: &str) -> Error {
    Error::new(Remedy::FixAccess, what).caused_by("this user may not publish on the subject")
}

fn no_answer(what: &str) -> Error {
    Error::new(Remedy::TryAgain, what).caused_by(format!("no answer within {ANSWER_WITHIN:?}"))
}

fn unconnected(what: &str, cause: &async_nats::ConnectError) -> Error {
    let remedy = match cause.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            Remedy::FixAccess
        }
        _ if is_tls(cause) => Remedy::FixAccess,
        _ => Remedy::TryAgain,
    };
    let error = Error::new(remedy, what).caused_by(cause.to_string());
    if is_tls(cause) {
        return error.with_hint(
            "known authorities are the machine's, or those in the file that SSL_CERT_FILE names",
        );
    }
    error
}

/// Whether the other side's certificate, or what it speaks, is at fault.
fn is_tls(cause: &async_nats::ConnectError) -> bool {
    let mut error: Option<&(dyn std::error::Error + 'static)> = Some(cause);
    while let Some(inner) = error {
        let io = inner.downcast_ref::<std::io::Error>();
        let io = io.and_then(std::io::Error::get_ref);
        if inner.is::<rustls::Error>() || io.is_some_and(|io| io.is::<rustls::Error>()) {
            return true;
        }
        error = inner.source();
    }
    cause.kind() == ConnectErrorKind::Tls
}

/// A server, and who logs in there. What stands in the URL is not repeated: it may be a password.
fn server(url: &str) -> std::result::Result<(ServerAddr, Option<Login>), String> {
    let decoded = |text: &str| {
        let text = percent_decode_str(text).decode_utf8();
        text.map(Secret::new)
            .map_err(|_| "it is not UTF-8".to_owned())
    };
    let mut url = Url::parse(url).map_err(|_| "it is no URL".to_owned())?;
    if !matches!(url.scheme(), "nats" | "tls") {
        return Err("its scheme is neither nats nor tls".into());
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("it has no host".into());
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err("behind host and port it has more".into());
    }
    let login = match (url.username(), url.password()) {
        ("", None) => None,
        (token, None) => Some(Login::Token(decoded(token)?)),
        (user, Some(password)) => Some(Login::User(decoded(user)?, decoded(password)?)),
    };
    // The client logs its servers.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    let server = ServerAddr::from_url(url).map_err(|_| "it is no URL of a server".to_owned())?;
    Ok((server, login))
}

impl fmt::Display for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, server) in self.servers.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            write!(f, "{comma}{}", server.as_url_str().trim_end_matches('/'))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Nats({self})")
    }
}
