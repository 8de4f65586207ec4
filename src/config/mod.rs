//! Settings: read from files, the environment and flags, every problem reported at once with its key.
//!
//! [`load`] is the only way in. What it returns is validated: an address that parses, limits that make sense, names
//! that can't hold a slash. Whether a model's file exists is the catalogue's business. No other module reads the
//! environment.

mod environment;
mod load;
mod models;
mod names;
mod problems;
mod resolve;
mod section;
mod values;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use environment::{LibrarySearch, library_search};
pub use load::{DEFAULT_FILE, Overrides, load};
pub use models::BUILT_IN_ROUTES;
pub use names::{InvalidModelName, ModelName, near};
pub use problems::{ConfigError, Problem};

/// Everything that can be set. `Settings::default()` is what an empty configuration gives.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    /// The model that `POST /predict` and `GET /example` answer for. Whether there is one is for the catalogue to say.
    pub default_model: Option<ModelName>,
    pub server: Server,
    pub models: Models,
    pub engine: Engine,
    pub log: Log,
}

impl Settings {
    /// The settings of a model: its table, or what a model without a table gets.
    pub fn model(&self, name: &ModelName) -> Model {
        let without_table = || Model { engine: self.engine.defaults.clone(), ..Model::default() };
        self.models.tables.get(name).cloned().unwrap_or_else(without_table)
    }
}

/// `[server]`: the port and its limits.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// Host and port, `127.0.0.1:5000`, `[::1]:5000`, `localhost:5000`; port 0 takes a free one.
    pub listen: String,
    /// From the end of the request's head to its answer.
    pub request_timeout: Duration,
    /// How long a stop waits for the requests that were accepted.
    pub stop_timeout: Duration,
    /// How long a client may take to send a request's head.
    pub header_timeout: Duration,
    /// How long a client may take to send a request's body.
    pub body_timeout: Duration,
    /// The largest body of one request, in bytes.
    pub max_body: usize,
    /// All large bodies held at once, in bytes; at least `max_body`.
    pub max_inflight: usize,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:5000".to_owned(),
            request_timeout: Duration::from_secs(30),
            stop_timeout: Duration::from_secs(30),
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            max_body: 32 << 20,
            max_inflight: 256 << 20,
        }
    }
}

/// `[models]`: where the models are, and a table for each that needs more than its file says.
#[derive(Debug, Clone, PartialEq)]
pub struct Models {
    /// The folder of the ONNX files; relative to the working directory.
    pub dir: PathBuf,
    /// Whether files that no table names are served under their own name.
    pub auto: bool,
    pub tables: BTreeMap<ModelName, Model>,
}

impl Default for Models {
    fn default() -> Self {
        Self { dir: PathBuf::from("models"), auto: true, tables: BTreeMap::new() }
    }
}

/// `[models.<name>]`: what the configuration says of one model. What is absent, the model's file says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Model {
    /// The ONNX file, relative to `models.dir`; absent: found under the model's name.
    pub file: Option<PathBuf>,
    /// The version that serves, of several; absent: the newest.
    pub version: Option<String>,
    /// The path of the model's predictions, beside `/predict/<name>`. Starts with a slash, belongs to no other model and
    /// is none of the gateway's own.
    pub route: Option<String>,
    pub task: Option<Task>,
    /// The name of what is predicted.
    pub target: Option<String>,
    /// The features in the order of the model's columns; never empty, no name twice.
    pub features: Option<Vec<FeatureSetting>>,
    /// A class, written as text, to the text that clients read.
    pub labels: Option<BTreeMap<String, String>>,
    pub extra: Extra,
    pub nullable: Nullable,
    /// `[engine]` with this model's own `sessions`, `max_batch_rows`, `queue_rows` and `row_wise` over it.
    pub engine: ModelEngine,
}

/// One entry of `features`: `"alcohol"`, or `{ name = "alcohol", type = "float" }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureSetting {
    pub name: String,
    pub kind: Option<FeatureType>,
}

/// `[engine]`: ONNX Runtime.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Engine {
    /// ONNX Runtime's shared library; absent: searched.
    pub onnxruntime: Option<PathBuf>,
    /// For models that don't say otherwise.
    pub defaults: ModelEngine,
}

/// How one model is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelEngine {
    /// Sessions, each with a thread of its own; absent: one for each core.
    pub sessions: Option<usize>,
    /// The most rows of one run.
    pub max_batch_rows: usize,
    /// The most rows that wait; at least `max_batch_rows`.
    pub queue_rows: usize,
    /// Whether a row's answer is the same whatever rows it is run with; absent: found when the model is loaded.
    pub row_wise: Option<bool>,
}

impl Default for ModelEngine {
    fn default() -> Self {
        Self { sessions: None, max_batch_rows: 128, queue_rows: 65_536, row_wise: None }
    }
}

/// `[log]`: what is logged and in what form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    pub format: LogFormat,
    /// A level or a list of `target=level`, as `tracing_subscriber::EnvFilter` reads it.
    pub level: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::default(), level: "info".to_owned() }
    }
}

/// `log.format`: lines for people or JSON for machines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// How a model's outputs are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    Classification,
    Regression,
    Clustering,
    /// The outputs as they are.
    Raw,
}

impl Task {
    /// The word that settings and documents use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Classification => "classification",
            Self::Regression => "regression",
            Self::Clustering => "clustering",
            Self::Raw => "raw",
        }
    }
}

/// What clients send for a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FeatureType {
    Float,
    Int,
    Bool,
    String,
}

/// What becomes of a field that is no feature.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Extra {
    #[default]
    Refuse,
    Ignore,
}

/// Which features may be null.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Nullable {
    /// Those that the model's contract says.
    #[default]
    Contract,
    All,
    None,
    /// These and no other; never empty.
    Named(Vec<String>),
}
