//! Porteiro: an ONNX model-serving gateway. Named features in, predictions out.
//!
//! A map of the code, in reading order; a module imports only from layers below its own:
//!
//! | layer | module | what |
//! |---|---|---|
//! | 0 | [`error`] | the closed list of failure classes |
//! | 0 | [`config`] | settings: files, environment and flags; the only reader of the environment |
//! | 1 | [`contract`] | what a model takes and gives, and the tables between codecs and engine |
//! | 1 | [`telemetry`] | logs and metrics |
//! | 2 | [`codec`] | bytes to tables, predictions to bytes |
//! | 2 | [`engine`] | ONNX Runtime: sessions, their threads, batching; the only module that names `ort` |
//! | 3 | [`catalogue`] | the folder of models: scan, plan, load, snapshot |
//! | 4 | [`predict`] | the one use case: the only function that knows the order of the steps |
//! | 5 | [`api`] | HTTP |
//! | 6 | [`cli`] | the commands; `serve` puts everything together |
//!
//! What holds everywhere: one `Arc<LoadedModel>` carries contract, version and engine handle, so no request mixes two
//! versions. Rows of two callers never mix in an answer. Constructors take their own section of the settings. Every thread has
//! an owner and ends when the gateway stops. Nothing that input can reach panics.

pub mod api;
pub mod catalogue;
pub mod cli;
pub mod codec;
pub mod config;
pub mod contract;
pub mod engine;
pub mod error;
pub mod predict;
pub mod telemetry;
