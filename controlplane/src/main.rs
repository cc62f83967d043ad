//! The `torch-remote` binary: subcommands to their modules, signals to a token, errors to text and exit codes.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use torch_remote::cli::{self, Tone};
use torch_remote::config::{Cli, Command};
use torch_remote::explain::{Explain, render};
use torch_remote::{serve, up};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    rustls::crypto::ring::default_provider().install_default().expect("the first provider installed in this process");
    let cli = Cli::parse();
    let errors = cli.color.paint(std::io::stderr().is_terminal());
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.quiet() {
                let text = render(error.as_ref());
                eprintln!("{}{}", errors.text(Tone::Bad, "error:"), text.trim_start_matches("error:"));
            }
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(cli: Cli) -> Result<(), Box<dyn Explain>> {
    match cli.command {
        Command::Up(args) => server().block_on(async { Ok(up::run(*args, &mut std::io::stdout(), stop()).await?) }),
        Command::Serve(args) => server().block_on(async { Ok(serve::run(*args, stop()).await?) }),
        Command::ReplaceKeys(args) => server().block_on(async { Ok(serve::replace_keys(&args).await?) }),
        Command::Client(command) => {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be built");
            let paint = cli.color.paint(std::io::stdout().is_terminal());
            runtime.block_on(async { Ok(cli::run(*command, paint, &mut std::io::stdout()).await?) })
        }
    }
}

fn server() -> Runtime {
    Builder::new_multi_thread().enable_all().build().expect("a runtime can be built")
}

/// A token that the first SIGINT, SIGTERM or SIGHUP cancels. A second one ends the process at once: Postgres then stays, and the next start adopts it.
fn stop() -> CancellationToken {
    let stop = CancellationToken::new();
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        let mut signals = signal(kind).expect("a signal handler can be installed");
        let stop = stop.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                if stop.is_cancelled() {
                    eprintln!("ended at once, by a second signal");
                    std::process::exit(130);
                }
                stop.cancel();
            }
        });
    }
    stop
}
