//! What is served, and why something isn't.

use std::time::SystemTime;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::Problem;
use crate::api::App;
use crate::catalogue::{Entry, LoadedModel, ModelRef, VersionReport, VersionState};
use crate::contract::{Contract, Feature};
use crate::engine::Batching;

/// `GET /models`: all models, in short.
pub(super) async fn list(State(app): State<App>) -> Response {
    let snapshot = app.shared.catalogue.snapshot();
    let models: Vec<Value> = snapshot.entries().map(summary).collect();
    axum::Json(json!({"default_model": snapshot.default_model(), "models": models})).into_response()
}

/// `GET /models/{model}`: all that is known of one.
pub(super) async fn show(
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let name = path.map_or_else(|_| String::new(), |Path(name)| name);
    let snapshot = app.shared.catalogue.snapshot();
    let Some(entry) = snapshot.entry(&name) else {
        return Err(match snapshot.find(ModelRef::Named(&name), None) {
            Err(error) => error.into(),
            Ok(_) => Problem::new(crate::error::ErrorKind::NotFound, "there is no such model"),
        });
    };
    let mut document = summary(entry);
    if let (Some(document), Some(model)) = (document.as_object_mut(), &entry.serving) {
        describe(document, model);
    }
    Ok(axum::Json(document).into_response())
}

fn summary(entry: &Entry) -> Value {
    let mut document = Map::new();
    document.insert("name".to_owned(), json!(entry.name));
    let state = if entry.serving.is_some() { "serving" } else { "failed" };
    document.insert("state".to_owned(), json!(state));
    if let Some(model) = &entry.serving {
        document.insert("version".to_owned(), json!(model.version));
        document.insert("task".to_owned(), json!(model.contract.task));
        document.insert("route".to_owned(), json!(model.route));
        document
            .insert("features".to_owned(), model.contract.features.iter().map(|feature| json!(feature.name)).collect());
    }
    if let Some(reason) = entry.failure() {
        document.insert("reason".to_owned(), json!(reason));
    }
    document.insert("versions".to_owned(), entry.versions.iter().map(version).collect());
    Value::Object(document)
}

fn version(report: &VersionReport) -> Value {
    let (state, reason) = match &report.state {
        VersionState::Serving => ("serving", None),
        VersionState::Available => ("available", None),
        VersionState::Failed { reason } => ("failed", Some(reason)),
    };
    let mut document = json!({"version": report.version, "state": state, "file": report.file});
    if let (Some(reason), Some(document)) = (reason, document.as_object_mut()) {
        document.insert("reason".to_owned(), json!(reason));
    }
    document
}

fn describe(document: &mut Map<String, Value>, model: &LoadedModel) {
    let contract = &model.contract;
    let mut set = |key: &str, value: Value| {
        document.insert(key.to_owned(), value);
    };
    set("file", json!(model.file));
    set("sha256", json!(model.sha256));
    set("bytes", json!(model.n_bytes));
    let since = model.loaded_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    set("loaded_at_unix_seconds", json!(since.as_secs()));
    set("load_seconds", json!(model.load_time.as_secs_f64()));
    set("batching", batching(model.batching));
    set("golden", json!(model.golden));
    contract_fields(contract, &mut set);
    set("producer", json!(model.onnx.producer));
    set("opsets", json!(model.onnx.opsets));
    set("operators", json!(model.onnx.operators));
}

fn contract_fields(contract: &Contract, set: &mut impl FnMut(&str, Value)) {
    set("target", json!(contract.target));
    set("features", contract.features.iter().map(feature).collect());
    set("classes", json!(contract.classes));
    set("labels", json!(contract.labels));
    set("example", Value::Object(contract.example_row()));
    set("trained", json!(contract.trained));
    set("warnings", json!(contract.warnings));
}

fn feature(feature: &Feature) -> Value {
    let mut document = json!({"name": feature.name, "type": feature.kind, "nullable": feature.nullable});
    let optional =
        [("categories", json!(feature.categories)), ("min", json!(feature.min)), ("max", json!(feature.max))];
    if let Some(document) = document.as_object_mut() {
        document.extend(
            optional.into_iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| (key.to_owned(), value)),
        );
    }
    document
}

fn batching(batching: Batching) -> Value {
    match batching {
        Batching::ByRow { max_rows } => json!({"by": "row", "max_rows": max_rows}),
        Batching::WholeRequests => json!({"by": "request"}),
    }
}
