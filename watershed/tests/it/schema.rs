//! The schema API, good and bad.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use watershed::error::{Error, Remedy};
use watershed::formats::avro::fetch_schema;

use crate::support::{policy, serve};

const GOOD: &str = r#"{"data": {"schema": "{\"type\": \"record\"}"}}"#;

/// Answers the requests one after the other, the last for ever; counts them.
async fn answering(answers: Vec<fn() -> Response>) -> (String, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let answer = move || {
        let number = counter.fetch_add(1, Ordering::SeqCst);
        let answer = answers[number.min(answers.len() - 1)]();
        async move { answer }
    };
    let url = serve(Router::new().route("/schema", get(answer))).await;
    (format!("{url}/schema"), asked)
}

async fn refused(answer: fn() -> Response) -> (Error, usize) {
    let (url, asked) = answering(vec![answer]).await;
    let error = fetch_schema(&url, &policy()).await.unwrap_err();
    assert!(
        error.to_string().contains("Failed to retrieve schema"),
        "{error:?}"
    );
    (error, asked.load(Ordering::SeqCst))
}

#[tokio::test]
async fn the_schema_is_the_text_at_data_schema() {
    let (url, _) = answering(vec![|| GOOD.into_response()]).await;
    assert_eq!(
        fetch_schema(&url, &policy()).await.unwrap(),
        r#"{"type": "record"}"#
    );
}

#[tokio::test]
async fn a_web_page_is_no_schema_and_is_not_asked_for_again() {
    let (error, asked) = refused(|| "<html><body>Welcome</body></html>".into_response()).await;
    assert_eq!(error.remedy(), Remedy::FixSettings);
    assert!(
        error.in_one_line().ends_with("the answer is not JSON"),
        "{error:?}"
    );
    assert_eq!(asked, 1);
}

#[tokio::test]
async fn an_answer_without_a_schema_is_refused() {
    for answer in [
        || r#"{"data": {}}"#.into_response(),
        || r#"{"data": {"schema": {}}}"#.into_response(),
        || "[]".into_response(),
    ] as [fn() -> Response; 3]
    {
        let (error, _) = refused(answer).await;
        assert_eq!(error.remedy(), Remedy::FixSettings);
        assert!(error.in_one_line().contains("data.schema"), "{error:?}");
    }
}

#[tokio::test]
async fn a_server_that_asks_for_patience_is_asked_again_no_earlier() {
    let (url, asked) = answering(vec![
        || (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "1")]).into_response(),
        || GOOD.into_response(),
    ])
    .await;
    let start = Instant::now();
    fetch_schema(&url, &policy()).await.unwrap();
    assert!(
        start.elapsed() >= Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn an_address_that_is_wrong_and_one_that_is_closed_are_told_apart() {
    let (error, asked) = refused(|| StatusCode::NOT_FOUND.into_response()).await;
    assert_eq!((error.remedy(), asked), (Remedy::FixSettings, 1));
    assert!(error.in_one_line().contains("404"), "{error:?}");
    let (error, asked) = refused(|| StatusCode::UNAUTHORIZED.into_response()).await;
    assert_eq!((error.remedy(), asked), (Remedy::FixAccess, 1));
    assert!(error.in_one_line().contains("401"), "{error:?}");
}

#[tokio::test]
async fn a_server_that_stays_away_is_given_up() {
    let (url, asked) = answering(vec![|| StatusCode::BAD_GATEWAY.into_response()]).await;
    let policy = watershed::retry::Policy {
        total: Duration::from_millis(200),
        ..policy()
    };
    let error = fetch_schema(&url, &policy).await.unwrap_err();
    assert_eq!(error.remedy(), Remedy::TryAgain);
    assert!(asked.load(Ordering::SeqCst) > 1);
}
