//! Refusals: RFC 9457's `application/problem+json`, the same shape for every page.

use std::any::Any;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::catalogue::FindError;
use crate::codec::DecodeError;
use crate::contract::DataProblem;
use crate::error::ErrorKind;
use crate::predict::PredictError;

/// A refusal on its way to the client.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    kind: ErrorKind,
    detail: String,
    hint: Option<String>,
    position: Option<(usize, usize)>,
    errors: Vec<DataProblem>,
    errors_omitted: usize,
}

/// What the log says of a refusal; travels with the response to where it is logged.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub kind: ErrorKind,
    pub detail: String,
}

#[derive(Serialize)]
struct Document<'a> {
    title: &'static str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [DataProblem],
    #[serde(skip_serializing_if = "is_zero")]
    errors_omitted: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands the field over by reference")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl Problem {
    pub fn new(kind: ErrorKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), hint: None, position: None, errors: Vec::new(), errors_omitted: 0 }
    }

    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// The status of each class of failure, once for all pages.
fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Malformed => StatusCode::BAD_REQUEST,
        ErrorKind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::UnsupportedType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ErrorKind::ClientTimeout | ErrorKind::Cancelled => StatusCode::REQUEST_TIMEOUT,
        ErrorKind::Overloaded => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn title(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Malformed => "The request can't be read",
        ErrorKind::Invalid => "The data breaks the model's contract",
        ErrorKind::NotFound => "Not found",
        ErrorKind::MethodNotAllowed => "Wrong method",
        ErrorKind::TooLarge => "The request is too large",
        ErrorKind::UnsupportedType => "The request's type can't be read",
        ErrorKind::ClientTimeout => "The request came too slowly",
        ErrorKind::Cancelled => "The request was cancelled",
        ErrorKind::Overloaded => "Too many requests wait",
        ErrorKind::Unavailable => "Not serving",
        ErrorKind::DeadlineExceeded => "The deadline passed",
        ErrorKind::Internal => "The prediction failed",
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = status(self.kind);
        let document = Document {
            title: title(self.kind),
            status: status.as_u16(),
            detail: &self.detail,
            hint: self.hint.as_deref(),
            line: self.position.map(|(line, _)| line),
            column: self.position.map(|(_, column)| column),
            errors: &self.errors,
            errors_omitted: self.errors_omitted,
        };
        // Serializing texts and numbers into memory does not fail.
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if matches!(self.kind, ErrorKind::Overloaded | ErrorKind::Unavailable) {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response.extensions_mut().insert(Refusal { kind: self.kind, detail: self.detail });
        response
    }
}

impl From<FindError> for Problem {
    fn from(error: FindError) -> Self {
        Self::new(error.kind(), error.to_string())
    }
}

impl From<PredictError> for Problem {
    fn from(error: PredictError) -> Self {
        let kind = error.kind();
        match error {
            PredictError::Decode(DecodeError::Malformed { message, line, column, hint }) => Self {
                hint,
                position: Some((line, column)),
                ..Self::new(kind, format!("{message} (line {line}, column {column})"))
            },
            PredictError::Decode(DecodeError::Invalid(problems)) => Self {
                errors: problems.listed().to_vec(),
                errors_omitted: problems.omitted(),
                ..Self::new(kind, summary(&problems))
            },
            error => Self::new(kind, error.to_string()),
        }
    }
}

/// All there is to say where there is one problem, else how many there are and the first.
fn summary(problems: &crate::contract::DataProblems) -> String {
    let Some(first) = problems.listed().first() else { return "the data breaks the model's contract".to_owned() };
    let first = match first {
        DataProblem { row: Some(row @ 1..), feature: Some(feature), problem, .. } => {
            format!("row {row}: {feature:?} {problem}")
        }
        DataProblem { feature: Some(feature), problem, .. } => format!("{feature:?} {problem}"),
        DataProblem { row: Some(row), problem, .. } => format!("row {row} {problem}"),
        DataProblem { problem, .. } => problem.clone(),
    };
    match problems.total() {
        1 => first,
        total => format!("{total} problems; the first: {first}"),
    }
}

/// The answer where a handler panicked: a fault of the gateway, whose details are in the log and nobody else's business.
pub(super) fn panicked(payload: &(dyn Any + Send)) -> Response {
    let message =
        payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    tracing::error!(panic = message.unwrap_or("without a message"), "a handler panicked");
    Problem::new(ErrorKind::Internal, "a fault of the gateway; its log says more").into_response()
}
