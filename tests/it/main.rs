//! Tests against the real program: each starts it in a folder of its own, on a port that the system chooses.
//!
//! They serve the ONNX files of `target/fixtures`, which `.venv/bin/python tests/fixtures/make.py target/fixtures` writes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on has failed")]
#![allow(clippy::disallowed_methods, reason = "the environment is the tests' to read")]

mod answers;
mod bad_clients;
mod bad_data;
mod bad_files;
mod bad_settings;
mod busy;
mod commands;
mod concurrency;
mod configured;
mod gateway;
mod layers;
mod observability;
mod telemetry;
