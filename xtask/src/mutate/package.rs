//! The packages whose rules are broken, and the tests that must notice.

/// A package of state machines.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Package {
    pub(super) name: &'static str,
    /// The package that has the rules, if its users have the tests that notice.
    pub(super) sources: Option<&'static str>,
    /// Its unit tests, as a target.
    pub(super) library: &'static str,
    /// The test besides the simulation.
    pub(super) other: &'static str,
    /// Which tests of that are run, by a part of their names; all, if it is empty.
    pub(super) selected: &'static str,
    /// The features that the tests need.
    pub(super) features: &'static [&'static str],
    /// Whether its rules must be noticed where it works together with others, by the composed simulation.
    pub(super) is_composed: bool,
}

impl Package {
    /// Returns the package that has the rules.
    pub(super) fn place(&self) -> &'static str {
        self.sources.unwrap_or(self.name)
    }

    /// Returns a package whose own tests notice broken rules.
    const fn new(
        name: &'static str,
        library: &'static str,
        other: &'static str,
        features: &'static [&'static str],
    ) -> Self {
        Self { name, sources: None, library, other, selected: "", features, is_composed: false }
    }

    /// Returns a package whose rules the composed simulation notices.
    const fn composed(name: &'static str, library: &'static str) -> Self {
        Self { name, sources: None, library, other: "", selected: "", features: &[], is_composed: true }
    }
}

/// Its unit tests sign.
pub(super) static STREAM: Package =
    Package::new("mcast-stream-proto", "mcast_stream_proto", "model", &["seal"]);
/// The automatic rate.
pub(super) static FAIRNESS: Package =
    Package::new("mcast-stream-proto", "mcast_stream_proto", "fairness", &[]);
pub(super) static TUNNEL: Package = Package::new("mcast-tunnel", "mcast_tunnel", "tunnel", &[]);
pub(super) static RELAY: Package = Package::new("mcast-relay", "mcast_relay", "relay", &[]);
/// The gateway and the relay of AMT, whose codes need a hash.
pub(super) static AMT: Package = Package::new("mcast-relay", "mcast_relay", "amt", &["seal"]);
/// What serves HTTP clients, and the keys of announcements.
pub(super) static HTTP: Package = Package::new("mcast-relay", "mcast_relay", "relay", &["http", "seal"]);
/// Connections, access and what is kept for clients, of which the relay has the simulation.
pub(super) static SERVER: Package = Package {
    sources: Some("mcast-http"),
    ..Package::new("mcast-relay", "mcast_relay", "relay", &["http", "seal"])
};
pub(super) static LOG: Package = Package::new("mcast-log", "mcast_log", "directory", &[]);
pub(super) static BRIDGE: Package = Package::new("mcast-bridge", "mcast_bridge", "machine", &[]);
/// Bridges out of engines.
pub(super) static REVERSE: Package = Package::new("mcast-bridge", "mcast_bridge", "reverse", &[]);
/// What is effective in RabbitMQ.
pub(super) static RABBITMQ: Package = Package::new("mcast-bridge", "mcast_bridge", "machine", &["rabbitmq"]);
/// When bridges to Kafka take over.
pub(super) static KAFKA: Package = Package::new("mcast-bridge", "mcast_bridge", "machine", &["kafka"]);
/// Streams with several copies in NATS, by a cluster of real servers.
pub(super) static NATS: Package = Package {
    selected: "nats_with_copies",
    ..Package::new(
        "mcast-bridge",
        "mcast_bridge",
        "engines",
        &["nats", "redis", "rabbitmq", "kafka-tls", "tls"],
    )
};
/// The message layer as a whole: its machines, and its log.
pub(super) static COMPOSED: Package = Package::composed("mcast-stream-proto", "mcast_stream_proto");
pub(super) static COMPOSED_LOG: Package = Package::composed("mcast-log", "mcast_log");
