//! The engine by itself: 1000 wines through sessions, tiles and queue, against one `session.run` over them with ONNX Runtime's
//! own threads on all cores.

#![allow(clippy::expect_used, reason = "a benchmark has nobody to report to but the one who runs it")]

use std::cell::Cell;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ort::session::Session;
use ort::value::TensorRef;
use porteiro::catalogue::{VersionFile, load_file};
use porteiro::config::{self, Model, ModelName};
use porteiro::contract::{Contract, ModelInput, Table, Values};
use porteiro::engine::{Engine, refuse_telemetry};
use porteiro::telemetry::Metrics;

const N_ROWS: usize = 1000;
const MODEL: &str = "models/wine.onnx";

fn bench(criterion: &mut Criterion) {
    refuse_telemetry();
    let engine = Engine::start(&config::Engine::default()).expect("ONNX Runtime");
    let name: ModelName = "wine".parse().expect("a name");
    let file = VersionFile { version: None, path: Path::new(MODEL).to_owned() };
    let loaded = load_file(&name, &file, &Model::default(), &engine, &Metrics::new("")).expect("the wine model");
    let n_features = loaded.contract.features.len();
    let n_cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut session = Session::builder(engine.environment())
        .expect("a builder")
        .with_intra_threads(n_cores)
        .expect("threads")
        .commit_from_file(MODEL)
        .expect("a session");
    // Other rows in each round: rows that come again run a forest up to three times as fast, as its branches are then predicted.
    let round = Cell::new(0);
    let rows = || {
        round.set(round.get() + 1);
        mixed_rows(&loaded.contract, round.get())
    };

    let mut group = criterion.benchmark_group("engine_1000_rows");
    group.throughput(Throughput::Elements(N_ROWS as u64));
    group.bench_function("porteiro", |bencher| {
        let run = |rows: Vec<f32>| {
            let table = Table { n_rows: N_ROWS, inputs: vec![Values::Float32(rows)] };
            let deadline = Instant::now() + Duration::from_secs(60);
            black_box(loaded.handle.run_blocking(ModelInput::Rows(table), deadline).expect("an answer"))
        };
        bencher.iter_batched(rows, run, BatchSize::LargeInput);
    });
    group.bench_function("session_run", |bencher| {
        let run = |rows: Vec<f32>| {
            let input = TensorRef::from_array_view(([N_ROWS, n_features], rows.as_slice())).expect("a tensor");
            let outputs = session.run(ort::inputs![input]).expect("outputs");
            let (_, labels) = outputs[0].try_extract_tensor::<i64>().expect("labels");
            let (_, probabilities) = outputs[1].try_extract_tensor::<f32>().expect("probabilities");
            black_box((labels.to_vec(), probabilities.to_vec()))
        };
        bencher.iter_batched(rows, run, BatchSize::LargeInput);
    });
    group.finish();
}

/// Rows whose values are each one that some golden row has for its feature, moved a little, so that they reach the depths that
/// real rows do. The same for the same round.
fn mixed_rows(contract: &Contract, round: u64) -> Vec<f32> {
    let golden = &contract.golden.as_ref().expect("golden rows").rows;
    let mut state = round;
    let mut random = move || splitmix(&mut state);
    let mut rows = Vec::with_capacity(N_ROWS * contract.features.len());
    for _ in 0..N_ROWS {
        for column in 0..contract.features.len() {
            let row = usize::try_from(random() % golden.len() as u64).expect("a small number");
            let value = golden[row][column].as_f64().expect("a number");
            let moved = 1.0 + 0.1 * ((random() >> 11) as f64 / (1_u64 << 53) as f64 - 0.5);
            rows.push((value * moved) as f32);
        }
    }
    rows
}

/// SplitMix64 (Steele, Lea, Flood, 2014).
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

criterion_group!(benches, bench);
criterion_main!(benches);
