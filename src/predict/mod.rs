//! The one use case: from a request's bytes to predictions. The only function that knows the order of the steps.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::catalogue::{Catalogue, FindError, LoadedModel, ModelRef};
use crate::codec::{self, Answered, DecodeError, Decoded, EncodeError, Form};
use crate::contract::{DataProblems, ModelInput, OutputRows, Table};
use crate::engine::RunError;
use crate::error::ErrorKind;
use crate::telemetry::{Metrics, ModelMetrics, Outcome, Protocol};

/// Bodies larger than this are read, and answers to as many rows written, away from the async threads: about the size that
/// takes half a millisecond.
const OFFLOAD_BYTES: usize = 64 << 10;
const OFFLOAD_ROWS: usize = 2_000;

/// The format of a body or an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Json,
    Csv,
}

/// A request to predict.
pub struct Request<'a> {
    pub protocol: Protocol,
    pub model: ModelRef<'a>,
    /// The version that the client insists on.
    pub version: Option<&'a str>,
    pub format: Format,
    pub body: Bytes,
    /// The prediction's id.
    pub id: String,
    pub deadline: Instant,
}

/// Predictions, by the version that made them.
pub struct Predicted {
    pub id: String,
    pub model: Arc<LoadedModel>,
    slices: Vec<OutputRows>,
    form: Form,
}

/// Why there are no predictions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PredictError {
    #[error(transparent)]
    Find(#[from] FindError),
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Encode(#[from] EncodeError),
    #[error("a thread that read or wrote the data ended early")]
    Interrupted,
}

impl PredictError {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Find(error) => error.kind(),
            Self::Decode(error) => error.kind(),
            Self::Run(error) => error.kind(),
            Self::Encode(_) | Self::Interrupted => ErrorKind::Internal,
        }
    }
}

/// Predicts with the models of a catalogue. Cheap to clone.
#[derive(Clone)]
pub struct Predictor {
    catalogue: Catalogue,
    metrics: Arc<Metrics>,
}

impl Predictor {
    pub fn new(catalogue: Catalogue, metrics: Arc<Metrics>) -> Self {
        Self { catalogue, metrics }
    }

    /// Finds the model, reads the rows against its contract, runs it. Dropping the future cancels what has not run.
    ///
    /// # Errors
    /// No such model, data that breaks the contract, too much work, a deadline that passed, or a failure of the model.
    pub async fn predict(&self, request: Request<'_>) -> Result<Predicted, PredictError> {
        let started = Instant::now();
        let found = self.catalogue.snapshot().find(request.model, request.version);
        let model = found.inspect_err(|error| self.metrics.request_without_model(request.protocol, error.kind()))?;
        let mut record = Record { metrics: &model.metrics, protocol: request.protocol, outcome: None };
        let result = async {
            let decoded = decode(&model, request.format, request.body).await?;
            check_rows(&model, &decoded.input)?;
            let answer = model.handle.run(decoded.input, request.deadline).await?;
            let n_rows: usize = answer.slices.iter().map(|slice| slice.rows.len()).sum();
            model.metrics.rows.inc_by(n_rows as u64);
            model.metrics.queue_seconds.observe(answer.queued.as_secs_f64());
            model.metrics.run_seconds.observe(answer.running.as_secs_f64());
            model.metrics.total_seconds.observe(started.elapsed().as_secs_f64());
            Ok((answer.slices, decoded.form))
        };
        let result: Result<_, PredictError> = result.await;
        record.outcome = Some(match &result {
            Ok(_) => Outcome::Ok,
            Err(error) => Outcome::Failed(error.kind()),
        });
        drop(record);
        let (slices, form) = result?;
        Ok(Predicted { id: request.id, model, slices, form })
    }
}

impl Predicted {
    /// Writes the answer.
    ///
    /// # Errors
    /// The model's outputs lack a row.
    pub async fn encode(self, format: Format) -> Result<Vec<u8>, PredictError> {
        let n_rows: usize = self.slices.iter().map(|slice| slice.rows.len()).sum();
        if n_rows < OFFLOAD_ROWS {
            return Ok(self.encode_here(format)?);
        }
        let encoded = tokio::task::spawn_blocking(move || self.encode_here(format)).await;
        Ok(encoded.map_err(|_| PredictError::Interrupted)??)
    }

    fn encode_here(&self, format: Format) -> Result<Vec<u8>, EncodeError> {
        let answered = Answered {
            id: &self.id,
            model: &self.model.name,
            version: &self.model.version,
            reader: &self.model.reader,
            slices: &self.slices,
            form: self.form,
        };
        match format {
            Format::Csv if self.model.reader.is_by_row() => codec::csv::encode(&answered),
            Format::Csv | Format::Json => codec::json::encode(&answered),
        }
    }

    /// The format of the answer to a client that asks for one: a raw model's outputs fit no table.
    pub fn format(&self, wanted: Format) -> Format {
        if self.model.reader.is_by_row() { wanted } else { Format::Json }
    }
}

async fn decode(model: &Arc<LoadedModel>, format: Format, body: Bytes) -> Result<Decoded, PredictError> {
    let decode = move |body: &[u8], model: &LoadedModel| match format {
        Format::Json => codec::json::decode(body, &model.contract),
        Format::Csv => codec::csv::decode(body, &model.contract),
    };
    if body.len() < OFFLOAD_BYTES {
        return Ok(decode(&body, model)?);
    }
    let model = Arc::clone(model);
    let decoded = tokio::task::spawn_blocking(move || decode(&body, &model)).await;
    Ok(decoded.map_err(|_| PredictError::Interrupted)??)
}

/// # Errors
/// The graph fixes another number of rows.
fn check_rows(model: &LoadedModel, input: &ModelInput) -> Result<(), DecodeError> {
    match (model.handle.exact_rows(), input) {
        (Some(exact), ModelInput::Rows(Table { n_rows, .. })) if exact != *n_rows => {
            let problem = format!("{n_rows} rows were sent; the model's graph takes exactly {exact}");
            let hint = "export the model with a dynamic first dimension";
            Err(DecodeError::Invalid(DataProblems::of_request(problem, hint)))
        }
        _ => Ok(()),
    }
}

/// Counts the request when it ends, however it ends: a client that goes away drops the future.
struct Record<'a> {
    metrics: &'a ModelMetrics,
    protocol: Protocol,
    outcome: Option<Outcome>,
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        let outcome = self.outcome.unwrap_or(Outcome::Failed(ErrorKind::Cancelled));
        self.metrics.request(self.protocol, outcome);
    }
}
