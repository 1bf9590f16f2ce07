//! Objects, states and dead letters in files, in memory and in S3.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value as Json, json};
use watershed::connectors::objects::Object;
use watershed::dead_letters::DeadLetters;
use watershed::error::Remedy;
use watershed::pipeline::DeadLetter;
use watershed::state::State;
use watershed::testing::contracts;

use crate::support::{aws, environment, once, policy, serve, unique};

/// A place in a bucket of its own.
pub async fn in_s3(key: &str) -> Object {
    let endpoint = environment("WATERSHED_TEST_AWS");
    let bucket = unique("it");
    // Before the bucket is made, because the request for it needs the TLS that this sets up.
    let url = format!("s3://{bucket}/{key}");
    let object = Object::open(&url, &aws(&endpoint).await, policy()).unwrap();
    let made = reqwest::Client::new().put(format!("{endpoint}/{bucket}"));
    made.send().await.unwrap().error_for_status().unwrap();
    object
}

/// A place in a folder of its own.
pub async fn in_a_file(folder: &tempfile::TempDir, name: &str) -> Object {
    let url = format!("file:{}/{name}", folder.path().display());
    Object::open(&url, &aws("http://127.0.0.1:9").await, policy()).unwrap()
}

#[tokio::test]
async fn local_files_keep_the_contract_of_the_state() {
    let folder = tempfile::tempdir().unwrap();
    contracts::state(in_a_file(&folder, "state").await).await;
}

#[tokio::test]
async fn memory_keeps_the_contract_of_the_state() {
    contracts::state(Object::in_memory("state")).await;
}

#[tokio::test]
async fn s3_keeps_the_contract_of_the_state() {
    contracts::state(in_s3("state").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_runners_at_once_one_saves() {
    let folder = tempfile::tempdir().unwrap();
    // Many times, because runners seldom meet at the very same point.
    for round in 0..50 {
        let object = in_a_file(&folder, &format!("{round}.json")).await;
        object.write(r#"{"at":1}"#.into()).await.unwrap();
        let mut states = Vec::new();
        for run in 0..8 {
            let opened = State::open(&object, &format!("run-{run}")).await.unwrap();
            states.push(opened.unwrap());
        }
        let mut savers = Vec::new();
        for mut state in states {
            savers.push(tokio::spawn(async move {
                state
                    .save(|members| drop(members.insert("at".into(), 2.into())))
                    .await
            }));
        }
        let mut saved = 0;
        for saver in savers {
            match saver.await.unwrap() {
                Ok(()) => saved += 1,
                Err(error) => assert_eq!(error.remedy(), Remedy::StopOtherRunner),
            }
        }
        assert_eq!(saved, 1, "{object}");
    }
}

#[tokio::test]
async fn a_missing_object_is_nothing_and_no_error() {
    let object = in_s3("state/missing.json").await;
    assert!(object.read().await.unwrap().is_none());
    assert!(!object.exists().await.unwrap());
    assert!(State::open(&object, "run").await.unwrap().is_none());
}

#[tokio::test]
async fn a_folder_is_not_taken_for_an_object() {
    let folder = tempfile::tempdir().unwrap();
    let object = in_a_file(&folder, "state.json").await;
    assert!(!object.exists().await.unwrap());
    fs::create_dir(folder.path().join("state.json")).unwrap();
    for error in [
        object.exists().await.unwrap_err(),
        object.read().await.unwrap_err(),
    ] {
        assert_eq!(error.remedy(), Remedy::FixAccess, "{error:?}");
    }
}

/// P5: two runners, of which one has the document by a link.
#[tokio::test]
async fn a_link_leads_to_one_document() {
    let folder = tempfile::tempdir().unwrap();
    let object = in_a_file(&folder, "real/state.json").await;
    object.write("{}".into()).await.unwrap();
    let link = folder.path().join("state.json");
    std::os::unix::fs::symlink("real/state.json", &link).unwrap();
    let linked = in_a_file(&folder, "state.json").await;
    let mut one = State::open(&linked, "one").await.unwrap().unwrap();
    let mut other = State::open(&object, "other").await.unwrap().unwrap();
    one.save(|members| drop(members.insert("at".into(), 1.into())))
        .await
        .unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    let error = other.save(|_| {}).await.unwrap_err();
    assert_eq!(error.remedy(), Remedy::StopOtherRunner);
    let there = fs::read_to_string(folder.path().join("real/state.json")).unwrap();
    assert_eq!(there, r#"{"at":1,"saved_by":"one"}"#);
}

#[tokio::test]
async fn a_missing_bucket_is_not_taken_for_a_missing_object() {
    let aws = aws(&environment("WATERSHED_TEST_AWS")).await;
    let url = format!("s3://{}/state.json", unique("no-such-bucket"));
    let object = Object::open(&url, &aws, policy()).unwrap();
    for error in [
        object.read().await.unwrap_err(),
        object.replace(None, "{}".into()).await.unwrap_err(),
    ] {
        assert_eq!(error.remedy(), Remedy::FixAccess, "{error:?}");
        assert!(error.to_string().ends_with(&url), "{error:?}");
        assert!(error.in_one_line().contains("NoSuchBucket"), "{error:?}");
    }
}

#[tokio::test]
async fn s3_codes_say_whether_to_wait_or_to_mend() {
    for (status, code, remedy) in [
        (400, "ExpiredToken", Remedy::FixAccess),
        (403, "AccessDenied", Remedy::FixAccess),
        (403, "InvalidAccessKeyId", Remedy::FixAccess),
        (503, "SlowDown", Remedy::TryAgain),
        (500, "InternalError", Remedy::TryAgain),
    ] {
        let answer = move || async move {
            let body = format!("<Error><Code>{code}</Code><Message>No</Message></Error>");
            (StatusCode::from_u16(status).unwrap(), body)
        };
        let aws = aws(&serve(Router::new().fallback(answer)).await).await;
        let object = Object::open("s3://bucket/state.json", &aws, once()).unwrap();
        let error = object.read().await.unwrap_err();
        assert_eq!(error.remedy(), remedy, "{error:?}");
        assert!(error.in_one_line().contains(code), "{error:?}");
        let error = object.replace(None, "{}".into()).await.unwrap_err();
        assert_eq!(error.remedy(), remedy, "{error:?}");
    }
}

/// S3 with one object, which does as it is told and yet answers its first PUT with an error.
#[derive(Default)]
struct Forgetful {
    content: Option<Bytes>,
    puts: u64,
}

async fn forgetful(
    Shared(s3): Shared<Arc<Mutex<Forgetful>>>,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut s3 = s3.lock().unwrap();
    let tag = |puts: u64| [("etag", format!("\"{puts}\""))];
    if method == Method::GET {
        return match &s3.content {
            Some(content) => (tag(s3.puts), content.clone()).into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        };
    }
    let expected = headers
        .get("if-match")
        .map(|tag| tag.to_str().unwrap().to_owned());
    let matches = match expected {
        Some(expected) => s3.content.is_some() && expected == format!("\"{}\"", s3.puts),
        None => s3.content.is_none(),
    };
    if !matches {
        return StatusCode::PRECONDITION_FAILED.into_response();
    }
    s3.content = Some(body);
    s3.puts += 1;
    if s3.puts == 1 {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    tag(s3.puts).into_response()
}

#[tokio::test]
async fn a_save_whose_answer_s3_lost_is_ours() {
    let s3 = Arc::<Mutex<Forgetful>>::default();
    let router = Router::new().fallback(forgetful).with_state(s3.clone());
    let aws = aws(&serve(router).await).await;
    let object = Object::open("s3://bucket/state.json", &aws, policy()).unwrap();
    let mut state = State::fresh(&object, "run-a");
    for at in 1..=3 {
        state
            .save(|members| drop(members.insert("at".into(), at.into())))
            .await
            .unwrap();
    }
    let s3 = s3.lock().unwrap();
    assert_eq!(s3.puts, 3);
    assert_eq!(
        s3.content.as_deref(),
        Some(&br#"{"at":3,"saved_by":"run-a"}"#[..])
    );
}

#[tokio::test]
async fn a_state_deleted_meanwhile_is_not_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let object = in_a_file(&folder, "state.json").await;
    object.write(r#"{"at":1}"#.into()).await.unwrap();
    let mut state = State::open(&object, "run").await.unwrap().unwrap();
    fs::remove_file(folder.path().join("state.json")).unwrap();
    let error = state.save(|_| ()).await.unwrap_err();
    assert_eq!(error.remedy(), Remedy::StopOtherRunner);
    assert!(!object.exists().await.unwrap());
}

pub fn letter(position: &str, record: Option<Json>) -> DeadLetter {
    DeadLetter {
        key: Some("pseudonym".into()),
        position: position.into(),
        reason: "column ptype_code: expected a whole number".into(),
        record,
    }
}

#[tokio::test]
async fn dead_letters_are_lines_of_a_file_that_its_owner_alone_reads() {
    let folder = tempfile::tempdir().unwrap();
    let mut letters = DeadLetters::new(&in_a_file(&folder, "").await, "patron-info", "run-1");
    assert_eq!(letters.place(), None);
    letters.keep(&[]).await.unwrap();
    assert_eq!(letters.place(), None);
    letters
        .keep(&[letter("a", None), letter("b", Some(json!({"x": 1})))])
        .await
        .unwrap();
    letters.keep(&[letter("c", None)]).await.unwrap();

    let path = folder.path().join("patron-info/run-1.jsonl");
    assert_eq!(
        letters.place().unwrap().replace("//", "/"),
        format!("file:{}", path.display())
    );
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<Json> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let reason = "column ptype_code: expected a whole number";
    let expected = |position: &str| json!({"run": "run-1", "key": "pseudonym", "position": position, "reason": reason});
    let mut second = expected("b");
    second["record"] = json!({"x": 1});
    assert_eq!(lines, [expected("a"), second, expected("c")]);
}

#[tokio::test]
async fn dead_letters_in_s3_go_on_in_a_further_object() {
    let root = in_s3("dead").await;
    let mut letters = DeadLetters::new(&root, "patron-info", "run-1");
    let long = Some(json!("x".repeat(3 << 20)));
    let lines = |bytes: &[u8]| bytes.split(|byte| *byte == b'\n').count() - 1;
    let mut found = Vec::new();
    for position in ["a", "b", "c"] {
        letters
            .keep(&[letter(position, long.clone())])
            .await
            .unwrap();
        let mut parts = Vec::new();
        for name in ["run-1.jsonl", "run-1-2.jsonl"] {
            let object = root.below("patron-info").below(name);
            let read = object.read().await.unwrap();
            parts.push(read.as_ref().map_or(0, |(bytes, _)| lines(bytes)));
        }
        found.push(parts);
        let newest = if position == "c" {
            "run-1-2.jsonl"
        } else {
            "run-1.jsonl"
        };
        assert!(
            letters.place().unwrap().ends_with(newest),
            "{:?}",
            letters.place()
        );
    }
    assert_eq!(found, [[1, 0], [2, 0], [2, 1]]);
}

#[tokio::test]
async fn dead_letters_that_cannot_be_written_have_no_place() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("occupied"), "").unwrap();
    let mut letters = DeadLetters::new(&in_a_file(&folder, "occupied").await, "squares", "run-1");
    let error = letters.keep(&[letter("a", None)]).await.unwrap_err();
    assert_eq!(error.remedy(), Remedy::FixAccess);
    assert_eq!(letters.place(), None);
}
