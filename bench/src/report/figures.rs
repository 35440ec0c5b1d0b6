//! What was measured for one table, round by round: results as JSON, so that everything that is said
//! about it can be worked out again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::statistics::{Spread, ratios};
use crate::machine::Machine;

/// One table.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Figures {
    /// Its name, as the command line has it.
    pub table: String,
    /// Its heading.
    pub title: String,
    /// What is compared, in a sentence or two.
    pub about: String,
    /// The series that the rows are ranked and drawn by.
    pub main: String,
    /// The row that others are given as ratios to.
    pub reference: String,
    /// The window of each run, in seconds.
    pub seconds: f64,
    /// Rounds in which the reference moved by more than a tenth, which do not count.
    pub discarded: usize,
    /// Whether the rounds that count include some in which the reference moved.
    pub unsteady: bool,
    /// Who takes part.
    pub rows: Vec<Row>,
    /// Contestants that did not run, and why.
    pub absent: BTreeMap<String, String>,
    /// Contestants with failed runs, and the reasons. After two failures, a contestant is not run again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub faults: BTreeMap<String, Vec<String>>,
    /// Where and when.
    pub machine: Machine,
    /// The command that measures it.
    pub command: String,
}

/// One contestant's figures.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// What it does.
    pub what: String,
    /// The row of its own that it is given as a ratio to, beside the table's reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside: Option<String>,
    /// By series, a value for each round that counts; `null` where the run failed.
    pub series: BTreeMap<String, Vec<Option<f64>>>,
}

impl Figures {
    /// A row by name.
    #[must_use]
    pub fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// Rounds that count.
    #[must_use]
    pub fn rounds(&self) -> usize {
        self.rows.iter().flat_map(|row| row.series.values()).map(Vec::len).max().unwrap_or(0)
    }

    /// The paired ratio of one row to another in a series.
    #[must_use]
    pub fn ratio(&self, name: &str, to: &str, series: &str) -> Option<Spread> {
        let (values, others) = (self.row(name)?.series.get(series)?, self.row(to)?.series.get(series)?);
        Spread::of(ratios(values, others))
    }
}

impl Row {
    /// A row without figures yet.
    #[must_use]
    pub fn new(name: &str, what: &str) -> Self {
        Self { name: name.to_owned(), what: what.to_owned(), beside: None, series: BTreeMap::new() }
    }

    /// Whose it is: its name, without how much was lost on the way to how many.
    #[must_use]
    pub fn contestant(&self) -> &str {
        let mut name = &*self.name;
        while let Some((rest, suffix)) = name.rsplit_once(", ") {
            if !suffix.ends_with('%') && !suffix.ends_with(" receivers") {
                break;
            }
            name = rest;
        }
        name
    }

    /// The spread of a series.
    #[must_use]
    pub fn spread(&self, series: &str) -> Option<Spread> {
        Spread::of(self.series.get(series)?.iter().copied().flatten())
    }
}
