//! ONNX Runtime: sessions, the threads that own them, batching. The only module that names `ort`.

mod library;
mod probe;
mod queue;
mod session;
mod worker;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ort::environment::Environment;

use crate::config::{self, ModelEngine};
use crate::contract::Signature;
use crate::error::ErrorKind;

pub use probe::{Probe, probe, trial_table};
pub use queue::Answer;
pub use worker::{Batching, Handle, serve};

use session::Runner;

/// Why the runtime can't be used or a model can't be loaded.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error(
        "ONNX Runtime was not found; searched: {}\n\
         Get it with `pip install onnxruntime==1.31.1` in a virtual environment `.venv` (`make build` does that), \
         or name the library in ORT_DYLIB_PATH or in the setting engine.onnxruntime",
        .tried.join(", ")
    )]
    LibraryNotFound { tried: Vec<String> },
    #[error("ONNX Runtime at {} can't be used: {reason}", .library.display())]
    LibraryUnusable { library: PathBuf, reason: String },
    #[error("{reason}")]
    Load { reason: String },
    #[error("the model loads, and then fails on {rows}: {reason}")]
    WarmUp { rows: String, reason: String },
}

/// Why a request was not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    #[error("too many rows wait for this model")]
    QueueFull,
    #[error("the deadline passed before the model ran")]
    DeadlineExceeded,
    #[error("the model is being stopped")]
    Stopped,
    #[error("the model failed on this input: {reason}")]
    Failed { reason: String },
}

impl RunError {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::QueueFull => ErrorKind::Overloaded,
            Self::DeadlineExceeded => ErrorKind::DeadlineExceeded,
            Self::Stopped => ErrorKind::Unavailable,
            Self::Failed { .. } => ErrorKind::Internal,
        }
    }
}

/// ONNX Runtime, loaded. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    environment: Environment,
    library: PathBuf,
}

/// Keeps ONNX Runtime from reporting to its maker, as its official builds do by default from 1.29 on. It reads the variable
/// when the library initialises, so this comes first in the program.
#[expect(unsafe_code, reason = "the variable has to be set in this process, and setting one is unsafe")]
pub fn refuse_telemetry() {
    // SAFETY: called at the start of main, while no other thread is there that could read the environment.
    unsafe { std::env::set_var("ORT_DISABLE_TELEMETRY", "1") };
}

impl Engine {
    /// Loads the shared library: the configured one, else the first that is found.
    ///
    /// # Errors
    /// None is found, or the one found is no usable ONNX Runtime.
    pub fn start(settings: &config::Engine) -> Result<Self, EngineError> {
        let library = library::find(settings.onnxruntime.as_deref(), &config::library_search())
            .map_err(|tried| EngineError::LibraryNotFound { tried })?;
        let unusable = |reason: String| EngineError::LibraryUnusable { library: library.clone(), reason };
        let environment = ort::init_from(&library)
            .map_err(|error| unusable(error.to_string()))?
            .with_name("porteiro")
            .with_telemetry(false)
            .build()
            .map_err(|error| unusable(error.to_string()))?;
        // The runtime writes to standard error by itself, past the log and its format; what matters comes back as an error.
        environment.set_log_level(ort::logging::LogLevel::Fatal);
        Ok(Self { environment, library })
    }

    pub fn library(&self) -> &Path {
        &self.library
    }

    /// For benchmarks that compare with a session of their own: a process can have one environment only.
    #[doc(hidden)]
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Builds a model's sessions, one after the other: a session under construction takes several times the memory of one that is
    /// done. `folder` is where weights in files of their own are looked for.
    ///
    /// # Errors
    /// The runtime's reason, with a hint where the cause is known.
    pub fn open(&self, bytes: &[u8], folder: &Path, settings: &ModelEngine) -> Result<Sessions, EngineError> {
        let n_sessions = settings.sessions.unwrap_or_else(n_cores).max(1);
        let build = || Runner::new(&self.environment, bytes, folder);
        let mut runners = Vec::with_capacity(n_sessions);
        for _ in 0..n_sessions {
            // The binding panics at types of inputs and outputs that it does not know.
            let built = catch_unwind(AssertUnwindSafe(build)).map_err(|_| EngineError::Load {
                reason: "the model has inputs or outputs that can't be read".to_owned(),
            })?;
            runners.push(built.map_err(|error| EngineError::Load { reason: explain(&error.to_string()) })?);
        }
        Ok(Sessions { runners })
    }
}

/// Sessions of one model, not yet served.
pub struct Sessions {
    runners: Vec<Runner>,
}

impl Sessions {
    /// What the graph declares.
    pub fn signature(&self) -> Signature {
        self.runners
            .first()
            .map_or_else(|| Signature { inputs: Vec::new(), outputs: Vec::new() }, |runner| runner.signature().clone())
    }
}

/// How long a stop waits for a thread that is inside a run.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// How many threads can run at once.
pub fn n_cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The runtime's words, with what a data scientist can do about the known causes.
fn explain(reason: &str) -> String {
    let reason = reason.trim();
    let hint = if reason.contains("is not a registered function/op") || reason.contains("No Op registered") {
        "the model uses an operator that ONNX Runtime doesn't have: a custom operator, or one of a newer opset; \
         export with a lower `target_opset` or without the custom operator"
    } else if reason.contains("under development and support for this is limited")
        || reason.contains("Unsupported model IR version")
    {
        "the model was made for a newer ONNX; export it with a lower `target_opset`"
    } else if reason.contains("Protobuf parsing failed") {
        "the file is not an ONNX model, or only a part of one"
    } else if reason.contains("external") && reason.contains("file") {
        "the weights lie in a file of their own; put it beside the model"
    } else {
        return reason.to_owned();
    };
    format!("{hint} (ONNX Runtime: {reason})")
}
