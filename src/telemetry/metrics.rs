//! Prometheus metrics: names by its conventions, typed handles, so that a request never looks one up by text.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::error::ErrorKind;

/// From 25 microseconds, where a small tree answers, to the default deadline.
const SECONDS: [f64; 17] = [
    25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1.0, 5.0,
    30.0,
];
const ROWS: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// How a request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    Native,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    Ok,
    Failed(ErrorKind),
}

impl EncodeLabelValue for Protocol {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        match self {
            Self::Native => "native".encode(encoder),
        }
    }
}

impl EncodeLabelValue for Outcome {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        match self {
            Self::Ok => "ok".encode(encoder),
            Self::Failed(kind) => kind.as_str().encode(encoder),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabels {
    model: String,
    version: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    model: String,
    version: String,
    protocol: Protocol,
    outcome: Outcome,
}

/// What is told of each loaded model.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ModelFacts {
    pub model: String,
    pub version: String,
    pub task: String,
    pub sha256: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabel {
    model: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
    onnxruntime: String,
}

#[derive(Clone)]
struct Buckets(&'static [f64]);

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

type Histograms = Family<ModelLabels, Histogram, Buckets>;

/// All metrics of one gateway.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    rows: Family<ModelLabels, Counter>,
    queue_seconds: Histograms,
    run_seconds: Histograms,
    total_seconds: Histograms,
    batch_rows: Histograms,
    queue_rows: Family<ModelLabels, Gauge>,
    models: Family<ModelFacts, Gauge>,
    load_failures: Family<ModelLabel, Counter>,
    failed_models: Family<ModelLabel, Gauge>,
    resident_memory: Gauge<f64, AtomicU64>,
}

/// The handles of one version of a model. Cheap to clone.
#[derive(Clone)]
pub struct ModelMetrics {
    labels: ModelLabels,
    requests: Family<RequestLabels, Counter>,
    ok: Counter,
    pub rows: Counter,
    pub queue_seconds: Histogram,
    pub run_seconds: Histogram,
    pub total_seconds: Histogram,
    pub batch_rows: Histogram,
    pub queue_rows: Gauge,
}

impl Metrics {
    /// `onnxruntime` is the path of the library.
    pub fn new(onnxruntime: &str) -> Self {
        let mut registry = Registry::with_prefix("porteiro");
        let requests = Family::default();
        registry.register("requests", "Prediction requests by how they ended", requests.clone());
        let rows = Family::default();
        registry.register("rows", "Rows predicted", rows.clone());
        let mut seconds = |name: &str, help: &str| {
            let family = Histograms::new_with_constructor(Buckets(&SECONDS));
            registry.register_with_unit(name, help, Unit::Seconds, family.clone());
            family
        };
        let queue_seconds =
            seconds("queue_duration", "Time from a request's arrival at the engine to the start of its run");
        let run_seconds = seconds("run_duration", "Time in ONNX Runtime, with the other rows of the batch");
        let total_seconds = seconds("request_duration", "Time from a request's whole body to its predictions");
        let batch_rows = Histograms::new_with_constructor(Buckets(&ROWS));
        registry.register("batch_rows", "Rows a run", batch_rows.clone());
        let queue_rows = Family::default();
        registry.register("queue_rows", "Rows that wait for a run", queue_rows.clone());
        let models = Family::default();
        registry.register("model_info", "Versions that are served, 1 each", models.clone());
        let load_failures = Family::default();
        registry.register("model_load_failures", "Model files that could not be loaded", load_failures.clone());
        let failed_models = Family::default();
        registry.register("model_failed", "1 where a file of the model could not be loaded", failed_models.clone());
        let resident_memory = Gauge::default();
        registry.register_with_unit(
            "resident_memory",
            "Resident memory of the process",
            Unit::Bytes,
            resident_memory.clone(),
        );
        let build = BuildLabels { version: env!("CARGO_PKG_VERSION"), onnxruntime: onnxruntime.to_owned() };
        registry.register("build", "The gateway's version and its ONNX Runtime", Info::new(build));
        Self {
            registry,
            requests,
            rows,
            queue_seconds,
            run_seconds,
            total_seconds,
            batch_rows,
            queue_rows,
            models,
            load_failures,
            failed_models,
            resident_memory,
        }
    }

    /// The handles of a version that is about to be served.
    pub fn model(&self, model: &str, version: &str) -> ModelMetrics {
        let labels = ModelLabels { model: model.to_owned(), version: version.to_owned() };
        let ok = RequestLabels {
            model: model.to_owned(),
            version: version.to_owned(),
            protocol: Protocol::Native,
            outcome: Outcome::Ok,
        };
        ModelMetrics {
            requests: self.requests.clone(),
            ok: self.requests.get_or_create_owned(&ok),
            rows: self.rows.get_or_create_owned(&labels),
            queue_seconds: self.queue_seconds.get_or_create_owned(&labels),
            run_seconds: self.run_seconds.get_or_create_owned(&labels),
            total_seconds: self.total_seconds.get_or_create_owned(&labels),
            batch_rows: self.batch_rows.get_or_create_owned(&labels),
            queue_rows: self.queue_rows.get_or_create_owned(&labels),
            labels,
        }
    }

    /// Counts a request that reached no model. Names that clients made up are no labels: there is no end to them.
    pub fn request_without_model(&self, protocol: Protocol, kind: ErrorKind) {
        let (model, version) = ("none".to_owned(), String::new());
        let labels = RequestLabels { model, version, protocol, outcome: Outcome::Failed(kind) };
        self.requests.get_or_create(&labels).inc();
    }

    /// Says that a version is served.
    pub fn model_serving(&self, facts: &ModelFacts) {
        self.models.get_or_create(facts).set(1);
    }

    /// Says that a file of a model could not be loaded.
    pub fn model_failed(&self, model: &str) {
        let label = ModelLabel { model: model.to_owned() };
        self.load_failures.get_or_create(&label).inc();
        self.failed_models.get_or_create(&label).set(1);
    }

    /// The exposition in OpenMetrics' text format, which Prometheus reads.
    ///
    /// # Errors
    /// None that formatting into memory gives.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        if let Some(bytes) = resident_bytes() {
            self.resident_memory.set(bytes);
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl ModelMetrics {
    pub fn request(&self, protocol: Protocol, outcome: Outcome) {
        match (protocol, outcome) {
            (Protocol::Native, Outcome::Ok) => {
                self.ok.inc();
            }
            (protocol, outcome @ Outcome::Failed(_)) => {
                let (model, version) = (self.labels.model.clone(), self.labels.version.clone());
                self.requests.get_or_create(&RequestLabels { model, version, protocol, outcome }).inc();
            }
        }
    }
}

/// From `/proc/self/statm`, as `proc(5)` describes it: the second number counts resident pages. `None` where there is none.
fn resident_bytes() -> Option<f64> {
    const PAGE_BYTES: f64 = 4096.0;
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: f64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * PAGE_BYTES)
}
