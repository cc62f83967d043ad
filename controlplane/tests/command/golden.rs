//! Texts people see, kept in files: `BLESS=1` rewrites them, a review reads the difference.

use std::path::Path;

/// Compares `text` with the golden file `name`.
pub fn check(name: &str, text: &str) {
    let path = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs this"))
        .join("tests/command/golden")
        .join(name);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
        return;
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        wanted == text,
        "{name} is not as its golden file; BLESS=1 rewrites it\n--- wanted\n{wanted}\n--- found\n{text}"
    );
}
