//! What is served at one moment. Requests hold one while they run; a change makes a new one.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::LoadedModel;
use crate::config::{ModelName, near};
use crate::error::ErrorKind;

/// Which model a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelRef<'a> {
    Named(&'a str),
    Default,
}

/// How a version of a model stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VersionState {
    Serving,
    /// There, and not loaded: another version serves.
    Available,
    Failed {
        reason: String,
    },
}

/// What is known of one version's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionReport {
    /// Where the folder or the loaded file tells it.
    pub version: Option<String>,
    pub file: Option<PathBuf>,
    pub state: VersionState,
}

/// One model of the folder or the config.
pub struct Entry {
    pub name: String,
    pub serving: Option<Arc<LoadedModel>>,
    pub versions: Vec<VersionReport>,
}

impl Entry {
    pub(super) fn failed(name: String, reason: String) -> Self {
        let report = VersionReport { version: None, file: None, state: VersionState::Failed { reason } };
        Self { name, serving: None, versions: vec![report] }
    }

    /// Why the newest version that was tried is not served.
    pub fn failure(&self) -> Option<&str> {
        self.versions.iter().find_map(|report| match &report.state {
            VersionState::Failed { reason } => Some(reason.as_str()),
            VersionState::Serving | VersionState::Available => None,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Starting,
    Serving,
    Stopped,
}

/// All models at one moment.
pub struct Snapshot {
    entries: BTreeMap<String, Entry>,
    /// By path, for routes that the config sets.
    routes: BTreeMap<String, Arc<LoadedModel>>,
    default: Option<String>,
    phase: Phase,
}

/// Why there is no model for a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    #[error("there is no model {name:?}{}", hint(.near, .serving))]
    NoSuchModel { name: String, near: Option<String>, serving: Vec<String> },
    #[error("model {name:?} has no version {version:?} that serves; {serving:?} does")]
    NoSuchVersion { name: String, version: String, serving: String },
    #[error("model {name:?} is not serving: {reason}")]
    NotServing { name: String, reason: String },
    #[error("no default model is set: name one in the path, /predict/{{model}}, or set default_model in the config")]
    NoDefault,
    #[error("the gateway is starting: its models are being loaded")]
    Starting,
    #[error("the gateway is stopping")]
    Stopped,
}

fn hint(near: &Option<String>, serving: &[String]) -> String {
    match near {
        Some(near) => format!("; did you mean {near:?}?"),
        None if serving.is_empty() => "; no model is serving".to_owned(),
        None => format!("; serving: {}", serving.join(", ")),
    }
}

impl FindError {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoSuchModel { .. } | Self::NoSuchVersion { .. } | Self::NoDefault => ErrorKind::NotFound,
            Self::NotServing { .. } | Self::Starting | Self::Stopped => ErrorKind::Unavailable,
        }
    }
}

impl Snapshot {
    pub(super) fn starting() -> Self {
        Self::empty(Phase::Starting)
    }

    pub(super) fn stopped() -> Self {
        Self::empty(Phase::Stopped)
    }

    fn empty(phase: Phase) -> Self {
        Self { entries: BTreeMap::new(), routes: BTreeMap::new(), default: None, phase }
    }

    /// Without a configured default, the only model is it.
    pub(super) fn new(entries: Vec<Entry>, default: Option<ModelName>) -> Self {
        let only = match entries.as_slice() {
            [only] => Some(only.name.clone()),
            _ => None,
        };
        let routes = entries
            .iter()
            .filter_map(|entry| entry.serving.as_ref())
            .map(|model| (model.route.clone(), Arc::clone(model)))
            .collect();
        let default = default.map(|name| name.to_string()).or(only);
        let entries = entries.into_iter().map(|entry| (entry.name.clone(), entry)).collect();
        Self { entries, routes, default, phase: Phase::Serving }
    }

    /// The model for a request, at the version it asks for.
    ///
    /// # Errors
    /// There is none, or it is not serving.
    pub fn find(&self, model: ModelRef<'_>, version: Option<&str>) -> Result<Arc<LoadedModel>, FindError> {
        let name = match model {
            ModelRef::Named(name) => name,
            ModelRef::Default => match &self.default {
                Some(default) => default,
                None if self.phase == Phase::Serving => return Err(FindError::NoDefault),
                None => "",
            },
        };
        let Some(entry) = self.entries.get(name) else {
            return Err(self.not_found(name));
        };
        let Some(serving) = &entry.serving else {
            let reason = entry.failure().unwrap_or("no version of it is loaded").to_owned();
            return Err(FindError::NotServing { name: name.to_owned(), reason });
        };
        match version {
            Some(version) if version != serving.version => Err(FindError::NoSuchVersion {
                name: name.to_owned(),
                version: version.chars().take(128).collect(),
                serving: serving.version.clone(),
            }),
            _ => Ok(Arc::clone(serving)),
        }
    }

    fn not_found(&self, name: &str) -> FindError {
        match self.phase {
            Phase::Starting => FindError::Starting,
            Phase::Stopped => FindError::Stopped,
            Phase::Serving => {
                let name: String = name.chars().take(128).collect();
                let serving: Vec<String> = self.serving().map(|model| model.name.to_string()).collect();
                let near = near(&name, serving.iter().map(String::as_str)).map(str::to_owned);
                FindError::NoSuchModel { name, near, serving }
            }
        }
    }

    /// The model whose configured route is that path.
    pub fn by_route(&self, path: &str) -> Option<&Arc<LoadedModel>> {
        self.routes.get(path)
    }

    /// By name.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    pub fn serving(&self) -> impl Iterator<Item = &Arc<LoadedModel>> {
        self.entries.values().filter_map(|entry| entry.serving.as_ref())
    }

    /// The name of the default model, where there is one.
    pub fn default_model(&self) -> Option<&str> {
        self.default.as_deref()
    }

    pub fn is_starting(&self) -> bool {
        self.phase == Phase::Starting
    }

    pub fn is_stopped(&self) -> bool {
        self.phase == Phase::Stopped
    }
}
