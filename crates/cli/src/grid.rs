//! Columns of text as kubectl prints them: to the left, three spaces between, no lines.

use std::fmt;

const GAP: usize = 3;

/// Rows of cells, headings first.
#[derive(Clone, Debug, Default)]
pub struct Grid {
    rows: Vec<Vec<String>>,
    widths: Vec<usize>,
}

impl Grid {
    /// A grid with headings.
    pub fn new(headings: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let mut grid = Self::default();
        grid.add(headings);
        grid
    }

    /// One more row.
    pub fn add(&mut self, row: impl IntoIterator<Item = impl Into<String>>) {
        let row: Vec<String> = row.into_iter().map(Into::into).collect();
        self.widths.resize(self.widths.len().max(row.len()), 0);
        for (width, cell) in self.widths.iter_mut().zip(&row) {
            *width = (*width).max(cell.chars().count());
        }
        self.rows.push(row);
    }

    /// One more row, as a line that stands below those that were printed already.
    pub fn line(&mut self, row: Vec<String>) -> String {
        self.rows.clear();
        self.add(row);
        self.to_string()
    }
}

impl fmt::Display for Grid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.rows {
            let cells = row.iter().zip(&self.widths);
            let line: String = cells.map(|(cell, width)| format!("{cell:<width$}{:GAP$}", "")).collect();
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligns_columns() {
        let mut grid = Grid::new(["NAME", "AGE"]);
        grid.add(["long-name", "5s"]);
        assert_eq!(grid.to_string(), "NAME        AGE\nlong-name   5s\n");
        assert_eq!(grid.line(vec!["a".into(), "1s".into()]), "a           1s\n");
    }
}
