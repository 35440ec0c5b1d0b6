//! All that came out.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::{Finding, Severity};

/// What was found, what cannot be known yet, and what was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// What was found, the worst first.
    pub findings: Vec<Finding>,
    /// What cannot be known yet, or not here.
    pub unknown: Vec<Unknown>,
    /// What was seen, good or bad: how far the datagrams came.
    pub observations: Vec<Seen>,
}

/// Something that cannot be known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unknown {
    /// What, as a question that is left open.
    pub what: String,
    /// Why not.
    pub why: String,
    /// After how long a time of listening it would be known; `None` where time does not tell.
    #[serde(
        rename = "known_after_seconds",
        serialize_with = "seconds",
        skip_serializing_if = "Option::is_none"
    )]
    pub known_after: Option<Duration>,
}

/// Something that was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// At which depth: `wire eth0`, `IP layer`, `socket`.
    pub depth: String,
    /// What.
    pub what: String,
}

impl Report {
    /// The worst severity among the findings.
    #[must_use]
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }
}

impl Seen {
    /// At this depth.
    #[must_use]
    pub fn new(depth: impl Into<String>, what: impl Into<String>) -> Self {
        Self { depth: depth.into(), what: what.into() }
    }
}

impl Unknown {
    /// Open for good, as far as one knows.
    #[must_use]
    pub fn new(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.into(), known_after: None }
    }

    /// Known after this time.
    #[must_use]
    pub fn until(self, known_after: Duration) -> Self {
        Self { known_after: Some(known_after), ..self }
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)?;
        match self.known_after {
            Some(time) => write!(f, " (known after {} s of listening)", time.as_secs()),
            None => Ok(()),
        }
    }
}

fn seconds<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.as_secs_f64()).serialize(serializer)
}
