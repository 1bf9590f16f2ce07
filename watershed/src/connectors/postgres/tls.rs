//! The TLS modes of libpq, and a pinned certificate.

use std::sync::Arc;

use ring::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring as ring_provider};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, SignatureScheme,
};
use rustls_platform_verifier::Verifier;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::{OrFail as _, Remedy, Result};

/// How a connection is encrypted and the server's certificate checked.
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
    /// Always; the certificate must be the one with this SHA-256.
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

    pub(super) fn connector(self) -> Result<MakeRustlsConnect> {
        let provider = Arc::new(ring_provider::default_provider());
        let what = || "setting up TLS".to_owned();
        let check = Check {
            mode: self,
            provider: provider.clone(),
            platform: self.platform(&provider)?,
        };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .or_fail(Remedy::ReportBug, what)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(check))
            .with_no_client_auth();
        Ok(MakeRustlsConnect::new(config))
    }

    /// The platform's roots and those of `SSL_CERT_FILE`, where the mode asks for them.
    fn platform(self, provider: &Arc<CryptoProvider>) -> Result<Option<Verifier>> {
        if !matches!(self, Tls::VerifyCa | Tls::VerifyFull) {
            return Ok(None);
        }
        let verifier = Verifier::new(provider.clone());
        verifier.map(Some).or_fail(Remedy::FixAccess, || {
            "reading the platform's certificates".into()
        })
    }
}

/// Checks a server's certificate as its mode says. Unchecked modes also take certificates that
/// rustls cannot even read, such as X.509 v1.
#[derive(Debug)]
struct Check {
    mode: Tls,
    provider: Arc<CryptoProvider>,
    platform: Option<Verifier>,
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
        if let Tls::Pinned(expected) = self.mode {
            let found = digest(&SHA256, end_entity);
            return if found.as_ref() == expected {
                Ok(ServerCertVerified::assertion())
            } else {
                let hexadecimal: String = found
                    .as_ref()
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect();
                Err(TlsError::General(format!(
                    "the server's certificate has another fingerprint: {hexadecimal}"
                )))
            };
        }
        let Some(platform) = &self.platform else {
            return Ok(ServerCertVerified::assertion());
        };
        let checked =
            platform.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match checked {
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
        if self.platform.is_none() && !matches!(self.mode, Tls::Pinned(_)) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        if self.platform.is_none() && !matches!(self.mode, Tls::Pinned(_)) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
