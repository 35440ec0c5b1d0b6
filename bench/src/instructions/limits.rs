//! The limits: a file of names and numbers, kept beside the code.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// What compilers and C libraries differ by, without any change of ours.
const TOLERANCE: f64 = 0.05;
/// So much below its limit, a piece has become cheaper.
const SLACK: f64 = 0.10;

const HEAD: &str = "\
# Instructions a datagram in user space, in each piece of the hot path, counted under callgrind.
# `cargo bench-peers instructions` fails where one is exceeded by more than 5 %;
# with --update it writes what it counted.

";

/// Limits by the names of pieces.
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

    /// Whether a piece keeps its limit. One without a limit doesn't.
    pub(super) fn holds(&self, name: &str, count: f64) -> bool {
        self.of(name).is_some_and(|limit| is_within(count, limit))
    }

    /// Pieces that are far below their limits.
    pub(super) fn slack<'c>(&self, counted: &'c [(&str, f64)]) -> impl Iterator<Item = &'c str> {
        counted.iter().filter_map(|(name, count)| {
            let limit = self.of(name)?;
            (*count < limit * (1.0 - SLACK)).then_some(*name)
        })
    }

    pub(super) fn write(counted: &[(&str, f64)]) -> Result<()> {
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
    fn what_has_no_limit_fails() {
        assert!(!limits().holds("b", 1.0));
    }

    #[test]
    fn what_became_cheaper_is_told() {
        assert_eq!(limits().slack(&[("a", 80.0), ("b", 1.0)]).collect::<Vec<_>>(), ["a"]);
        assert_eq!(limits().slack(&[("a", 95.0)]).count(), 0);
    }
}
