//! The JSON codec by itself: rows of the wine model in, predictions out.

#![allow(clippy::expect_used, reason = "a benchmark has nobody to report to but the one who runs it")]

use std::hint::black_box;
use std::path::Path;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use porteiro::catalogue::{VersionFile, load_file};
use porteiro::codec::json;
use porteiro::config::{self, Model, ModelName};
use porteiro::engine::{Engine, refuse_telemetry};
use porteiro::telemetry::Metrics;
use serde_json::Value;

fn bench(criterion: &mut Criterion) {
    refuse_telemetry();
    let engine = Engine::start(&config::Engine::default()).expect("ONNX Runtime");
    let name: ModelName = "wine".parse().expect("a name");
    let file = VersionFile { version: None, path: Path::new("models/wine.onnx").to_owned() };
    let loaded = load_file(&name, &file, &Model::default(), &engine, &Metrics::new("")).expect("the wine model");
    let example = Value::Object(loaded.contract.example_row());

    let mut group = criterion.benchmark_group("json_decode");
    for n_rows in [1, 1000] {
        let body =
            if n_rows == 1 { example.to_string() } else { Value::Array(vec![example.clone(); n_rows]).to_string() };
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_with_input(BenchmarkId::new("named_rows", n_rows), &body, |bencher, body| {
            bencher.iter(|| black_box(json::decode(body.as_bytes(), &loaded.contract).expect("a table")));
        });
        group.bench_with_input(BenchmarkId::new("serde_json_value", n_rows), &body, |bencher, body| {
            bencher.iter(|| black_box(serde_json::from_str::<Value>(body).expect("JSON")));
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
