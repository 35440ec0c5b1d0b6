//! The packages whose rules are broken, and the tests that must notice.

/// A package of state machines.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Package {
    pub(super) name: &'static str,
    /// Its unit tests, as a target.
    pub(super) library: &'static str,
    /// The test besides the simulation.
    pub(super) other: &'static str,
    /// The features that the tests need.
    pub(super) features: &'static [&'static str],
}

/// Its unit tests sign.
pub(super) static STREAM: Package = Package {
    name: "mcast-stream-proto",
    library: "mcast_stream_proto",
    other: "model",
    features: &["seal"],
};
/// The automatic rate.
pub(super) static FAIRNESS: Package =
    Package { name: "mcast-stream-proto", library: "mcast_stream_proto", other: "fairness", features: &[] };
pub(super) static TUNNEL: Package =
    Package { name: "mcast-tunnel", library: "mcast_tunnel", other: "tunnel", features: &[] };
pub(super) static RELAY: Package =
    Package { name: "mcast-relay", library: "mcast_relay", other: "relay", features: &[] };
/// The gateway and the relay of AMT, whose codes need a hash.
pub(super) static AMT: Package =
    Package { name: "mcast-relay", library: "mcast_relay", other: "amt", features: &["seal"] };
/// What serves HTTP clients, and the keys of announcements.
pub(super) static HTTP: Package =
    Package { name: "mcast-relay", library: "mcast_relay", other: "relay", features: &["http", "seal"] };
pub(super) static LOG: Package =
    Package { name: "mcast-log", library: "mcast_log", other: "directory", features: &[] };
pub(super) static BRIDGE: Package =
    Package { name: "mcast-bridge", library: "mcast_bridge", other: "machine", features: &[] };
/// Bridges out of engines.
pub(super) static REVERSE: Package =
    Package { name: "mcast-bridge", library: "mcast_bridge", other: "reverse", features: &[] };
/// What is effective in RabbitMQ.
pub(super) static RABBITMQ: Package =
    Package { name: "mcast-bridge", library: "mcast_bridge", other: "machine", features: &["rabbitmq"] };
/// When bridges to Kafka take over.
pub(super) static KAFKA: Package =
    Package { name: "mcast-bridge", library: "mcast_bridge", other: "machine", features: &["kafka"] };
