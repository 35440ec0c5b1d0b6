//! The limits, which are stored in a file next to the code.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Allowed excess, because compilers and C libraries differ.
const TOLERANCE: f64 = 0.05;
/// How far below its limit a case must be to suggest lowering the limit.
const SLACK: f64 = 0.10;

const HEAD: &str = "\
# Instructions per datagram in user space, for each case of the hot path, counted with callgrind.
# `cargo bench-peers instructions` fails if a limit is exceeded by more than 5 %;
# with --update it writes new limits.

";

/// The limits by name of the case.
#[derive(Debug)]
pub(super) struct Limits(BTreeMap<String, f64>);

impl Limits {
    pub(super) fn load() -> Result<Self> {
        let path = path();
        match fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self(BTreeMap::new())),
            Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
            Ok(text) => {
                Ok(Self(toml::from_str(&text).with_context(|| format!("reading {}", path.display()))?))
            }
        }
    }

    pub(super) fn of(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    /// Whether a case is within its limit; false without a limit.
    pub(super) fn holds(&self, name: &str, count: f64) -> bool {
        self.of(name).is_some_and(|limit| is_within(count, limit))
    }

    /// Pieces that are far below their limits.
    pub(super) fn slack<'c>(&self, counted: &'c [(String, f64)]) -> impl Iterator<Item = &'c str> {
        counted.iter().filter_map(|(name, count)| {
            let limit = self.of(name)?;
            (*count < limit * (1.0 - SLACK)).then_some(&name[..])
        })
    }

    pub(super) fn write(counted: &[(String, f64)]) -> Result<()> {
        let mut text = HEAD.to_owned();
        for (name, count) in counted {
            let _ = writeln!(text, "{name} = {count:.1}");
        }
        fs::write(path(), text).with_context(|| format!("writing {}", path().display()))
    }
}

pub(super) fn is_within(count: f64, limit: f64) -> bool {
    count <= limit * (1.0 + TOLERANCE)
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.toml")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits(BTreeMap::from([("a".to_owned(), 100.0)]))
    }

    #[test]
    fn a_limit_holds_within_its_tolerance() {
        assert!(limits().holds("a", 104.0));
        assert!(!limits().holds("a", 106.0));
    }

    #[test]
    fn a_case_without_a_limit_fails() {
        assert!(!limits().holds("b", 1.0));
    }

    #[test]
    fn cases_far_below_their_limits_are_reported() {
        assert_eq!(limits().slack(&[("a".into(), 80.0), ("b".into(), 1.0)]).collect::<Vec<_>>(), ["a"]);
        assert_eq!(limits().slack(&[("a".into(), 95.0)]).count(), 0);
    }
}
