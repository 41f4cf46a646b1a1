//! A table as lines of text. What stands in it is the commands' own.

use comfy_table::Table;

/// The rows, each with its end of line and without the blanks that fill up its last column.
pub fn rows(table: &Table) -> String {
    table.lines().map(|it| it.trim_end().to_owned() + "\n").collect()
}

#[cfg(test)]
mod tests {
    use comfy_table::presets::NOTHING;

    use super::*;

    #[test]
    fn no_row_ends_in_blanks() {
        let mut table = Table::new();
        table.load_style(NOTHING).set_header(["POD", "NOTE"]).add_row(["a", "a long remark"]).add_row(["b", ""]);
        assert_eq!(rows(&table), " POD  NOTE\n a    a long remark\n b\n");
    }
}
