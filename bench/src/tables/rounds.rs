//! Rounds: each runs all contestants in turn, with the reference first and last.
//!
//! The speed of machines can change by factors, for minutes at a time. Contestants are therefore compared only within a
//! round, and a round counts only if the reference performed equally at its start and end.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

/// How much the reference may change within a round that counts.
const STEADY: f64 = 0.10;
/// How many rounds to run for each that is required to count.
const ATTEMPTS: usize = 2;
/// Failed runs after which a contestant is excluded.
const MAX_FAILURES: usize = 2;

/// The values of one run, by series.
pub(super) type Values = Vec<(&'static str, f64)>;

/// A contestant that takes turns.
pub(super) struct Turn<'a> {
    pub(super) name: String,
    pub(super) run: Box<dyn Fn() -> Result<Values> + 'a>,
}

/// How to take turns.
#[derive(Clone, Copy, Debug)]
pub(super) struct RoundOptions {
    /// Rounds that must count.
    pub(super) rounds: usize,
    /// The series by which to judge whether the reference was steady; `None` if that is irrelevant, and the reference
    /// runs once per round.
    pub(super) steady_by: Option<&'static str>,
    /// Whether rounds count even if it was not.
    pub(super) keep_all: bool,
}

/// The results of all rounds.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    /// By name, in the order of the turns.
    pub(super) series: Vec<(String, Series)>,
    pub(super) discarded: usize,
    pub(super) unsteady: bool,
    /// The excluded contestants, with the reason.
    pub(super) failed: BTreeMap<String, String>,
    /// The errors of contestants that failed in some rounds but were not excluded.
    pub(super) faults: BTreeMap<String, Vec<String>>,
}

/// By series, a value for each round that counts.
type Series = BTreeMap<String, Vec<Option<f64>>>;
type Round = Vec<Option<Values>>;

/// Runs the rounds. The first contestant is the reference.
///
/// # Errors
/// If the reference fails in every round.
pub(super) fn take_turns(turns: &[Turn<'_>], options: RoundOptions) -> Result<Rounds> {
    let mut failures: Vec<Vec<String>> = turns.iter().map(|_| Vec::new()).collect();
    let (mut steady, mut moved) = (Vec::new(), Vec::new());
    for number in 0..options.rounds * ATTEMPTS {
        if steady.len() == options.rounds {
            break;
        }
        let (round, change) = match take_round(turns, number, options.steady_by, &mut failures) {
            Ok(round) => round,
            Err(error) => {
                eprintln!("  round {}: the reference failed: {error:#}", number + 1);
                failures[0].push(format!("{error:#}"));
                continue;
            }
        };
        let counts = options.keep_all || change <= STEADY;
        let verdict = if counts { "counts" } else { "does not count" };
        eprintln!("  round {}: the reference moved by {:.0} %, {verdict}", number + 1, change * 100.0);
        if counts { steady.push(round) } else { moved.push(round) }
    }
    match failures[0].last() {
        Some(why) if steady.is_empty() && moved.is_empty() => bail!("the reference failed: {why}"),
        _ => Ok(collect(turns, steady, moved, failures)),
    }
}

/// Runs one round; returns how much the reference changed in it. Every second round runs backwards, so that a steady
/// drift does not favour any contestant.
fn take_round(
    turns: &[Turn<'_>],
    number: usize,
    steady_by: Option<&str>,
    failures: &mut [Vec<String>],
) -> Result<(Round, f64)> {
    let Some((reference, others)) = turns.split_first() else { bail!("there are no contestants") };
    let before = (reference.run)()?;
    let mut round: Round = turns.iter().map(|_| None).collect();
    let mut order: Vec<_> = (1..=others.len()).collect();
    if number % 2 == 1 {
        order.reverse();
    }
    for index in order {
        if failures[index].len() >= MAX_FAILURES {
            continue;
        }
        match (turns[index].run)() {
            Ok(values) => round[index] = Some(values),
            Err(error) => {
                eprintln!("  {}: {error:#}", turns[index].name);
                failures[index].push(format!("{error:#}"));
            }
        }
    }
    let Some(steady_by) = steady_by else {
        round[0] = Some(before);
        return Ok((round, 0.0));
    };
    let after = (reference.run)()?;
    let change = change(&before, &after, steady_by);
    round[0] = Some(middle(&before, &after));
    Ok((round, change))
}

fn change(before: &Values, after: &Values, steady_by: &str) -> f64 {
    let of = |values: &Values| values.iter().find(|(name, _)| *name == steady_by).map(|(_, value)| *value);
    match (of(before), of(after)) {
        (Some(before), Some(after)) if before > 0.0 && after > 0.0 => {
            (after / before).max(before / after) - 1.0
        }
        _ => f64::INFINITY,
    }
}

fn middle(before: &Values, after: &Values) -> Values {
    let pairs = before.iter().zip(after);
    pairs.map(|((name, before), (_, after))| (*name, f64::midpoint(*before, *after))).collect()
}

/// Collects the series of the rounds that count. If none was steady, uses all of them and marks that.
fn collect(turns: &[Turn<'_>], steady: Vec<Round>, moved: Vec<Round>, failures: Vec<Vec<String>>) -> Rounds {
    let unsteady = steady.is_empty();
    let discarded = if unsteady { 0 } else { moved.len() };
    let rounds = if unsteady { moved } else { steady };
    let mut result = Rounds { discarded, unsteady, ..Rounds::default() };
    for (index, turn) in turns.iter().enumerate() {
        let series = series_of(&rounds, index);
        match (series.is_empty(), failures[index].last()) {
            (true, Some(why)) => drop(result.failed.insert(turn.name.clone(), why.clone())),
            (true, None) => {}
            (false, why) => {
                // The reference runs twice as often, and its failures are handled per round.
                if why.is_some() && index > 0 {
                    result.faults.insert(turn.name.clone(), failures[index].clone());
                }
                result.series.push((turn.name.clone(), series));
            }
        }
    }
    result
}

fn series_of(rounds: &[Round], index: usize) -> Series {
    let mut series = Series::new();
    for (number, values) in rounds.iter().map(|round| &round[index]).enumerate() {
        for (name, value) in values.iter().flatten() {
            let all = series.entry((*name).to_owned()).or_insert_with(|| vec![None; rounds.len()]);
            all[number] = Some(*value);
        }
    }
    series
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const OPTIONS: RoundOptions = RoundOptions { rounds: 2, steady_by: Some("rate"), keep_all: false };

    fn turn<'a>(name: &str, run: impl Fn() -> Result<f64> + 'a) -> Turn<'a> {
        Turn { name: name.to_owned(), run: Box::new(move || Ok(vec![("rate", run()?)])) }
    }

    #[test]
    fn rounds_in_which_the_reference_moved_do_not_count() {
        // The second round begins at 100 and ends at 50.
        let paces = [100.0, 104.0, 100.0, 50.0, 100.0, 98.0];
        let next = Cell::new(0);
        let reference = turn("reference", || {
            next.set(next.get() + 1);
            Ok(paces[next.get() - 1])
        });

        let rounds = take_turns(&[reference, turn("other", || Ok(7.0))], OPTIONS).unwrap();

        assert_eq!((rounds.discarded, rounds.unsteady), (1, false));
        assert_eq!(rounds.series[0].1["rate"], [Some(102.0), Some(99.0)]);
        assert_eq!(rounds.series[1].1["rate"], [Some(7.0), Some(7.0)]);
    }

    #[test]
    fn without_a_steady_round_all_are_reported() {
        let pace = Cell::new(1.0);
        let reference = turn("reference", || {
            pace.set(pace.get() * 2.0);
            Ok(pace.get())
        });

        let rounds = take_turns(&[reference], OPTIONS).unwrap();

        assert!(rounds.unsteady);
        assert_eq!(rounds.series[0].1["rate"].len(), OPTIONS.rounds * ATTEMPTS);
    }

    #[test]
    fn a_round_in_which_the_reference_failed_is_repeated() {
        let calls = Cell::new(0);
        let reference = turn("reference", || {
            calls.set(calls.get() + 1);
            if calls.get() == 1 { bail!("not yet") } else { Ok(5.0) }
        });

        let rounds = take_turns(&[reference], OPTIONS).unwrap();

        assert_eq!(rounds.series[0].1["rate"], [Some(5.0), Some(5.0)]);
    }

    #[test]
    fn without_a_reference_there_is_no_comparison() {
        let turns = [turn("reference", || bail!("no such thing")), turn("other", || Ok(1.0))];
        assert!(take_turns(&turns, OPTIONS).unwrap_err().to_string().contains("no such thing"));
    }

    #[test]
    fn a_failing_contestant_is_excluded_with_the_reason() {
        let turns = [turn("reference", || Ok(1.0)), turn("broken", || bail!("no such thing"))];

        let rounds = take_turns(&turns, RoundOptions { rounds: 4, ..OPTIONS }).unwrap();

        assert_eq!(rounds.failed["broken"], "no such thing");
        assert_eq!(rounds.series.len(), 1);
    }

    #[test]
    fn a_contestant_that_fails_once_is_kept_with_its_error() {
        let calls = Cell::new(0);
        let flaky = turn("flaky", || {
            calls.set(calls.get() + 1);
            if calls.get() == 2 { bail!("not today") } else { Ok(1.0) }
        });
        let turns = [turn("reference", || Ok(1.0)), flaky];

        let rounds = take_turns(&turns, RoundOptions { rounds: 3, ..OPTIONS }).unwrap();

        assert_eq!(rounds.series[1].1["rate"], [Some(1.0), None, Some(1.0)]);
        assert_eq!(rounds.faults["flaky"], ["not today"]);
    }
}
