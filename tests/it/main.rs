//! Tests against the real program: each starts it in a folder of its own, on a port that the system chooses.
//!
//! They serve the ONNX files of `target/fixtures`, which `.venv/bin/python tests/fixtures/make.py target/fixtures` writes.

mod answers;
mod bad_clients;
mod bad_data;
mod bad_files;
mod bad_settings;
mod commands;
mod concurrency;
mod configured;
mod gateway;
mod layers;
mod observability;
mod telemetry;
