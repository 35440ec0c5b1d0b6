//! The settings of a receiver, the status of its memberships, and its statistics.

use std::collections::BTreeMap;

use mcast::{HostAddr, InterfaceSelector, ReceiverBuilder};
use pyo3::prelude::*;

use super::open::Open;
use crate::membership::{Membership, PyMembership};
use crate::pickle::{Pickled, pickled, unpickle_error};

/// The settings of a receiver, kept so that it can be reopened.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) memberships: Vec<mcast::Membership>,
    pub(super) listen: Vec<HostAddr>,
    pub(super) listen_broadcast: Option<u16>,
    /// The interfaces on which to join memberships that name none.
    pub(super) interfaces: Vec<InterfaceSelector>,
    pub(super) receive_buffer: Option<usize>,
    pub(super) loopback: Option<bool>,
    pub(super) follow: bool,
    pub(super) allow_any_source: bool,
    pub(super) merging: bool,
    pub(super) details: bool,
}

impl Settings {
    pub(super) fn open(&self) -> mcast::Result<Open> {
        let mut builder = mcast::Receiver::builder()
            .join_all(self.memberships.iter().cloned())
            .follow(self.follow)
            .allow_any_source(self.allow_any_source)
            .gro(self.merging)
            .details(self.details);
        builder = self.listen.iter().cloned().fold(builder, ReceiverBuilder::listen);
        builder =
            listen_broadcasts(self.listen_broadcast, &self.interfaces).fold(builder, ReceiverBuilder::listen);
        if let Some(bytes) = self.receive_buffer {
            builder = builder.receive_buffer(bytes);
        }
        if let Some(on) = self.loopback {
            builder = builder.loopback(on);
        }
        builder.build().map(Open::new)
    }
}

/// Returns where broadcasts are received.
pub(crate) fn listen_broadcasts(
    port: Option<u16>,
    interfaces: &[InterfaceSelector],
) -> impl Iterator<Item = HostAddr> {
    let everywhere = port.map(HostAddr::broadcast);
    let hosts = match interfaces {
        [] => vec![everywhere],
        several => several.iter().map(|on| Some(everywhere.clone()?.on(on.clone()))).collect(),
    };
    hosts.into_iter().flatten()
}

/// Expands memberships that name no interface to one for each of `interfaces`.
pub(crate) fn expand(
    memberships: Vec<Membership>,
    interfaces: &[InterfaceSelector],
) -> Vec<mcast::Membership> {
    let expand = |Membership(membership)| match membership.interface {
        None if !interfaces.is_empty() => {
            interfaces.iter().map(|each| membership.clone().on(each.clone())).collect()
        }
        _ => vec![membership],
    };
    memberships.into_iter().flat_map(expand).collect()
}

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
