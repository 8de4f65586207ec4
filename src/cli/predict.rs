//! `predict`: rows in, predictions out, through the same steps as a request, without a server.

use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;

use crate::catalogue::{Catalogue, ModelRef};
use crate::codec::DecodeError;
use crate::config::{Models, Settings};
use crate::engine::Engine;
use crate::predict::{Format, PredictError, Predictor, Request};
use crate::telemetry::{Metrics, Protocol};

/// Nobody else waits for this process.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

pub(super) fn run(model: &str, rows: Option<&str>, settings: &Settings, is_csv: bool) -> anyhow::Result<ExitCode> {
    let (settings, name) = narrow(settings, model)?;
    let engine = Engine::start(&settings.engine)?;
    let catalogue = Catalogue::starting();
    let metrics = Arc::new(Metrics::new(""));
    catalogue.load(&settings, &engine, &metrics)?;
    let found = catalogue.snapshot().find(ModelRef::Named(&name), None)?;
    let (body, format) = match rows {
        None => (serde_json::to_vec(&found.contract.example_row())?, Format::Json),
        Some(rows) => read(rows, is_csv)?,
    };
    let request = Request {
        protocol: Protocol::Native,
        model: ModelRef::Named(&name),
        version: None,
        format,
        body: Bytes::from(body),
        id: uuid::Uuid::now_v7().to_string(),
        deadline: Instant::now() + PATIENCE,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let answer = runtime.block_on(async {
        let predicted = Predictor::new(catalogue.clone(), metrics).predict(request).await?;
        let format = predicted.format(format);
        predicted.encode(format).await
    });
    catalogue.stop();
    match answer {
        Ok(mut answer) => {
            if !answer.ends_with(b"\n") {
                answer.push(b'\n');
            }
            std::io::stdout().write_all(&answer).context("the answer can't be written")?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => Err(explain(error)),
    }
}

/// The settings with only the wanted model in them, so that nothing else is loaded, and its name.
fn narrow(settings: &Settings, model: &str) -> anyhow::Result<(Settings, String)> {
    let mut settings = settings.clone();
    settings.default_model = None;
    let path = Path::new(model);
    if path.extension().is_some_and(|extension| extension == "onnx") {
        let name = path.file_stem().and_then(std::ffi::OsStr::to_str).unwrap_or_default().to_owned();
        if !path.is_file() {
            bail!("{model}: there is no such file");
        }
        let (dir, file) = (path.parent().unwrap_or(Path::new("")), path.file_name().unwrap_or_default());
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        let table = crate::config::Model {
            file: Some(file.into()),
            engine: settings.engine.defaults.clone(),
            ..Default::default()
        };
        let tables = [(name.as_str().try_into()?, table)].into();
        settings.models = Models { dir: dir.to_owned(), auto: false, tables };
        return Ok((settings, name));
    }
    let name: crate::config::ModelName = model.try_into()?;
    let is_there = crate::catalogue::scan(&settings.models)?.into_iter().any(|candidate| candidate.name == model);
    if !is_there {
        let known: Vec<String> =
            crate::catalogue::scan(&settings.models)?.into_iter().map(|candidate| candidate.name).collect();
        let near = crate::config::near(model, known.iter().map(String::as_str));
        let near = near.map_or(String::new(), |near| format!("; did you mean {near:?}?"));
        bail!("there is no model {model:?} in {}{near}", settings.models.dir.display());
    }
    let table = settings.model(&name);
    settings.models.tables = [(name, table)].into();
    settings.models.auto = false;
    Ok((settings, model.to_owned()))
}

fn read(rows: &str, is_csv: bool) -> anyhow::Result<(Vec<u8>, Format)> {
    let format = |is_csv| if is_csv { Format::Csv } else { Format::Json };
    if rows == "-" {
        let mut body = Vec::new();
        std::io::stdin().read_to_end(&mut body).context("standard input can't be read")?;
        return Ok((body, format(is_csv)));
    }
    match rows.strip_prefix('@') {
        Some(file) => {
            let body = std::fs::read(file).with_context(|| format!("{file} can't be read"))?;
            Ok((body, format(is_csv || file.ends_with(".csv"))))
        }
        None => Ok((rows.as_bytes().to_vec(), format(is_csv))),
    }
}

/// A server's client gets the problems as JSON; here they are lines.
fn explain(error: PredictError) -> anyhow::Error {
    match error {
        PredictError::Decode(DecodeError::Invalid(problems)) => {
            let lines: Vec<String> = problems
                .listed()
                .iter()
                .map(|problem| {
                    let row = problem.row.map_or(String::new(), |row| format!("row {row}: "));
                    let feature = problem.feature.as_ref().map_or(String::new(), |feature| format!("{feature:?} "));
                    let hint = problem.hint.as_ref().map_or(String::new(), |hint| format!(" ({hint})"));
                    format!("{row}{feature}{}{hint}", problem.problem)
                })
                .collect();
            anyhow!("the data breaks the model's contract:\n{}", lines.join("\n"))
        }
        PredictError::Decode(DecodeError::Malformed { message, line, column, hint }) => {
            anyhow!(
                "line {line}, column {column}: {message}{}",
                hint.map_or(String::new(), |hint| format!(" ({hint})"))
            )
        }
        error => error.into(),
    }
}
