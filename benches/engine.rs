//! The engine by itself: 1000 wines through sessions, tiles and queue, against one `session.run` over them with ONNX Runtime's
//! own threads on all cores.

#![allow(clippy::expect_used, reason = "a benchmark has nobody to report to but the one who runs it")]

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ort::session::Session;
use ort::value::TensorRef;
use porteiro::catalogue::{VersionFile, load_file};
use porteiro::config::{self, Model, ModelName};
use porteiro::contract::{Inputs, ModelInput, Table, Values};
use porteiro::engine::{Engine, refuse_telemetry};
use porteiro::telemetry::Metrics;

const N_ROWS: usize = 1000;
const MODEL: &str = "models/wine.onnx";

fn bench(criterion: &mut Criterion) {
    refuse_telemetry();
    let settings = config::Engine::default();
    let engine = Engine::start(&settings).expect("ONNX Runtime");
    let name: ModelName = "wine".parse().expect("a name");
    let file = VersionFile { version: None, path: Path::new(MODEL).to_owned() };
    let loaded = load_file(&name, &file, &Model::default(), &engine, &Metrics::new("")).expect("the wine model");
    let rows = spread_rows(&loaded.contract);

    let n_cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut session = Session::builder(engine.environment())
        .expect("a builder")
        .with_intra_threads(n_cores)
        .expect("threads")
        .commit_from_file(MODEL)
        .expect("a session");

    let mut group = criterion.benchmark_group("engine_1000_rows");
    group.throughput(Throughput::Elements(N_ROWS as u64));
    group.bench_function("porteiro", |bencher| {
        bencher.iter(|| {
            let table = Table { n_rows: N_ROWS, inputs: vec![Values::Float32(rows.clone())] };
            let deadline = Instant::now() + Duration::from_secs(60);
            black_box(loaded.handle.run_blocking(ModelInput::Rows(table), deadline).expect("an answer"))
        });
    });
    group.bench_function("session_run", |bencher| {
        let n_features = rows.len() / N_ROWS;
        bencher.iter(|| {
            let input = TensorRef::from_array_view(([N_ROWS, n_features], rows.as_slice())).expect("a tensor");
            let outputs = session.run(ort::inputs![input]).expect("outputs");
            let (_, labels) = outputs[0].try_extract_tensor::<i64>().expect("labels");
            let (_, probabilities) = outputs[1].try_extract_tensor::<f32>().expect("probabilities");
            black_box((labels.to_vec(), probabilities.to_vec()));
        });
    });
    group.finish();
}

/// Rows that differ: a row that repeats runs a forest three times as fast, as its branches are then predicted.
fn spread_rows(contract: &porteiro::contract::Contract) -> Vec<f32> {
    assert!(matches!(contract.inputs, Inputs::Columns(_)), "wine is a table");
    // The fractional parts of multiples of irrational numbers: spread evenly, and the same in each run.
    let steps =
        (0..contract.features.len()).map(|i| f64::from(u32::try_from(i + 2).expect("few features")).sqrt().fract());
    let steps: Vec<f64> = steps.map(|step| if step == 0.0 { 0.618_033_988_75 } else { step }).collect();
    let value = |row: usize, column: usize| {
        let feature = &contract.features[column];
        let (min, max) = (feature.min.unwrap_or(0.0), feature.max.unwrap_or(1.0));
        (min + (max - min) * (row as f64 * steps[column]).fract()) as f32
    };
    (0..N_ROWS)
        .flat_map(|row| (0..contract.features.len()).map(move |column| (row, column)))
        .map(|(row, column)| value(row, column))
        .collect()
}

criterion_group!(benches, bench);
criterion_main!(benches);
