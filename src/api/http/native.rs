//! The native API: named features in, predictions out.

use std::time::Instant;

use axum::body::{Body, Bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Method, Uri};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Problem;
use super::body;
use super::context::{REQUEST_ID, prediction_id};
use crate::api::App;
use crate::catalogue::ModelRef;
use crate::error::ErrorKind;
use crate::predict::{self, Format};
use crate::telemetry::{Outcome, Protocol};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const CSV: HeaderValue = HeaderValue::from_static("text/csv; charset=utf-8");

/// `POST /predict/{model}`
pub(super) async fn predict(
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let Path(model) = path.map_err(|_| no_such_page())?;
    answer(&app, ModelRef::Named(&model), request).await
}

/// `POST /predict`, for the default model.
pub(super) async fn predict_default(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    answer(&app, ModelRef::Default, request).await
}

/// `GET /example/{model}`
pub(super) async fn example(
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let Path(model) = path.map_err(|_| no_such_page())?;
    answer_example(&app, ModelRef::Named(&model)).await
}

/// `GET /example`, for the default model.
pub(super) async fn example_default(State(app): State<App>) -> Result<Response, Problem> {
    answer_example(&app, ModelRef::Default).await
}

/// Every path that no page has: a model's own route, or nothing.
pub(super) async fn configured_route(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let model = app.shared.catalogue.snapshot().by_route(request.uri().path()).map(|model| model.name.clone());
    match model {
        Some(model) if request.method() == Method::POST => answer(&app, ModelRef::Named(&model), request).await,
        Some(_) => Err(wrong_method(request.method(), request.uri().path(), "POST")),
        None => Err(no_such_page()),
    }
}

/// A page that is there, asked in a way it does not know.
pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    let path = uri.path();
    wrong_method(&method, path, if path.starts_with("/predict") { "POST" } else { "GET" })
}

fn wrong_method(method: &Method, path: &str, wanted: &str) -> Problem {
    Problem::new(ErrorKind::MethodNotAllowed, format!("{method} {path} is not served; use {wanted} {path}"))
}

fn no_such_page() -> Problem {
    Problem::new(ErrorKind::NotFound, "there is no such page").with_hint(
        "pages: POST /predict/{model}, GET /example/{model}, GET /models, GET /models/{model}, GET /healthz, GET /readyz, GET /metrics",
    )
}

async fn answer(app: &App, model: ModelRef<'_>, request: Request) -> Result<Response, Problem> {
    let deadline = Instant::now() + app.shared.limits.request_timeout;
    let (head, body) = request.into_parts();
    let mut unread = Unread { app, model, outcome: Some(ErrorKind::Cancelled) };
    let read = async {
        let version = version(&head.uri)?;
        let format = body_format(&head.headers)?;
        let id = prediction_id(&head.headers).map_err(|detail| Problem::new(ErrorKind::Malformed, detail))?;
        Ok((version, format, id, body::read(body, &head.headers, &app.shared.limits).await?))
    };
    let read: Result<_, Problem> = read.await;
    unread.outcome = read.as_ref().err().map(Problem::kind);
    drop(unread);
    let (version, format, id, body) = read?;
    let request = predict::Request {
        protocol: Protocol::Native,
        model,
        version: version.as_deref(),
        format,
        body: body.bytes,
        id,
        deadline,
    };
    let predicted = app.shared.predictor.predict(request).await?;
    let format = predicted.format(answer_format(&head.headers));
    let id = HeaderValue::from_str(&predicted.id).ok();
    let mut response = respond(format, predicted.encode(format).await?);
    response.headers_mut().extend(id.map(|id| (REQUEST_ID, id)));
    Ok(response)
}

/// Counts a request that ends before the predictor has it, which counts all others. A client that goes away drops the future.
struct Unread<'a> {
    app: &'a App,
    model: ModelRef<'a>,
    outcome: Option<ErrorKind>,
}

impl Drop for Unread<'_> {
    fn drop(&mut self) {
        let Some(kind) = self.outcome else { return };
        match self.app.shared.catalogue.snapshot().find(self.model, None) {
            Ok(model) => model.metrics.request(Protocol::Native, Outcome::Failed(kind)),
            Err(_) => self.app.shared.metrics.request_without_model(Protocol::Native, kind),
        }
    }
}

fn respond(format: Format, mut body: Vec<u8>) -> Response {
    // So that a terminal's prompt is not glued to curl's output.
    if format == Format::Json {
        body.push(b'\n');
    }
    let mut response = Response::new(Body::from(body));
    let content_type = match format {
        Format::Json => JSON,
        Format::Csv => CSV,
    };
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// The contract's example row and what the model says of it.
async fn answer_example(app: &App, model: ModelRef<'_>) -> Result<Response, Problem> {
    let found = app.shared.catalogue.snapshot().find(model, None)?;
    let input = serde_json::to_vec(&found.contract.example_row()).unwrap_or_default();
    let request = predict::Request {
        protocol: Protocol::Native,
        model: ModelRef::Named(&found.name),
        version: None,
        format: Format::Json,
        body: Bytes::from(input.clone()),
        id: uuid::Uuid::now_v7().to_string(),
        deadline: Instant::now() + app.shared.limits.request_timeout,
    };
    let output = app.shared.predictor.predict(request).await?.encode(Format::Json).await?;
    // Both are JSON already, and stay as they are.
    let raw = |bytes: Vec<u8>| String::from_utf8(bytes).ok().and_then(|text| RawValue::from_string(text).ok());
    match (raw(input), raw(output)) {
        (Some(input), Some(output)) => {
            #[derive(serde::Serialize)]
            struct Example {
                input: Box<RawValue>,
                output: Box<RawValue>,
            }
            Ok(axum::Json(Example { input, output }).into_response())
        }
        _ => Err(Problem::new(ErrorKind::Internal, "the example can't be written as JSON")),
    }
}

fn version(uri: &Uri) -> Result<Option<String>, Problem> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Parameters {
        version: Option<String>,
    }
    if uri.query().is_none() {
        return Ok(None);
    }
    match Query::<Parameters>::try_from_uri(uri) {
        Ok(Query(parameters)) => Ok(parameters.version),
        Err(_) => Err(Problem::new(ErrorKind::Malformed, "the address takes one parameter, ?version=")),
    }
}

/// The body's format by its content type. curl's `-d` declares a form unless told otherwise, and plain clients declare nothing.
fn body_format(headers: &HeaderMap) -> Result<Format, Problem> {
    if headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        let detail = "compressed bodies are not read";
        return Err(
            Problem::new(ErrorKind::UnsupportedType, detail).with_hint("send the body without Content-Encoding")
        );
    }
    let Some(declared) = headers.get(CONTENT_TYPE) else { return Ok(Format::Json) };
    let declared = declared.to_str().unwrap_or_default();
    let essence = declared.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "" | "application/json" | "application/x-www-form-urlencoded" | "text/json" | "text/plain" => Ok(Format::Json),
        "text/csv" => Ok(Format::Csv),
        essence if essence.starts_with("application/") && essence.ends_with("+json") => Ok(Format::Json),
        _ => {
            let detail = format!("Content-Type {declared:?} is not read");
            Err(Problem::new(ErrorKind::UnsupportedType, detail).with_hint("send application/json or text/csv"))
        }
    }
}

/// CSV where the client prefers it by name, else JSON.
fn answer_format(headers: &HeaderMap) -> Format {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let first = accept.split([',', ';']).next().unwrap_or_default().trim();
    if first.eq_ignore_ascii_case("text/csv") { Format::Csv } else { Format::Json }
}
