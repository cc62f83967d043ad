//! What the provider `local` starts its agents with: their program, and where the libtorch is that they run.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustls::pki_types::ServerName;

use crate::config::LocalArgs;
use crate::provider::local::Settings;
use crate::tls;

/// The agent's program, beside this one.
const AGENT: &str = "torch-remote-agent";
/// Prints the folder of libtorch, without importing torch.
const LIBTORCH: &str = "import importlib.util as u; s = u.find_spec('torch'); print(s.submodule_search_locations[0] + '/lib' if s else '')";
const SYSTEM_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Settings of the provider over `data_dir`, with the address under which other hosts reach its machines. Starts nothing; a program that is missing shows at the machines.
pub fn settings(args: &LocalArgs, data_dir: &Path, public_address: Option<String>) -> Settings {
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
        public_address,
    }
}

/// Where other hosts reach this one, when its API listens for them: at the same address, or where that is all addresses at the first name of the certificate
/// that is a host's own (no wildcard), or at the name of this host.
pub fn public_address(listen: IpAddr, names: &[String]) -> Option<String> {
    let listen = listen.to_canonical();
    if listen.is_loopback() {
        return None;
    }
    if !listen.is_unspecified() {
        return Some(listen.to_string());
    }
    names.iter().cloned().chain([tls::host()]).find(|name| ServerName::try_from(name.as_str()).is_ok())
}

/// The other half is for the process that sends the operators, which runs on this computer too: kernels whose threads wait for a busy processor take ten times as long.
fn half_of_the_processors() -> u32 {
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    u32::try_from(all / 2).unwrap_or(u32::MAX).max(1)
}

fn program(args: &LocalArgs) -> PathBuf {
    let named = args.agent.as_ref().map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone()));
    let this = std::env::current_exe().ok().and_then(|exe| std::fs::canonicalize(exe).ok());
    let beside = this.map(|exe| exe.with_file_name(AGENT));
    let path = std::env::var_os("PATH").unwrap_or_default();
    named.unwrap_or_else(|| found(beside.as_deref(), &path))
}

/// The agent beside this program, else the first on PATH. With neither, it is where it should be: what fails to start says so.
fn found(beside: Option<&Path>, path: &OsStr) -> PathBuf {
    let runs = |program: &Path| {
        let mode = program.metadata().ok().filter(Metadata::is_file).map(|file| file.permissions().mode());
        mode.is_some_and(|mode| mode & 0o111 != 0)
    };
    let there = beside.filter(|program| runs(program)).map(Path::to_path_buf);
    let on_path = || std::env::split_paths(path).map(|folder| folder.join(AGENT)).find(|program| runs(program));
    let program = there.or_else(on_path).or_else(|| beside.map(Path::to_path_buf)).unwrap_or_else(|| AGENT.into());
    // A machine's folder is another than ours.
    std::path::absolute(&program).unwrap_or(program)
}

/// The folder of libtorch of the interpreter's torch, if it has one.
fn libtorch(args: &LocalArgs) -> Option<String> {
    let python = args.interpreter().unwrap_or_else(|| PathBuf::from("python3"));
    let output = Command::new(python).args(["-c", LIBTORCH]).output().ok()?;
    let folder = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !folder.is_empty()).then_some(folder)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::{AGENT, found, public_address};
    use crate::tls;

    #[test]
    fn the_agent_is_the_one_beside_the_program_or_else_the_first_on_path() {
        let folder = tempfile::tempdir().expect("a folder");
        let [beside, first, second] = ["beside", "first", "second"].map(|name| folder.path().join(name));
        for folder in [&beside, &first, &second] {
            std::fs::create_dir(folder).expect("a folder");
        }
        let path = std::env::join_paths([&first, &second]).expect("a PATH");
        let at = |folder: &std::path::Path| folder.join(AGENT);
        assert_eq!(found(Some(&at(&beside)), &path), at(&beside), "there is none: where it should be");
        let program = |at: &std::path::Path, mode| {
            std::fs::write(at, "").expect("a file");
            std::fs::set_permissions(at, std::fs::Permissions::from_mode(mode)).expect("its mode");
        };
        program(&at(&first), 0o644);
        program(&at(&second), 0o755);
        assert_eq!(found(Some(&at(&beside)), &path), at(&second));
        program(&at(&beside), 0o755);
        assert_eq!(found(Some(&at(&beside)), &path), at(&beside));
    }

    #[test]
    fn other_hosts_are_told_an_address_only_when_the_api_listens_for_them() {
        let told = |listen: &str, names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            public_address(listen.parse().expect("an address"), &names)
        };
        for loopback in ["127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(told(loopback, &["gpu.example.org"]), None);
        }
        assert_eq!(told("192.0.2.7", &["gpu.example.org"]).as_deref(), Some("192.0.2.7"));
        assert_eq!(told("2001:db8::7", &[]).as_deref(), Some("2001:db8::7"));
        assert_eq!(told("0.0.0.0", &["gpu.example.org", "other"]).as_deref(), Some("gpu.example.org"));
        assert_eq!(told("::", &["*.example.org", "192.0.2.7"]).as_deref(), Some("192.0.2.7"), "a wildcard is no host");
        assert_eq!(told("0.0.0.0", &[]), Some(tls::host()));
    }
}
