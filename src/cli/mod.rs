//! The commands, one file each.

mod check;
mod inspect;
mod predict;
mod serve;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{self, Overrides, Settings};

/// Serve ONNX models by the names of their features.
#[derive(Debug, Parser)]
#[command(
    name = "porteiro",
    version,
    about,
    long_about = "Serve ONNX models by the names of their features.\n\n\
        Train a model in a notebook, export it with porteiro.export(...), put the file into models/, and clients POST named \
        features to /predict/<model>.",
    after_help = "Start with `porteiro serve` in a folder that holds models/. Every setting is in docs/configuration.md; each \
        can be set from the environment: PORTEIRO__SERVER__LISTEN=0.0.0.0:5000.",
    disable_help_subcommand = true
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the models of a folder over HTTP
    #[command(after_help = "Example:\n  porteiro serve --models-dir models --listen 127.0.0.1:5000\n  \
        curl -d @models/examples/wine_bom.json http://localhost:5000/predict/wine")]
    Serve(Common),
    /// Check the config, load all models, prove their golden rows; for CI/CD of models
    #[command(
        after_help = "Exit codes: 0 all is well, 1 a model can't be served, 2 the config is wrong or there are no models."
    )]
    Check {
        #[command(flatten)]
        common: Common,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what an ONNX file is: inputs, outputs, operators, contract, and a config table to paste
    Inspect {
        /// The ONNX file
        file: PathBuf,
        #[command(flatten)]
        common: Common,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Predict without a server: rows in, predictions out
    #[command(after_help = "Examples:\n  porteiro predict wine @models/examples/wine_bom.json\n  \
        porteiro predict models/wine.onnx - < rows.csv --csv")]
    Predict {
        /// A model of the folder by name, or an ONNX file
        model: String,
        /// The rows: @FILE, - for standard input, or the JSON itself; without it the model's own example
        rows: Option<String>,
        #[command(flatten)]
        common: Common,
        /// The rows are CSV with a header (taken for granted where FILE ends in .csv), and so is the answer
        #[arg(long)]
        csv: bool,
    },
}

/// Flags of every command.
#[derive(Debug, Args)]
struct Common {
    /// A config file, read over config/porteiro.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The folder of the models [default: models]
    #[arg(long, value_name = "DIR")]
    models_dir: Option<PathBuf>,
    /// Host and port to listen on [default: 127.0.0.1:5000]
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// ONNX Runtime's shared library [default: searched in .venv and the system]
    #[arg(long, value_name = "FILE")]
    onnxruntime: Option<PathBuf>,
    /// text or json
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

impl Common {
    fn settings(self) -> Result<Settings, config::ConfigError> {
        config::load(&Overrides {
            config: self.config,
            listen: self.listen,
            models_dir: self.models_dir,
            onnxruntime: self.onnxruntime,
            log_format: self.log_format,
            log_level: self.log_level,
        })
    }
}

/// Runs the command that the arguments name.
///
/// # Errors
/// What kept the command from being carried out.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Serve(common) => serve::run(&common.settings()?),
        Command::Check { common, json } => check::run(common.settings(), json),
        Command::Inspect { file, common, json } => inspect::run(&file, &common.settings()?, json),
        Command::Predict { model, rows, common, csv } => {
            predict::run(&model, rows.as_deref(), &common.settings()?, csv)
        }
    }
}
