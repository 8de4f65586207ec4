//! The bare reference that `make bench` measures the product against: axum, serde and ONNX Runtime for the wine model
//! alone, its twelve fields known at compile time, with none of the product's features (no contract, no checks of the
//! data, no metrics, no log, no journal).
//!
//! `POST /predict` takes one wine or an array of wines. Session threads own one session of one intra-op thread each
//! and share one bounded queue; a thread that comes free takes all one-row requests that wait, up to `TILE_ROWS`, and
//! runs them as one tensor. An array is run by one `Session::run`, however long it is.
//!
//! Settings, all from the environment: `BARE_LISTEN` (address, `127.0.0.1:5001`), `BARE_MODEL` (`models/wine.onnx`),
//! `BARE_SESSIONS` (session threads, the number of cores), `ORT_DYLIB_PATH` (ONNX Runtime's library, required).

#![allow(clippy::expect_used, reason = "a benchmark has nobody to report to but the one who runs it")]
#![expect(clippy::disallowed_methods, reason = "the reference has no config layer that could read the environment")]

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};
use std::{env, thread};

use anyhow::{Context, Result, ensure};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::{Json, Router};
use ort::environment::Environment;
use ort::session::Session;
use ort::value::TensorRef;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const FEATURES: usize = 12;
const TILE_ROWS: usize = 128;
const QUEUE_JOBS: usize = 1024;
const LABELS: [&str; 2] = ["bom", "ruim"];

#[derive(Deserialize)]
struct Wine {
    #[serde(rename = "fixed acidity")]
    fixed_acidity: f32,
    #[serde(rename = "volatile acidity")]
    volatile_acidity: f32,
    #[serde(rename = "citric acid")]
    citric_acid: f32,
    #[serde(rename = "residual sugar")]
    residual_sugar: f32,
    chlorides: f32,
    #[serde(rename = "free sulfur dioxide")]
    free_sulfur_dioxide: f32,
    #[serde(rename = "total sulfur dioxide")]
    total_sulfur_dioxide: f32,
    density: f32,
    #[serde(rename = "pH")]
    ph: f32,
    sulphates: f32,
    alcohol: f32,
    color: f32,
}

impl Wine {
    #[rustfmt::skip]
    fn row(&self) -> [f32; FEATURES] {
        [
            self.fixed_acidity, self.volatile_acidity, self.citric_acid, self.residual_sugar, self.chlorides,
            self.free_sulfur_dioxide, self.total_sulfur_dioxide, self.density, self.ph, self.sulphates,
            self.alcohol, self.color,
        ]
    }
}

#[derive(Serialize)]
struct Answer {
    prediction: &'static str,
    probabilities: Probabilities,
}

#[derive(Serialize)]
struct Probabilities {
    bom: f32,
    ruim: f32,
}

/// The rows of one request, row after row, and where its answers go.
struct Job {
    rows: Vec<[f32; FEATURES]>,
    reply: oneshot::Sender<Vec<Answer>>,
}

/// A bounded queue from the requests to the session threads.
#[derive(Default)]
struct Queue {
    state: Mutex<QueueState>,
    filled: Condvar,
}

#[derive(Default)]
struct QueueState {
    jobs: VecDeque<Job>,
    idle_threads: usize,
}

impl Queue {
    /// Whether there was room for the job.
    fn push(&self, job: Job) -> bool {
        let mut state = self.state.lock().expect("a session thread panicked");
        if state.jobs.len() == QUEUE_JOBS {
            return false;
        }
        state.jobs.push_back(job);
        // A busy thread looks at the queue by itself; waking one needlessly costs a system call.
        let wake = state.idle_threads > 0;
        drop(state);
        if wake {
            self.filled.notify_one();
        }
        true
    }

    /// Waits for a job and takes with it those behind that fit the tile. A job larger than a tile is taken alone.
    fn take_tile(&self, tile: &mut Vec<Job>) {
        let mut state = self.state.lock().expect("a session thread panicked");
        while state.jobs.is_empty() {
            state.idle_threads += 1;
            state = self.filled.wait(state).expect("a session thread panicked");
            state.idle_threads -= 1;
        }
        let mut n_rows = 0;
        while let Some(next) = state.jobs.front() {
            n_rows += next.rows.len();
            if n_rows > TILE_ROWS && !tile.is_empty() {
                break;
            }
            tile.extend(state.jobs.pop_front());
        }
    }
}

/// Runs tiles on one session for as long as the process lives.
fn run_session(mut session: Session, queue: &Queue) -> Result<()> {
    let (mut tile, mut rows) = (Vec::new(), Vec::new());
    loop {
        queue.take_tile(&mut tile);
        rows.clear();
        rows.extend(tile.iter().flat_map(|job: &Job| job.rows.iter().flatten().copied()));
        let shape = [rows.len() / FEATURES, FEATURES];
        let outputs = session.run(ort::inputs![TensorRef::from_array_view((shape, rows.as_slice()))?])?;
        let (_, classes) = outputs[0].try_extract_tensor::<i64>()?;
        let (_, probabilities) = outputs[1].try_extract_tensor::<f32>()?;
        let mut answers = classes.iter().zip(probabilities.chunks_exact(LABELS.len())).map(|(class, row)| Answer {
            prediction: LABELS[usize::from(*class == 1)],
            probabilities: Probabilities { bom: row[0], ruim: row[1] },
        });
        for job in tile.drain(..) {
            // A client that went away has dropped its receiver: nobody misses the answer.
            let _ = job.reply.send(answers.by_ref().take(job.rows.len()).collect());
        }
    }
}

async fn predict(State(queue): State<Arc<Queue>>, body: Bytes) -> Response {
    let is_array = body.trim_ascii_start().first() == Some(&b'[');
    let wines: Result<Vec<Wine>, _> = match is_array {
        true => serde_json::from_slice(&body),
        false => serde_json::from_slice(&body).map(|wine| vec![wine]),
    };
    let rows: Vec<_> = match wines {
        Ok(wines) if !wines.is_empty() => wines.iter().map(Wine::row).collect(),
        Ok(_) => return (StatusCode::BAD_REQUEST, "no rows").into_response(),
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    let (reply, answers) = oneshot::channel();
    if !queue.push(Job { rows, reply }) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    match answers.await {
        Ok(answers) if is_array => Json(answers).into_response(),
        Ok(answers) => Json(&answers[0]).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn open_session(environment: &Environment, model: &str) -> ort::Result<Session> {
    Session::builder(environment)?.with_intra_threads(1)?.commit_from_file(model)
}

fn main() -> Result<()> {
    // ONNX Runtime's official builds report to their maker unless this is set before the library is loaded.
    ensure!(env::var("ORT_DISABLE_TELEMETRY").is_ok_and(|value| value == "1"), "set ORT_DISABLE_TELEMETRY=1");
    let library = env::var("ORT_DYLIB_PATH").context("set ORT_DYLIB_PATH to ONNX Runtime's shared library")?;
    let model = env::var("BARE_MODEL").unwrap_or_else(|_| "models/wine.onnx".into());
    let listen = env::var("BARE_LISTEN").unwrap_or_else(|_| "127.0.0.1:5001".into());
    let n_sessions = match env::var("BARE_SESSIONS") {
        Ok(text) => text.parse().context("BARE_SESSIONS must be a whole number")?,
        Err(_) => thread::available_parallelism()?.get(),
    };

    let environment = ort::init_from(&library)?.with_telemetry(false).build()?;
    let queue = Arc::new(Queue::default());
    for _ in 0..n_sessions {
        let session = open_session(&environment, &model)?;
        let queue = Arc::clone(&queue);
        thread::spawn(move || {
            if let Err(error) = run_session(session, &queue) {
                eprintln!("bare: {error:#}");
                std::process::exit(1);
            }
        });
    }

    let routes =
        Router::new().route("/predict", post(predict)).route("/healthz", get(|| async { "ok" })).with_state(queue);
    tokio::runtime::Runtime::new()?.block_on(async {
        let listener = tokio::net::TcpListener::bind(&listen).await?;
        let without_delay = listener.tap_io(|stream| _ = stream.set_nodelay(true));
        println!("bare reference: {n_sessions} sessions of {model} on {listen}");
        Ok(axum::serve(without_delay, routes).await?)
    })
}
