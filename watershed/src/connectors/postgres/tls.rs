//! The TLS modes of libpq, and a pinned certificate.

use std::fmt;
use std::sync::{Arc, Mutex};

use ring::digest::{SHA256, digest};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{self, CryptoProvider, WebPkiSupportedAlgorithms, ring as ring_provider};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, SignatureScheme,
};
use rustls_platform_verifier::Verifier;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;
use x509_cert::Certificate;
use x509_cert::der::{Decode as _, Encode as _};

use crate::error::{OrFail as _, Remedy, Result};

/// How a connection is encrypted and the server's certificate checked. TLS 1.2 is the least.
///
/// The known authorities are those of the platform; `SSL_CERT_FILE` (or `SSL_CERT_DIR`) names
/// others in their place, as it does for OpenSSL. A server's self-signed certificate does not
/// become an authority by being named there: pin it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Never.
    Disable,
    /// If the server offers it, unchecked.
    Prefer,
    /// Always, unchecked: libpq's meaning, which many old servers need.
    Require,
    /// Always; the certificate must come from a known authority, whatever its name.
    VerifyCa,
    /// Always; the certificate must come from a known authority and name the host.
    VerifyFull,
    /// Always; the certificate must be the one with this SHA-256, and the server must have its
    /// key. A key of RSA has at least 2,048 bits.
    Pinned([u8; 32]),
}

impl Tls {
    /// libpq's `sslmode`.
    pub fn from_mode(mode: &str) -> Option<Tls> {
        Some(match mode {
            "disable" => Tls::Disable,
            "prefer" | "allow" => Tls::Prefer,
            "require" => Tls::Require,
            "verify-ca" => Tls::VerifyCa,
            "verify-full" => Tls::VerifyFull,
            _ => return None,
        })
    }

    /// A certificate's SHA-256 in hexadecimal, with colons or without.
    pub fn pinned(fingerprint: &str) -> Option<Tls> {
        let digits: Vec<u8> = fingerprint.bytes().filter(|b| *b != b':').collect();
        if digits.len() != 64 || !digits.is_ascii() {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Tls::Pinned(bytes))
    }

    pub(super) fn negotiation(self) -> SslMode {
        match self {
            Tls::Disable => SslMode::Disable,
            Tls::Prefer => SslMode::Prefer,
            _ => SslMode::Require,
        }
    }

    /// Whether a connection in this mode proves whom it leads to.
    fn verifies(self) -> bool {
        matches!(self, Tls::VerifyCa | Tls::VerifyFull | Tls::Pinned(_))
    }

    /// The connector of one connection, and where the certificate of its server is seen.
    pub(super) fn connector(self) -> Result<(MakeRustlsConnect, Seen)> {
        let provider = Arc::new(ring_provider::default_provider());
        let what = || "setting up TLS".to_owned();
        let seen = Seen::default();
        let check = Check {
            mode: self,
            provider: provider.clone(),
            platform: self.platform(&provider)?,
            seen: seen.clone(),
        };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .or_fail(Remedy::ReportBug, what)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(check))
            .with_no_client_auth();
        // A resumed session shows no certificate.
        config.resumption = Resumption::disabled();
        Ok((MakeRustlsConnect::new(config), seen))
    }

    /// The platform's roots, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR` in their place, where
    /// the mode asks for them.
    fn platform(self, provider: &Arc<CryptoProvider>) -> Result<Option<Verifier>> {
        if !matches!(self, Tls::VerifyCa | Tls::VerifyFull) {
            return Ok(None);
        }
        let verifier = Verifier::new(provider.clone());
        let verifier = verifier.or_fail(Remedy::FixAccess, || {
            "reading the certificates of authorities".into()
        });
        verifier.map(Some).map_err(|error| {
            error
                .with_hint("they are the platform's, or those in the file that SSL_CERT_FILE names")
        })
    }
}

/// How a connection is protected, for `check`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsReport {
    /// Whoever is on the way can read and change it.
    Unencrypted,
    /// It is encrypted.
    Encrypted {
        /// Whether the mode in force checked the server's certificate. Unless it did, whoever is on
        /// the way can pose as the server.
        verified: bool,
        /// SHA-256 of the server's own certificate in DER: 64 hexadecimal digits in lower case, as
        /// `sslfingerprint` takes it.
        fingerprint: String,
    },
}

impl TlsReport {
    pub(super) fn new(mode: Tls, seen: &Seen) -> TlsReport {
        match seen.fingerprint() {
            None => TlsReport::Unencrypted,
            Some(fingerprint) => TlsReport::Encrypted {
                verified: mode.verifies(),
                fingerprint,
            },
        }
    }
}

impl fmt::Display for TlsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsReport::Unencrypted => f.write_str("not encrypted"),
            TlsReport::Encrypted {
                verified,
                fingerprint,
            } => {
                let not = if *verified { "" } else { "not " };
                write!(
                    f,
                    "encrypted, certificate {not}verified, sslfingerprint={fingerprint}"
                )
            }
        }
    }
}

/// The SHA-256 of the certificate that the server of one connection showed last, verified or not.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen(Arc<Mutex<Option<[u8; 32]>>>);

impl Seen {
    /// In hexadecimal; nothing before a server showed a certificate.
    pub(super) fn fingerprint(&self) -> Option<String> {
        let seen = *self.0.lock().expect("nothing panics while it holds this");
        seen.map(|bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    fn note(&self, certificate: &CertificateDer<'_>) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, certificate).as_ref());
        *self.0.lock().expect("nothing panics while it holds this") = Some(bytes);
        bytes
    }
}

/// Checks a server's certificate as its mode says. Unchecked modes also take certificates that
/// rustls cannot even read, such as X.509 v1; so does a pinned one.
#[derive(Debug)]
struct Check {
    mode: Tls,
    provider: Arc<CryptoProvider>,
    platform: Option<Verifier>,
    seen: Seen,
}

impl ServerCertVerifier for Check {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let found = self.seen.note(end_entity);
        if let Tls::Pinned(expected) = self.mode {
            return if found == expected {
                Ok(ServerCertVerified::assertion())
            } else {
                Err(CertificateError::ApplicationVerificationFailure.into())
            };
        }
        let Some(platform) = &self.platform else {
            return Ok(ServerCertVerified::assertion());
        };
        let checked =
            platform.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match checked {
            // The chain is checked before the name.
            Err(TlsError::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.mode == Tls::VerifyCa => Ok(ServerCertVerified::assertion()),
            checked => checked,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        if !self.mode.verifies() {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let algorithms = &self.provider.signature_verification_algorithms;
        match crypto::verify_tls12_signature(message, certificate, signed, algorithms) {
            Err(TlsError::InvalidCertificate(error)) if self.pins() => {
                signed_by_key_tls12(message, certificate, signed, algorithms)
                    .map_err(|_| error.into())
            }
            checked => checked,
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        if !self.mode.verifies() {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let algorithms = &self.provider.signature_verification_algorithms;
        match crypto::verify_tls13_signature(message, certificate, signed, algorithms) {
            Err(TlsError::InvalidCertificate(error)) if self.pins() => public_key(certificate)
                .and_then(|key| {
                    crypto::verify_tls13_signature_with_raw_key(message, &key, signed, algorithms)
                })
                .map_err(|_| error.into()),
            checked => checked,
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

impl Check {
    /// A pinned certificate is as good as its fingerprint, whether rustls can read it or not. Its
    /// key must have signed the handshake all the same: anyone has the certificate.
    fn pins(&self) -> bool {
        matches!(self.mode, Tls::Pinned(_))
    }
}

/// The public key in a certificate that rustls cannot read.
fn public_key(
    certificate: &CertificateDer<'_>,
) -> Result<SubjectPublicKeyInfoDer<'static>, TlsError> {
    let unreadable = |_| TlsError::from(CertificateError::BadEncoding);
    let certificate = Certificate::from_der(certificate).map_err(unreadable)?;
    let key = certificate.tbs_certificate.subject_public_key_info;
    Ok(key.to_der().map_err(unreadable)?.into())
}

/// As rustls' `verify_tls12_signature`, which has no sibling for a bare key.
fn signed_by_key_tls12(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, TlsError> {
    let bad = TlsError::from(CertificateError::BadSignature);
    let key = public_key(certificate)?;
    let key = webpki::RawPublicKeyEntity::try_from(&key).map_err(|_| bad.clone())?;
    let candidates = algorithms
        .mapping
        .iter()
        .filter(|(scheme, _)| *scheme == signed.scheme)
        .flat_map(|(_, candidates)| candidates.iter());
    for algorithm in candidates {
        if key
            .verify_signature(*algorithm, message, signed.signature())
            .is_ok()
        {
            return Ok(HandshakeSignatureValid::assertion());
        }
    }
    Err(bad)
}
