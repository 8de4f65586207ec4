//! The layers that `src/lib.rs` draws hold: nothing imports upwards, only one module names the runtime, only one reads the
//! environment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::gateway::ROOT;

/// A source file: the module of the crate that it belongs to, and its code without comments.
struct Source {
    path: PathBuf,
    module: String,
    lines: Vec<String>,
}

#[test]
fn nothing_imports_upwards() {
    let layers = layers();
    let sources = sources();
    let mut wrong = Vec::new();
    let mut n_imports = 0;
    for source in &sources {
        // main.rs and lib.rs stand above all.
        let Some(own) = layers.get(&source.module) else { continue };
        for (number, imported) in source.imports() {
            n_imports += 1;
            match layers.get(&imported) {
                Some(layer) if layer < own || imported == source.module => {}
                Some(layer) if layer == own && *own == 0 => {}
                found => wrong.push(format!(
                    "{}:{number}: {} (layer {own}) imports {imported} (layer {found:?})",
                    source.path.display(),
                    source.module
                )),
            }
        }
    }
    assert!(n_imports > 80, "only {n_imports} imports were found: this test reads them wrongly");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_module_has_a_layer() {
    let layers = layers();
    let mut modules: Vec<String> = sources().into_iter().map(|source| source.module).collect();
    modules.sort();
    modules.dedup();
    modules.retain(|module| !["lib", "main"].contains(&module.as_str()));
    assert_eq!(modules, layers.keys().cloned().collect::<Vec<_>>());
}

#[test]
fn only_the_engine_names_the_runtime() {
    let found = modules_with("ort::");
    assert_eq!(found, ["engine"]);
}

#[test]
fn only_the_config_reads_the_environment() {
    let mut found = modules_with("env::var");
    found.extend(modules_with("env::vars"));
    // clap would read it for an argument that is marked so.
    found.extend(modules_with("env ="));
    found.dedup();
    assert_eq!(found, ["config"]);
}

#[test]
fn codecs_know_no_web_framework() {
    for framework in ["axum::", "hyper::", "tower_http::", "tonic::"] {
        let found = modules_with(framework);
        assert!(found.iter().all(|module| module == "api"), "{framework} in {found:?}");
    }
}

/// The modules whose code names that path, each once.
fn modules_with(path: &str) -> Vec<String> {
    let names = |line: &String| {
        // A path's start: `port::` is not `ort::`.
        line.match_indices(path).any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
    };
    let mut modules: Vec<String> =
        sources().into_iter().filter(|source| source.lines.iter().any(names)).map(|source| source.module).collect();
    modules.sort();
    modules.dedup();
    modules
}

/// The table in `src/lib.rs`: module to layer.
fn layers() -> BTreeMap<String, usize> {
    let text = std::fs::read_to_string(Path::new(ROOT).join("src/lib.rs")).expect("src/lib.rs");
    let row = |line: &str| {
        let mut cells = line.strip_prefix("//! |")?.split('|').map(str::trim);
        let layer = cells.next()?.parse().ok()?;
        Some((cells.next()?.trim_matches(['[', ']', '`']).to_owned(), layer))
    };
    let layers: BTreeMap<String, usize> = text.lines().filter_map(row).collect();
    assert!(layers.len() >= 10, "the table was not read: {layers:?}");
    layers
}

fn sources() -> Vec<Source> {
    let root = Path::new(ROOT).join("src");
    let mut folders = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push(Source::read(&root, path));
            }
        }
    }
    sources
}

impl Source {
    fn read(root: &Path, path: PathBuf) -> Self {
        let text = std::fs::read_to_string(&path).expect("a source file");
        let relative = path.strip_prefix(root).expect("under src").with_extension("");
        let module = relative.iter().next().expect("a name").to_string_lossy().into_owned();
        let code = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
        Self { path, module, lines: text.lines().map(code).collect() }
    }

    /// The modules that `crate::` paths name, those in braces too, with the number of their line.
    fn imports(&self) -> Vec<(usize, String)> {
        let mut imports = Vec::new();
        for (index, line) in self.lines.iter().enumerate() {
            for (at, start) in line.match_indices("crate::") {
                let rest = &line[at + start.len()..];
                if let Some(list) = rest.strip_prefix('{') {
                    let whole = [list].into_iter().chain(self.lines[index + 1..].iter().map(String::as_str));
                    imports.extend(firsts_of_list(&whole.collect::<Vec<_>>().join(" ")).map(|name| (index + 1, name)));
                } else {
                    imports.push((index + 1, first_name(rest)));
                }
            }
        }
        imports
    }
}

/// The first names of `a, b::{c, d}, e::f}; …`, up to the closing brace.
fn firsts_of_list(list: &str) -> impl Iterator<Item = String> {
    let mut depth = 0;
    let mut firsts = vec![String::new()];
    for c in list.chars() {
        match c {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => firsts.push(String::new()),
            c => firsts.last_mut().expect("never empty").push(c),
        }
    }
    firsts.into_iter().map(|first| first_name(first.trim())).filter(|name| !name.is_empty())
}

fn first_name(path: &str) -> String {
    path.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}
