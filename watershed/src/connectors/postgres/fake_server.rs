//! A server for the tests of TLS: it answers PostgreSQL's request for TLS as it is told, shows any
//! certificate, and hands what comes through to a real server.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::privacy::Secret;

/// The address of a server that `scripts/test` started.
pub(crate) fn server(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run scripts/test, which starts the servers"))
}

/// The real PostgreSQL: host and port, and user and password.
pub(crate) fn real() -> (String, String) {
    let url = url::Url::parse(&server("WATERSHED_TEST_POSTGRES")).expect("a URL");
    let host = url.host_str().expect("a host");
    let port = url.port().expect("a port");
    let password = url.password().expect("a password");
    (
        format!("{host}:{port}"),
        format!("{}:{password}", url.username()),
    )
}

/// What a server shows, and the key that it signs with.
pub(super) struct Shown {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) key: PrivateKeyDer<'static>,
}

impl Shown {
    /// From `NAME.crt` and `NAME.key`.
    pub(super) fn read(folder: &Path, name: &str) -> Shown {
        let certificate = CertificateDer::from_pem_file(folder.join(format!("{name}.crt")));
        let key = PrivateKeyDer::from_pem_file(folder.join(format!("{name}.key")));
        Shown {
            certificate: certificate.expect("a certificate"),
            key: key.expect("a key"),
        }
    }

    /// A certificate of X.509 version 1, which has no extensions.
    pub(super) fn version_1() -> Shown {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        openssl(
            folder,
            "req -new -newkey rsa:2048 -nodes -subj /CN=old -keyout old.key -out old.csr",
        );
        openssl(
            folder,
            "x509 -req -in old.csr -signkey old.key -days 30 -out old.crt",
        );
        let text = openssl(folder, "x509 -in old.crt -noout -text");
        assert!(text.contains("Version: 1 (0x0)"), "{text}");
        Shown::read(folder, "old")
    }
}

/// Runs `openssl` in a folder and gives what it printed.
pub(super) fn openssl(folder: &Path, arguments: &str) -> String {
    let ran = Command::new("openssl")
        .args(arguments.split(' '))
        .current_dir(folder)
        .output()
        .expect("openssl is installed");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "openssl {arguments}: {said}");
    String::from_utf8(ran.stdout).expect("openssl prints text")
}

/// Both versions that rustls speaks.
pub(super) const VERSIONS: &[&SupportedProtocolVersion] =
    &[&rustls::version::TLS12, &rustls::version::TLS13];

/// Speaks TLS with this certificate, before the real PostgreSQL; gives the port.
pub(super) async fn tls(shown: Shown, version: &'static SupportedProtocolVersion) -> u16 {
    let provider = rustls::crypto::ring::default_provider();
    let key = provider.key_provider.load_private_key(shown.key);
    // rustls checks nothing of a certificate that comes this way.
    let shown = CertifiedKey::new(vec![shown.certificate], key.expect("a key that ring takes"));
    let config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[version])
        .expect("a version that ring speaks")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (real, _) = real();
    let (listener, port) = listener().await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (acceptor, real) = (acceptor.clone(), real.clone());
            tokio::spawn(async move {
                answer(&mut stream, b"S").await;
                // A client that refuses the certificate goes away: that is its right.
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    let mut real = TcpStream::connect(&real).await.expect("PostgreSQL");
                    let _ = copy_bidirectional(&mut stream, &mut real).await;
                }
            });
        }
    });
    port
}

/// Answers the request for TLS, and what comes thereafter, with these bytes; gives the port.
pub(super) async fn bytes(first: &'static [u8], then: &'static [u8]) -> u16 {
    let (listener, port) = listener().await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                answer(&mut stream, first).await;
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(then).await;
                // Until the client has read it and goes away.
                let _ = stream.read_to_end(&mut Vec::new()).await;
            });
        }
    });
    port
}

/// The URL of the real database behind a port of ours.
pub(super) fn url(host: &str, port: u16, query: &str) -> Secret {
    let (_, login) = real();
    Secret::new(format!("postgres://{login}@{host}:{port}/postgres?{query}"))
}

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    (listener, port)
}

async fn answer(stream: &mut TcpStream, with: &[u8]) {
    let mut request = [0; 8];
    stream.read_exact(&mut request).await.expect("a request");
    // Its length, and the code that asks for TLS.
    assert_eq!(request, [0, 0, 0, 8, 4, 210, 22, 47]);
    stream.write_all(with).await.expect("an answer");
}
