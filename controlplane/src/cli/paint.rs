//! Colour, where a terminal shows it and nobody asked for none.

use clap::{Args, ValueEnum};

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set or TERM is `dumb`.
    Auto,
    /// Also into pipes and files.
    Always,
    /// Not at all.
    Never,
}

/// How output is coloured.
#[derive(Debug, Clone, Args)]
pub struct ColorArgs {
    /// When to use colour: `auto`, `always` or `never`.
    #[arg(long, value_name = "WHEN", default_value = "auto", global = true, hide_possible_values = true)]
    color: Color,
    /// <https://no-color.org>
    #[arg(long, env = "NO_COLOR", hide = true, global = true)]
    no_color: Option<String>,
    /// The terminal's type.
    #[arg(long, env = "TERM", hide = true, global = true)]
    term: Option<String>,
}

impl ColorArgs {
    /// What to paint with on a stream that is a terminal, or is not.
    pub fn paint(&self, terminal: bool) -> Paint {
        let unwanted = self.no_color.as_ref().is_some_and(|text| !text.is_empty())
            || self.term.as_ref().is_none_or(|term| term == "dumb");
        Paint(match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => !unwanted && terminal,
        })
    }
}

/// Paints text, or leaves it as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Paint(bool);

/// What a text means to who reads it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tone {
    /// No more than it says.
    #[default]
    Plain,
    /// As it should be; also what a difference adds.
    Good,
    /// On its way.
    Pending,
    /// Something to look at; also what a difference takes away.
    Bad,
    /// A heading.
    Strong,
    /// Where something is.
    Place,
}

impl Paint {
    /// The text in that tone.
    pub fn text(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Good => 32,
            Tone::Pending => 33,
            Tone::Bad => 31,
            Tone::Strong => 1,
            Tone::Place => 36,
        };
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

impl Tone {
    /// Of a word under a heading that tells how objects are.
    pub fn of(heading: &str, word: &str) -> Self {
        match (heading.to_ascii_uppercase().as_str(), word) {
            ("PHASE" | "STATUS", "Ready" | "Active" | "Bound" | "Running") | ("READY", "True") => Self::Good,
            ("PHASE" | "STATUS", "Failed" | "NotReady" | "Lost" | "Unreachable") | ("TYPE", "Warning") => Self::Bad,
            ("PHASE", "" | "<none>" | "Ended" | "Expired" | "Suspended") => Self::Plain,
            ("PHASE", _) | ("READY", "False" | "Unknown") | ("STATUS", "Terminating") => Self::Pending,
            _ => Self::Plain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(color: Color, no_color: Option<&str>, term: Option<&str>) -> ColorArgs {
        ColorArgs { color, no_color: no_color.map(str::to_owned), term: term.map(str::to_owned) }
    }

    #[test]
    fn only_a_terminal_is_painted_unless_told_otherwise() {
        let xterm = Some("xterm");
        for (args, terminal, painted) in [
            (args(Color::Auto, None, xterm), true, true),
            (args(Color::Auto, None, xterm), false, false),
            (args(Color::Auto, Some("1"), xterm), true, false),
            (args(Color::Auto, Some(""), xterm), true, true),
            (args(Color::Auto, None, Some("dumb")), true, false),
            (args(Color::Auto, None, None), true, false),
            (args(Color::Always, Some("1"), None), false, true),
            (args(Color::Never, None, xterm), true, false),
        ] {
            assert_eq!(args.paint(terminal), Paint(painted), "{args:?} {terminal}");
        }
    }

    #[test]
    fn paint_wraps_the_text_and_nothing_else() {
        assert_eq!(Paint(true).text(Tone::Good, "Ready"), "\x1b[32mReady\x1b[0m");
        assert_eq!(Paint(true).text(Tone::Plain, "x"), "x");
        assert_eq!(Paint(false).text(Tone::Bad, "Failed"), "Failed");
    }

    #[test]
    fn words_have_their_tone_only_where_they_tell_a_state() {
        assert_eq!(Tone::of("Phase", "Ready"), Tone::Good);
        assert_eq!(Tone::of("PHASE", "Creating"), Tone::Pending);
        assert_eq!(Tone::of("READY", "False"), Tone::Pending);
        assert_eq!(Tone::of("PHASE", "Failed"), Tone::Bad);
        assert_eq!(Tone::of("NAME", "Ready"), Tone::Plain);
    }
}
