use std::fmt;
use std::time::Duration;

use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use percent_encoding::percent_decode_str;
use url::Url;

use crate::connectors::http::{connects, install_tls_provider};
use crate::error::{Error, OrFail as _, Remedy, Result};
use crate::privacy::Secret;
use crate::retry::{Policy, retry};

/// Time to connect.
const CONNECT: Duration = Duration::from_secs(60);

/// Time of a whole conversation with the server, connecting included. The library limits nothing
/// but the connecting, and a server that hangs would hold a run up until `Policy::each`.
const CONVERSATION: Duration = Duration::from_secs(120);

/// A mail server.
#[derive(Clone)]
pub(super) struct Smtp {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    host: String,
    port: u16,
    policy: Policy,
}

impl fmt::Debug for Smtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "smtp://{}:{}", self.host, self.port)
    }
}

impl Smtp {
    /// `smtp://user:password@host:port?tls=…`: `required`, `opportunistic` or `none`. Without
    /// `tls`, a password is sent over TLS alone, and without a password TLS is used where the server
    /// offers it. `smtps://` is TLS from the first byte on.
    pub(super) fn new(url: &Secret, policy: Policy) -> Result<Smtp> {
        install_tls_provider();
        let refused = |why: &str| {
            Error::new(
                Remedy::FixSettings,
                format!("reading the URL of the mail: {why}"),
            )
            .with_hint("expected smtp://user:password@host:port?tls=required")
        };
        // The parser's own message is not shown: it could repeat a password.
        let parsed = Url::parse(url.expose()).map_err(|_| refused("it is no URL"))?;
        let host = parsed.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| refused("it has no host"))?.to_owned();
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let login = parsed
            .password()
            .map(|password| (decoded(parsed.username()), decoded(password)));
        let mut mode = match &login {
            Some(_) => "required".to_owned(),
            None => "opportunistic".to_owned(),
        };
        for (name, value) in parsed.query_pairs() {
            match &*name {
                "tls" => mode = value.into_owned(),
                other => return Err(refused(&format!("it has an unknown parameter `{other}`"))),
            }
        }
        let parameters = TlsParameters::new(host.clone())
            .or_fail(Remedy::FixSettings, || "setting up TLS for the mail".into())?;
        let (tls, port) = match (parsed.scheme(), &*mode) {
            ("smtps", _) => (Tls::Wrapper(parameters), 465),
            (_, "required") => (Tls::Required(parameters), 587),
            (_, "opportunistic") => (Tls::Opportunistic(parameters), 25),
            (_, "none") => (Tls::None, 25),
            _ => return Err(refused("tls must be required, opportunistic or none")),
        };
        let port = parsed.port().unwrap_or(port);
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&host)
            .port(port)
            .tls(tls)
            .timeout(Some(CONNECT));
        if let Some((user, password)) = login {
            transport = transport.credentials(Credentials::new(user, password));
        }
        Ok(Smtp {
            transport: transport.build(),
            host,
            port,
            policy: policy.each(CONVERSATION),
        })
    }

    pub(super) async fn send(&self, written: &Message) -> Result<()> {
        let what = format!("sending a mail by {}:{}", self.host, self.port);
        retry(&self.policy, &what, || async {
            let sent = self.transport.send(written.clone()).await;
            sent.map(drop).map_err(|cause| {
                // 5xx: refused for good; TLS and what the library itself refuses will not pass either.
                let passes = !(cause.is_permanent() || cause.is_tls() || cause.is_client());
                let remedy = if passes {
                    Remedy::TryAgain
                } else {
                    Remedy::FixAccess
                };
                Error::new(remedy, &*what).caused_by(cause.to_string())
            })
        })
        .await
    }

    pub(super) async fn check(&self) -> Result<String> {
        connects(&format!("smtp://{}:{}", self.host, self.port)).await
    }
}
