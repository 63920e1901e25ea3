//! Tables for people: columns and nothing else.
//!
//! No frames and no wrapping. A line that is too long for the terminal is broken
//! by the terminal, and what was printed can be cut and sorted by other programs.

use std::fmt;

use comfy_table::{CellAlignment, Table as Grid, presets};

/// Spaces between two columns.
const GAP: u16 = 2;

/// A table under a line of headings.
pub(crate) struct Table(Grid);

impl Table {
    /// A table with these headings. Those that start with `>` stand over columns
    /// of figures, which are aligned to the right.
    pub(crate) fn new<const N: usize>(headings: [&str; N]) -> Self {
        let mut grid = Grid::new();
        grid.load_style(presets::NOTHING);
        grid.set_header(headings.map(|heading| heading.trim_start_matches('>')));
        for (column, heading) in grid.column_iter_mut().zip(headings) {
            column.set_padding((0, GAP));
            if heading.starts_with('>') {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        Self(grid)
    }

    /// Adds a line.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.0.add_row(cells);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self
            .0
            .lines()
            .map(|line| line.trim_end().to_owned())
            .collect();
        f.write_str(&lines.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_columns_and_nothing_else() {
        let mut table = Table::new(["BANK", ">TOTAL"]);
        table.row(["bank-a".into(), "75.00".into()]);
        table.row(["b".into(), "125.00".into()]);
        assert_eq!(
            table.to_string(),
            "BANK     TOTAL\nbank-a   75.00\nb       125.00"
        );
    }
}
