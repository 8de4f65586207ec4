//! Probes and metrics.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Problem;
use crate::api::App;
use crate::error::ErrorKind;

/// `GET /healthz`: the process answers.
pub(super) async fn alive() -> Response {
    axum::Json(json!({"status": "ok"})).into_response()
}

/// `GET /readyz`: 200 once the folder was loaded and a model serves, with the models that don't.
pub(super) async fn ready(State(app): State<App>) -> Response {
    let snapshot = app.shared.catalogue.snapshot();
    let serving: Vec<&str> = snapshot.serving().map(|model| model.name.as_ref()).collect();
    let failed: Vec<&str> =
        snapshot.entries().filter(|entry| entry.serving.is_none()).map(|entry| entry.name.as_str()).collect();
    let (status, word) = match (snapshot.is_starting(), snapshot.is_stopped(), serving.is_empty()) {
        (true, _, _) => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
        (_, true, _) => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        (_, _, true) => (StatusCode::SERVICE_UNAVAILABLE, "no model is serving"),
        _ => (StatusCode::OK, "ready"),
    };
    (status, axum::Json(json!({"status": word, "serving": serving, "failed": failed}))).into_response()
}

/// `GET /metrics`: OpenMetrics text.
pub(super) async fn metrics(State(app): State<App>) -> Result<Response, Problem> {
    for model in app.shared.catalogue.snapshot().serving() {
        model.metrics.queue_rows.set(i64::try_from(model.handle.queue_rows()).unwrap_or(i64::MAX));
    }
    let text =
        app.shared.metrics.encode().map_err(|_| Problem::new(ErrorKind::Internal, "the metrics can't be written"))?;
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(CONTENT_TYPE, content_type)], text).into_response())
}
