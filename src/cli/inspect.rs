//! `inspect`: what an ONNX file is, and the config table that would serve it.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use serde_json::json;

use crate::catalogue::{LoadedModel, VersionFile, load_file};
use crate::config::{FeatureType, ModelName, Settings};
use crate::contract::{Declared, DeclaredKind, Inputs, OnnxFile};
use crate::engine::{Batching, Engine};
use crate::telemetry::Metrics;

pub(super) fn run(file: &Path, settings: &Settings, as_json: bool) -> anyhow::Result<ExitCode> {
    let bytes = std::fs::read(file).with_context(|| format!("{} can't be read", file.display()))?;
    let onnx = OnnxFile::parse(bytes.into()).map_err(|reason| anyhow!("{}: {reason}", file.display()))?;
    let stem = file.file_stem().and_then(std::ffi::OsStr::to_str).unwrap_or("model");
    let name = ModelName::try_from(stem).or_else(|_| ModelName::try_from("model")).map_err(|error| anyhow!(error))?;
    let engine = Engine::start(&settings.engine)?;
    let version = VersionFile { version: None, path: file.to_owned() };
    // The file by itself: a table of the config may be about another file of that name.
    let defaults = crate::config::Model { engine: settings.engine.defaults.clone(), ..Default::default() };
    let loaded = load_file(&name, &version, &defaults, &engine, &Metrics::new(""));
    match &loaded {
        Ok(model) if as_json => println!("{}", as_document(model)),
        Ok(model) => print(model),
        Err(error) if as_json => {
            let document =
                json!({"file": file, "opsets": onnx.opsets, "operators": onnx.operators, "problem": error.to_string()});
            println!("{document}");
        }
        Err(error) => {
            print_file(file, &onnx);
            println!("\nIt can't be served as it is:\n  {error}");
        }
    }
    let code = if loaded.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    if let Ok(model) = loaded {
        model.handle.stop();
    }
    Ok(code)
}

fn as_document(model: &LoadedModel) -> serde_json::Value {
    let declared = |list: &[Declared]| {
        list.iter().map(|declared| json!({"name": declared.name, "type": kind(&declared.kind)})).collect::<Vec<_>>()
    };
    let contract = &model.contract;
    json!({
        "file": model.file, "bytes": model.n_bytes, "sha256": model.sha256, "version": model.version,
        "producer": model.onnx.producer, "ir_version": model.onnx.ir_version,
        "opsets": model.onnx.opsets, "operators": model.onnx.operators,
        "inputs": declared(&contract.signature.inputs), "outputs": declared(&contract.signature.outputs),
        "task": contract.task, "target": contract.target,
        "features": contract.features.iter().map(|feature| json!({
            "name": feature.name, "type": feature.kind, "nullable": feature.nullable, "min": feature.min, "max": feature.max,
            "categories": feature.categories,
        })).collect::<Vec<_>>(),
        "classes": contract.classes, "labels": contract.labels, "example": contract.example_row(),
        "trained": contract.trained, "golden": model.golden, "has_reference": contract.reference.is_some(),
        "config": config_table(model), "warnings": contract.warnings,
    })
}

fn print_file(file: &Path, onnx: &OnnxFile) {
    println!("{}", file.display());
    println!(
        "  made by    {} (IR version {})",
        if onnx.producer.is_empty() { "unknown" } else { &onnx.producer },
        onnx.ir_version
    );
    let opsets: Vec<String> = onnx.opsets.iter().map(|(domain, version)| format!("{domain} {version}")).collect();
    println!("  opsets     {}", opsets.join(", "));
    let operators: Vec<String> = onnx
        .operators
        .iter()
        .map(|(operator, count)| if *count == 1 { operator.clone() } else { format!("{operator} x{count}") })
        .collect();
    println!("  operators  {}", operators.join(", "));
}

fn print(model: &LoadedModel) {
    let contract = &model.contract;
    print_file(&model.file, &model.onnx);
    println!("  version    {} ({} bytes, sha256 {})", model.version, model.n_bytes, model.sha256);
    for (title, list) in [("inputs", &contract.signature.inputs), ("outputs", &contract.signature.outputs)] {
        for (index, declared) in list.iter().enumerate() {
            println!("  {:<9}  {}: {}", if index == 0 { title } else { "" }, declared.name, kind(&declared.kind));
        }
    }
    println!("\nContract");
    let target = contract.target.as_ref().map_or(String::new(), |target| format!(" of {target}"));
    println!("  task       {}{target}", contract.task.as_str());
    for (index, feature) in contract.features.iter().enumerate() {
        let range = match (feature.min, feature.max, &feature.categories) {
            (Some(min), Some(max), _) => format!(", {min} to {max} in training"),
            (_, _, Some(categories)) => format!(", {} in training", categories.join(" | ")),
            _ => String::new(),
        };
        let nullable = if feature.nullable { ", may be null" } else { "" };
        println!(
            "  {:<9}  {}: {}{nullable}{range}",
            if index == 0 { "features" } else { "" },
            feature.name,
            word(feature.kind)
        );
    }
    if let Some(classes) = &contract.classes {
        let classes: Vec<String> = classes
            .iter()
            .map(|class| contract.label(class).map_or_else(|| class.to_string(), |label| format!("{class} = {label}")))
            .collect();
        println!("  classes    {}", classes.join(", "));
    }
    if let Some(trained) = &contract.trained {
        let metrics: Vec<String> = trained.metrics.iter().map(|(name, value)| format!("{name} {value:.4}")).collect();
        println!(
            "  trained    {} on {} rows{}{}",
            trained.at.as_deref().unwrap_or("at an unknown time"),
            trained.rows.map_or("unknown".to_owned(), |rows| rows.to_string()),
            if metrics.is_empty() { "" } else { "; held out: " },
            metrics.join(", ")
        );
    }
    match &model.golden {
        Some(report) => println!(
            "  golden     {} rows, reproduced (largest difference {:.1e})",
            report.rows, report.largest_difference
        ),
        None => println!("  golden     none: export with porteiro.export, or porteiro.annotate the file"),
    }
    println!(
        "  batching   {}",
        match model.batching {
            Batching::ByRow { max_rows } => format!("by row, up to {max_rows} a run"),
            Batching::WholeRequests => "each request by itself: the graph is not row-wise".to_owned(),
        }
    );
    for warning in &contract.warnings {
        println!("  warning    {warning}");
    }
    println!("\nTo set it in config/porteiro.toml:\n\n{}", config_table(model));
    println!("An example row, for POST {}:\n  {}", model.route, serde_json::Value::Object(contract.example_row()));
}

/// A table that says what the file says, for editing.
fn config_table(model: &LoadedModel) -> String {
    let contract = &model.contract;
    let file = model.file.file_name().and_then(std::ffi::OsStr::to_str).unwrap_or_default();
    // JSON's strings are TOML's basic strings.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let mut table = format!("[models.{}]\nfile = {}\n", key(&model.name), quoted(file));
    if matches!(contract.inputs, Inputs::Columns(_)) {
        let features: Vec<String> = contract.features.iter().map(|feature| quoted(&feature.name)).collect();
        table.push_str(&format!("features = [{}]\n", features.join(", ")));
    }
    if let Some(classes) = &contract.classes {
        let labels: Vec<String> = classes
            .iter()
            .map(|class| {
                let text = contract.label(class).map_or_else(|| class.to_string(), str::to_owned);
                format!("{} = {}", key(&class.to_string()), quoted(&text))
            })
            .collect();
        table.push_str(&format!("labels = {{ {} }}\n", labels.join(", ")));
    }
    table
}

/// A TOML key, bare where it may be.
fn key(name: &str) -> String {
    let is_bare =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if is_bare { name.to_owned() } else { serde_json::Value::from(name).to_string() }
}

fn word(kind: FeatureType) -> &'static str {
    match kind {
        FeatureType::Float => "float",
        FeatureType::Int => "int",
        FeatureType::Bool => "bool",
        FeatureType::String => "string",
    }
}

fn kind(kind: &DeclaredKind) -> String {
    match kind {
        DeclaredKind::Tensor { element, shape } => {
            let dims: Vec<String> =
                shape.iter().map(|dim| if *dim < 0 { "N".to_owned() } else { dim.to_string() }).collect();
            format!("{}[{}]", element.as_str(), dims.join(", "))
        }
        DeclaredKind::Maps => "sequence of maps (ZipMap)".to_owned(),
        DeclaredKind::Unsupported(kind) => kind.clone(),
    }
}
