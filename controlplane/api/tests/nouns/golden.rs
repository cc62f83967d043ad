//! Golden files under `tests/golden`. `BLESS=1` rewrites them.

use std::{env, fs, path::Path};

/// Compares `actual` with the golden file of that name, or writes it when blessing.
pub fn compare(name: &str, actual: &str) {
    let path =
        Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs this")).join("tests/golden").join(name);
    if env::var_os("BLESS").is_some() {
        fs::write(&path, actual).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    let line = expected.lines().zip(actual.lines()).position(|(old, new)| old != new).map_or(0, |line| line + 1);
    assert!(expected == actual, "{name} differs from line {line} on: run `make bless` and read the diff");
}

/// The same for JSON, indented.
pub fn compare_json(name: &str, actual: &serde_json::Value) {
    compare(name, &format!("{}\n", serde_json::to_string_pretty(actual).unwrap()));
}
