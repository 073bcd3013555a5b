//! Tables: aligned on a terminal and fitted to its width, plain elsewhere.

use std::io::{IsTerminal, Write};

use anyhow::Result;
use brotr_core::escape;
use comfy_table::{Attribute, Cell, CellAlignment, Color, ColumnConstraint, ContentArrangement, Row, Table as Inner};

/// The least width that a table is fitted to.
const NARROWEST: u16 = 40;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    /// Text that is cut if the terminal is too narrow.
    Text(&'static str),
    /// Text that is never cut.
    Key(&'static str),
    /// Numbers: aligned right and never cut.
    Number(&'static str),
}

impl Column {
    fn name(self) -> &'static str {
        match self {
            Self::Text(name) | Self::Key(name) | Self::Number(name) => name,
        }
    }

    fn alignment(self) -> CellAlignment {
        if matches!(self, Self::Number(_)) { CellAlignment::Right } else { CellAlignment::Left }
    }
}

/// What a value means, for its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Bad,
    Faint,
}

/// A value of a table.
#[derive(Debug, Clone)]
pub(super) struct Value {
    text: String,
    tone: Option<Tone>,
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        // Values come from relays.
        Self { text: escape(text).into_owned(), tone: None }
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl Value {
    /// Returns the value with a colour.
    pub(super) fn toned(self, tone: Tone) -> Self {
        Self { tone: Some(tone), ..self }
    }

    fn cell(&self, is_coloured: bool) -> Cell {
        let cell = Cell::new(&self.text);
        match self.tone.filter(|_| is_coloured) {
            Some(Tone::Good) => cell.fg(Color::Green),
            Some(Tone::Bad) => cell.fg(Color::Red),
            Some(Tone::Faint) => cell.add_attribute(Attribute::Dim),
            None => cell,
        }
    }
}

/// A table with a header.
pub(super) struct Table {
    inner: Inner,
    alignments: Vec<CellAlignment>,
    is_coloured: bool,
}

impl Table {
    /// Returns a table with these columns.
    pub(super) fn new(columns: &[Column]) -> Self {
        let names: Vec<&str> = columns.iter().map(|column| column.name()).collect();
        let mut table = Self::with(&names, columns.iter().map(|column| column.alignment()).collect());
        for (place, column) in columns.iter().enumerate() {
            if let (Column::Key(_) | Column::Number(_), Some(column)) = (column, table.inner.column_mut(place)) {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        table
    }

    /// Returns a table whose columns have names that are not known beforehand.
    pub(super) fn named(names: &[String]) -> Self {
        let names: Vec<String> = names.iter().map(|name| escape(name).into_owned()).collect();
        Self::with(&names.iter().map(String::as_str).collect::<Vec<_>>(), vec![CellAlignment::Left; names.len()])
    }

    fn with(names: &[&str], alignments: Vec<CellAlignment>) -> Self {
        let is_coloured = is_coloured();
        let mut inner = Inner::new();
        inner.load_style(comfy_table::presets::NOTHING).set_truncation_indicator("…");
        if is_coloured {
            inner.enforce_styling();
        } else {
            inner.force_no_tty();
        }
        let header = names.iter().zip(&alignments).map(|(name, alignment)| {
            let cell = Cell::new(name).set_alignment(*alignment);
            if is_coloured { cell.add_attribute(Attribute::Bold) } else { cell }
        });
        inner.set_header(one_line(header.collect()));
        Self { inner, alignments, is_coloured }
    }

    /// Adds a row.
    pub(super) fn add(&mut self, values: Vec<Value>) {
        let cells = values.iter().zip(&self.alignments);
        let cells = cells.map(|(value, alignment)| value.cell(self.is_coloured).set_alignment(*alignment));
        self.inner.add_row(one_line(cells.collect()));
    }

    /// Prints the table with an indent. On a terminal it is fitted to the width: texts are cut.
    pub(super) fn print(mut self, indent: usize) -> Result<()> {
        match terminal_width() {
            Some(width) => {
                let width = width.saturating_sub(u16::try_from(indent).unwrap_or(0)).max(NARROWEST);
                self.inner.set_content_arrangement(ContentArrangement::Dynamic).set_width(width)
            }
            None => self.inner.set_content_arrangement(ContentArrangement::Disabled),
        };
        for (place, column) in self.inner.column_iter_mut().enumerate() {
            column.set_padding((if place == 0 { 0 } else { 1 }, 1));
        }
        let mut out = std::io::stdout().lock();
        for line in self.inner.lines() {
            writeln!(out, "{:indent$}{}", "", line.trim_end())?;
        }
        Ok(())
    }
}

fn one_line(cells: Vec<Cell>) -> Row {
    let mut row = Row::from(cells);
    row.max_height(1);
    row
}

/// Returns the width of the terminal on stdout; `None` if it is not one.
pub(super) fn terminal_width() -> Option<u16> {
    Inner::new().width()
}

/// Returns true if output on stdout is to be coloured: on a terminal, unless `NO_COLOR` is set.
pub(super) fn is_coloured() -> bool {
    takes_colour(&std::io::stdout())
}

/// Returns true if a stream is a terminal and neither `NO_COLOR` nor `TERM` rules colours out.
pub(super) fn takes_colour(stream: &impl IsTerminal) -> bool {
    let is_off = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    stream.is_terminal() && !is_off && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}
