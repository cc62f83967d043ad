//! Compiles the device (`csrc/`) against the torch it will be loaded beside, and generates the client of the data path.
//!
//! torch is found through LIBTORCH (its folder), or else by asking the interpreter PYO3_PYTHON (or python3). There is no rpath: `import torch` has loaded its
//! libraries before this one is.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

fn main() -> Result<(), Box<dyn Error>> {
    stub()?;
    device()
}

fn stub() -> Result<(), Box<dyn Error>> {
    let proto = "torchremote/agent/v1/dataplane.proto";
    let descriptors = protox::compile([proto], ["../proto"])?;
    tonic_prost_build::configure()
        .build_server(false)
        .extern_path(".torchremote.agent.v1", "::torch_remote_proto::v1")
        .bytes(".")
        .compile_fds(descriptors)?;
    println!("cargo:rerun-if-changed=../proto/{proto}");
    Ok(())
}

fn device() -> Result<(), Box<dyn Error>> {
    for variable in ["LIBTORCH", "PYO3_PYTHON"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    let python = std::env::var("PYO3_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let include = ask(&python, "import sysconfig; print(sysconfig.get_paths()['include'])")?;
    let torch = match std::env::var("LIBTORCH") {
        Ok(folder) => PathBuf::from(folder),
        Err(_) => {
            let find = "import importlib.util, os; print(os.path.dirname(importlib.util.find_spec('torch').origin))";
            PathBuf::from(ask(&python, find)?)
        }
    };
    if !torch.join("include/torch/csrc/Exceptions.h").exists() {
        return Err(format!(
            "no torch with headers at {}: install torch 2.13, or set LIBTORCH or PYO3_PYTHON",
            torch.display()
        )
        .into());
    }
    let mut compiler = cc::Build::new();
    compiler
        .cpp(true)
        .std("c++20")
        .warnings(false)
        .pic(true)
        .opt_level(2)
        .debug(false)
        .define("NDEBUG", None)
        .flag_if_supported("-fvisibility=hidden")
        .flag_if_supported("-fvisibility-inlines-hidden")
        .include("csrc")
        .include(torch.join("include"))
        .include(torch.join("include/torch/csrc/api/include"))
        .include(include);
    let mut sources = Vec::new();
    collect(Path::new("csrc"), &mut sources)?;
    sources.sort();
    let folder = PathBuf::from(std::env::var("OUT_DIR")?).join("csrc");
    std::fs::create_dir_all(&folder)?;
    let units: Vec<Unit> = sources.into_iter().map(|source| Unit::new(source, &folder)).collect();
    compile(&compiler.try_get_compiler()?, &units)?;
    compiler.objects(units.iter().map(|unit| &unit.object)).try_compile("torch_remote_device")?;
    println!("cargo:rustc-link-search=native={}", torch.join("lib").display());
    for library in ["torch_python", "torch_cpu", "torch", "c10"] {
        println!("cargo:rustc-link-lib=dylib={library}");
    }
    println!("cargo:rerun-if-changed=csrc");
    println!("cargo:rerun-if-changed=build.rs");
    Ok(())
}

/// A source file, and what is made of it. A unit takes up to a minute: only those are compiled whose files changed.
struct Unit {
    source: PathBuf,
    object: PathBuf,
    dependencies: PathBuf,
}

impl Unit {
    fn new(source: PathBuf, folder: &Path) -> Self {
        let name = source.to_string_lossy().replace(['/', '\\'], "_");
        Unit { object: folder.join(format!("{name}.o")), dependencies: folder.join(format!("{name}.d")), source }
    }

    /// Whether the object is newer than every file that went into it.
    fn fresh(&self) -> bool {
        let modified = |path: &Path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
        let (Some(made), Ok(text)) = (modified(&self.object), std::fs::read_to_string(&self.dependencies)) else {
            return false;
        };
        let files = text.split_once(": ").map_or("", |(_, files)| files);
        files
            .split_whitespace()
            .filter(|file| *file != "\\")
            .all(|file| modified(Path::new(file)).is_some_and(|at| at < made))
    }
}

fn compile(compiler: &cc::Tool, units: &[Unit]) -> Result<(), Box<dyn Error>> {
    let stale: Vec<&Unit> = units.iter().filter(|unit| !unit.fresh()).collect();
    let next = AtomicUsize::new(0);
    let jobs = std::env::var("NUM_JOBS").ok().and_then(|jobs| jobs.parse().ok()).unwrap_or(1);
    let failed: Vec<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(|| compile_some(compiler, &stale, &next))).collect();
        workers
            .into_iter()
            .filter_map(|worker| worker.join().unwrap_or_else(|_| Some("a compile thread panicked".to_owned())))
            .collect()
    });
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n").into()) }
}

/// Compiles stale units until none is left; the first failure's text.
fn compile_some(compiler: &cc::Tool, stale: &[&Unit], next: &AtomicUsize) -> Option<String> {
    while let Some(unit) = stale.get(next.fetch_add(1, Ordering::Relaxed)) {
        let mut command = compiler.to_command();
        command.args(["-MMD", "-MF"]).arg(&unit.dependencies).arg("-c").arg(&unit.source).arg("-o").arg(&unit.object);
        match command.output() {
            Ok(output) if output.status.success() => {}
            Ok(output) => return Some(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(error) => return Some(format!("the C++ compiler cannot be run: {error}")),
        }
    }
    None
}

fn ask(python: &str, question: &str) -> Result<String, Box<dyn Error>> {
    let output = Command::new(python)
        .args(["-c", question])
        .output()
        .map_err(|error| format!("{python} cannot be run: {error}"))?;
    if !output.status.success() {
        return Err(format!("{python} does not answer: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn collect(folder: &Path, into: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, into)?;
        } else if path.extension().is_some_and(|extension| extension == "cpp") {
            into.push(path);
        }
    }
    Ok(())
}
