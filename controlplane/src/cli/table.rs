//! Tables as the server renders them, printed as kubectl prints them.

use serde_json::Value;

use super::paint::{Paint, Tone};
use crate::explain::plain;

/// Least width of a column, and the space after it.
const WIDTH: usize = 6;
const PADDING: usize = 3;

/// How tables are shown.
#[derive(Debug, Clone, Copy, Default)]
pub struct Look<'a> {
    /// Columns of lower priority too.
    pub wide: bool,
    /// Namespaces in a first column.
    pub namespaces: bool,
    /// Leave the header out.
    pub headless: bool,
    /// `KIND/` in front of names, when several kinds are shown.
    pub prefix: Option<&'a str>,
    /// States in colour.
    pub paint: Paint,
}

/// A table in the making: a watch adds rows to it, and columns only grow.
#[derive(Debug, Default)]
pub struct Table {
    columns: Vec<(String, bool)>,
    widths: Vec<usize>,
}

impl Table {
    /// Renders the rows of a `meta.k8s.io/v1` Table, under a header the first time.
    pub fn render(&mut self, answer: &Value, look: Look<'_>) -> String {
        let header = !look.headless && self.columns.is_empty();
        if self.columns.is_empty() {
            let read = |column: &Value| {
                let shown = look.wide || column["priority"].as_i64().unwrap_or(0) == 0;
                (column["name"].as_str().unwrap_or_default().to_uppercase(), shown)
            };
            self.columns = answer["columnDefinitions"].as_array().into_iter().flatten().map(read).collect();
        }
        let mut lines = Vec::new();
        if header {
            let titles = self.columns.iter().filter(|(_, shown)| *shown).map(|(title, _)| Cell::plain(title.clone()));
            let namespace = look.namespaces.then(|| Cell::plain("NAMESPACE".to_owned()));
            lines.push(namespace.into_iter().chain(titles).collect());
        }
        let rows = answer["rows"].as_array().into_iter().flatten();
        lines.extend(rows.map(|row| self.row(row, look)));
        self.align(&lines, look.paint)
    }

    fn row(&self, row: &Value, look: Look<'_>) -> Vec<Cell> {
        let namespace = row["object"]["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
        let cells = row["cells"].as_array().into_iter().flatten().zip(&self.columns);
        let shown = cells.filter(|(_, (_, shown))| *shown).map(|(cell, (title, _))| Cell::of(title, text(cell)));
        let mut shown: Vec<Cell> = shown.collect();
        if let (Some(prefix), Some(name)) = (look.prefix, shown.first_mut()) {
            name.text = format!("{prefix}/{}", name.text);
        }
        if look.namespaces {
            shown.insert(0, Cell::plain(namespace));
        }
        shown
    }

    fn align(&mut self, lines: &[Vec<Cell>], paint: Paint) -> String {
        for line in lines {
            self.widths.resize(self.widths.len().max(line.len()), WIDTH);
            for (width, cell) in self.widths.iter_mut().zip(line) {
                *width = (*width).max(cell.text.chars().count() + PADDING);
            }
        }
        let mut out = String::new();
        for line in lines {
            for (index, (cell, width)) in line.iter().zip(&self.widths).enumerate() {
                out.push_str(&paint.text(cell.tone, &cell.text));
                if index + 1 < line.len() {
                    out.extend(std::iter::repeat_n(' ', width - cell.text.chars().count()));
                }
            }
            out.push('\n');
        }
        out
    }
}

/// A text, and what it means.
#[derive(Debug)]
struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    fn plain(text: String) -> Self {
        Self { text, tone: Tone::Plain }
    }

    fn of(title: &str, text: String) -> Self {
        let tone = Tone::of(title, &text);
        Self { text, tone }
    }
}

/// A cell as kubectl shows it; line breaks would break the table.
fn text(cell: &Value) -> String {
    match cell {
        Value::Null => "<none>".into(),
        Value::String(text) => plain(text.lines().next().unwrap_or_default()).into_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer() -> Value {
        json!({
            "columnDefinitions": [{"name": "Name"}, {"name": "Provider"}, {"name": "GPU"}, {"name": "Agent", "priority": 1}],
            "rows": [
                {"cells": ["trainer", "local", "CPU", "0.1.0"], "object": {"metadata": {"namespace": "default"}}},
                {"cells": ["x", null, "A100-80GB", 3], "object": {"metadata": {"namespace": "vision"}}},
            ]
        })
    }

    #[test]
    fn columns_line_up_as_kubectl_prints_them() {
        let text = Table::default().render(&answer(), Look::default());
        assert_eq!(text, "NAME      PROVIDER   GPU\ntrainer   local      CPU\nx         <none>     A100-80GB\n");
    }

    #[test]
    fn wide_shows_all_columns_and_all_namespaces_show_theirs() {
        let look = Look { wide: true, namespaces: true, prefix: Some("machine"), headless: true, ..Look::default() };
        let text = Table::default().render(&answer(), look);
        assert_eq!(
            text,
            "default   machine/trainer   local    CPU         0.1.0\nvision    machine/x         <none>   A100-80GB   3\n"
        );
    }

    #[test]
    fn a_watch_prints_its_header_once_and_columns_only_grow() {
        let mut table = Table::default();
        let rows = |name: &str| json!({"columnDefinitions": [{"name": "Name"}, {"name": "Phase"}], "rows": [{"cells": [name, "Ready"]}]});
        assert_eq!(table.render(&rows("abcdef"), Look::default()), "NAME     PHASE\nabcdef   Ready\n");
        assert_eq!(table.render(&rows("a"), Look::default()), "a        Ready\n");
    }
}
