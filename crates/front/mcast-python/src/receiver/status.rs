//! The status of memberships, and statistics.

use std::collections::BTreeMap;

use pyo3::prelude::*;

use crate::membership::PyMembership;
use crate::pickle::{Pickled, pickled, unpickle_error};

/// The status of a membership on each of its interfaces.
#[pyclass(frozen, module = "pymcast")]
#[derive(Clone, Debug)]
pub(crate) struct MembershipStatus {
    /// The membership as it was requested.
    #[pyo3(get)]
    membership: PyMembership,
    /// The names of the interfaces on which it is joined.
    #[pyo3(get)]
    joined: Vec<String>,
    /// The names of the interfaces on which joining failed, with the reasons.
    #[pyo3(get)]
    failed: BTreeMap<String, String>,
    /// Why no interface matches at present, if so; with `follow`, the receiver waits for one.
    #[pyo3(get)]
    waiting: Option<String>,
    text: String,
}

#[pymethods]
impl MembershipStatus {
    fn __str__(&self) -> &str {
        &self.text
    }

    fn __repr__(&self) -> String {
        format!("<MembershipStatus {}>", self.text)
    }
}

impl From<&mcast::MembershipStatus> for MembershipStatus {
    fn from(status: &mcast::MembershipStatus) -> Self {
        let (failed, joined): (Vec<_>, Vec<_>) =
            status.interfaces.iter().partition(|interface| interface.failure.is_some());
        let reason = |on: &mcast::InterfaceStatus| Some((on.name.clone(), on.failure.as_ref()?.to_string()));
        Self {
            membership: PyMembership(status.membership.clone()),
            joined: joined.into_iter().map(|on| on.name.clone()).collect(),
            failed: failed.into_iter().filter_map(reason).collect(),
            waiting: status.waiting.as_ref().map(ToString::to_string),
            text: status.to_string(),
        }
    }
}

/// Restores a pickled Statistics.
#[pyfunction]
pub(crate) fn _statistics(
    received: u64,
    truncated: u64,
    refused: u64,
    dropped: Option<u64>,
    dropped_certainty: &str,
    calls: u64,
    merged: u64,
) -> PyResult<Statistics> {
    let known = ["exactly", "at least", "at most", "about", "unknown"];
    let dropped_certainty = known.into_iter().find(|each| *each == dropped_certainty);
    let dropped_certainty = dropped_certainty.ok_or_else(|| unpickle_error("Statistics"))?;
    Ok(Statistics { received, truncated, refused, dropped, dropped_certainty, calls, merged })
}

/// Statistics of a receiver.
#[pyclass(frozen, eq, get_all, module = "pymcast")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Statistics {
    /// Datagrams delivered.
    received: u64,
    /// How many of those were truncated.
    truncated: u64,
    /// Datagrams that reached a socket but did not match any membership. These are not losses.
    refused: u64,
    /// Datagrams that the system dropped because a buffer was full; None where it does not count them.
    dropped: Option<u64>,
    /// How exact `dropped` is: "exactly", "at least", "at most", "about" or "unknown".
    dropped_certainty: &'static str,
    /// System calls that received at least one datagram.
    calls: u64,
    /// Buffers that held more than one datagram.
    merged: u64,
}

#[pymethods]
impl Statistics {
    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Pickled<'py>> {
        let Self { received, truncated, refused, dropped, dropped_certainty, calls, merged } = self;
        pickled(
            py,
            "_statistics",
            (*received, *truncated, *refused, *dropped, *dropped_certainty, *calls, *merged),
        )
    }

    fn __repr__(&self) -> String {
        let Self { received, truncated, refused, .. } = self;
        let dropped = self.dropped.map_or_else(|| "?".to_owned(), |dropped| dropped.to_string());
        format!("<Statistics received={received} truncated={truncated} refused={refused} dropped={dropped}>")
    }
}

impl From<mcast::Statistics> for Statistics {
    fn from(counted: mcast::Statistics) -> Self {
        Self {
            received: counted.received,
            truncated: counted.truncated,
            refused: counted.refused,
            dropped: counted.dropped.count(),
            dropped_certainty: counted.dropped.certainty(),
            calls: counted.calls,
            merged: counted.merged,
        }
    }
}
