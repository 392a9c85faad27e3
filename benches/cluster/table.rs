//! Figures side by side: for a person, and as JSON.

use std::fmt;

use serde_json::{Value, json};

/// A table of figures.
pub(crate) struct Table {
    title: String,
    columns: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

/// One figure or one word.
#[derive(Clone)]
pub(crate) enum Cell {
    /// A word.
    Word(String),
    /// A figure, and how many digits of it mean something behind the point.
    Figure(f64, usize),
    /// Nothing was measured.
    None,
}

impl From<&str> for Cell {
    fn from(word: &str) -> Self {
        Self::Word(word.to_owned())
    }
}

impl From<u32> for Cell {
    fn from(number: u32) -> Self {
        Self::Figure(number.into(), 0)
    }
}

impl From<Option<Cell>> for Cell {
    fn from(cell: Option<Cell>) -> Self {
        cell.unwrap_or(Self::None)
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(word) => f.write_str(word),
            Self::Figure(figure, digits) => write!(f, "{figure:.digits$}"),
            Self::None => f.write_str("-"),
        }
    }
}

impl Table {
    pub(crate) fn new(title: &str, columns: &[&'static str]) -> Self {
        Self {
            title: title.to_owned(),
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; columns that it lacks at its end are empty.
    pub(crate) fn row(&mut self, mut cells: Vec<Cell>) {
        cells.resize(self.columns.len(), Cell::None);
        self.rows.push(cells);
    }

    pub(crate) fn json(&self) -> Value {
        let rows = self.rows.iter().map(|cells| {
            let members = self.columns.iter().zip(cells).map(|(column, cell)| {
                let value = match cell {
                    Cell::Word(word) => json!(word),
                    Cell::Figure(figure, _) => json!(figure),
                    Cell::None => Value::Null,
                };
                ((*column).to_owned(), value)
            });
            Value::Object(members.collect())
        });
        json!({ "title": self.title, "rows": rows.collect::<Vec<_>>() })
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        table.set_header(&self.columns);
        for cells in &self.rows {
            table.add_row(cells.iter().map(ToString::to_string));
        }
        for (at, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, 3));
            let is_figure = |cells: &Vec<Cell>| matches!(cells.get(at), Some(Cell::Figure(..)));
            if self.rows.iter().any(is_figure) {
                column.set_cell_alignment(comfy_table::CellAlignment::Right);
            }
        }
        writeln!(f, "\n{}\n", self.title)?;
        for line in table.lines() {
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// The value that half of the others do not reach.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    percentile(values, 50)
}

/// The value that so many of a hundred do not exceed.
pub(crate) fn percentile(values: impl IntoIterator<Item = f64>, percent: usize) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let at = (values.len() * percent).div_ceil(100).saturating_sub(1);
    values.get(at).copied().unwrap_or(f64::NAN)
}
