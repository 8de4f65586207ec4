//! What the gateway tells of itself: logs and Prometheus metrics.

mod log;
mod metrics;

pub use log::start as start_log;
pub use metrics::{Metrics, ModelFacts, ModelMetrics, Outcome, Protocol};
