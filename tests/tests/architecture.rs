//! The dependency arrows of ARCHITECTURE.md, and the packages the project's owner asked for, read off `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Direct dependencies (no dev or build ones) of each workspace package, by name.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline", "--manifest-path"])
        .arg(
            std::path::Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs this"))
                .join("../Cargo.toml"),
        )
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let text = |value: &serde_json::Value| value.as_str().expect("a name").to_owned();
    let packages = metadata["packages"].as_array().expect("packages");
    packages
        .iter()
        .map(|package| {
            let of = package["dependencies"].as_array().expect("dependencies");
            let normal = of.iter().filter(|d| d["kind"].is_null()).map(|d| text(&d["name"])).collect();
            (text(&package["name"]), normal)
        })
        .collect()
}

/// Breaks of `(package, must not depend on)`.
fn forbidden(dependencies: &BTreeMap<String, BTreeSet<String>>, rules: &[(&str, &[&str])]) -> Vec<String> {
    let breaks = rules.iter().flat_map(|(package, banned)| {
        let has = dependencies.get(*package).unwrap_or_else(|| panic!("no package {package} in the workspace"));
        banned.iter().filter(|name| has.contains(**name)).map(move |name| format!("{package} -> {name}"))
    });
    breaks.collect()
}

const RULES: &[(&str, &[&str])] = &[
    (
        "torch-remote-api",
        &["tokio", "sqlx", "axum", "tonic", "tch", "kube", "torch-remote-plan", "torch-remote-proto", "torch-remote"],
    ),
    (
        "torch-remote-plan",
        &["tokio", "sqlx", "axum", "tonic", "tch", "kube", "rand", "uuid", "torch-remote-proto", "torch-remote"],
    ),
    (
        "torch-remote-proto",
        &["tokio", "sqlx", "axum", "tonic", "tch", "kube", "rand", "torch-remote-plan", "torch-remote"],
    ),
    ("torch-remote", &["tch", "torch-sys", "pyo3", "torch-remote-sdk", "torch-remote-agent"]),
    ("torch-remote-agent", &["sqlx", "axum", "kube", "pyo3", "torch-remote", "torch-remote-plan", "torch-remote-sdk"]),
    ("torch-remote-sdk", &["sqlx", "tch", "axum", "torch-remote", "torch-remote-plan", "torch-remote-agent"]),
];

#[test]
fn no_package_depends_against_the_arrows() {
    assert_eq!(forbidden(&dependencies(), RULES), Vec::<String>::new());
}

/// Negative control: the check sees an arrow that is there.
#[test]
fn the_check_of_arrows_sees_a_forbidden_one() {
    let broken = forbidden(&dependencies(), &[("torch-remote", &["sqlx"])]);
    assert_eq!(broken, ["torch-remote -> sqlx"]);
}

#[test]
fn each_package_the_owner_named_is_a_direct_dependency() {
    let dependencies = dependencies();
    let all: BTreeSet<&str> = dependencies.values().flatten().map(String::as_str).collect();
    let named = ["axum", "tokio", "sqlx", "tonic", "tch", "pyo3", "jsonwebtoken", "tracing-opentelemetry"];
    let missing: Vec<_> = named.into_iter().filter(|name| !all.contains(name)).collect();
    assert_eq!(missing, Vec::<&str>::new());
    // `serde_yaml` in the source; the package behind the name is its maintained fork.
    assert!(all.contains("yaml_serde"), "serde_yaml (package yaml_serde) is a dependency");
}
