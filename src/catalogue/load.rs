//! Loads one file: reads it, resolves its contract, builds its sessions, warms it up, proves its golden rows.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{LoadedModel, VersionFile};
use crate::config::{Model, ModelName};
use crate::contract::{
    Contract, Contradiction, DataProblems, Document, GoldenReport, Inputs, Layout, METADATA_KEY, OnnxFile, Reader,
    Sources, resolve,
};
use crate::engine::{self, Engine, EngineError, Probe, Sessions};
use crate::telemetry::{Metrics, ModelFacts};

/// Rows of a trial run where the file brings none.
const N_TRIAL_ROWS: usize = 16;
/// More disagreeing rows than this add nothing to the message.
const MOST_NAMED: usize = 5;

/// Why a file is not served. Every text names the file.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("{} can't be read: {source}", .file.display())]
    Unreadable { file: PathBuf, source: std::io::Error },
    #[error("{}: {reason}", .file.display())]
    NotOnnx { file: PathBuf, reason: String },
    #[error("{}: the contract in it can't be read: {reason}", .file.display())]
    Document { file: PathBuf, reason: String },
    #[error("{}: {}", .file.display(), join(.contradictions))]
    Contradictions { file: PathBuf, contradictions: Vec<Contradiction> },
    #[error("{}: {source}", .file.display())]
    Engine { file: PathBuf, source: EngineError },
    #[error("{}: its golden rows break its own contract: {}", .file.display(), describe(.problems))]
    GoldenRows { file: PathBuf, problems: DataProblems },
    #[error("{}: {} of {} golden rows are not reproduced: {}", .file.display(), .report.disagreements.len(), .report.rows, disagreements(.report))]
    NotReproduced { file: PathBuf, report: GoldenReport },
    #[error("{}: the system gives no thread for it: {source}", .file.display())]
    Threads { file: PathBuf, source: std::io::Error },
}

fn join(contradictions: &[Contradiction]) -> String {
    contradictions.iter().map(Contradiction::to_string).collect::<Vec<_>>().join("; ")
}

fn describe(problems: &DataProblems) -> String {
    let describe = |problem: &crate::contract::DataProblem| {
        let row = problem.row.map_or(String::new(), |row| format!("row {row} "));
        let feature = problem.feature.as_ref().map_or(String::new(), |feature| format!("{feature:?} "));
        format!("{row}{feature}{}", problem.problem)
    };
    problems.listed().iter().take(MOST_NAMED).map(describe).collect::<Vec<_>>().join("; ")
}

fn disagreements(report: &GoldenReport) -> String {
    let describe = |found: &crate::contract::Disagreement| {
        format!("row {}: {} instead of {}", found.row, found.got, found.expected)
    };
    report.disagreements.iter().take(MOST_NAMED).map(describe).collect::<Vec<_>>().join("; ")
}

/// Loads a file as a version of a model. Blocks; needs no other thread than those it starts.
///
/// # Errors
/// The file can't be served; the error names it and says why.
pub fn load_file(
    name: &ModelName,
    file: &VersionFile,
    settings: &Model,
    engine: &Engine,
    metrics: &Metrics,
) -> Result<LoadedModel, LoadError> {
    let started = Instant::now();
    let path = &file.path;
    let bytes = std::fs::read(path).map_err(|source| LoadError::Unreadable { file: path.clone(), source })?;
    let bytes = Bytes::from(bytes);
    let onnx = OnnxFile::parse(bytes.clone()).map_err(|reason| LoadError::NotOnnx { file: path.clone(), reason })?;
    let document = match onnx.metadata.get(METADATA_KEY) {
        Some(text) => Document::parse(text).map_err(|reason| LoadError::Document { file: path.clone(), reason })?,
        None => Document::default(),
    };
    let failed = |source| LoadError::Engine { file: path.clone(), source };
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let mut sessions = engine.open(&bytes, folder, &settings.engine).map_err(failed)?;
    let sources = Sources { settings, document, signature: sessions.signature(), graph_classes: onnx.classes.clone() };
    let contract =
        resolve(sources).map_err(|contradictions| LoadError::Contradictions { file: path.clone(), contradictions })?;
    let contract = Arc::new(contract);
    let reader = Reader::new(Arc::clone(&contract));
    let trial = match &contract.inputs {
        Inputs::Columns(layout) => try_out(path, &mut sessions, &reader, layout)?,
        Inputs::Tensors => Trial { probe: None, golden: None },
    };
    let sha256 = hex(&Sha256::digest(&bytes));
    let version =
        file.version.clone().or_else(|| contract.version.clone()).unwrap_or_else(|| sha256.chars().take(8).collect());
    let model_metrics = metrics.model(name, &version);
    let handle = engine::serve(sessions, &contract.inputs, &settings.engine, &model_metrics, trial.probe.as_ref())
        .map_err(|source| LoadError::Threads { file: path.clone(), source })?;
    let task = contract.task.as_str().to_owned();
    metrics.model_serving(&ModelFacts {
        model: name.to_string(),
        version: version.clone(),
        task,
        sha256: sha256.clone(),
    });
    Ok(LoadedModel {
        name: name.clone(),
        version,
        route: settings.route.clone().unwrap_or_else(|| format!("/predict/{name}")),
        file: path.clone(),
        sha256,
        n_bytes: bytes.len(),
        loaded_at: SystemTime::now(),
        load_time: started.elapsed(),
        onnx,
        contract,
        reader,
        batching: handle.batching(),
        handle,
        golden: trial.golden,
        metrics: model_metrics,
    })
}

struct Trial {
    probe: Option<Probe>,
    golden: Option<GoldenReport>,
}

fn try_out(path: &Path, sessions: &mut Sessions, reader: &Reader, layout: &Layout) -> Result<Trial, LoadError> {
    let file = || path.to_owned();
    let contract: &Contract = reader.contract();
    let Some(golden) = &contract.golden else {
        let table = engine::trial_table(layout, N_TRIAL_ROWS);
        // Made-up values may be what the graph refuses (an unknown category); that says nothing against the model.
        let probe = engine::probe(sessions, layout, &table, "made-up rows").ok();
        return Ok(Trial { probe, golden: None });
    };
    let table = golden.table(contract, layout).map_err(|problems| LoadError::GoldenRows { file: file(), problems })?;
    let probe = engine::probe(sessions, layout, &table, "its golden rows")
        .map_err(|source| LoadError::Engine { file: file(), source })?;
    if !reader.is_by_row() {
        return Ok(Trial { probe: Some(probe), golden: None });
    }
    let report = golden.compare(reader, &probe.outputs);
    if !report.disagreements.is_empty() {
        return Err(LoadError::NotReproduced { file: file(), report });
    }
    Ok(Trial { probe: Some(probe), golden: Some(report) })
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing into a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
