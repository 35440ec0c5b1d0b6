//! A check, its options and its outcome.

use std::time::Duration;

use anyhow::Result;

type Work = Box<dyn Fn(&RunOptions) -> Result<Outcome> + Send + Sync>;

/// A check that can be selected by name.
pub(crate) struct Step {
    /// Its name for `--only` and `--list`; `family:member` if it belongs to a family of steps.
    pub(crate) name: String,
    /// What it checks, in one line.
    pub(crate) about: String,
    /// Runs it.
    pub(crate) work: Work,
    /// Which other steps it runs beside.
    pub(crate) lane: Lane,
    /// The step of another lane that must end before this one begins. One that was not selected is not awaited.
    pub(crate) after: Option<&'static str>,
}

/// A sequence of steps. Each lane runs one step at a time, beside the other lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Steps that keep all processors busy, and those that nothing can run beside.
    Main,
    /// Steps that mostly compile, at the lowest priority: they use what the tests of the other lanes leave.
    Beside,
    /// Steps that test what the lane beside has compiled, at the priority of the main lane.
    Second,
}

impl Step {
    pub(crate) fn new(
        name: impl Into<String>,
        about: impl Into<String>,
        work: impl Fn(&RunOptions) -> Result<Outcome> + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.into(), about: about.into(), work: Box::new(work), lane: Lane::Main, after: None }
    }

    /// The same step, to be run in this lane.
    pub(crate) fn on(self, lane: Lane) -> Self {
        Self { lane, ..self }
    }

    /// The same step, to be run in the second lane once the step with this name has ended.
    pub(crate) fn after(self, other: &'static str) -> Self {
        Self { lane: Lane::Second, after: Some(other), ..self }
    }

    /// Returns whether `name` is that of this step or of its family.
    pub(crate) fn matches(&self, name: &str) -> bool {
        self.name == name || self.family() == name
    }

    /// Returns the name of its family, or its own.
    pub(crate) fn family(&self) -> &str {
        self.name.split_once(':').map_or(&self.name, |(family, _)| family)
    }
}

/// How to run steps.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RunOptions {
    /// Treat skipped steps, and skipped tests in them, as failures.
    pub(crate) require_all: bool,
    /// Print the output of programs immediately.
    pub(crate) verbose: bool,
    /// Stop at the first failure.
    pub(crate) fail_fast: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Passed,
    Failed,
    Skipped,
}

/// The number of results: of the tests if the step runs tests, else of the step itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl std::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// The outcome of a step.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    pub(crate) count: Count,
    /// A short text for the table.
    pub(crate) note: String,
    /// The reason of each skip.
    pub(crate) skips: Vec<String>,
    /// The tests that passed only at the second attempt.
    pub(crate) second_attempts: Vec<String>,
    /// The full output, to be printed after a failure.
    pub(crate) evidence: String,
}

impl Outcome {
    pub(crate) fn passed(note: impl Into<String>) -> Self {
        Self::one(Verdict::Passed, note)
    }

    pub(crate) fn failed(note: impl Into<String>, evidence: impl Into<String>) -> Self {
        Self { evidence: evidence.into(), ..Self::one(Verdict::Failed, note) }
    }

    pub(crate) fn skipped(why: impl Into<String>) -> Self {
        let why = why.into();
        Self { skips: vec![why.clone()], ..Self::one(Verdict::Skipped, why) }
    }

    /// Skipped because this machine cannot support it, whatever is installed. Not a failure even if skips are not
    /// allowed.
    pub(crate) fn unsupported(why: impl Into<String>) -> Self {
        Self::one(Verdict::Skipped, why)
    }

    fn one(verdict: Verdict, note: impl Into<String>) -> Self {
        let count = match verdict {
            Verdict::Passed => Count { passed: 1, ..Count::default() },
            Verdict::Failed => Count { failed: 1, ..Count::default() },
            Verdict::Skipped => Count { skipped: 1, ..Count::default() },
        };
        Self {
            verdict,
            count,
            note: note.into(),
            skips: Vec::new(),
            second_attempts: Vec::new(),
            evidence: String::new(),
        }
    }

    /// Turns skips into failures.
    pub(crate) fn without_skips(self) -> Self {
        if self.skips.is_empty() {
            return self;
        }
        let skipped = Count { failed: self.count.failed + self.count.skipped, skipped: 0, ..self.count };
        let evidence =
            format!("{}skipped, but skips are not allowed:\n{}\n", self.evidence, lines(&self.skips));
        let note = match self.verdict {
            Verdict::Skipped => format!("must not be skipped: {}", self.note),
            Verdict::Passed | Verdict::Failed => self.note,
        };
        Self { verdict: Verdict::Failed, count: skipped, note, evidence, skips: Vec::new(), ..self }
    }
}

/// A step that was run, with its duration and outcome.
#[derive(Debug)]
pub(crate) struct StepResult {
    pub(crate) name: String,
    pub(crate) took: Duration,
    pub(crate) outcome: Outcome,
}

fn lines(skips: &[String]) -> String {
    skips.iter().map(|skip| format!("  {skip}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_matches_only_its_name_and_its_family() {
        let step = Step::new("cross:x86_64-pc-windows-gnu", "", |_| Ok(Outcome::passed("")));

        assert!(step.matches("cross"));
        assert!(step.matches("cross:x86_64-pc-windows-gnu"));
        assert!(!step.matches("cross:x86"));
        assert!(!step.matches("tests"));
    }

    #[test]
    fn without_skips_a_skip_is_a_failure() {
        let outcome = Outcome::skipped("socat is not installed").without_skips();

        assert_eq!(outcome.verdict, Verdict::Failed);
        assert_eq!(outcome.count, Count { failed: 1, ..Count::default() });
        assert!(outcome.evidence.contains("socat is not installed"), "{}", outcome.evidence);
    }

    #[test]
    fn unsupported_steps_stay_skipped() {
        let outcome = Outcome::unsupported("no control groups").without_skips();

        assert_eq!((outcome.verdict, &outcome.note[..]), (Verdict::Skipped, "no control groups"));
    }

    #[test]
    fn outcomes_without_skips_are_unchanged() {
        assert_eq!(Outcome::passed("fine").without_skips().verdict, Verdict::Passed);
    }
}
