//! The program: parses arguments, runs the command, prints the error chain, sets the exit code.

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    porteiro::engine::refuse_telemetry();
    match porteiro::cli::run(porteiro::cli::Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("porteiro: {error:#}");
            ExitCode::from(2)
        }
    }
}
