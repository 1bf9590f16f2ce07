//! Who is told how a run ended: mail, Sentry, the screen; and the commands that run nothing.

use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::HeaderMap;
use serde_json::Value as Json;
use tokio::net::TcpListener;

use super::world::{STAFF, STUDENTS, World};
use crate::program::files;
use crate::world::{server, verify_sender};

const NAME: &str = "KRB_NAME_UPPERCASE";

/// Body and headers of a mail, without the encoding of long lines.
fn unfolded(mail: &str) -> String {
    mail.replace("=\r\n", "")
        .replace("=3D", "=")
        .replace("\r\n", "\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_went_well_is_reported_with_its_lines_and_counts() {
    let mut world = World::embedded();
    world.set("LOG_LEVEL", "error");
    world
        .add(
            STAFF,
            &[(NAME, "STAFF1"), ("LEGAL_LAST_NAME", "Quillfeather")],
        )
        .await;
    world.add(STUDENTS, &[(NAME, "STAFF1")]).await;
    world.run().await.expect(0);
    let mails = world.mails();
    assert_eq!(mails.len(), 1);
    let mail = unfolded(&mails[0]);
    for words in [
        "From: noreply@mit.example\n",
        "To: lib-alma-notifications@mit.example\n",
        "Subject: PROD Patronload file creation 2024-02-29\n",
        "Content-Type: text/plain; charset=utf-8\n",
        " - staff: 1 rows read, 1 patrons written, 0 skipped, 0 set aside\n",
        " - staff: XML created and zipped\n",
        " - file uploaded: staff_2024-02-29_00.00.00.zip\n",
        " - file uploaded: student_2024-02-29_00.00.00.zip\n",
        "staff       1        1        0          0\n",
        "student     1        0        1          0\n",
        "student, skipped: 1 name already used\n",
    ] {
        assert!(mail.contains(words), "{words} in {mail}");
    }
    let line = mail
        .lines()
        .find(|line| line.ends_with(" - staff: XML created and zipped"));
    let time = line.unwrap().split(" - ").next().unwrap();
    assert_eq!(time.len(), "2024-02-29 00:00:00,000".len(), "{time}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_failed_is_reported_too() {
    let mut world = World::embedded();
    world
        .add(
            STAFF,
            &[(NAME, "STAFF1"), ("LEGAL_LAST_NAME", "Quillfeather")],
        )
        .await;
    world.in_warehouse("DROP TABLE LIBRARY_STUDENT").await;
    world.run().await.expect(3);
    let mail = unfolded(&world.mails()[0]);
    for words in [
        "Subject: PROD Patronload FAILED 2024-02-29\n",
        "The run failed: querying the data warehouse",
        "no such table: LIBRARY_STUDENT",
        "staff       1        1        0          0\n",
    ] {
        assert!(mail.contains(words), "{words} in {mail}");
    }
    // Also one that never began, as long as somebody can be told.
    world.set("PATRONS_PER_FILE", "few");
    world.run().await.expect(3);
    assert!(unfolded(&world.mails()[1]).contains("PATRONS_PER_FILE (environment): `few`"));
    world.program.settings.remove("SES_RECIPIENT_EMAIL");
    world
        .run()
        .await
        .expect(3)
        .says("SES_RECIPIENT_EMAIL: not set");
    assert_eq!(world.mails().len(), 2);
}

/// The files are Alma's by then; who waits for the report learns of it by the exit code.
#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_cannot_be_sent_is_an_error() {
    let mut world = World::embedded();
    world.set("MAIL_URL", "smtp://127.0.0.1:9");
    world.set("RETRY_SECONDS", "0");
    world
        .run()
        .await
        .expect(4)
        .says("sending a mail by 127.0.0.1:9");
    assert_eq!(world.stored().await.len(), 2);
    // A run that failed ends with its own error.
    world.in_warehouse("DROP TABLE LIBRARY_STUDENT").await;
    let ended = world.run().await.expect(3);
    ended.says("sending a mail by 127.0.0.1:9");
    ended.says("no such table: LIBRARY_STUDENT");
}

#[tokio::test(flavor = "multi_thread")]
async fn ses_takes_the_report_from_a_sender_that_it_knows() {
    let mut world = World::embedded_to_s3().await;
    let sender = format!("{}@mit.example", world.program.settings["S3_BUCKET_NAME"]);
    world.set("MAIL_URL", "");
    world.set("SES_SEND_FROM_EMAIL", &sender);
    world.run().await.expect(3).says("MessageRejected");
    verify_sender(&sender).await;
    world
        .run()
        .await
        .expect(0)
        .says("report sent: PROD Patronload file creation 2024-02-29");
}

#[tokio::test(flavor = "multi_thread")]
async fn smtp_takes_the_report() {
    let mut world = World::embedded();
    let sender = format!("alma{}@mit.example", std::process::id());
    world.set("MAIL_URL", &server("WATERSHED_TEST_SMTP"));
    world.set("SES_SEND_FROM_EMAIL", &sender);
    world.set("SES_RECIPIENT_EMAIL", "one@mit.example,two@mit.example");
    world.run().await.expect(0);
    let folder = server("WATERSHED_TEST_SMTP_MAILS");
    let mails = files(&Path::new(&folder).join("new")).into_iter();
    let mails = mails.map(|path| std::fs::read_to_string(path).unwrap());
    let ours: Vec<String> = mails.filter(|mail| mail.contains(&sender)).collect();
    assert_eq!(ours.len(), 1);
    assert!(
        ours[0].contains("Subject: PROD Patronload file creation 2024-02-29"),
        "{}",
        ours[0]
    );
    assert!(
        ours[0].contains("X-RcptTo: one@mit.example, two@mit.example"),
        "{}",
        ours[0]
    );
}

/// A Sentry that writes down what it is told.
pub async fn sentry() -> (String, Arc<Mutex<Vec<(String, String)>>>) {
    let heard = Arc::<Mutex<Vec<(String, String)>>>::default();
    let ears = heard.clone();
    let listen = move |headers: HeaderMap, body: String| {
        let key = headers
            .get("x-sentry-auth")
            .map(|key| key.to_str().unwrap().to_owned());
        ears.lock().unwrap().push((key.unwrap_or_default(), body));
        async { "{}" }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(listen)).await });
    (format!("http://thekey@{address}/17"), heard)
}

#[tokio::test(flavor = "multi_thread")]
async fn sentry_is_told_the_error_and_nothing_personal() {
    let mut world = World::embedded();
    let (dsn, heard) = sentry().await;
    world.set("SENTRY_DSN", &dsn);
    world
        .add(
            STAFF,
            &[(NAME, "ZERLINAQUUX"), ("LEGAL_LAST_NAME", "Quillfeather")],
        )
        .await;
    world.run().await.expect(0);
    assert!(heard.lock().unwrap().is_empty());
    world.in_warehouse("DROP TABLE LIBRARY_STUDENT").await;
    world.run().await.expect(3);
    let told = heard.lock().unwrap().clone();
    assert_eq!(told.len(), 1, "{told:?}");
    let (key, envelope) = &told[0];
    assert!(key.contains("sentry_key=thekey"), "{key}");
    let event: Json = serde_json::from_str(envelope.lines().nth(2).unwrap()).unwrap();
    assert_eq!(event["environment"], "prod");
    // Sentry takes an event without a level for an error.
    assert_eq!(event["level"], Json::Null);
    assert_eq!(event["tags"]["pipeline"], "patronload");
    assert_eq!(event["tags"]["exit_code"], "3");
    let message = event["message"].as_str().unwrap();
    assert!(
        message.contains("no such table: LIBRARY_STUDENT"),
        "{message}"
    );
    for hidden in &world.program.hidden {
        assert!(
            !envelope.contains(hidden.as_str()),
            "P6 is broken: {hidden}"
        );
    }
    let hostname = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let hostname = hostname.trim();
    assert!(
        hostname.is_empty() || !envelope.contains(hostname),
        "{envelope}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sentry_is_there_for_every_pipeline_and_none_is_not_set() {
    let mut world = World::embedded();
    let (dsn, heard) = sentry().await;
    world.set("SENTRY_DSN", &dsn);
    world.program.run(&["run", "pc-reserve"]).await.expect(3);
    assert_eq!(heard.lock().unwrap().len(), 1);
    assert!(heard.lock().unwrap()[0].1.contains("pc-reserve"));
    world.set("SENTRY_DSN", "none");
    world.run().await.expect(0);
    // It is told with all other faults, and by mail as they are.
    world.set("SENTRY_DSN", "nonsense");
    world.set("PATRONS_PER_FILE", "few");
    let mails = world.mails().len();
    let ended = world.run().await.expect(3);
    ended.says("2 settings to fix");
    ended.says("SENTRY_DSN: it is no DSN");
    assert_eq!(world.mails().len(), mails + 1);
    let ended = world.program.run(&["check", "patronload"]).await.expect(3);
    ended.says("SENTRY_DSN: it is no DSN");
}

/// A Sentry that takes the connection and says nothing does not keep the run from its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_sentry_that_hangs_does_not_change_how_a_run_ends() {
    let mut world = World::embedded();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    world.set("SENTRY_DSN", &format!("http://thekey@{address}/17"));
    world.in_warehouse("DROP TABLE LIBRARY_STUDENT").await;
    let ended = world.run().await.expect(3);
    ended.says("reporting an error to Sentry");
    ended.says("no such table: LIBRARY_STUDENT");
    assert!(world.mails()[0].contains("Patronload FAILED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_test_says_what_it_always_said_and_does_nothing_else() {
    let mut world = World::postgres().await;
    world
        .program
        .settings
        .retain(|name, _| name == "DATA_WAREHOUSE_URL");
    for flag in [
        "-t",
        "--database_connection_test",
        "--database-connection-test",
    ] {
        let ended = world
            .program
            .run(&["run", "patronload", flag])
            .await
            .expect(0);
        ended.says("Successfully connected to the data warehouse, version: PostgreSQL");
    }
    assert!(world.mails().is_empty());
    // With all settings it needs no more of them, and touches nothing of what they name.
    let mut world = World::embedded_to_s3().await;
    world.add(STAFF, &[(NAME, "STAFF1")]).await;
    let (bad, good) = ("sqlite:absent.db", "sqlite:sources/warehouse.db");
    for key in ["patronload/staff_old.zip", "patronload/staff_old.zip.part"] {
        world.put(key, b"old").await;
    }
    for (url, code) in [(good, 0), (bad, 3)] {
        world.set("DATA_WAREHOUSE_URL", url);
        let before = world.stored().await;
        world
            .program
            .run(&["run", "patronload", "-t"])
            .await
            .expect(code);
        assert_eq!(world.stored().await, before);
        assert!(world.mails().is_empty() && world.dead_letters().is_empty());
    }
    world
        .program
        .run(&["run", "patronload", "-t"])
        .await
        .expect(3)
        .says("opening the data warehouse");
    world
        .program
        .run(&["run", "pc-reserve", "-t"])
        .await
        .expect(2)
        .says("belongs to patronload");
    world
        .program
        .run(&["run", "patronload", "--only", "staff"])
        .await
        .expect(2)
        .says("patronload has none");
    let state = world
        .program
        .run(&["state", "show", "patronload"])
        .await
        .expect(3);
    state.says("patronload: it has none");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_and_a_sample_leave_no_traces() {
    let mut world = World::embedded();
    world
        .add(
            STAFF,
            &[
                (NAME, "STAFF1"),
                ("LEGAL_LAST_NAME", "Quillfeather"),
                ("OFFICE_PHONE", "6172531000"),
            ],
        )
        .await;
    world.add_many(STUDENTS, "STUDENT", 700).await;
    world.put("patronload/staff_old.zip", b"old").await;
    world
        .put("patronload/staff_old.zip.part", b"left over")
        .await;
    let before = world.stored().await;
    let ended = world
        .program
        .run(&["run", "patronload", "--dry-run"])
        .await
        .expect(0);
    ended.says("student: 700 rows read, 700 patrons written");
    let ended = world
        .program
        .run(&["run", "patronload", "--dry-run", "--max-batches", "1"])
        .await
        .expect(0);
    ended.says("student: 500 rows read, 500 patrons written");
    let ended = world.program.run(&["sample", "patronload"]).await.expect(0);
    assert!(
        ended.stdout.contains("staff") && ended.stdout.contains("and 481 more"),
        "{}",
        ended.stdout
    );
    let ended = world
        .program
        .run(&["run", "patronload", "--max-batches", "1"])
        .await
        .expect(3);
    ended.says("Alma is given all patrons or none");
    assert_eq!(world.stored().await, before);
    assert_eq!(world.mails().len(), 1, "of the last one, which failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_looks_at_every_system() {
    let world = World::mariadb().await;
    world.put("patronload/staff_old.zip", b"old").await;
    let ended = world.program.run(&["check", "patronload"]).await.expect(0);
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(
        lines[0].starts_with("ok    warehouse") && lines[0].contains("MariaDB"),
        "{lines:?}"
    );
    assert!(
        lines[1].starts_with("ok    output") && lines[1].ends_with("/patronload, with 1 zips"),
        "{lines:?}"
    );
    assert_eq!(lines[2], "ok    mail       file:mail");
    world
        .in_warehouse("ALTER TABLE LIBRARY_STUDENT DROP COLUMN STUDENT_YEAR")
        .await;
    let ended = world.program.run(&["check", "patronload"]).await.expect(3);
    assert!(
        ended.stdout.contains("FIX   warehouse") && ended.stdout.contains("STUDENT_YEAR"),
        "{}",
        ended.stdout
    );
    assert_eq!(world.stored().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_institution_has_another_yaml() {
    let mut world = World::embedded();
    world.add(STAFF, &[(NAME, "STAFF1")]).await;
    let built_in = world
        .program
        .run(&["patronload", "alma-config"])
        .await
        .expect(0)
        .stdout;
    assert_eq!(
        built_in,
        include_str!("../../../../config/patronload/alma.yaml")
    );
    world.set("ALMA_CONFIG", "alma.yaml");
    let ours = built_in
        .replace("@MIT.EDU", "@tidewater.example & Co")
        .replace("code: 01MIT_INST", "code: 02TW_INST");
    std::fs::write(world.path("alma.yaml"), &ours).unwrap();
    world.run().await.expect(0);
    let users = world.users("staff").await;
    let user = &users["STAFF1@tidewater.example & Co"];
    assert_eq!(user["user_roles/user_role/scope"][0].0, "02TW_INST");

    std::fs::write(
        world.path("alma.yaml"),
        ours.replace("external_id:", "extrnal_id:"),
    )
    .unwrap();
    let ended = world.run().await.expect(3);
    let line = ours
        .lines()
        .position(|line| line.contains("external_id:"))
        .unwrap()
        + 1;
    ended.says(&format!(
        "reading alma.yaml, line {line}: record: unknown field `extrnal_id`"
    ));
    world.set("ALMA_CONFIG", "absent.yaml");
    world.run().await.expect(3).says("reading absent.yaml");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_told_all_at_once() {
    let mut world = World::embedded();
    world.program.settings.clear();
    let ended = world.run().await.expect(3);
    for name in [
        "DATA_WAREHOUSE_URL",
        "OUTPUT_URL",
        "WORKSPACE",
        "SES_SEND_FROM_EMAIL",
        "SES_RECIPIENT_EMAIL",
    ] {
        ended.says(&format!("{name}: not set"));
    }
    for (name, text) in [
        ("S3_BUCKET_NAME", "b"),
        ("S3_PREFIX", "/"),
        ("OUTPUT_URL", "file:out"),
        ("SES_RECIPIENT_EMAIL", "nobody"),
        ("SES_SEND_FROM_EMAIL", "a@mit.example"),
        ("WORKSPACE", "prod"),
    ] {
        world.set(name, text);
    }
    for (name, text) in [
        ("AS_OF", "9999-12-01"),
        ("MAIL_URL", "mailto:nobody@mit.example"),
    ] {
        world.set(name, text);
    }
    let ended = world.run().await.expect(3);
    ended.says("AS_OF (environment): patrons' dates would lie behind the year 9999");
    ended.says("MAIL_URL (environment): opening the mail: a URL of unknown form (expected ses:");
    ended.says("a bucket without a prefix is not cleared");
    ended.says("OUTPUT_URL (environment) contradicts S3_BUCKET_NAME (environment)");
    ended.says("reading `nobody` as the address of a mail");
}

/// A place that is none is told with its setting, and before anybody is read.
#[tokio::test(flavor = "multi_thread")]
async fn places_are_looked_at_before_anybody_is_read() {
    for (name, text, words) in [
        (
            "MAIL_URL",
            "smtp://",
            "MAIL_URL (environment): reading the URL of the mail",
        ),
        (
            "OUTPUT_URL",
            "s3://bucket",
            "OUTPUT_URL (environment): `s3://bucket`: expected file:dir or",
        ),
        (
            "OUTPUT_URL",
            "ftp://x/y",
            "OUTPUT_URL (environment): `ftp://x/y`: expected file:dir or",
        ),
    ] {
        let mut world = World::embedded();
        world.put("patronload/staff_old.zip", b"old").await;
        world.set(name, text);
        let ended = world.run().await.expect(3);
        ended.says(words);
        assert!(!ended.stderr.contains("rows read"), "{}", ended.stderr);
        assert_eq!(world.stored().await, ["patronload/staff_old.zip"]);
    }
}
