//! Mail by SES (moto), by SMTP (aiosmtpd) and into files.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use watershed::connectors::mail::{Addresses, Mail};
use watershed::error::{Error, Remedy};
use watershed::privacy::Secret;

use tokio::io::AsyncWriteExt as _;

use crate::support::{aws, environment, once, policy, serve, unique};

const SUBJECT: &str = "PROD Patronload file creation 2024-02-29";
const BODY: &str = "2024-02-29 00:00:00,000 - staff: 1 read\nstudent – done\n";

async fn mail(url: &str) -> Mail {
    let aws = aws(&environment("WATERSHED_TEST_AWS")).await;
    Mail::open(&Secret::new(url), &aws, policy()).unwrap()
}

/// A SES that writes down what it is sent, and asks moto for its answer.
async fn listening_ses() -> (Mail, Arc<Mutex<Vec<String>>>) {
    let heard = Arc::<Mutex<Vec<String>>>::default();
    let ears = heard.clone();
    let listen = move |headers: HeaderMap, body: String| {
        ears.lock().unwrap().push(body.clone());
        async move { post(headers, body).await }
    };
    let address = serve(Router::new().fallback(listen)).await;
    let mail = Mail::open(&Secret::new("ses:"), &aws(&address).await, policy()).unwrap();
    (mail, heard)
}

async fn post(headers: HeaderMap, body: String) -> (StatusCode, String) {
    let mut request = reqwest::Client::new().post(environment("WATERSHED_TEST_AWS"));
    for name in ["content-type", "authorization", "x-amz-date"] {
        if let Some(value) = headers.get(name) {
            request = request.header(name, value);
        }
    }
    let answer = request.body(body).send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

/// A sender that no other test has, and that SES knows.
async fn verified_sender() -> String {
    let sender = format!("{}@mit.example", unique("sender"));
    let form = format!("Action=VerifyEmailIdentity&EmailAddress={sender}&Version=2010-12-01");
    let credential = "AWS4-HMAC-SHA256 Credential=test/20240229/us-east-1/ses/aws4_request";
    let mut headers = HeaderMap::new();
    // moto looks for the service here.
    headers.insert("authorization", credential.parse().unwrap());
    let content = "application/x-www-form-urlencoded".parse().unwrap();
    headers.insert("content-type", content);
    let (status, text) = post(headers, form).await;
    assert!(status.is_success(), "{text}");
    sender
}

#[tokio::test]
async fn ses_sends_the_mail_to_every_recipient() {
    let (mail, heard) = listening_ses().await;
    let sender = verified_sender().await;
    let addresses = Addresses::parse(&sender, "one@mit.example,two@mit.example").unwrap();
    mail.send(&addresses, SUBJECT, BODY).await.unwrap();
    let sent = heard.lock().unwrap().clone();
    assert_eq!(sent.len(), 1, "{sent:?}");
    let form: BTreeMap<String, String> = url::form_urlencoded::parse(sent[0].as_bytes())
        .into_owned()
        .collect();
    assert_eq!(form["Action"], "SendRawEmail");
    assert_eq!(form["Source"], sender);
    assert_eq!(form["Destinations.member.1"], "one@mit.example");
    assert_eq!(form["Destinations.member.2"], "two@mit.example");
    let written = STANDARD.decode(&form["RawMessage.Data"]).unwrap();
    let written = String::from_utf8(written).unwrap();
    assert!(
        written.contains(&format!("Subject: {SUBJECT}\r\n")),
        "{written}"
    );
}

#[tokio::test]
async fn a_sender_that_ses_does_not_know_is_refused_with_advice() {
    let addresses = Addresses::parse("stranger@nowhere.example", "one@mit.example").unwrap();
    let error: Error = mail("ses:us-east-1")
        .await
        .send(&addresses, SUBJECT, BODY)
        .await
        .unwrap_err();
    assert_eq!(error.remedy(), Remedy::FixAccess, "{error:?}");
    assert!(
        error.hint().is_some_and(|hint| hint.contains("verify")),
        "{error:?}"
    );
}

#[tokio::test]
async fn smtp_delivers_the_mail() {
    let server = environment("WATERSHED_TEST_SMTP");
    let sender = format!("{}@mit.example", unique("smtp"));
    let addresses = Addresses::parse(&sender, "one@mit.example,two@mit.example").unwrap();
    mail(&server)
        .await
        .send(&addresses, SUBJECT, BODY)
        .await
        .unwrap();
    let mails = received(&environment("WATERSHED_TEST_SMTP_MAILS"), &sender);
    assert_eq!(mails.len(), 1);
    assert!(
        mails[0].contains(&format!("Subject: {SUBJECT}")),
        "{}",
        mails[0]
    );
    assert!(
        mails[0].contains("X-RcptTo: one@mit.example, two@mit.example"),
        "{}",
        mails[0]
    );
}

/// The clock is the test's: nobody waits here for the two minutes.
#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_is_given_up() {
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    let aws = aws("http://127.0.0.1:9").await;
    let addresses = Addresses::parse("a@mit.example", "b@mit.example").unwrap();
    let url = Secret::new(format!("smtp://{address}"));
    let mail = Mail::open(&url, &aws, once()).unwrap();
    let error = mail.send(&addresses, SUBJECT, BODY).await.unwrap_err();
    assert_eq!(error.remedy(), Remedy::TryAgain);
    let words = format!("sending a mail by {address}: no answer within 120s");
    assert_eq!(error.to_string(), words);
}

/// What the server says is told, and once.
#[tokio::test]
async fn a_server_that_refuses_is_quoted() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        connection.write_all(b"554 not today\r\n").await.unwrap();
    });
    let aws = aws("http://127.0.0.1:9").await;
    let addresses = Addresses::parse("a@mit.example", "b@mit.example").unwrap();
    let url = Secret::new(format!("smtp://{address}"));
    let mail = Mail::open(&url, &aws, once()).unwrap();
    let error = mail.send(&addresses, SUBJECT, BODY).await.unwrap_err();
    assert_eq!(error.remedy(), Remedy::FixAccess);
    let told = error.in_one_line();
    assert_eq!(told.matches("not today").count(), 1, "{told}");
}

/// A password is not sent in the clear, unless somebody asks for it.
#[tokio::test]
async fn a_password_is_for_tls_alone() {
    let server = environment("WATERSHED_TEST_SMTP").replace("smtp://", "smtp://u:Zerlina-7@");
    let aws = aws("http://127.0.0.1:9").await;
    let addresses = Addresses::parse("a@mit.example", "b@mit.example").unwrap();
    let mail = Mail::open(&Secret::new(&*server), &aws, once()).unwrap();
    let error = mail.send(&addresses, SUBJECT, BODY).await.unwrap_err();
    assert!(
        !format!("{error:?} {mail:?}").contains("Zerlina"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_file_is_a_mail_that_a_mail_program_opens() {
    let folder = tempfile::tempdir().unwrap();
    let addresses = Addresses::parse("a@mit.example", "b@mit.example").unwrap();
    let url = format!("file:{}", folder.path().display());
    mail(&url)
        .await
        .send(&addresses, SUBJECT, BODY)
        .await
        .unwrap();
    let texts = files(folder.path());
    assert_eq!(texts.len(), 1);
    assert!(texts[0].0.ends_with(".eml"), "{}", texts[0].0);
    assert!(texts[0].1.contains(&format!("Subject: {SUBJECT}\r\n")));
}

#[tokio::test]
async fn a_url_of_unknown_form_is_refused() {
    let aws = aws("http://127.0.0.1:9").await;
    for url in [
        "mailto:a@mit.example",
        "smtp://",
        "smtp://host?tls=maybe",
        "smtp://host?x=1",
        "file:",
    ] {
        let error = Mail::open(&Secret::new(url), &aws, policy()).unwrap_err();
        assert_eq!(error.remedy(), Remedy::FixSettings, "{url}");
    }
}

fn files(folder: &Path) -> Vec<(String, String)> {
    let entries = std::fs::read_dir(folder).unwrap();
    let texts = entries.map(|entry| {
        let path = entry.unwrap().path();
        (
            path.display().to_string(),
            std::fs::read_to_string(path).unwrap(),
        )
    });
    texts.collect()
}

/// Mails that the SMTP server has taken from somebody: it keeps each in a file.
fn received(folder: &str, sender: &str) -> Vec<String> {
    let texts = files(&Path::new(folder).join("new"))
        .into_iter()
        .map(|(_, text)| text);
    texts.filter(|text| text.contains(sender)).collect()
}
