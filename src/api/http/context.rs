//! What belongs to every request: its id, its trace, and one log line if it fails.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use axum::response::Response;
use pin_project_lite::pin_project;
use tower::Service;
use uuid::Uuid;

use super::problem::{Refusal, panicked};

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// W3C Trace Context, <https://www.w3.org/TR/trace-context/#traceparent-header>.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Longer ids are not ids.
const MAX_ID_BYTES: usize = 128;

/// Gives each request an id, or keeps the client's; keeps its trace context; logs it if it fails; answers for a
/// handler that panics. Around the router and not a
/// layer of it, as each layer of a router is a box for each of its routes.
#[derive(Clone)]
pub(in crate::api) struct Observe<S> {
    inner: S,
}

impl<S> Observe<S> {
    pub fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S, B> Service<Request<B>> for Observe<S>
where
    S: Service<Request<B>, Response = Response>,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Observed<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let headers = request.headers();
        let seen = Seen {
            started: Instant::now(),
            id: headers.get(&REQUEST_ID).filter(|id| is_id(id)).cloned(),
            trace: headers.get(&TRACEPARENT).filter(|trace| is_traceparent(trace)).cloned(),
            method: request.method().clone(),
            uri: request.uri().clone(),
        };
        Observed { inner: self.inner.call(request), seen: Some(seen) }
    }
}

pin_project! {
    /// The answer of the inner service, on its way to be given an id.
    pub(in crate::api) struct Observed<F> {
        #[pin]
        inner: F,
        seen: Option<Seen>,
    }
}

impl<F, E> Future for Observed<F>
where
    F: Future<Output = Result<Response, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let polled = catch_unwind(AssertUnwindSafe(|| this.inner.poll(context)));
        let mut response = match polled {
            Ok(polled) => ready!(polled)?,
            Err(payload) => panicked(payload.as_ref()),
        };
        if let Some(seen) = this.seen.take() {
            seen.finish(&mut response);
        }
        Poll::Ready(Ok(response))
    }
}

/// What is kept of a request for its answer and its log line.
struct Seen {
    started: Instant,
    id: Option<HeaderValue>,
    trace: Option<HeaderValue>,
    method: Method,
    uri: Uri,
}

impl Seen {
    fn finish(self, response: &mut Response) {
        // A prediction's own id serves as the request's, where the client gave none.
        let id = self.id.or_else(|| response.headers_mut().remove(&REQUEST_ID)).unwrap_or_else(new_id);
        if let Some(refusal) = response.extensions().get::<Refusal>() {
            let status = response.status().as_u16();
            let request_id = id.to_str().unwrap_or_default();
            let trace_id = self.trace.as_ref().and_then(|trace| trace.to_str().ok()).and_then(|trace| trace.get(3..35));
            let (method, path) = (&self.method, self.uri.path());
            let (detail, kind) = (refusal.detail.as_str(), refusal.kind.as_str());
            let seconds = self.started.elapsed().as_secs_f64();
            if response.status().is_server_error() {
                tracing::error!(%method, path, status, kind, detail, request_id, trace_id, seconds, "request failed");
            } else {
                tracing::warn!(%method, path, status, kind, detail, request_id, trace_id, seconds, "request refused");
            }
        }
        response.headers_mut().insert(REQUEST_ID, id);
        if let Some(trace) = self.trace {
            response.headers_mut().insert(TRACEPARENT, trace);
        }
    }
}

/// The id of the prediction: the client's `X-Prediction-Id`, else a new one; `Err` where the client's is no id.
pub(super) fn prediction_id(headers: &HeaderMap) -> Result<String, &'static str> {
    match headers.get("x-prediction-id") {
        Some(id) if is_id(id) => Ok(id.to_str().unwrap_or_default().to_owned()),
        Some(_) => Err("X-Prediction-Id takes 1 to 128 visible ASCII characters without spaces"),
        None => Ok(Uuid::now_v7().to_string()),
    }
}

fn new_id() -> HeaderValue {
    let mut buffer = Uuid::encode_buffer();
    let id: &str = Uuid::now_v7().hyphenated().encode_lower(&mut buffer);
    HeaderValue::from_str(id).unwrap_or_else(|_| HeaderValue::from_static("none"))
}

fn is_id(value: &HeaderValue) -> bool {
    (1..=MAX_ID_BYTES).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic)
}

/// `version-trace_id-parent_id-flags` in lower-case hexadecimal; neither id is all zeros.
fn is_traceparent(value: &HeaderValue) -> bool {
    let Ok(text) = value.to_str() else { return false };
    let parts: Vec<&str> = text.split('-').collect();
    let is_hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    let is_zero = |part: &str| part.bytes().all(|byte| byte == b'0');
    match parts.as_slice() {
        [version, trace, parent, flags, ..] => {
            is_hex(version, 2)
                && *version != "ff"
                && (*version != "00" || parts.len() == 4)
                && is_hex(trace, 32)
                && !is_zero(trace)
                && is_hex(parent, 16)
                && !is_zero(parent)
                && is_hex(flags, 2)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traceparent_by_the_letter() {
        let check = |text: &str| is_traceparent(&HeaderValue::from_str(text).unwrap());
        assert!(check("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
        assert!(check("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more"));
        assert!(!check("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more"));
        assert!(!check("00-00000000000000000000000000000000-b7ad6b7169203331-01"));
        assert!(!check("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01"));
        assert!(!check("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
        assert!(!check("nonsense"));
    }
}
