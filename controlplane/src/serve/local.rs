//! What the provider `local` starts its agents with: their program, and where the libtorch is that they run.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::config::LocalArgs;
use crate::provider::local::Settings;

/// The agent's program, beside this one.
const AGENT: &str = "torch-remote-agent";
/// Prints the folder of libtorch, without importing torch.
const LIBTORCH: &str = "import importlib.util as u; s = u.find_spec('torch'); print(s.submodule_search_locations[0] + '/lib' if s else '')";
const SYSTEM_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Settings of the provider over `data_dir`. Starts nothing; a program that is missing shows at the machines.
pub fn settings(args: &LocalArgs, data_dir: &Path) -> Settings {
    let mut environment = vec![("PATH".to_owned(), SYSTEM_PATH.to_owned()), ("LC_ALL".to_owned(), "C".to_owned())];
    if let Some(folder) = libtorch(args) {
        environment.push(("LD_LIBRARY_PATH".to_owned(), folder));
    }
    Settings {
        agent: program(args),
        data_dir: data_dir.to_owned(),
        short_dir: std::env::temp_dir(),
        environment,
        threads: half_of_the_processors(),
    }
}

/// The other half is for the process that sends the operators, which runs on this computer too: kernels whose threads wait for a busy processor take ten times as long.
fn half_of_the_processors() -> u32 {
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    u32::try_from(all / 2).unwrap_or(u32::MAX).max(1)
}

fn program(args: &LocalArgs) -> PathBuf {
    let named = args.agent.as_ref().map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone()));
    let this = std::env::current_exe().ok().and_then(|exe| std::fs::canonicalize(exe).ok());
    named
        .or_else(|| this.map(|exe| exe.with_file_name(AGENT)))
        .unwrap_or_else(|| PathBuf::from("/usr/local/bin").join(AGENT))
}

/// The folder of libtorch of the interpreter's torch, if it has one.
fn libtorch(args: &LocalArgs) -> Option<String> {
    let python = args.interpreter().unwrap_or_else(|| PathBuf::from("python3"));
    let output = Command::new(python).args(["-c", LIBTORCH]).output().ok()?;
    let folder = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !folder.is_empty()).then_some(folder)
}
