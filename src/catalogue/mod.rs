//! The models: what the folder holds, what of it is loaded, and the snapshot that requests read without a lock.

mod load;
mod scan;
mod snapshot;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;

use crate::config::{ModelName, Models, Settings};
use crate::contract::{Contract, GoldenReport, OnnxFile, Reader};
use crate::engine::{Batching, Engine, Handle, n_cores};
use crate::telemetry::{Metrics, ModelMetrics};

pub use load::{LoadError, load_file};
pub use scan::{Candidate, ScanError, VersionFile, scan};
pub use snapshot::{Entry, FindError, ModelRef, Snapshot, VersionReport, VersionState};

/// One version of a model, ready to predict: contract, version and engine handle together, so that no request mixes two.
pub struct LoadedModel {
    pub name: ModelName,
    pub version: String,
    /// The path of its predictions.
    pub route: String,
    pub file: PathBuf,
    /// In hexadecimal.
    pub sha256: String,
    pub n_bytes: usize,
    pub loaded_at: SystemTime,
    pub load_time: Duration,
    pub onnx: OnnxFile,
    pub contract: Arc<Contract>,
    pub reader: Reader,
    pub handle: Handle,
    pub batching: Batching,
    pub golden: Option<GoldenReport>,
    pub metrics: ModelMetrics,
}

/// The catalogue of one gateway. Cheap to clone.
#[derive(Clone)]
pub struct Catalogue {
    snapshot: Arc<ArcSwap<Snapshot>>,
}

impl Catalogue {
    /// A catalogue that holds nothing yet: requests are told that the gateway is starting.
    pub fn starting() -> Self {
        Self { snapshot: Arc::new(ArcSwap::from_pointee(Snapshot::starting())) }
    }

    /// Scans the folder and loads what it holds; what doesn't load is in the snapshot with the
    /// reason. Blocks.
    ///
    /// # Errors
    /// The folder itself can't be read.
    pub fn load(&self, settings: &Settings, engine: &Engine, metrics: &Metrics) -> Result<(), ScanError> {
        let snapshot = load_all(settings, engine, metrics)?;
        self.snapshot.store(Arc::new(snapshot));
        Ok(())
    }

    pub fn snapshot(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// Ends the threads of all models, each after what waits for it has been run.
    pub fn stop(&self) {
        let last = self.snapshot.swap(Arc::new(Snapshot::stopped()));
        for model in last.serving() {
            model.handle.stop();
        }
    }
}

fn load_all(settings: &Settings, engine: &Engine, metrics: &Metrics) -> Result<Snapshot, ScanError> {
    let candidates = scan(&settings.models)?;
    let entries = load_side_by_side(candidates, |candidate| load_candidate(candidate, settings, engine, metrics));
    for entry in &entries {
        for report in &entry.versions {
            if let VersionState::Failed { reason } = &report.state {
                metrics.model_failed(&entry.name);
                let file = report.file.as_deref().map_or_else(String::new, |file| file.display().to_string());
                tracing::error!(model = %entry.name, file, reason, "model not loaded");
            }
        }
    }
    Ok(Snapshot::new(entries, settings.default_model.clone()))
}

/// Loads as many candidates at a time as there are cores; more would only take more memory.
fn load_side_by_side(candidates: Vec<Candidate>, load: impl Fn(Candidate) -> Entry + Sync) -> Vec<Entry> {
    let waiting = Mutex::new(candidates.into_iter());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
    let load_one = |candidate: Candidate| {
        let name = candidate.name.clone();
        catch_unwind(AssertUnwindSafe(|| load(candidate)))
            .unwrap_or_else(|_| Entry::failed(name, "loading it panicked".to_owned()))
    };
    let load_some = || std::iter::from_fn(next).map(load_one).collect::<Vec<_>>();
    std::thread::scope(|scope| {
        let loaders: Vec<_> = (0..n_cores()).map(|_| scope.spawn(load_some)).collect();
        loaders.into_iter().filter_map(|loader| loader.join().ok()).flatten().collect()
    })
}

/// Loads the newest version, or the pinned one; where the newest doesn't load, the next older.
fn load_candidate(candidate: Candidate, settings: &Settings, engine: &Engine, metrics: &Metrics) -> Entry {
    let Candidate { name: label, files, problem } = candidate;
    if let Some(problem) = problem {
        return Entry::failed(label, problem);
    }
    let Ok(name) = ModelName::try_from(label.as_str()) else {
        return Entry::failed(
            label,
            "its file name is no name of a model: letters, digits, '.', '_' and '-' are".to_owned(),
        );
    };
    let model = settings.model(&name);
    let mut entry = Entry { name: label, serving: None, versions: Vec::new() };
    for file in files {
        let is_wanted = model.version.is_none() || file.version.is_none() || file.version == model.version;
        let state = if entry.serving.is_some() || !is_wanted {
            VersionState::Available
        } else {
            match load_file(&name, &file, &model, engine, metrics) {
                Ok(loaded) if model.version.as_ref().is_some_and(|pinned| *pinned != loaded.version) => {
                    loaded.handle.stop();
                    VersionState::Available
                }
                Ok(loaded) => {
                    entry.serving = Some(Arc::new(loaded));
                    VersionState::Serving
                }
                Err(error) => VersionState::Failed { reason: error.to_string() },
            }
        };
        let version = match (&state, &entry.serving) {
            (VersionState::Serving, Some(serving)) => Some(serving.version.clone()),
            _ => file.version,
        };
        entry.versions.push(VersionReport { version, file: Some(file.path), state });
    }
    if let (None, Some(pinned)) = (&entry.serving, &model.version)
        && !entry.versions.iter().any(|report| matches!(report.state, VersionState::Failed { .. }))
    {
        let state = VersionState::Failed {
            reason: format!("the config pins this version of models.{name}, and no file has it"),
        };
        entry.versions.push(VersionReport { version: Some(pinned.clone()), file: None, state });
    }
    entry
}

/// The path under `dir` of a file that a config names.
fn configured_path(models: &Models, file: &Path) -> PathBuf {
    models.dir.join(file)
}
