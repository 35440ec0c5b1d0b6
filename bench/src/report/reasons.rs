//! Explanations of missed goals, as far as they are known.

use std::fmt::Write;

use anyhow::Result;
use serde::Deserialize;

use super::goals::{Goal, Verdict};
use super::results;

/// A reason, for goals and tables with these prefixes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reason {
    promise: String,
    table: String,
    why: String,
}

/// The file of reasons.
#[derive(Debug, Deserialize)]
struct File {
    reason: Vec<Reason>,
}

/// Reads the reasons from `bench/results/reasons.toml`.
pub(super) fn reasons() -> Result<Vec<Reason>> {
    let file: File = results::data("reasons.toml")?;
    Ok(file.reason)
}

/// Writes the reasons for missed goals, each once.
pub(super) fn write(text: &mut String, goals: &[Goal], reasons: &[Reason]) {
    let missed: Vec<_> = goals.iter().filter(|goal| goal.verdict == Verdict::Missed).collect();
    let mut unexplained: Vec<&str> = Vec::new();
    if missed.is_empty() {
        return;
    }
    text.push_str("\n## Reasons for missed goals\n\n");
    for reason in reasons {
        let explained: Vec<_> = missed.iter().filter(|goal| reason.is_for(goal)).collect();
        if let Some(first) = explained.first() {
            let tables: Vec<_> = explained.iter().map(|goal| goal.table.as_str()).collect();
            let _ = writeln!(text, "- {} ({}). {}", first.promise, tables.join(", "), reason.why);
        }
    }
    for goal in missed {
        if !reasons.iter().any(|reason| reason.is_for(goal)) && !unexplained.contains(&goal.promise.as_str())
        {
            unexplained.push(&goal.promise);
            let _ = writeln!(text, "- {}: not explained yet.", goal.promise);
        }
    }
}

impl Reason {
    fn is_for(&self, goal: &Goal) -> bool {
        goal.promise.starts_with(&self.promise) && goal.table.starts_with(&self.table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Results;
    use crate::report::goals::goals;

    fn goal(promise: &str, table: &str, verdict: Verdict) -> Goal {
        Goal { promise: promise.to_owned(), table: table.to_owned(), measured: "0.9".to_owned(), verdict }
    }

    #[test]
    fn only_missed_goals_are_explained_and_unknown_reasons_are_marked() {
        let promise = "`recv` no slower than std::net::UdpSocket with the same options";
        let mut text = String::new();

        let reasons = reasons().unwrap();
        write(&mut text, &[goal(promise, "receive-b-64", Verdict::Met)], &reasons);
        assert_eq!(text, "");

        let missed = [
            goal(promise, "receive-a-64", Verdict::Missed),
            goal(promise, "receive-a-1400", Verdict::Missed),
            goal("faster than light", "latency", Verdict::Missed),
        ];
        write(&mut text, &missed, &reasons);
        assert_eq!(text.matches("(receive-a-64, receive-a-1400). `recv` returns").count(), 1, "{text}");
        assert!(text.contains("- faster than light: not explained yet."), "{text}");
    }
    #[test]
    fn every_reason_is_for_a_goal() {
        let goals = goals(&Results::stored().unwrap()).unwrap();
        for reason in reasons().unwrap() {
            let why = format!("{} ({})", reason.promise, reason.table);
            assert!(goals.iter().any(|goal| reason.is_for(goal)), "{why}");
            assert!(!reason.why.trim().is_empty(), "{why}");
        }
    }
}
