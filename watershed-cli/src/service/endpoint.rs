use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::time::{Duration, sleep};
use watershed::error::{OrFail as _, Remedy, Result};

use super::metrics;
use super::status::Status;
use crate::pipelines::Job;

/// How often what was recorded is folded together, where nobody fetches it.
const FOLDED_EVERY: Duration = Duration::from_secs(5);

/// Listens on the address, and serves from then on how the service is doing.
pub(super) async fn open(address: &str, job: &Job, status: &Arc<Status>) -> Result<()> {
    let listener = TcpListener::bind(address).await;
    let listener = listener.or_fail(Remedy::FixSettings, || {
        format!("listening on METRICS_ADDRESS `{address}`")
    });
    let listener = listener.map_err(|error| {
        error
            .with_hint("expected a free address of this machine and a port, such as 127.0.0.1:9464")
    })?;
    let bound = listener.local_addr();
    let handle = metrics::install(job)?;
    let routes = routes(handle.clone(), status.clone());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    tokio::spawn(async move {
        loop {
            sleep(FOLDED_EVERY).await;
            handle.run_upkeep();
        }
    });
    if let Ok(bound) = bound {
        tracing::info!("metrics are at http://{bound}/metrics");
    }
    Ok(())
}

fn routes(handle: PrometheusHandle, status: Arc<Status>) -> Router {
    let healthy = status.clone();
    let ready = status.clone();
    Router::new()
        .route(
            "/metrics",
            get(async move || {
                let page = metrics::page(&handle, &status);
                (
                    [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
                    page,
                )
            }),
        )
        .route("/healthz", get(async move || answer(healthy.healthy())))
        .route("/readyz", get(async move || answer(ready.ready())))
}

fn answer(state: Result<(), String>) -> (StatusCode, String) {
    match state {
        Ok(()) => (StatusCode::OK, "ok\n".into()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}
