//! Finds ONNX Runtime's shared library: `onnxruntime` wheels carry one.

use std::path::{Path, PathBuf};

use crate::config::LibrarySearch;

const EXTENSION: &str = if cfg!(target_os = "macos") { "dylib" } else { "so" };
const SYSTEM_FOLDERS: [&str; 6] = [
    "/usr/local/lib",
    "/usr/lib",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/opt/homebrew/lib",
    "/opt/onnxruntime/lib",
];

/// Where the library is, or the places that were searched for it.
///
/// # Errors
/// The places, in the order in which they were tried.
pub fn find(configured: Option<&Path>, search: &LibrarySearch) -> Result<PathBuf, Vec<String>> {
    let mut tried = Vec::new();
    for (source, path) in [("ORT_DYLIB_PATH", search.library.as_deref()), ("engine.onnxruntime", configured)] {
        let Some(path) = path else { continue };
        if path.is_file() {
            return Ok(path.to_owned());
        }
        if let Some(library) = library_in(path) {
            return Ok(library);
        }
        // What was named explicitly is not silently replaced by something else.
        return Err(vec![format!("{} ({source})", path.display())]);
    }
    let active = [search.virtual_env.clone(), search.conda_prefix.clone()].into_iter().flatten();
    let folders = active.chain(project_environments());
    for environment in folders {
        tried.push(environment.display().to_string());
        if let Some(library) = library_in_environment(&environment) {
            return Ok(library);
        }
    }
    for folder in SYSTEM_FOLDERS {
        tried.push(folder.to_owned());
        if let Some(library) = library_in(Path::new(folder)) {
            return Ok(library);
        }
    }
    Err(tried)
}

/// `.venv` beside the working folder and beside the program, and in the folders above each.
fn project_environments() -> Vec<PathBuf> {
    let program = std::env::current_exe().ok();
    let starts = [std::env::current_dir().ok(), program.as_deref().and_then(Path::parent).map(Path::to_owned)];
    let mut environments = Vec::new();
    for start in starts.into_iter().flatten() {
        for folder in start.ancestors() {
            let environment = folder.join(".venv");
            if !environments.contains(&environment) {
                environments.push(environment);
            }
        }
    }
    environments.retain(|environment| environment.is_dir());
    environments
}

fn library_in_environment(environment: &Path) -> Option<PathBuf> {
    let pythons = std::fs::read_dir(environment.join("lib")).ok()?;
    let mut libraries: Vec<PathBuf> = pythons
        .flatten()
        .filter_map(|python| library_in(&python.path().join("site-packages/onnxruntime/capi")))
        .collect();
    libraries.sort();
    libraries.pop()
}

fn library_in(folder: &Path) -> Option<PathBuf> {
    let is_library =
        |name: &str| (name.starts_with("libonnxruntime.") && name.contains(EXTENSION)) && !name.contains("providers");
    let mut libraries: Vec<PathBuf> = std::fs::read_dir(folder)
        .ok()?
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(is_library))
        .map(|entry| entry.path())
        .collect();
    libraries.sort();
    libraries.pop()
}
