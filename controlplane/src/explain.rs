//! Failures as a person reads them: what failed, why, and how to fix it, under a stable reason.

use std::error::Error;
use std::fmt::Write;

/// An error that is shown to a person.
pub trait Explain: Error {
    /// Stable CamelCase name of the failure, for scripts and searches.
    fn reason(&self) -> &'static str;

    /// What to do about it, as sentences.
    fn fix(&self) -> String;

    /// Exit code of the process.
    fn exit_code(&self) -> u8 {
        1
    }

    /// True when nobody is there to read it.
    fn quiet(&self) -> bool {
        false
    }
}

impl<'a, E: Explain + 'a> From<E> for Box<dyn Explain + 'a> {
    fn from(error: E) -> Self {
        Box::new(error)
    }
}

/// The whole text: `error: REASON: what: why: ...`, and the fix on a line of its own.
pub fn render(error: &dyn Explain) -> String {
    let mut text = format!("error: {}: {error}", error.reason());
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some libraries put the cause into their own text as well.
        if !text.ends_with(&cause_text) {
            write!(text, ": {cause_text}").expect("writing to a string cannot fail");
        }
        source = cause.source();
    }
    let fix = error.fix();
    if !fix.is_empty() {
        write!(text, "\n  {}", fix.replace('\n', "\n  ")).expect("writing to a string cannot fail");
    }
    text
}
