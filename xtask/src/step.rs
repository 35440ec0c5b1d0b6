//! One check: its name, what it does, and how it came out.

use std::time::Duration;

use anyhow::Result;

type Work = Box<dyn Fn(&Manner) -> Result<Outcome>>;

/// One check that a maintainer can ask for by name.
pub(crate) struct Step {
    /// What `--only` and `--list` call it; `family:member` where several belong together.
    pub(crate) name: String,
    /// What it makes sure of, in one line.
    pub(crate) about: String,
    /// Does it.
    pub(crate) work: Work,
}

impl Step {
    pub(crate) fn new(
        name: impl Into<String>,
        about: impl Into<String>,
        work: impl Fn(&Manner) -> Result<Outcome> + 'static,
    ) -> Self {
        Self { name: name.into(), about: about.into(), work: Box::new(work) }
    }

    /// Whether `wanted` names this step or the family it belongs to.
    pub(crate) fn answers_to(&self, wanted: &str) -> bool {
        let family = self.name.split(':').next();
        self.name == wanted || family == Some(wanted)
    }
}

/// How steps are to be run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Manner {
    /// A step, or a test in it, that is skipped counts as failed.
    pub(crate) require_all: bool,
    /// Show the output of what runs as it comes.
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

/// How many things a step tried: its tests where it runs tests, else itself.
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

/// How a step came out.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    pub(crate) count: Count,
    /// A few words for the table.
    pub(crate) note: String,
    /// What was not tried, each with its reason.
    pub(crate) skips: Vec<String>,
    /// What a person needs to see of a failure: the output in full.
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

    /// What this machine refuses, whatever is installed on it: told as skipped, and no failure either where
    /// nothing may be skipped.
    pub(crate) fn refused(why: impl Into<String>) -> Self {
        Self::one(Verdict::Skipped, why)
    }

    fn one(verdict: Verdict, note: impl Into<String>) -> Self {
        let count = match verdict {
            Verdict::Passed => Count { passed: 1, ..Count::default() },
            Verdict::Failed => Count { failed: 1, ..Count::default() },
            Verdict::Skipped => Count { skipped: 1, ..Count::default() },
        };
        Self { verdict, count, note: note.into(), skips: Vec::new(), evidence: String::new() }
    }

    /// The same where nothing may be skipped: what was skipped is a failure.
    pub(crate) fn without_skips(self) -> Self {
        if self.skips.is_empty() {
            return self;
        }
        let skipped = Count { failed: self.count.failed + self.count.skipped, skipped: 0, ..self.count };
        let evidence =
            format!("{}skipped, and no skip is allowed here:\n{}\n", self.evidence, lines(&self.skips));
        let note = match self.verdict {
            Verdict::Skipped => format!("not allowed to be skipped: {}", self.note),
            Verdict::Passed | Verdict::Failed => self.note,
        };
        Self { verdict: Verdict::Failed, count: skipped, note, evidence, skips: Vec::new() }
    }
}

/// A step that was run, and what came of it.
#[derive(Debug)]
pub(crate) struct Ran {
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
    fn a_step_answers_to_its_name_and_to_its_family_only() {
        let step = Step::new("cross:x86_64-pc-windows-gnu", "", |_| Ok(Outcome::passed("")));

        assert!(step.answers_to("cross"));
        assert!(step.answers_to("cross:x86_64-pc-windows-gnu"));
        assert!(!step.answers_to("cross:x86"));
        assert!(!step.answers_to("tests"));
    }

    #[test]
    fn a_skip_is_a_failure_where_none_is_allowed() {
        let outcome = Outcome::skipped("socat is not installed").without_skips();

        assert_eq!(outcome.verdict, Verdict::Failed);
        assert_eq!(outcome.count, Count { failed: 1, ..Count::default() });
        assert!(outcome.evidence.contains("socat is not installed"), "{}", outcome.evidence);
    }

    #[test]
    fn what_the_machine_refuses_stays_skipped() {
        let outcome = Outcome::refused("no control groups").without_skips();

        assert_eq!((outcome.verdict, &outcome.note[..]), (Verdict::Skipped, "no control groups"));
    }

    #[test]
    fn what_skipped_nothing_stays_as_it_was() {
        assert_eq!(Outcome::passed("fine").without_skips().verdict, Verdict::Passed);
    }
}
