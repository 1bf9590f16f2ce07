//! Ours of tokio-postgres' errors: what failed, and what its reader should do.

use std::error::Error as StdError;
use std::io;
use std::num::TryFromIntError;

use rustls::{AlertDescription, CertificateError, Error as TlsError, PeerIncompatible};

use super::tls::Seen;
use crate::error::{Error, Remedy};

/// `seen` knows the certificate of the server, where one was shown.
pub(super) fn error(what: &str, cause: &tokio_postgres::Error, seen: &Seen) -> Error {
    if let Some(answer) = cause.as_db_error() {
        return of_server(what, answer);
    }
    let causes = causes(cause);
    if causes.iter().any(|e| e.is::<TryFromIntError>()) {
        return Error::new(Remedy::FixData, what)
            .caused_by("a number is too large for the type that it is compared with");
    }
    if let Some(tls) = causes.iter().find_map(|e| e.downcast_ref::<TlsError>()) {
        return of_tls(what, tls, seen);
    }
    // tokio-postgres hides the kind of its errors; of these three, only the words tell.
    let kind = cause.to_string();
    let words = causes
        .last()
        .map_or_else(|| kind.clone(), |e| e.to_string());
    let passing = causes.iter().any(|e| e.is::<io::Error>());
    match &*kind {
        "error performing TLS handshake" if !passing => Error::new(Remedy::FixAccess, what)
            .caused_by(words)
            .with_hint("`sslmode=disable` or `prefer` connects unencrypted, to be used on a trusted network only"),
        "authentication error" => {
            Error::new(Remedy::FixAccess, what).caused_by(format!("{kind}: {words}"))
        }
        "invalid configuration" => Error::new(Remedy::FixSettings, what).caused_by(words),
        _ => Error::new(Remedy::TryAgain, what).caused_by(words),
    }
}

/// A server's message may quote a value, so that it is kept only where it speaks of names and
/// permissions (P6).
fn of_server(what: &str, answer: &tokio_postgres::error::DbError) -> Error {
    let code = answer.code().code();
    let (remedy, speaks_of_names) = match &code[..2] {
        // Connection, resources, operator's intervention, transaction rollback.
        "08" | "53" | "57" | "40" => (Remedy::TryAgain, true),
        // Authorisation, catalogue name, schema name, syntax or access rule.
        "28" | "3D" | "3F" | "42" => (Remedy::FixAccess, true),
        // Data exception.
        "22" => (Remedy::FixData, false),
        _ => (Remedy::TryAgain, false),
    };
    let words = match code {
        // The server's own words repeat the user, which is a secret here.
        "28P01" => "the user or the password is wrong",
        "28000" => "the user may not log in from here, or not without TLS",
        _ if speaks_of_names => answer.message(),
        _ => "see the server's log",
    };
    Error::new(remedy, what).caused_by(format!("SQLSTATE {code}: {words}"))
}

/// TLS that failed fails again: it is the server's set-up or ours.
fn of_tls(what: &str, cause: &TlsError, seen: &Seen) -> Error {
    let found = seen.fingerprint().unwrap_or_else(|| "unknown".into());
    let (words, hint) = match cause {
        TlsError::InvalidCertificate(CertificateError::ApplicationVerificationFailure) => (
            format!("the certificate is not the pinned one, its SHA-256 fingerprint is {found}"),
            "if the server has a new certificate, and its administrator confirms that this is its fingerprint, put it into `sslfingerprint`".to_owned(),
        ),
        TlsError::InvalidCertificate(_) => (
            cause.to_string(),
            format!("SSL_CERT_FILE names a file of your own certificate authorities; `sslfingerprint={found}` trusts the certificate that was shown, once the server's administrator confirms its SHA-256"),
        ),
        TlsError::AlertReceived(AlertDescription::ProtocolVersion)
        | TlsError::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        ) => (
            format!("the server speaks no TLS that is recent enough: {cause}"),
            "TLS 1.2 is the least: set the server up for it, or put a proxy that speaks it before the server; `sslmode=disable` connects unencrypted, to be used on a trusted network only".to_owned(),
        ),
        TlsError::AlertReceived(
            AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity,
        ) => (
            cause.to_string(),
            "the server must speak TLS 1.2 or later, with ECDHE and AES-GCM or ChaCha20-Poly1305".to_owned(),
        ),
        _ => (
            cause.to_string(),
            "see `sslmode` and `sslfingerprint` in the database's URL, and the server's log".to_owned(),
        ),
    };
    Error::new(Remedy::FixAccess, what)
        .caused_by(words)
        .with_hint(hint)
}

/// The causes below an error. What an input/output error was made of is not its `source`.
fn causes<'e>(error: &'e (dyn StdError + 'static)) -> Vec<&'e (dyn StdError + 'static)> {
    let mut causes = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        causes.push(error);
        cause = match error.downcast_ref::<io::Error>() {
            Some(io) => io.get_ref().map(|inner| inner as _),
            None => error.source(),
        };
    }
    causes
}
