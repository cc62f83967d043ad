//! What others see, compared with files under `tests/golden`. `BLESS=1` rewrites them.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod golden {
    use std::{env, fs, path::Path};

    /// Compares `actual` with the golden file of that name, or writes it when `BLESS=1`.
    #[allow(clippy::disallowed_methods, reason = "a test reads its own switch")]
    pub fn compare(name: &str, actual: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
        if env::var_os("BLESS").is_some() {
            fs::write(&path, actual).unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        assert!(expected == actual, "{} differs; look at it after `make bless`. Now:\n{actual}", path.display());
    }

    /// The same for JSON, indented.
    pub fn compare_json(name: &str, actual: &serde_json::Value) {
        compare(name, &format!("{}\n", serde_json::to_string_pretty(actual).unwrap()));
    }
}

#[test]
fn schemas_are_as_reviewed() {
    for kind in torch_remote_api::kinds() {
        golden::compare_json(&format!("schema-{}.json", kind.plural), &kind.schema);
    }
}
