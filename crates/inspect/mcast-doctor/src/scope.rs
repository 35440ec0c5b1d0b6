//! The scope of a remedy: what it changes besides the cause of the finding, and when.

use std::fmt;

/// What a remedy changes, when that takes effect, and what may go wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemedyScope {
    /// What is affected: `every group of this host`.
    pub affects: String,
    /// When the change takes effect.
    pub effective: Effective,
    /// The risk for other traffic or for a remote session.
    pub warning: Option<String>,
}

/// When a change takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Effective {
    /// At once, also for programs that run.
    AtOnce,
    /// For programs that are started later: those that run must be restarted.
    AfterRestart,
    /// When the interface is connected again.
    AfterReconnect,
}

impl RemedyScope {
    /// Returns the scope of a change that takes effect at once.
    #[must_use]
    pub fn new(affects: impl Into<String>) -> Self {
        Self { affects: affects.into(), effective: Effective::AtOnce, warning: None }
    }

    /// Returns the scope of a change that takes effect for programs that are started later.
    #[must_use]
    pub fn after_restart(affects: impl Into<String>) -> Self {
        Self { effective: Effective::AfterRestart, ..Self::new(affects) }
    }

    /// Adds a warning.
    #[must_use]
    pub fn warning(self, warning: impl Into<String>) -> Self {
        Self { warning: Some(warning.into()), ..self }
    }

    /// Sets when the change takes effect.
    #[must_use]
    pub(crate) fn effective(self, effective: Effective) -> Self {
        Self { effective, ..self }
    }
}

/// Writes what is affected, and when: `every group of this host; restart the program`.
impl fmt::Display for RemedyScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let when = match self.effective {
            Effective::AtOnce => "takes effect at once",
            Effective::AfterRestart => "takes effect for programs started later: restart those that run",
            Effective::AfterReconnect => "takes effect when the interface is connected again",
        };
        write!(f, "{}; {when}", self.affects)
    }
}
