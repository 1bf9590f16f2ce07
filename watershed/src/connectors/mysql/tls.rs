//! The TLS modes of libpq, as far as the driver has them.
//!
//! Checked modes trust Mozilla's authorities and those of `SSL_CERT_FILE`. Unchecked ones still
//! ask rustls to read the certificate, so that one of X.509 version 1 is refused in every mode.

use std::path::PathBuf;

use mysql_async::{DriverError, Error, IoError, SslOpts};

use crate::connectors::postgres::Tls;

/// What the driver is told; nothing for an open connection.
pub(super) fn options(tls: Tls) -> Option<SslOpts> {
    let checked = || {
        let more = std::env::var_os("SSL_CERT_FILE").map(|path| PathBuf::from(path).into());
        SslOpts::default().with_root_certs(more.into_iter().collect())
    };
    match tls {
        Tls::Disable => None,
        Tls::Prefer | Tls::Require => {
            Some(SslOpts::default().with_danger_accept_invalid_certs(true))
        }
        Tls::VerifyCa => Some(checked().with_danger_skip_domain_validation(true)),
        // Its URL is refused: the driver shows nobody the certificate.
        Tls::VerifyFull | Tls::Pinned(_) => Some(checked()),
    }
}

/// Whether TLS, and nothing else, is why there is no connection.
pub(super) fn is_at_fault(error: &Error) -> bool {
    match error {
        Error::Driver(DriverError::NoClientSslFlagFromServer) => true,
        Error::Io(IoError::Tls(_)) => true,
        Error::Io(IoError::Io(io)) => io
            .get_ref()
            .is_some_and(|inner| inner.is::<rustls::Error>()),
        _ => false,
    }
}
