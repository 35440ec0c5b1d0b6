//! Findings about a plan.

use std::fmt;

use serde::Serialize;

/// A finding: `schemas/plan-finding.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    #[serde(flatten)]
    pub(super) place: FileLine,
    pub(super) severity: Severity,
    pub(super) id: &'static str,
    /// The name of the line.
    pub(super) name: Option<String>,
    pub(super) message: String,
    /// The document that supports the finding.
    pub(super) reference: Option<String>,
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct FileLine {
    pub(super) file: String,
    pub(super) line: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    Note,
    Warning,
    Fault,
}

impl Finding {
    pub(super) fn new(place: &FileLine, severity: Severity, id: &'static str, message: String) -> Self {
        Self { place: place.clone(), severity, id, name: None, message, reference: None }
    }

    pub(super) fn named(self, name: &str) -> Self {
        Self { name: Some(name.to_owned()), ..self }
    }

    pub(super) fn with_reference(self, reference: impl fmt::Display) -> Self {
        Self { reference: Some(reference.to_string()), ..self }
    }
}

impl fmt::Display for FileLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Fault => "fault",
        })
    }
}
