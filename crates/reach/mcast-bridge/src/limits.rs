//! What an engine can never take, and what it removes on its own.

#[cfg(any(all(feature = "kafka", unix), feature = "nats"))]
use std::time::Duration;

use crate::record::{GapCause, Position};

/// A record that an engine can never take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnstorableRecord {
    /// Its position.
    pub position: Position,
    /// Why.
    pub why: RecordRefusal,
    /// Its size as the engine counts it, and the greatest that the engine takes, in bytes, as far as they are known.
    pub size: Option<usize>,
    /// See [`size`](Self::size).
    pub most: Option<usize>,
    /// What to do about it, for the next one.
    pub remedy: &'static str,
}

/// Why an engine can never take a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordRefusal {
    /// It is too large.
    TooLarge,
    /// Another reason that is the record's alone.
    Other,
}

impl RecordRefusal {
    /// Returns the cause of the gap that is recorded instead.
    #[must_use]
    pub const fn cause(self) -> GapCause {
        match self {
            Self::TooLarge => GapCause::TooLarge,
            Self::Other => GapCause::Refused,
        }
    }
}

impl UnstorableRecord {
    /// Returns the sizes as text, after a colon: `: it has 1,500,139 bytes, and at most 1,048,576 are allowed`. Empty if
    /// neither is known.
    #[must_use]
    pub fn sizes(&self) -> String {
        match (self.size, self.most) {
            (Some(size), Some(most)) => {
                format!(": it has {size} bytes as the broker counts them, and at most {most} are allowed")
            }
            (Some(size), None) => format!(": it has {size} bytes"),
            (None, Some(most)) => format!(": at most {most} bytes are allowed"),
            (None, None) => String::new(),
        }
    }
}

#[cfg(any(feature = "nats", feature = "rabbitmq"))]
impl UnstorableRecord {
    pub(crate) const fn too_large(
        position: Position,
        size: usize,
        most: usize,
        remedy: &'static str,
    ) -> Self {
        Self { position, why: RecordRefusal::TooLarge, size: Some(size), most: Some(most), remedy }
    }
}

/// What an engine removes on its own, as far as it says so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineRetention {
    /// Its rules. Default: none.
    pub rules: Vec<RetentionRule>,
    /// How many whole streams, or what it counts as such, it has evicted since it started. Default: unknown.
    pub evictions: Option<u64>,
    /// Why it is not known what it removes. Default: it is.
    pub unknown: Option<String>,
}

impl EngineRetention {
    /// Whether it may remove what was just stored.
    pub(crate) fn is_hasty(&self) -> bool {
        self.rules.iter().any(|rule| rule.is_hasty)
    }
}

/// A rule by which an engine removes records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionRule {
    /// The setting and its value, and what the engine removes.
    pub what: String,
    /// What to do if it must not.
    pub remedy: &'static str,
    /// Whether it may remove what was just stored, not only what is old.
    pub is_hasty: bool,
}

/// A stream that keeps fewer bytes than this, or for less than this time, may lose what was just stored: it is the size of a
/// batch, and longer than a bridge takes to notice a loss.
#[cfg(any(all(feature = "kafka", unix), feature = "nats"))]
const LEAST_BYTES: u64 = 2 << 20;
#[cfg(any(all(feature = "kafka", unix), feature = "nats"))]
const LEAST_TIME: Duration = Duration::from_secs(60);

#[cfg(any(all(feature = "kafka", unix), feature = "nats"))]
impl RetentionRule {
    /// A stream keeps at most this many bytes by this setting.
    pub(crate) fn bytes(setting: &str, most: u64, remedy: &'static str) -> Self {
        let is_hasty = most < LEAST_BYTES;
        let why = if is_hasty { ", which is less than a batch" } else { "" };
        Self {
            what: format!("{setting} of {most}: the oldest records beyond these bytes are removed{why}"),
            remedy,
            is_hasty,
        }
    }

    /// A stream keeps records for this time by this setting.
    pub(crate) fn age(setting: &str, most: Duration, remedy: &'static str) -> Self {
        let what = format!("{setting} of {} s: older records are removed", most.as_secs_f64());
        Self { what, remedy, is_hasty: most < LEAST_TIME }
    }
}
