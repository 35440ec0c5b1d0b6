//! What is known of a datagram of a plain group.

use std::net::SocketAddr;
use std::sync::Arc;

/// Where a datagram was sent, and how it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatagramMetadata {
    /// The source address and port.
    pub source: SocketAddr,
    /// The group and port that it was sent to.
    pub group: SocketAddr,
    /// The name of the interface on which it arrived.
    pub interface: Arc<str>,
    /// When the kernel received it, in nanoseconds since 1970, if it reports that.
    pub kernel_time: Option<u64>,
    /// The remaining hop limit (IPv4: TTL), if the system reports it.
    pub hop_limit: Option<u8>,
    /// The differentiated services code point (RFC 2474), if the system reports it.
    pub dscp: Option<u8>,
}

#[cfg(any(all(feature = "kafka", unix), feature = "nats", feature = "rabbitmq", feature = "redis"))]
impl DatagramMetadata {
    /// Returns the names and values of its fields in an engine.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&'static str, String)> {
        let texts = [
            ("source", self.source.to_string()),
            ("group", self.group.to_string()),
            ("interface", self.interface.to_string()),
        ];
        let numbers = [
            ("kernel", self.kernel_time),
            ("ttl", self.hop_limit.map(u64::from)),
            ("dscp", self.dscp.map(u64::from)),
        ];
        let numbers = numbers.into_iter().filter_map(|(name, number)| Some((name, number?.to_string())));
        texts.into_iter().chain(numbers)
    }

    /// Returns the metadata in such fields; `None` if they are of another form.
    pub(crate) fn parse<'a>(field: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        fn number<T: std::str::FromStr>(text: Option<&str>) -> Option<Option<T>> {
            text.map(str::parse).transpose().ok()
        }
        Some(Self {
            source: field("source")?.parse().ok()?,
            group: field("group")?.parse().ok()?,
            interface: field("interface")?.into(),
            kernel_time: number(field("kernel"))?,
            hop_limit: number(field("ttl"))?,
            dscp: number(field("dscp"))?,
        })
    }
}
