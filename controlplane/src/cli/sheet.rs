//! Descriptions as kubectl lays them out: names with a colon, values in a column of their own, nested by two spaces.

use serde_json::Value;

/// Space between columns.
const GAP: usize = 2;

/// Lines in the making.
#[derive(Debug, Default)]
pub struct Sheet(Vec<Line>);

#[derive(Debug)]
enum Line {
    /// As it is; values above and below it do not line up.
    Whole(String),
    /// A name and its value.
    Pair(String, String),
}

impl Sheet {
    /// A line as it is.
    pub fn line(&mut self, level: usize, text: &str) {
        self.0.push(Line::Whole(format!("{}{text}", indent(level))));
    }

    /// A name and its value; without a name, one more value of the name above.
    pub fn pair(&mut self, level: usize, name: &str, value: &str) {
        let colon = if name.is_empty() { "" } else { ":" };
        let mut lines = value.lines();
        self.0.push(Line::Pair(format!("{}{name}{colon}", indent(level)), lines.next().unwrap_or_default().to_owned()));
        self.0.extend(lines.map(|line| Line::Pair(String::new(), line.to_owned())));
    }

    /// Every entry of a map of texts but the `hidden` ones, or `<none>`.
    pub fn pairs(&mut self, name: &str, map: &Value, between: &str, hidden: &[&str]) {
        let entries = map.as_object().into_iter().flatten().filter(|(key, _)| !hidden.contains(&key.as_str()));
        let texts: Vec<String> =
            entries.map(|(key, value)| format!("{key}{between}{}", value.as_str().unwrap_or_default())).collect();
        let text = if texts.is_empty() { "<none>".to_owned() } else { texts.join("\n") };
        self.pair(0, name, &text);
    }

    /// A value with everything in it.
    pub fn tree(&mut self, level: usize, name: &str, value: &Value) {
        match value {
            Value::Object(fields) => {
                self.line(level, &format!("{name}:"));
                fields.iter().for_each(|(name, value)| self.tree(level + 1, &label(name), value));
            }
            Value::Array(items) => {
                self.line(level, &format!("{name}:"));
                for item in items {
                    match item {
                        Value::Object(fields) => {
                            fields.iter().for_each(|(name, value)| self.tree(level + 1, &label(name), value));
                        }
                        other => self.line(level + 1, &plain(other)),
                    }
                }
            }
            other => self.pair(level, name, &plain(other)),
        }
    }

    /// A table under a name.
    pub fn table(&mut self, name: &str, titles: &[&str], rows: Vec<Vec<String>>) {
        self.line(0, &format!("{name}:"));
        let rule = titles.iter().map(|title| "-".repeat(title.len())).collect();
        let titles = titles.iter().map(|title| (*title).to_owned()).collect();
        let lines: Vec<Vec<String>> = [titles, rule].into_iter().chain(rows).collect();
        let columns = lines.first().map_or(0, Vec::len);
        let width = |column: usize| lines.iter().map(|line| visible(&line[column])).max().unwrap_or(0) + GAP;
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for line in &lines {
            let mut text = String::new();
            for (index, cell) in line.iter().enumerate() {
                // A message of several lines goes on under itself.
                let under = format!("\n{}", " ".repeat(GAP + widths[..index].iter().sum::<usize>()));
                text.push_str(&cell.replace('\n', &under));
                if index + 1 < columns {
                    text.push_str(&" ".repeat(widths[index] - visible(cell)));
                }
            }
            self.line(1, text.trim_end());
        }
    }

    /// The whole text: values of neighbouring lines begin in one column.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for run in self.0.chunk_by(|one, other| matches!((one, other), (Line::Pair(..), Line::Pair(..)))) {
            let names = run.iter().filter_map(|line| match line {
                Line::Pair(name, _) => Some(name.chars().count()),
                Line::Whole(_) => None,
            });
            let width = names.max().unwrap_or(0) + GAP;
            for line in run {
                match line {
                    Line::Whole(whole) => text.push_str(whole),
                    Line::Pair(name, value) => text.push_str(format!("{name:width$}{value}").trim_end()),
                }
                text.push('\n');
            }
        }
        text
    }
}

/// Characters that take room: colours take none.
fn visible(text: &str) -> usize {
    let mut inside = false;
    let shown = text.chars().filter(|letter| {
        let escape = *letter == '\x1b';
        let shown = !inside && !escape;
        inside = escape || (inside && *letter != 'm');
        shown
    });
    shown.count()
}

fn indent(level: usize) -> String {
    " ".repeat(level * GAP)
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "<nil>".into(),
        other => other.to_string(),
    }
}

/// `idleTimeout` as `Idle Timeout`, `providerID` as `Provider ID`: a field's name for people.
pub fn label(field: &str) -> String {
    // Names that are data, such as those of labels, stay as they are.
    if !field.chars().all(|letter| letter.is_ascii_alphanumeric()) {
        return field.to_owned();
    }
    let letters: Vec<char> = field.chars().collect();
    let mut words = String::new();
    for (index, letter) in letters.iter().enumerate() {
        let before = index.checked_sub(1).map(|before| letters[before]);
        let after = letters.get(index + 1);
        let begins = letter.is_uppercase()
            && before.is_some_and(|before| !before.is_uppercase() || after.is_some_and(|after| after.is_lowercase()));
        if begins {
            words.push(' ');
        }
        words.extend(if index == 0 { letter.to_uppercase().collect::<Vec<_>>() } else { vec![*letter] });
    }
    let known = |word: &str| match word {
        "Api" => "API".to_owned(),
        "Id" => "ID".to_owned(),
        "Uid" => "UID".to_owned(),
        "Url" => "URL".to_owned(),
        other => other.to_owned(),
    };
    words.split(' ').map(known).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_named_for_people() {
        for (field, name) in [
            ("idleTimeout", "Idle Timeout"),
            ("gpu", "Gpu"),
            ("providerID", "Provider ID"),
            ("apiVersion", "API Version"),
            ("uid", "UID"),
            ("HTTPProxy", "HTTP Proxy"),
            ("torchremote.dev/x", "torchremote.dev/x"),
        ] {
            assert_eq!(label(field), name);
        }
    }

    #[test]
    fn colours_take_no_room_and_lines_of_a_message_stand_below_each_other() {
        let mut sheet = Sheet::default();
        sheet.table(
            "T",
            &["A", "B"],
            vec![vec!["\x1b[32mgreen\x1b[0m".into(), "one\ntwo".into()], vec!["x".into(), "y".into()]],
        );
        assert_eq!(sheet.text(), "T:\n  A      B\n  -      -\n  \x1b[32mgreen\x1b[0m  one\n         two\n  x      y\n");
    }
}
