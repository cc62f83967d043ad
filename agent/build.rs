//! Generates the servers and clients of both services over torch-remote-proto's messages, and compiles `csrc/` for the executor.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = "../proto";
    let files = ["torchremote/agent/v1/dataplane.proto", "torchremote/agent/v1/control.proto"];
    let descriptors = protox::compile(files, [folder])?;
    tonic_prost_build::configure()
        .build_transport(false)
        .extern_path(".torchremote.agent.v1", "::torch_remote_proto::v1")
        .bytes(".")
        .compile_fds(descriptors)?;
    for file in files {
        println!("cargo:rerun-if-changed={folder}/{file}");
    }
    println!("cargo:rerun-if-changed=build.rs");
    #[cfg(feature = "torch")]
    boxed()?;
    Ok(())
}

/// The boxed dispatcher. Linked into the executor's binary alone: a library of this package that named libtorch would load it into the supervisor.
#[cfg(feature = "torch")]
fn boxed() -> Result<(), Box<dyn std::error::Error>> {
    use std::path::PathBuf;
    let library = PathBuf::from(std::env::var("DEP_TCH_LIBTORCH_LIB")?);
    let include = library.parent().ok_or("libtorch's lib folder has no parent")?.join("include");
    let sources = ["boxed.cpp", "signature.cpp", "tensor.cpp", "fused_cells.cpp"];
    cc::Build::new()
        .cpp(true)
        .std("c++20")
        .warnings(false)
        .pic(true)
        .opt_level(2)
        .debug(false)
        .include(&include)
        .define("NDEBUG", None)
        .files(sources.map(|source| format!("csrc/{source}")))
        .cargo_metadata(false)
        .compile("boxed");
    println!("cargo:rustc-link-search=native={}", std::env::var("OUT_DIR")?);
    for argument in [
        format!("-L{}", library.display()),
        "-ltorch_cpu".to_owned(),
        "-lc10".to_owned(),
        "-lstdc++".to_owned(),
        // For development; LD_LIBRARY_PATH, which the wheel's launcher sets, goes first.
        format!("-Wl,-rpath,{}", library.display()),
    ] {
        println!("cargo:rustc-link-arg-bin=torch-remote-executor={argument}");
    }
    println!("cargo:rerun-if-changed=csrc");
    Ok(())
}
