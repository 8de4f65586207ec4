//! The network side: protocols around the predictor. A handler decodes, calls, encodes.

mod http;
mod server;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::catalogue::Catalogue;
use crate::config;
use crate::predict::Predictor;
use crate::telemetry::Metrics;

pub use server::{BindError, bind, serve};

/// What handlers share. Cheap to clone.
#[derive(Clone)]
pub struct App {
    shared: Arc<Shared>,
}

struct Shared {
    catalogue: Catalogue,
    predictor: Predictor,
    metrics: Arc<Metrics>,
    limits: Limits,
}

/// Bounds on what a client can make the gateway hold or wait for.
struct Limits {
    request_timeout: Duration,
    body_timeout: Duration,
    max_body: usize,
    max_inflight: usize,
    /// Bytes that large bodies may still take.
    inflight: Arc<Semaphore>,
}

impl App {
    pub fn new(catalogue: Catalogue, metrics: Arc<Metrics>, settings: &config::Server) -> Self {
        let max_inflight = settings.max_inflight.min(Semaphore::MAX_PERMITS).min(u32::MAX as usize);
        let limits = Limits {
            request_timeout: settings.request_timeout,
            body_timeout: settings.body_timeout,
            max_body: settings.max_body,
            max_inflight,
            inflight: Arc::new(Semaphore::new(max_inflight)),
        };
        let predictor = Predictor::new(catalogue.clone(), Arc::clone(&metrics));
        Self { shared: Arc::new(Shared { catalogue, predictor, metrics, limits }) }
    }
}
