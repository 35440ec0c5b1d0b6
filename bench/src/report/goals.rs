//! The goals: what was promised, what was measured, and whether it holds.

use std::fmt::Write;

use anyhow::{Result, bail};
use serde::Deserialize;

use super::pages::link;
use super::reasons::Reason;
use super::results::{self, Results};
use super::statistics::Spread;
use super::{numbers, reasons};

/// One promise in one table.
#[derive(Clone, Debug)]
pub struct Goal {
    /// What is promised.
    pub promise: String,
    /// The table that shows it.
    pub table: String,
    /// What was measured, in words.
    pub measured: String,
    /// Whether it holds.
    pub verdict: Verdict,
}

/// Whether a promise holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// By the median.
    Met,
    /// Not by the median, but within the quartiles.
    Close,
    /// No.
    Missed,
    /// Not measured yet, or a contestant that it needs was missing.
    NotMeasured,
}

impl Verdict {
    /// In words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Close => "within the spread",
            Self::Missed => "**missed**",
            Self::NotMeasured => "not measured",
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    fn judge(self, spread: Spread) -> Verdict {
        let (median, best) = match self {
            Self::AtLeast(bound) => (spread.median >= bound, spread.upper >= bound),
            Self::AtMost(bound) => (spread.median <= bound, spread.lower <= bound),
        };
        match (median, best) {
            (true, _) => Verdict::Met,
            (false, true) => Verdict::Close,
            (false, false) => Verdict::Missed,
        }
    }
}

/// A goal as `bench/results/goals.toml` states it, which describes the fields.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stated {
    promise: String,
    tables: Vec<String>,
    row: String,
    of: Option<String>,
    series: String,
    at_least: Option<f64>,
    at_most: Option<f64>,
    shown: Option<Notation>,
}

/// How a value that is not compared with another one is shown.
#[derive(Clone, Copy, Debug, Deserialize)]
enum Notation {
    #[serde(rename = "ratio")]
    Ratio,
    #[serde(rename = "% lost")]
    Lost,
    #[serde(rename = "% missing")]
    Missing,
    #[serde(rename = "MB resident")]
    Resident,
    #[serde(rename = "rate")]
    Rate,
    #[serde(rename = "median rate")]
    MedianRate,
    #[serde(rename = "milliseconds")]
    Milliseconds,
}

impl Notation {
    fn of(self, spread: Spread) -> String {
        let rate = |value| format!("{}/s", numbers::rate(value));
        let median = numbers::short(spread.median);
        match self {
            Self::Ratio => numbers::ratio(spread),
            Self::Lost => format!("{median} % lost"),
            Self::Missing => format!("{median} % missing"),
            Self::Resident => format!("{median} MB resident"),
            Self::Rate => numbers::spread(spread, rate),
            Self::MedianRate => rate(spread.median),
            Self::Milliseconds => {
                numbers::spread(spread, |value| format!("{} ms", numbers::short(value / 1e3)))
            }
        }
    }
}

/// The file of goals.
#[derive(Debug, Deserialize)]
struct File {
    goal: Vec<Stated>,
}

/// All goals, judged by the figures that there are.
pub(super) fn goals(results: &Results) -> Result<Vec<Goal>> {
    let mut goals = Vec::new();
    for stated in stated()? {
        let bound = stated.bound()?;
        goals.extend(stated.tables.iter().map(|table| stated.judged(table, bound, results)));
    }
    Ok(goals)
}

fn stated() -> Result<Vec<Stated>> {
    let file: File = results::data("goals.toml")?;
    Ok(file.goal)
}

impl Stated {
    fn bound(&self) -> Result<Bound> {
        match (self.at_least, self.at_most) {
            (Some(bound), None) => Ok(Bound::AtLeast(bound)),
            (None, Some(bound)) => Ok(Bound::AtMost(bound)),
            _ => bail!("the goal {:?} needs one bound: at_least or at_most", self.promise),
        }
    }

    fn judged(&self, table: &str, bound: Bound, results: &Results) -> Goal {
        let spread = results.table(table).and_then(|figures| match &self.of {
            Some(other) => figures.ratio(&self.row, other, &self.series),
            None => figures.row(&self.row)?.spread(&self.series),
        });
        let shown = self.shown.unwrap_or(Notation::Ratio);
        let (measured, verdict) = match spread {
            Some(spread) => (shown.of(spread), bound.judge(spread)),
            None => ("–".to_owned(), Verdict::NotMeasured),
        };
        Goal { promise: self.promise.clone(), table: table.to_owned(), measured, verdict }
    }
}

/// The links and sizes that promises about rates are made for.
const PLACES: [&str; 6] = ["a-64", "a-1400", "b-64", "b-1400", "c-64", "c-1400"];

/// Writes all goals: those about rates by link and size, then the others.
pub(super) fn write(text: &mut String, goals: &[Goal], reasons: &[Reason]) {
    text.push_str("Paired ratios, by link and size; `met`, `missed`, or within the spread.\n\n");
    let _ = writeln!(text, "| goal | {} |\n|---|{}", PLACES.join(" | "), "---|".repeat(PLACES.len()));
    let (rates, others): (Vec<_>, Vec<_>) = goals.iter().partition(|goal| goal.place().is_some());
    for promise in promises(&rates) {
        let cell = |place| {
            let goal = rates.iter().find(|goal| goal.promise == promise && goal.place() == Some(place));
            goal.map_or_else(String::new, |goal| goal.judgement())
        };
        let _ = writeln!(text, "| {promise} | {} |", PLACES.map(cell).join(" | "));
    }
    text.push_str("\n| goal | table | |\n|---|---|---|\n");
    for goal in others {
        let _ = writeln!(text, "| {} | {} | {} |", goal.promise, goal.link(), goal.judgement());
    }
    reasons::write(text, goals, reasons);
}

/// Each promise once, in order.
fn promises<'g>(goals: &[&'g Goal]) -> Vec<&'g str> {
    let mut promises: Vec<&str> = goals.iter().map(|goal| goal.promise.as_str()).collect();
    promises.dedup();
    promises
}

impl Goal {
    /// Link and size, if it is about a rate.
    fn place(&self) -> Option<&str> {
        let (_, place) = self.table.split_once('-')?;
        PLACES.contains(&place).then_some(place)
    }

    /// The table; a link where there is one.
    fn link(&self) -> String {
        let table = &self.table;
        match self.verdict {
            Verdict::NotMeasured => table.clone(),
            _ => format!("[{table}]({})", link(table)),
        }
    }

    fn judgement(&self) -> String {
        match self.verdict {
            Verdict::NotMeasured => self.verdict.words().to_owned(),
            verdict => format!("{}: {}", self.measured, verdict.words()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_about_rates_is_one_row() {
        let goal = |table: &str, verdict| Goal {
            promise: "fast".to_owned(),
            table: table.to_owned(),
            measured: "1.00".to_owned(),
            verdict,
        };
        let mut text = String::new();

        write(&mut text, &[goal("send-a-64", Verdict::Met), goal("send-b-1400", Verdict::Missed)], &[]);
        write(&mut text, &[goal("latency", Verdict::Close), goal("loss", Verdict::NotMeasured)], &[]);

        assert!(text.contains("| fast | 1.00: met |  |  | 1.00: **missed** |  |  |\n"), "{text}");
        assert!(
            text.contains("| fast | [latency](datagrams.md#latency) | 1.00: within the spread |\n"),
            "{text}"
        );
        assert!(text.contains("| fast | loss | not measured |\n"), "{text}");
    }

    #[test]
    fn every_goal_is_of_tables_that_exist_and_has_one_bound() {
        let names = crate::tables::names();
        let goals = stated().unwrap();
        for goal in &goals {
            assert!(!goal.tables.is_empty(), "{}", goal.promise);
            for table in &goal.tables {
                assert!(names.contains(table), "{}: there is no table {table}", goal.promise);
            }
            goal.bound().unwrap();
            assert!(goal.of.is_some() || goal.shown.is_some(), "{}: how it is shown", goal.promise);
        }
        assert_eq!(goals.iter().map(|goal| goal.tables.len()).sum::<usize>(), 140);
    }

    /// A misspelt row or series would never be judged.
    #[test]
    fn the_rows_of_a_goal_are_in_the_tables_that_were_measured() {
        let results = Results::stored().unwrap();
        let mut judged = 0;
        for goal in stated().unwrap() {
            for figures in goal.tables.iter().filter_map(|table| results.table(table)) {
                for name in [Some(&goal.row), goal.of.as_ref()].into_iter().flatten() {
                    let row = figures.row(name);
                    let row =
                        row.unwrap_or_else(|| panic!("{}: no row {name} in {}", goal.promise, figures.table));
                    assert!(row.series.contains_key(&goal.series), "{}: {}", goal.promise, goal.series);
                    judged += 1;
                }
            }
        }
        assert!(judged > 200, "{judged}");
    }

    #[test]
    fn a_goal_with_two_bounds_or_none_is_refused() {
        let read = |bounds: &str| {
            toml::from_str::<Stated>(&format!(
                "promise = 'fast'\ntables = ['log']\nrow = 'a'\nof = 'b'\nseries = 'rate'\n{bounds}"
            ))
        };
        assert!(read("at_least = 1.0\nat_most = 2.0").unwrap().bound().is_err());
        assert!(read("").unwrap().bound().is_err());
        assert!(read("at_lest = 1.0").is_err());
        assert!(read("at_least = 1.0").unwrap().bound().is_ok());
    }

    #[test]
    fn a_bound_is_judged_by_median_and_quartiles() {
        let spread = |lower, median, upper| Spread { lower, median, upper };
        assert_eq!(Bound::AtLeast(0.95).judge(spread(0.9, 0.96, 1.0)), Verdict::Met);
        assert_eq!(Bound::AtLeast(0.95).judge(spread(0.9, 0.94, 1.0)), Verdict::Close);
        assert_eq!(Bound::AtLeast(0.95).judge(spread(0.8, 0.85, 0.9)), Verdict::Missed);
        assert_eq!(Bound::AtMost(1.2).judge(spread(1.0, 1.1, 1.3)), Verdict::Met);
        assert_eq!(Bound::AtMost(1.2).judge(spread(1.1, 1.3, 1.4)), Verdict::Close);
        assert_eq!(Bound::AtMost(0.0).judge(spread(0.0, 0.0, 0.0)), Verdict::Met);
    }
}
