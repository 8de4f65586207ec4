//! Finds model files: `<name>.onnx`, `<name>/<version>/model.onnx`, `<name>/<version>.onnx`, and those that the config names.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::config::Models;

use super::configured_path;

/// The folder of models can't be read.
#[derive(Debug, thiserror::Error)]
#[error("the folder of models, {}, can't be read (setting models.dir)", .dir.display())]
pub struct ScanError {
    pub dir: PathBuf,
    pub source: std::io::Error,
}

/// A file of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionFile {
    /// Where the folder's layout names it.
    pub version: Option<String>,
    pub path: PathBuf,
}

/// A model that the folder or the config names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// As the folder or config has it; it may be no legal name.
    pub name: String,
    /// Newest first.
    pub files: Vec<VersionFile>,
    /// Why none of the files can be taken.
    pub problem: Option<String>,
}

/// Reads the folder, without opening a file.
///
/// # Errors
/// The folder can't be read.
pub fn scan(models: &Models) -> Result<Vec<Candidate>, ScanError> {
    let unreadable = |source| ScanError { dir: models.dir.clone(), source };
    let mut found: BTreeMap<String, Vec<VersionFile>> = BTreeMap::new();
    let mut folders: BTreeMap<String, Vec<VersionFile>> = BTreeMap::new();
    for entry in std::fs::read_dir(&models.dir).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let Some(name) = visible_name(&path) else { continue };
        if path.is_dir() {
            let versions = scan_versions(&path);
            if !versions.is_empty() {
                folders.insert(name.to_owned(), versions);
            }
        } else if let Some(stem) = name.strip_suffix(".onnx") {
            found.insert(stem.to_owned(), vec![VersionFile { version: None, path }]);
        }
    }
    let mut candidates = BTreeMap::new();
    for (name, files) in folders {
        let twice = found.remove(&name);
        let problem =
            twice.map(|_| format!("both {name}.onnx and the folder {name}/ name this model; remove one of the two"));
        candidates.insert(name.clone(), Candidate { name, files, problem });
    }
    candidates.extend(found.into_iter().map(|(name, files)| (name.clone(), Candidate { name, files, problem: None })));
    Ok(apply_tables(models, candidates))
}

/// Files that a table names belong to that table's model only; without `models.auto`, nothing else is served.
fn apply_tables(models: &Models, mut candidates: BTreeMap<String, Candidate>) -> Vec<Candidate> {
    let mut configured = Vec::new();
    for (name, model) in &models.tables {
        let Some(file) = &model.file else {
            configured.push(candidates.remove(name.as_ref()).unwrap_or_else(|| Candidate {
                name: name.to_string(),
                files: Vec::new(),
                problem: Some(format!(
                    "the config has a table models.{name}, and {} holds neither {name}.onnx nor a folder {name}/ with versions",
                    models.dir.display()
                )),
            }));
            continue;
        };
        let path = configured_path(models, file);
        candidates.retain(|_, candidate| {
            candidate.files.retain(|found| found.path != path);
            !candidate.files.is_empty()
        });
        let (files, problem) = if path.is_dir() {
            (scan_versions(&path), None)
        } else if path.is_file() {
            (vec![VersionFile { version: None, path }], None)
        } else {
            (
                Vec::new(),
                Some(format!("models.{name}.file is {:?}, and there is no file {}", file.display(), path.display())),
            )
        };
        candidates.remove(name.as_ref());
        configured.push(Candidate { name: name.to_string(), files, problem });
    }
    if models.auto {
        configured.extend(candidates.into_values());
    }
    configured
}

fn scan_versions(folder: &Path) -> Vec<VersionFile> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut versions: Vec<VersionFile> = entries
        .flatten()
        .filter_map(|entry| {
            let path = entry.path();
            let name = visible_name(&path)?.to_owned();
            if path.is_dir() {
                let file = path.join("model.onnx");
                file.is_file().then_some(VersionFile { version: Some(name), path: file })
            } else {
                name.strip_suffix(".onnx")
                    .map(|version| VersionFile { version: Some(version.to_owned()), path: path.clone() })
            }
        })
        .collect();
    versions.sort_by(|left, right| newest_first(left.version.as_deref(), right.version.as_deref()));
    versions
}

/// Numbers by their value and before names; names by their letters.
fn newest_first(left: Option<&str>, right: Option<&str>) -> Ordering {
    let key =
        |version: Option<&str>| (version.and_then(|version| version.parse::<u64>().ok()), version.map(str::to_owned));
    key(right).cmp(&key(left))
}

/// The name of a file or folder that is no hidden one: editors, copies in progress and Kubernetes' mounts use those.
fn visible_name(path: &Path) -> Option<&str> {
    path.file_name().and_then(OsStr::to_str).filter(|name| !name.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_version_is_first() {
        let mut versions = ["2", "10", "9", "beta", "alpha"];
        versions.sort_by(|left, right| newest_first(Some(left), Some(right)));
        assert_eq!(versions, ["10", "9", "2", "beta", "alpha"]);
    }

    #[test]
    fn both_layouts_and_the_config_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        };
        for name in [
            "a.onnx",
            "b/1/model.onnx",
            "b/2.onnx",
            "c-new.onnx",
            "d.onnx",
            "d/1.onnx",
            ".hidden.onnx",
            "examples/a.json",
        ] {
            write(name);
        }
        let mut models = Models { dir: folder.path().to_owned(), ..Models::default() };
        let table = crate::config::Model { file: Some("c-new.onnx".into()), ..Default::default() };
        models.tables.insert("c".try_into().unwrap(), table);
        models.tables.insert("e".try_into().unwrap(), Default::default());
        let candidates = scan(&models).unwrap();
        let of = |name: &str| candidates.iter().find(|candidate| candidate.name == name).unwrap();
        assert_eq!(candidates.len(), 5);
        assert_eq!(of("a").files.len(), 1);
        assert_eq!(
            of("b").files.iter().map(|file| file.version.as_deref()).collect::<Vec<_>>(),
            [Some("2"), Some("1")]
        );
        assert_eq!(of("c").files[0].path, folder.path().join("c-new.onnx"));
        assert!(of("d").problem.as_ref().unwrap().contains("both d.onnx and the folder d/"));
        assert!(of("e").problem.as_ref().unwrap().contains("models.e"));
    }
}
