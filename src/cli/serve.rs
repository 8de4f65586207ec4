//! `serve`: puts everything together, and takes it apart again.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use crate::api::{self, App};
use crate::catalogue::{Catalogue, Snapshot};
use crate::config::{LogFormat, Settings};
use crate::engine::{Engine, n_cores};
use crate::telemetry::{self, Metrics};

pub(super) fn run(settings: &Settings) -> anyhow::Result<ExitCode> {
    telemetry::start_log(&settings.log);
    let engine = Engine::start(&settings.engine)?;
    // The port is taken first and answered on at once: what prevents it shows before models are loaded, and probes are told
    // that the gateway is starting.
    let listener = api::bind(&settings.server.listen)?;
    let address = listener.local_addr().context("the listener has no address")?;
    let metrics = Arc::new(Metrics::new(&engine.library().display().to_string()));
    let catalogue = Catalogue::starting();
    let app = App::new(catalogue.clone(), Arc::clone(&metrics), &settings.server);
    // Large bodies are read on blocking threads. That is work for a core, and more threads than cores only hold more memory.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .max_blocking_threads(n_cores().max(2))
        .enable_all()
        .build()
        .context("no async runtime")?;
    let result = runtime.block_on(async {
        let mut interrupted = signal(SignalKind::interrupt())?;
        let mut terminated = signal(SignalKind::terminate())?;
        let stop = async move {
            tokio::select! {
                _ = interrupted.recv() => {}
                _ = terminated.recv() => {}
            }
            tracing::info!("stopping: what was accepted is answered");
        };
        let loading = {
            let (settings, catalogue, metrics) = (settings.clone(), catalogue.clone(), Arc::clone(&metrics));
            tokio::task::spawn_blocking(move || {
                catalogue.load(&settings, &engine, &metrics)?;
                announce(&settings, address, &catalogue.snapshot());
                Ok::<(), crate::catalogue::ScanError>(())
            })
        };
        let serving = api::serve(listener, app, &settings.server, stop);
        tokio::pin!(serving);
        tokio::select! {
            loaded = loading => {
                loaded.context("loading the models ended early")??;
                serving.await.context("the listener failed")
            }
            served = &mut serving => served.context("the listener failed"),
        }
    });
    catalogue.stop();
    result?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// In bytes of JSON.
const LONGEST_EXAMPLE: usize = 2000;

/// Says what is served and what to try.
fn announce(settings: &Settings, address: SocketAddr, snapshot: &Snapshot) {
    let url = format!("http://{address}");
    for model in snapshot.serving() {
        let (name, version, route) = (model.name.as_ref(), model.version.as_str(), model.route.as_str());
        let milliseconds = u64::try_from(model.load_time.as_millis()).unwrap_or(u64::MAX);
        tracing::info!(model = name, version, route, milliseconds, "serving");
        for warning in &model.contract.warnings {
            tracing::warn!(model = name, version, warning, "the contract looks wrong");
        }
    }
    if let Some(default) = snapshot.default_model()
        && snapshot.entry(default).is_none_or(|entry| entry.serving.is_none())
    {
        tracing::warn!(
            default_model = default,
            "the default model is not serving; POST /predict and GET /example fail"
        );
    }
    tracing::info!("listening on {url}");
    if settings.log.format == LogFormat::Json {
        return;
    }
    // A gateway that listens on all addresses is asked by one of them.
    let url = match address.ip() {
        ip if ip.is_unspecified() => format!("http://127.0.0.1:{}", address.port()),
        _ => url,
    };
    println!("\n{}", welcome(&url, snapshot));
}

fn welcome(url: &str, snapshot: &Snapshot) -> String {
    use std::fmt::Write;
    let mut text = format!("Porteiro {} is listening on {url}\n", env!("CARGO_PKG_VERSION"));
    let width = snapshot.entries().map(|entry| entry.name.len()).max().unwrap_or(0);
    for entry in snapshot.entries() {
        // Writing into a string does not fail.
        let _ = match (&entry.serving, entry.failure()) {
            (Some(model), _) => {
                let task = model.contract.task.as_str();
                let target = model.contract.target.as_ref().map_or(String::new(), |target| format!(" of {target}"));
                writeln!(
                    text,
                    "  {:width$}  POST {}  version {}, {task}{target}",
                    entry.name, model.route, model.version
                )
            }
            (None, reason) => {
                writeln!(
                    text,
                    "  {:width$}  not serving: {}",
                    entry.name,
                    reason.unwrap_or("no version of it is loaded")
                )
            }
        };
    }
    let _ = match snapshot
        .serving()
        .find(|model| Some(model.name.as_ref()) == snapshot.default_model())
        .or(snapshot.serving().next())
    {
        Some(model) => {
            let example = serde_json::Value::Object(model.contract.example_row()).to_string().replace('\'', "'\\''");
            // A tensor of an image would fill the screen.
            let post = if example.len() < LONGEST_EXAMPLE {
                format!("  curl -d '{example}' {url}{}\n", model.route)
            } else {
                String::new()
            };
            write!(text, "\nTry it:\n  curl {url}/example/{}\n{post}", model.name)
        }
        None => writeln!(text, "\nNo model is serving. Put an ONNX file into the folder of models and start again."),
    };
    text
}
