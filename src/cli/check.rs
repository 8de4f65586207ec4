//! `check`: what `serve` would do, without serving: for a CI job before a model goes out.

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::catalogue::{Catalogue, Entry, LoadedModel, VersionState};
use crate::config::{ConfigError, Settings};
use crate::contract::Inputs;
use crate::engine::Engine;
use crate::telemetry::Metrics;

const CONFIG_WRONG: u8 = 2;

pub(super) fn run(settings: Result<Settings, ConfigError>, as_json: bool) -> anyhow::Result<ExitCode> {
    let settings = match settings {
        Ok(settings) => settings,
        Err(error) if as_json => {
            println!("{}", json!({"ok": false, "config": error.to_string(), "models": []}));
            return Ok(ExitCode::from(CONFIG_WRONG));
        }
        Err(error) => return Err(error.into()),
    };
    let engine = Engine::start(&settings.engine)?;
    let catalogue = Catalogue::starting();
    catalogue.load(&settings, &engine, &Metrics::new(""))?;
    let snapshot = catalogue.snapshot();
    let default_problem = match snapshot.default_model() {
        Some(name) if snapshot.entry(name).is_none_or(|entry| entry.serving.is_none()) => {
            Some(format!("default_model is {name:?}, which does not serve"))
        }
        _ => None,
    };
    let is_empty = snapshot.entries().next().is_none();
    let is_ok = snapshot.entries().all(|entry| entry.failure().is_none() && entry.serving.is_some())
        && default_problem.is_none();
    if as_json {
        let models: Vec<Value> = snapshot.entries().map(report).collect();
        println!("{}", json!({"ok": is_ok && !is_empty, "config": default_problem, "models": models}));
    } else {
        println!("config: read, every key known");
        snapshot.entries().for_each(print);
        if let Some(problem) = &default_problem {
            println!("{problem}");
        }
        match (is_empty, is_ok) {
            (true, _) => println!("no models in {}", settings.models.dir.display()),
            (_, true) => println!("all is well"),
            _ => println!("not well"),
        }
    }
    drop(snapshot);
    catalogue.stop();
    Ok(match (is_empty, is_ok) {
        (true, _) => ExitCode::from(CONFIG_WRONG),
        (_, true) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

fn report(entry: &Entry) -> Value {
    let failures: Vec<Value> = entry
        .versions
        .iter()
        .filter_map(|report| match &report.state {
            VersionState::Failed { reason } => Some(json!({"file": report.file, "reason": reason})),
            VersionState::Serving | VersionState::Available => None,
        })
        .collect();
    let checked = entry.serving.as_ref().map(|model| json!(checks(model)));
    let serving = entry.serving.as_ref();
    json!({
        "name": entry.name,
        "ok": serving.is_some() && failures.is_empty(),
        "version": serving.map(|model| &model.version),
        "file": serving.map(|model| &model.file),
        "checked": checked,
        "golden": serving.map(|model| &model.golden),
        "warnings": serving.map(|model| &model.contract.warnings),
        "failures": failures,
    })
}

fn print(entry: &Entry) {
    if let Some(model) = &entry.serving {
        println!("{} version {} ({}): ok", entry.name, model.version, model.file.display());
        for check in checks(model) {
            println!("  {check}");
        }
        for warning in &model.contract.warnings {
            println!("  warning: {warning}");
        }
    }
    for report in &entry.versions {
        if let VersionState::Failed { reason } = &report.state {
            println!("{}: FAILED\n  {reason}", entry.name);
        }
    }
}

/// What was found true of a loaded model.
fn checks(model: &LoadedModel) -> Vec<String> {
    let contract = &model.contract;
    let mut checks = vec![format!("loaded in {} ms, {} bytes", model.load_time.as_millis(), model.n_bytes)];
    checks.push(match &contract.inputs {
        Inputs::Columns(_) => format!("contract agrees with the graph: {} features", contract.features.len()),
        Inputs::Tensors => "its inputs are tensors, served raw".to_owned(),
    });
    checks.push(match &model.golden {
        Some(report) => {
            format!("{} golden rows reproduced, largest difference {:.1e}", report.rows, report.largest_difference)
        }
        None => "no golden rows in the file: nothing proves that it predicts as in the notebook".to_owned(),
    });
    checks
}
