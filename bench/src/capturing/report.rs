//! From runs to the document: the rates up to which nothing is lost, the goals, and the tables.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::{CONTESTANTS, PAYLOAD, RECORD_WIRE, SNIFF, TCPDUMP, TOP};
use crate::machine::Machine;
use crate::report::{Spread, Verdict};

/// The rate at which nothing may be dropped without being counted.
const COUNTED_RATE: u64 = 1_000_000;
/// The share of a rate at which it counts as reached.
const REACHED: f64 = 0.98;
/// How many times the rate of tcpdump is promised.
const PROMISED_RATIO: f64 = 2.0;

const TAIL: &str = "
Unlike tcpdump, `mcast sniff` decodes every packet, to count groups and sources. The ring has a cost: a frame may take up to
100 ms to reach the file, and the buffer (`--buffer`, 32 MiB) is memory that the kernel allocates. Before `mcast sniff`
exits, it waits for the frames received before. `mcast top` has such a ring of 8 MiB for each interface, if there are at
most four. `mcast record` reads datagrams that arrive less than 20 µs apart every 50 to 100 µs: with `--wire`, the time of those
without one from the driver is inexact by as much.
";

/// The result of one run.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
pub(super) struct CaptureRun {
    pub(super) sent: u64,
    pub(super) captured: u64,
    /// What the program says that it dropped; `None` if it does not say.
    pub(super) dropped: Option<u64>,
    /// Datagrams sent per second.
    pub(super) rate: f64,
    /// CPU time of the program per datagram captured, in nanoseconds.
    pub(super) cost: f64,
}

impl CaptureRun {
    const fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.captured)
    }

    /// Returns what was neither captured nor reported as dropped.
    fn uncounted(&self) -> u64 {
        self.lost().saturating_sub(self.dropped.unwrap_or(0))
    }

    pub(super) fn summary(&self) -> String {
        let (lost, uncounted) = (thousands(self.lost()), thousands(self.uncounted()));
        let rate = thousands(self.rate as u64);
        format!("{rate} sent/s, lost {lost}, of these uncounted {uncounted}, {:.0} ns", self.cost)
    }
}

/// All runs of a commit, by rate and contestant.
#[derive(Serialize, Deserialize, Clone, Debug, Default)]
pub(super) struct Measured {
    commit: String,
    runs: BTreeMap<u64, BTreeMap<String, Vec<CaptureRun>>>,
}

/// The highest rate at which a contestant lost nothing in any round.
#[derive(Clone, Copy, Debug, PartialEq)]
struct LossFree {
    /// Datagrams that were sent per second in the slowest round.
    rate: f64,
    /// Whether nothing was lost at the highest rate, either.
    is_most: bool,
}

impl Measured {
    /// Loads what was measured at this commit.
    pub(super) fn load(path: &Path, commit: &str) -> Self {
        let read = fs::read(path).ok().and_then(|bytes| serde_json::from_slice::<Self>(&bytes).ok());
        let same = read.filter(|measured| measured.commit == commit);
        same.unwrap_or_else(|| Self { commit: commit.to_owned(), runs: BTreeMap::new() })
    }

    pub(super) fn store(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string(self)?;
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    pub(super) fn put(&mut self, rate: u64, contestant: &str, runs: Vec<CaptureRun>) {
        self.runs.entry(rate).or_default().insert(contestant.to_owned(), runs);
    }

    fn of(&self, rate: u64, contestant: &str) -> &[CaptureRun] {
        self.runs.get(&rate).and_then(|runs| runs.get(contestant)).map_or(&[], Vec::as_slice)
    }

    /// Returns the highest rate at which every round lost nothing, by what was sent.
    fn loss_free(&self, contestant: &str) -> Option<LossFree> {
        let steps =
            self.runs.values().filter_map(|runs| runs.get(contestant)).filter(|runs| !runs.is_empty());
        let steps = steps.map(|runs| {
            let slowest = runs.iter().map(|run| run.rate).fold(f64::INFINITY, f64::min);
            (slowest, runs.iter().all(|run| run.lost() == 0))
        });
        let steps: Vec<(f64, bool)> = steps.collect();
        let most = steps.iter().map(|(rate, _)| *rate).fold(0.0, f64::max);
        let rate = steps.iter().filter(|(_, is_free)| *is_free).map(|(rate, _)| *rate).reduce(f64::max)?;
        Some(LossFree { rate, is_most: rate >= most })
    }

    /// Returns the promises, what was measured, and whether they hold.
    fn goals(&self) -> Vec<(String, String, Verdict)> {
        let mut goals = vec![self.ratio_goal()];
        goals.extend([TOP, SNIFF].map(|name| self.counted_goal(name)));
        goals
    }

    /// Returns the better setting of tcpdump, and its rate.
    fn best_of_tcpdump(&self) -> Option<(&'static str, LossFree)> {
        let settings = TCPDUMP.into_iter().filter_map(|name| Some((name, self.loss_free(name)?)));
        settings.max_by(|(_, one), (_, other)| one.rate.total_cmp(&other.rate))
    }

    /// Explains that the promised ratio cannot be shown if the sender does not reach it.
    fn limit_note(&self) -> Option<String> {
        let (name, other) = self.best_of_tcpdump()?;
        let runs = self.runs.values().flat_map(BTreeMap::values).flatten();
        let most = runs.map(|run| run.rate).fold(0.0, f64::max);
        if other.rate * PROMISED_RATIO <= most {
            return None;
        }
        let costs = self.runs.iter().rev().find_map(|(rate, _)| {
            let cost = |name| Spread::of(self.of(*rate, name).iter().map(|run| run.cost));
            Some((*rate, cost(RECORD_WIRE)?.median, cost(name)?.median))
        });
        let costs = costs.map_or_else(String::new, |(rate, own, others)| {
            format!(
                " Beside it stands the processor time: when {} a second were sent, `{RECORD_WIRE}` took {own:.0} ns for each that it \
                 recorded, `{name}` {others:.0} ns.",
                thousands(rate)
            )
        });
        Some(format!(
            "\n`{name}` loses nothing up to {} a second, and the sender reaches at most {}. So no program can be shown to \
             capture {PROMISED_RATIO} times as many here.{costs}\n",
            thousands(other.rate as u64),
            thousands(most as u64)
        ))
    }

    fn ratio_goal(&self) -> (String, String, Verdict) {
        let promise =
            format!("`{RECORD_WIRE}`: at least {PROMISED_RATIO} times the loss-free rate of tcpdump");
        let (Some(own), Some((name, other))) = (self.loss_free(RECORD_WIRE), self.best_of_tcpdump()) else {
            return (promise, "–".to_owned(), Verdict::NotMeasured);
        };
        let ratio = own.rate / other.rate;
        let bound = match (own.is_most, other.is_most) {
            (true, false) => "at least ",
            (false, true) => "at most ",
            (true, true) => "both lose nothing: ",
            (false, false) => "",
        };
        let verdict = if ratio >= PROMISED_RATIO { Verdict::Met } else { Verdict::Missed };
        (promise, format!("{bound}{ratio:.2} (of `{name}`)"), verdict)
    }

    fn counted_goal(&self, name: &str) -> (String, String, Verdict) {
        let promise =
            format!("`{name}`: at {} a second, no drop that is not counted", thousands(COUNTED_RATE));
        let runs = self.of(COUNTED_RATE, name);
        if runs.is_empty() {
            return (promise, "–".to_owned(), Verdict::NotMeasured);
        }
        let uncounted = runs.iter().map(CaptureRun::uncounted).max().unwrap_or(0);
        let dropped = runs.iter().map(CaptureRun::lost).max().unwrap_or(0);
        let slowest = runs.iter().map(|run| run.rate).fold(f64::INFINITY, f64::min);
        let measured = format!(
            "{} uncounted, {} dropped in the worst round, at {} a second or more",
            thousands(uncounted),
            thousands(dropped),
            thousands(slowest as u64)
        );
        let verdict = match (uncounted, slowest >= COUNTED_RATE as f64 * REACHED) {
            (0, true) => Verdict::Met,
            (0, false) => Verdict::NotMeasured,
            _ => Verdict::Missed,
        };
        (promise, measured, verdict)
    }

    pub(super) fn document(&self, machine: &Machine) -> String {
        let mut text = head(machine);
        text += "\n## Goals\n\n| promise | measured | |\n|---|---|---|\n";
        for (promise, measured, verdict) in self.goals() {
            let _ = writeln!(text, "| {promise} | {measured} | {} |", verdict.words());
        }
        text += &self.limit_note().unwrap_or_default();
        text += &self.loss_free_table();
        for (rate, runs) in &self.runs {
            let _ = write!(
                text,
                "\n## {} a second, {}\n\n| | lost, median | lost, worst | uncounted, worst | its CPU, ns each | sent/s |\n\
                 |---|---:|---:|---:|---:|---:|\n",
                thousands(*rate),
                rounds(runs.values().map(Vec::len).max().unwrap_or(0))
            );
            for contestant in &CONTESTANTS {
                text +=
                    &runs.get(contestant.name).map_or_else(String::new, |runs| row(contestant.name, runs));
            }
        }
        text + TAIL
    }

    fn loss_free_table(&self) -> String {
        let mut text =
            "\n## Without loss\n\nThe highest rate at which no round lost anything, by what was sent.\n\n\
                        | | datagrams per second |\n|---|---:|\n"
                .to_owned();
        for contestant in &CONTESTANTS {
            if self.runs.values().any(|runs| runs.contains_key(contestant.name)) {
                let rate = match self.loss_free(contestant.name) {
                    Some(LossFree { rate, is_most: true }) => {
                        format!("{}, the most that was sent", thousands(rate as u64))
                    }
                    Some(LossFree { rate, .. }) => thousands(rate as u64),
                    None => "none of these rates".to_owned(),
                };
                let _ = writeln!(text, "| {} | {rate} |", contestant.name);
            }
        }
        text
    }
}

fn rounds(count: usize) -> String {
    if count == 1 { "one round".to_owned() } else { format!("{count} rounds") }
}

fn head(machine: &Machine) -> String {
    let mut text = format!(
        "# Capturing without loss\n\nWritten by `cargo bench-peers capture`. One host sends datagrams of {PAYLOAD} bytes \
         (frames of {} bytes) for a second or more, 64 at once and these evenly paced, over a veth pair with offload off, so that \
         each is a frame. The other host runs the program, which writes all that crosses its interface, or the frames of \
         the group, into a file on this machine's disk. Sender on the first processor, program on the second, in turns. On \
         veth pairs, the sender's processor also runs what the kernel does for each frame until the program has it. \
         Lost is what was sent and is not in the file. Uncounted is what of that the program does not report as \
         dropped.\n\n{}, {} processors; Linux {}; {}; commit {}.\n\n",
        PAYLOAD + 42,
        machine.processor,
        machine.processors,
        machine.kernel,
        machine.date,
        machine.commit,
    );
    for contestant in &CONTESTANTS {
        let _ = writeln!(text, "- {}: {}.", contestant.name, contestant.remark);
    }
    text
}

fn row(name: &str, runs: &[CaptureRun]) -> String {
    let share = |run: &CaptureRun| run.lost() as f64 * 100.0 / run.sent.max(1) as f64;
    let median =
        |value: fn(&CaptureRun) -> f64| Spread::of(runs.iter().map(value)).map_or(0.0, |it| it.median);
    let lost = Spread::of(runs.iter().map(share)).map_or(0.0, |spread| spread.median);
    let uncounted = match runs.iter().map(CaptureRun::uncounted).max() {
        Some(0) | None => "none".to_owned(),
        Some(count) => thousands(count),
    };
    format!(
        "| {name} | {} | {} | {uncounted} | {:.0} | {} |\n",
        percent(lost),
        percent(runs.iter().map(share).fold(0.0, f64::max)),
        median(|run| run.cost),
        thousands(median(|run| run.rate) as u64)
    )
}

fn percent(share: f64) -> String {
    if share == 0.0 { "none".into() } else { format!("{share:.3} %") }
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(rate: u64, lost: u64, dropped: u64) -> CaptureRun {
        CaptureRun {
            sent: rate,
            captured: rate - lost,
            dropped: Some(dropped),
            rate: rate as f64,
            cost: 100.0,
        }
    }

    fn measured(runs: &[(&str, u64, &[CaptureRun])]) -> Measured {
        let mut measured = Measured::default();
        runs.iter().for_each(|(name, rate, runs)| measured.put(*rate, name, runs.to_vec()));
        measured
    }

    #[test]
    fn one_lossy_round_makes_a_rate_lossy() {
        let (lossless, lossy) = (run(400_000, 0, 0), run(560_000, 3, 3));
        let measured = measured(&[
            ("a", 400_000, &[lossless, run(399_000, 0, 0)]),
            ("a", 560_000, &[run(560_000, 0, 0), lossy]),
            ("b", 560_000, &[run(560_000, 0, 0)]),
            ("c", 560_000, &[lossy]),
        ]);
        assert_eq!(measured.loss_free("a"), Some(LossFree { rate: 399_000.0, is_most: false }));
        assert_eq!(measured.loss_free("b"), Some(LossFree { rate: 560_000.0, is_most: true }));
        assert_eq!((measured.loss_free("c"), measured.loss_free("absent")), (None, None));
    }

    #[test]
    fn recording_is_compared_with_the_better_setting_of_tcpdump() {
        let free = |rate| [run(rate, 0, 0)];
        let mut runs = measured(&[
            (RECORD_WIRE, 1_000_000, &free(1_000_000)),
            (TCPDUMP[0], 400_000, &free(400_000)),
            (TCPDUMP[0], 1_000_000, &[run(1_000_000, 9, 9)]),
        ]);
        let goal = runs.ratio_goal();
        assert_eq!((goal.1.as_str(), goal.2), ("at least 2.50 (of `tcpdump`)", Verdict::Met));
        runs.put(800_000, TCPDUMP[1], free(800_000).to_vec());
        runs.put(1_000_000, TCPDUMP[1], vec![run(1_000_000, 9, 9)]);
        let goal = runs.ratio_goal();
        assert_eq!((goal.1.as_str(), goal.2), ("at least 1.25 (of `tcpdump -B`)", Verdict::Missed));
        assert!(runs.limit_note().unwrap().contains("`tcpdump -B` loses nothing up to 800,000 a second"));
        runs.put(800_000, TCPDUMP[1], vec![run(800_000, 9, 9)]);
        assert_eq!(runs.limit_note(), None, "twice the rate was sent");
        assert_eq!(Measured::default().ratio_goal().2, Verdict::NotMeasured);
    }

    #[test]
    fn a_drop_may_happen_but_must_be_counted() {
        let verdict = |runs: &[CaptureRun]| measured(&[(TOP, COUNTED_RATE, runs)]).counted_goal(TOP).2;
        assert_eq!(verdict(&[run(1_000_000, 50, 50), run(990_000, 0, 0)]), Verdict::Met);
        assert_eq!(verdict(&[run(1_000_000, 50, 50), run(1_000_000, 50, 49)]), Verdict::Missed);
        assert_eq!(verdict(&[run(700_000, 0, 0)]), Verdict::NotMeasured, "the sender did not reach the rate");
        assert_eq!(verdict(&[]), Verdict::NotMeasured);
    }

    #[test]
    fn runs_of_another_commit_are_not_mixed_in() {
        let folder = std::env::temp_dir().join(format!("mcast-capture-{}", std::process::id()));
        let mut measured = Measured { commit: "one".to_owned(), ..Measured::default() };
        measured.put(400_000, TOP, vec![run(400_000, 0, 0)]);
        measured.store(&folder).unwrap();
        assert_eq!(Measured::load(&folder, "one").of(400_000, TOP).len(), 1);
        assert!(Measured::load(&folder, "other").of(400_000, TOP).is_empty());
        fs::remove_file(folder).unwrap();
    }

    #[test]
    fn the_document_names_goals_and_each_rate() {
        let measured = measured(&[(TOP, COUNTED_RATE, &[run(1_000_000, 5, 5)])]);
        let rows = measured.goals();
        assert_eq!(rows.len(), 3);
        assert!(measured.loss_free_table().contains("| mcast top | none of these rates |"));
        let expected = "| mcast top | 0.001 % | 0.001 % | none | 100 | 1,000,000 |\n";
        assert_eq!(row(TOP, measured.of(COUNTED_RATE, TOP)), expected);
    }
}
