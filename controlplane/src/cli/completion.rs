//! `completion`: what a shell needs to complete our commands.

use std::io::Write;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Error, print};
use crate::config::Cli;

const EXAMPLES: &str = "\
Examples:
  source <(torch-remote completion bash)                                        for this shell
  torch-remote completion bash > /etc/bash_completion.d/torch-remote            for every bash
  torch-remote completion zsh > \"${fpath[1]}/_torch-remote\"
  torch-remote completion fish > ~/.config/fish/completions/torch-remote.fish";

/// `torch-remote completion`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CompletionArgs {
    /// The shell.
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

pub(super) fn run(args: &CompletionArgs, out: &mut (dyn Write + Send)) -> Result<(), Error> {
    // Not to `out` at once: the generator panics where nobody reads on.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "torch-remote", &mut script);
    print(out, format_args!("{}", String::from_utf8_lossy(&script)))
}
