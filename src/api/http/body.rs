//! Reads a request's body within its bounds: its size, the time it may take, and what all large bodies may hold together.

use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::HeaderMap;
use axum::http::header::EXPECT;
use http_body_util::BodyExt;
use tokio::sync::OwnedSemaphorePermit;

use super::Problem;
use crate::api::Limits;
use crate::error::ErrorKind;

/// Bodies up to this size are not counted together: a connection's buffers hold as much.
const SMALL: usize = 64 << 10;
/// More than this of a refused body, in bytes, is not worth reading for the sake of the answer.
const MOST_DISCARDED: u64 = 256 << 20;
/// A client that sends nothing for so long has seen the answer coming, or never will.
const DISCARD_PATIENCE: Duration = Duration::from_secs(1);

/// A whole body, and the share of the memory for large ones that it takes until it is dropped.
pub(in crate::api) struct WholeBody {
    pub bytes: Bytes,
    pub _share: Option<OwnedSemaphorePermit>,
}

/// # Errors
/// The body is too large, comes too slowly or ends early, or too many large ones are being held.
pub(in crate::api) async fn read(mut body: Body, headers: &HeaderMap, limits: &Limits) -> Result<WholeBody, Problem> {
    let collected = tokio::time::timeout(limits.body_timeout, collect(&mut body, limits)).await;
    let collected = collected.unwrap_or_else(|_| {
        let seconds = limits.body_timeout.as_secs_f64();
        let detail = format!("the body was not complete after {seconds} s (setting server.body_timeout)");
        Err(Problem::new(ErrorKind::ClientTimeout, detail))
    });
    if let Err(problem) = &collected
        && matches!(problem.kind(), ErrorKind::TooLarge | ErrorKind::Overloaded)
        // Such a client asks before it sends, and reads the answer.
        && !headers.contains_key(EXPECT)
        && body.size_hint().lower() <= MOST_DISCARDED
    {
        // What still comes after that time is cut off.
        let _ = tokio::time::timeout(limits.body_timeout, discard(body)).await;
    }
    collected
}

/// Reads and drops the rest of a body that is refused. A connection that is closed with bytes unread is reset, and a client that
/// is still sending would then see a broken pipe and not the answer.
async fn discard(mut body: Body) {
    let mut n_bytes = 0;
    while let Ok(Some(Ok(frame))) = tokio::time::timeout(DISCARD_PATIENCE, body.frame()).await {
        n_bytes += frame.data_ref().map_or(0, Bytes::len) as u64;
        if n_bytes > MOST_DISCARDED {
            return;
        }
    }
}

async fn collect(body: &mut Body, limits: &Limits) -> Result<WholeBody, Problem> {
    if body.size_hint().lower() > limits.max_body as u64 {
        return Err(too_large(limits));
    }
    let expected = usize::try_from(body.size_hint().lower()).unwrap_or(0);
    let mut share = None;
    if expected > SMALL {
        take_share(&mut share, expected, limits)?;
    }
    let mut whole: Option<Bytes> = None;
    let mut parts: Vec<u8> = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| broken(&error))?;
        let Ok(data) = frame.into_data() else { continue };
        let first = match whole.take() {
            // Most bodies come in one piece, which needs no copy.
            None if parts.is_empty() => {
                whole = Some(data);
                continue;
            }
            first => first,
        };
        if let Some(first) = first {
            parts.reserve(expected.max(first.len() + data.len()));
            parts.extend_from_slice(&first);
        }
        parts.extend_from_slice(&data);
        if parts.len() > limits.max_body {
            return Err(too_large(limits));
        }
        if parts.len() > SMALL {
            take_share(&mut share, parts.len(), limits)?;
        }
    }
    let bytes = whole.unwrap_or_else(|| parts.into());
    if bytes.len() > limits.max_body {
        return Err(too_large(limits));
    }
    Ok(WholeBody { bytes, _share: share })
}

/// A body that can't be read on: mostly because the client went away.
fn broken(error: &axum::Error) -> Problem {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    let io = causes.filter_map(|error| error.downcast_ref::<std::io::Error>()).next();
    match io.map(std::io::Error::kind) {
        Some(std::io::ErrorKind::InvalidInput | std::io::ErrorKind::InvalidData) => {
            Problem::new(ErrorKind::Malformed, format!("the body can't be read: {error}"))
        }
        _ => Problem::new(ErrorKind::Cancelled, format!("the body ends early: {error}")),
    }
}

/// Grows the share to `size` bytes.
fn take_share(share: &mut Option<OwnedSemaphorePermit>, size: usize, limits: &Limits) -> Result<(), Problem> {
    let held = share.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
    let Some(more) = size.checked_sub(held).filter(|more| *more > 0) else { return Ok(()) };
    let more = u32::try_from(more).unwrap_or(u32::MAX);
    let taken = std::sync::Arc::clone(&limits.inflight).try_acquire_many_owned(more).map_err(|_| {
        let detail = format!("large requests already take {} bytes (setting server.max_inflight)", limits.max_inflight);
        Problem::new(ErrorKind::Overloaded, detail).with_hint("send it again in a moment, or in smaller batches")
    })?;
    match share {
        Some(share) => share.merge(taken),
        None => *share = Some(taken),
    }
    Ok(())
}

fn too_large(limits: &Limits) -> Problem {
    let detail = format!("the body is larger than {} bytes (setting server.max_body)", limits.max_body);
    Problem::new(ErrorKind::TooLarge, detail).with_hint("send the rows in several requests")
}
