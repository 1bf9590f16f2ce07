use std::process::Stdio;

use rustls::pki_types::CertificateDer;
use tokio::process::Command;

use super::fake_server::{self, Shown, VERSIONS, openssl, server, url};
use super::*;
use crate::connectors::sql::Database;

const ROLE: Role = Role {
    name: "the database",
    schema: None,
    protocol: Protocol::Extended,
    tls: Tls::Require,
};

fn once() -> Policy {
    Policy::within(Duration::from_secs(20)).tries(1)
}

fn open(url: &Secret) -> Database {
    Database::open(url, ROLE, once()).expect("a URL")
}

fn real(query: &str) -> Database {
    let postgres = server("WATERSHED_TEST_POSTGRES");
    open(&Secret::new(format!("{postgres}/postgres?{query}")))
}

async fn report(database: &Database) -> TlsReport {
    let report = database.tls().await.expect("a connection");
    report.expect("a server has a report")
}

fn encrypted(verified: bool, fingerprint: &str) -> TlsReport {
    TlsReport::Encrypted {
        verified,
        fingerprint: fingerprint.to_owned(),
    }
}

/// The fingerprint of the real server's certificate, as openssl writes it.
fn of_openssl() -> String {
    let certificate = server("WATERSHED_TEST_POSTGRES_CERT");
    let line = openssl(
        "/".as_ref(),
        &format!("x509 -in {certificate} -noout -fingerprint -sha256"),
    );
    let (_, fingerprint) = line.split_once('=').expect("NAME=FINGERPRINT");
    fingerprint.trim().to_owned()
}

fn hexadecimal(certificate: &CertificateDer<'_>) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, certificate);
    let bytes = digest.as_ref().iter();
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn a_self_signed_certificate_is_taken_unchecked_with_scram_and_reported() {
    let fingerprint = of_openssl().replace(':', "").to_lowercase();
    for mode in ["require", "prefer"] {
        let database = real(&format!("sslmode={mode}"));
        assert_eq!(report(&database).await, encrypted(false, &fingerprint));
        let sql = "SELECT ssl::text AS ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        let rows = database.query(sql, &[]).await.expect("a row");
        let ssl = rows[0].text("ssl").expect("text");
        assert_eq!(ssl.as_deref(), Some("true"));
    }
    // The password is kept as SCRAM's verifier alone, so that nothing else could have let us in.
    let sql = "SELECT left(rolpassword, 13) AS kind FROM pg_authid WHERE rolname = current_user";
    let rows = real("").query(sql, &[]).await.expect("a row");
    assert_eq!(
        rows[0].text("kind").expect("text").as_deref(),
        Some("SCRAM-SHA-256")
    );
}

#[tokio::test]
async fn an_unencrypted_connection_is_reported_as_such() {
    let database = real("sslmode=disable");
    assert_eq!(report(&database).await, TlsReport::Unencrypted);
}

#[tokio::test]
async fn a_file_has_no_report() {
    let database = open(&Secret::new("sqlite:none.db"));
    assert_eq!(database.tls().await.expect("no connection"), None);
}

#[tokio::test]
async fn the_pinned_certificate_is_verified_and_another_is_refused_with_the_one_that_was_found() {
    let found = of_openssl();
    let plain = found.replace(':', "").to_lowercase();
    for fingerprint in [&found, &plain] {
        let database = real(&format!("sslfingerprint={fingerprint}"));
        assert_eq!(report(&database).await, encrypted(true, &plain));
    }
    let other = "0".repeat(64);
    let error = real(&format!("sslfingerprint={other}"))
        .tls()
        .await
        .expect_err("another certificate");
    assert_eq!(error.remedy(), Remedy::FixAccess);
    assert_eq!(
        error.in_one_line(),
        format!(
            "connecting to the database: the certificate is not the pinned one, its SHA-256 fingerprint is {plain}"
        )
    );
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_refused_with_what_would_pin_it() {
    let plain = of_openssl().replace(':', "").to_lowercase();
    for mode in ["verify-ca", "verify-full"] {
        let error = real(&format!("sslmode={mode}"))
            .tls()
            .await
            .expect_err("a self-signed certificate");
        assert_eq!(error.remedy(), Remedy::FixAccess);
        let hint = error.hint().expect("a hint");
        assert!(
            hint.contains(&format!("`sslfingerprint={plain}`")),
            "{hint}"
        );
    }
}

#[tokio::test]
async fn a_certificate_of_version_1_is_taken_unchecked_and_pinned() {
    for version in VERSIONS {
        let shown = Shown::version_1();
        let fingerprint = hexadecimal(&shown.certificate);
        let port = fake_server::tls(shown, version).await;
        // The real server behind it checks the password by SCRAM.
        let database = open(&url("127.0.0.1", port, "sslmode=require"));
        assert_eq!(report(&database).await, encrypted(false, &fingerprint));
        let database = open(&url(
            "127.0.0.1",
            port,
            &format!("sslfingerprint={fingerprint}"),
        ));
        assert_eq!(report(&database).await, encrypted(true, &fingerprint));
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_can_read_is_taken_unchecked() {
    for version in VERSIONS {
        let shown = Shown {
            certificate: CertificateDer::from(b"no certificate at all".to_vec()),
            ..Shown::version_1()
        };
        let fingerprint = hexadecimal(&shown.certificate);
        let port = fake_server::tls(shown, version).await;
        let database = open(&url("127.0.0.1", port, "sslmode=require"));
        assert_eq!(report(&database).await, encrypted(false, &fingerprint));
    }
}

#[tokio::test]
async fn the_pinned_certificate_is_refused_from_a_server_that_lacks_its_key() {
    for version in VERSIONS {
        let shown = Shown {
            key: Shown::version_1().key,
            ..Shown::version_1()
        };
        let fingerprint = hexadecimal(&shown.certificate);
        let port = fake_server::tls(shown, version).await;
        let query = format!("sslfingerprint={fingerprint}");
        let error = open(&url("127.0.0.1", port, &query))
            .tls()
            .await
            .expect_err("a stolen certificate");
        assert_eq!(error.remedy(), Remedy::FixAccess);
    }
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_tls_is_required() {
    let port = fake_server::bytes(b"N", b"").await;
    let error = open(&url("127.0.0.1", port, "sslmode=require"))
        .tls()
        .await
        .expect_err("no TLS");
    assert_eq!(error.remedy(), Remedy::FixAccess);
    assert_eq!(
        error.in_one_line(),
        "connecting to the database: server does not support TLS"
    );
}

#[tokio::test]
async fn of_a_server_that_speaks_only_older_tls_the_error_says_what_is_the_least() {
    // Newer servers refuse with the alert `protocol_version`.
    const ALERT: &[u8] = &[21, 3, 1, 0, 2, 2, 70];
    // Older ones offer TLS 1.1: a ServerHello of version 3.2 with an empty session and a suite.
    const HELLO: &[u8] = &[
        22, 3, 2, 0, 42, 2, 0, 0, 38, 3, 2, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
        7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 0, 192, 19, 0,
    ];
    for answer in [ALERT, HELLO] {
        let port = fake_server::bytes(b"S", answer).await;
        let error = open(&url("127.0.0.1", port, "sslmode=require"))
            .tls()
            .await
            .expect_err("TLS 1.1");
        assert_eq!(error.remedy(), Remedy::FixAccess);
        let hint = error.hint().expect("a hint");
        assert!(hint.starts_with("TLS 1.2 is the least"), "{error:?}");
    }
}

#[tokio::test]
async fn a_wrong_password_and_none_are_access_and_settings() {
    let (host, _) = fake_server::real();
    for (login, remedy) in [
        ("watershed:wrong", Remedy::FixAccess),
        ("watershed", Remedy::FixSettings),
    ] {
        let error = open(&Secret::new(format!("postgres://{login}@{host}/postgres")))
            .tls()
            .await
            .expect_err("no login");
        assert_eq!(error.remedy(), remedy, "{error:?}");
    }
}

/// `SSL_CERT_FILE` is read from the environment of the process: the test runs itself again, once
/// with a file that has the authority, and once with one that has another.
#[tokio::test]
async fn an_institution_s_own_authority_in_ssl_cert_file_is_trusted() {
    const PORT: &str = "WATERSHED_TEST_OF_SSL_CERT_FILE";
    if let Ok(port) = std::env::var(PORT) {
        return trusts_the_authority(port.parse().expect("a port")).await;
    }

    let folder = tempfile::tempdir().expect("a folder");
    for authority in ["own", "other"] {
        let arguments = format!(
            "req -x509 -newkey rsa:2048 -nodes -subj /CN={authority} -keyout {authority}.key -out {authority}.crt"
        );
        openssl(folder.path(), &arguments);
    }
    openssl(
        folder.path(),
        "req -new -newkey rsa:2048 -nodes -subj /CN=leaf -keyout leaf.key -out leaf.csr",
    );
    std::fs::write(
        folder.path().join("names"),
        "subjectAltName=DNS:localhost\n",
    )
    .expect("a file");
    openssl(
        folder.path(),
        "x509 -req -in leaf.csr -CA own.crt -CAkey own.key -CAcreateserial -extfile names -out leaf.crt",
    );
    let shown = Shown::read(folder.path(), "leaf");
    let port = fake_server::tls(shown, VERSIONS[1]).await;

    let mut ended = Vec::new();
    for authority in ["own", "other"] {
        let child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "connectors::postgres::tests::an_institution_s_own_authority_in_ssl_cert_file_is_trusted"])
            .env(PORT, port.to_string())
            .env("SSL_CERT_FILE", folder.path().join(format!("{authority}.crt")))
            .env_remove("SSL_CERT_DIR")
            .stdin(Stdio::null())
            .output();
        let child = child.await.expect("this program runs");
        let said = String::from_utf8_lossy(&child.stdout).into_owned();
        assert!(said.contains("running 1 test"), "{said}");
        ended.push((child.status.success(), said));
    }
    assert!(ended[0].0, "{}", ended[0].1);
    assert!(!ended[1].0, "{}", ended[1].1);
    assert!(ended[1].1.contains("UnknownIssuer"), "{}", ended[1].1);
}

async fn trusts_the_authority(port: u16) {
    let verified =
        |report: &TlsReport| matches!(report, TlsReport::Encrypted { verified: true, .. });
    let full = report(&open(&url("localhost", port, "sslmode=verify-full"))).await;
    assert!(verified(&full), "{full}");
    // Its certificate does not name the address.
    let ca = report(&open(&url("127.0.0.1", port, "sslmode=verify-ca"))).await;
    assert!(verified(&ca), "{ca}");
    let error = open(&url("127.0.0.1", port, "sslmode=verify-full"))
        .tls()
        .await
        .expect_err("another name");
    assert_eq!(error.remedy(), Remedy::FixAccess);
}
