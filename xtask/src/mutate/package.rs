//! The packages whose rules are broken, and the tests that must notice.

/// A package of state machines.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Package {
    pub(super) name: &'static str,
    /// Its unit tests, as a target.
    pub(super) library: &'static str,
    /// The test besides the simulation.
    pub(super) other: &'static str,
}

pub(super) static STREAM: Package =
    Package { name: "mcast-stream-proto", library: "mcast_stream_proto", other: "model" };
pub(super) static RELAY: Package = Package { name: "mcast-relay", library: "mcast_relay", other: "relay" };
