//! Columns of `kubectl get`.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::{age, path};

/// One column of a kind's table.
#[derive(Debug, Clone)]
pub struct Column {
    /// Header; kubectl writes it in capitals.
    pub name: &'static str,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub column_type: &'static str,
    /// `name` for the first column, else empty.
    pub format: &'static str,
    /// What it shows.
    pub description: &'static str,
    /// 0: always; 1: with `-o wide`.
    pub priority: i32,
    /// Where its cells come from.
    pub cell: Cell,
}

/// Where a cell comes from.
#[derive(Debug, Clone, Copy)]
pub enum Cell {
    /// The field at a path; empty text when there is none.
    Path(&'static str),
    /// The time since the instant at a path; `<unknown>` when there is none.
    Since(&'static str),
    /// The time until the instant at a path; empty when there is none.
    Until(&'static str),
    /// Made from the object.
    Made(fn(&Value) -> String),
}

impl Column {
    /// A text column that shows the field at a path.
    pub const fn text(name: &'static str, description: &'static str, path: &'static str) -> Self {
        Self { name, column_type: "string", format: "", description, priority: 0, cell: Cell::Path(path) }
    }

    /// The first column: the object's name.
    pub const fn name() -> Self {
        let mut column = Self::text("Name", "Name of the object.", ".metadata.name");
        column.format = "name";
        column
    }

    /// The last column: the time since the object was made.
    pub const fn age() -> Self {
        Self::text("Age", "Time since it was made.", "").of(Cell::Since(".metadata.creationTimestamp"))
    }

    /// The same with integers in its cells.
    pub const fn integer(mut self) -> Self {
        self.column_type = "integer";
        self
    }

    /// The same, shown with `-o wide` only.
    pub const fn wide(mut self) -> Self {
        self.priority = 1;
        self
    }

    /// The same with cells from elsewhere.
    pub const fn of(mut self, cell: Cell) -> Self {
        self.cell = cell;
        self
    }

    /// Its entry in `columnDefinitions` of a Table.
    pub fn definition(&self) -> Value {
        json!({"name": self.name, "type": self.column_type, "format": self.format, "description": self.description, "priority": self.priority})
    }

    /// Its cell in the row of `object`.
    pub fn render(&self, object: &Value, now: DateTime<Utc>) -> Value {
        let instant = |at: &str| {
            let text = path::get(object, at)?.as_str()?;
            DateTime::parse_from_rfc3339(text).ok().map(|instant| instant.with_timezone(&Utc))
        };
        match self.cell {
            Cell::Path(at) => path::get(object, at).map_or_else(|| "".into(), |value| shown(value, self.column_type)),
            Cell::Since(at) => age::since(instant(at), now).into(),
            Cell::Until(at) => instant(at).map_or_else(String::new, |instant| age::until(instant, now)).into(),
            Cell::Made(make) => make(object).into(),
        }
    }
}

/// Numbers and booleans stay themselves in columns of their type, all else is text.
fn shown(value: &Value, column_type: &str) -> Value {
    match value {
        Value::String(_) => value.clone(),
        Value::Number(_) if matches!(column_type, "integer" | "number") => value.clone(),
        Value::Bool(_) if column_type == "boolean" => value.clone(),
        other => other.to_string().into(),
    }
}
