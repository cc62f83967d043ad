//! Failures as a person reads them: what failed, why, and how to fix it, under a stable reason.

use std::borrow::Cow;
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

/// A text of others as a terminal may show it: what would move its cursor or change its colours is written out. Line breaks and tabs stay.
pub fn plain(text: &str) -> Cow<'_, str> {
    let odd = |letter: char| letter.is_control() && !matches!(letter, '\n' | '\t');
    if !text.contains(odd) {
        return text.into();
    }
    let shown = |letter: char| if odd(letter) { letter.escape_default().to_string() } else { letter.into() };
    text.chars().map(shown).collect::<String>().into()
}

/// The whole text: `error: REASON: what: why: ...`, and the fix on a line of its own. Nothing that others put into it reaches the terminal raw.
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
    plain(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the issuer said \u{1b}[2J\rand \u{9b}1m, on\ntwo lines")]
    struct Said;

    impl Explain for Said {
        fn reason(&self) -> &'static str {
            "Said"
        }

        fn fix(&self) -> String {
            "Open \u{7}it.".into()
        }
    }

    #[test]
    fn what_others_said_cannot_move_the_cursor() {
        let text = render(&Said);
        assert_eq!(text, "error: Said: the issuer said \\u{1b}[2J\\rand \\u{9b}1m, on\ntwo lines\n  Open \\u{7}it.");
        assert_eq!(plain("Grüße,\t日本\n"), "Grüße,\t日本\n");
    }
}
