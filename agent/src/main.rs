//! `torch-remote-agent supervise`: started by a provider, one per machine.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use torch_remote_agent::supervise::{self, process::Program};
use torch_remote_agent::traces::Traces;

/// The agent beside the GPU.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Owns this machine's slots until told to end.
    Supervise(Supervise),
}

#[derive(Debug, clap::Args)]
struct Supervise {
    /// Configuration, written by the provider (mode 0600).
    #[arg(long)]
    config: PathBuf,
    /// Intent token of this attempt: must be that of the configuration, and proves whose process this is.
    #[arg(long)]
    token: String,
    /// The executor's binary; default: torch-remote-executor beside this one.
    #[arg(long)]
    executor: Option<PathBuf>,
    /// For executors: where libtorch is.
    #[arg(long, env = "LD_LIBRARY_PATH", hide_env_values = true)]
    library_path: Option<String>,
    /// The GPUs that it may use, as CUDA names them: the slots' GPUs count from the first of these. Default: all.
    #[arg(long, env = "CUDA_VISIBLE_DEVICES")]
    gpus: Option<String>,
    /// Which logs to write.
    #[arg(long, env = "TORCH_REMOTE_LOG", default_value = "info")]
    log: String,
}

fn main() -> ExitCode {
    let Verb::Supervise(arguments) = Arguments::parse().command;
    match supervise(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("torch-remote-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn supervise(arguments: Supervise) -> anyhow::Result<()> {
    let config = supervise::read_config(&arguments.config, &arguments.token)?;
    let path = match arguments.executor {
        Some(path) => path,
        None => std::env::current_exe()?.with_file_name("torch-remote-executor"),
    };
    let program = Program { path, library_path: arguments.library_path, log: arguments.log, gpus: arguments.gpus };
    // One thread: executors die with the thread that starts them, and it has little to do.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let traces = Traces::begin(&program.log, config.otlp.as_deref())?;
        supervise::run(config, program).await?;
        traces.end().await;
        Ok(())
    })
}
