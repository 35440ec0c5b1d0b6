//! What an engine stores: records, and the metadata of datagrams of plain groups.

use std::net::SocketAddr;
use std::sync::Arc;

use mcast_stream::wire::{MessageKey, MessageNumber};

pub use mcast_stream::history::{GapCause, Position};

/// A time of day in milliseconds since 1970: the unit of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixMillis(pub u64);

/// When something arrived: a time of day in nanoseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ArrivalTime(pub u64);

impl From<UnixMillis> for ArrivalTime {
    fn from(time: UnixMillis) -> Self {
        Self(time.0.saturating_mul(1_000_000))
    }
}

/// A record of a stream in an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamRecord {
    /// Its position. Of a gap, that of the last missing message, so that none of them can be appended behind it.
    pub position: Position,
    /// When a bridge received it.
    pub time: UnixMillis,
    /// What it is.
    pub content: Content,
}

/// The content of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A message.
    Message {
        /// Its key, if it was published with one.
        key: Option<MessageKey>,
        /// Its bytes.
        bytes: Arc<[u8]>,
    },
    /// A datagram of a plain group.
    Datagram {
        /// Where it was sent, and how it arrived.
        metadata: Box<DatagramMetadata>,
        /// Its payload.
        bytes: Arc<[u8]>,
    },
    /// The messages from `first` to the record's position are missing.
    Gap {
        /// The first missing message.
        first: MessageNumber,
        /// Why.
        cause: GapCause,
    },
    /// An unknown number of messages, from the record's position on, may be missing. Messages of the incarnation follow
    /// only if another bridge received them and came too late to prevent this record.
    OpenGap {
        /// Why.
        cause: GapCause,
    },
    /// The stream was closed. The number in the record's position is the number of messages in the incarnation.
    End,
}

impl StreamRecord {
    /// Returns the first message number that the record accounts for.
    #[must_use]
    pub const fn first(&self) -> MessageNumber {
        match self.content {
            Content::Gap { first, .. } => first,
            _ => self.position.number,
        }
    }

    /// Whether it is the last record of its incarnation, as far as the bridge that wrote it knew.
    #[must_use]
    pub const fn closes(&self) -> bool {
        matches!(self.content, Content::OpenGap { .. } | Content::End)
    }

    /// Returns when the kernel received the datagram, or else when a bridge received the record.
    #[must_use]
    pub fn arrived(&self) -> ArrivalTime {
        let kernel_time = match &self.content {
            Content::Datagram { metadata, .. } => metadata.kernel_time,
            _ => None,
        };
        kernel_time.unwrap_or_else(|| self.time.into())
    }

    /// Returns the memory that it takes, in bytes.
    pub(crate) fn size(&self) -> usize {
        // The counts of an `Arc`, and what the allocator adds.
        const ALLOCATION: usize = 32;
        let bytes = match &self.content {
            Content::Message { bytes, .. } => bytes.len() + ALLOCATION,
            Content::Datagram { bytes, .. } => bytes.len() + size_of::<DatagramMetadata>() + 3 * ALLOCATION,
            _ => 0,
        };
        size_of::<Self>() + bytes
    }
}

/// The value of a field of a record in an engine.
#[cfg(any(all(feature = "kafka", unix), feature = "nats", feature = "rabbitmq", feature = "redis"))]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FieldValue {
    Number(u64),
    Text(String),
}

#[cfg(any(all(feature = "kafka", unix), feature = "nats", feature = "rabbitmq", feature = "redis"))]
impl FieldValue {
    fn word(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    #[cfg(any(all(feature = "kafka", unix), feature = "nats"))]
    pub(crate) fn into_text(self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text,
        }
    }
}

/// The fields of a record in an engine, which each engine names in its own way.
#[cfg(any(all(feature = "kafka", unix), feature = "nats", feature = "rabbitmq", feature = "redis"))]
pub(crate) trait StoredFields<'a> {
    fn text(&self, name: &str) -> Option<&'a str>;

    fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }

    /// Whether there is such a field, whatever its value is.
    fn has(&self, name: &str) -> bool {
        self.text(name).is_some()
    }
}

#[cfg(any(all(feature = "kafka", unix), feature = "nats", feature = "rabbitmq", feature = "redis"))]
impl Content {
    /// Sets the fields of the record with this content and position, other than its bytes.
    pub(crate) fn write(&self, position: Position, mut set: impl FnMut(&'static str, FieldValue)) {
        let mut gap = |first: MessageNumber, end: Option<MessageNumber>, cause: GapCause| {
            set("kind", FieldValue::word("gap"));
            set("first", FieldValue::Number(first.0));
            end.iter().for_each(|end| set("end", FieldValue::Number(end.0)));
            set("cause", FieldValue::word(cause.name()));
        };
        match self {
            Self::Message { key, .. } => key.iter().for_each(|key| set("key", FieldValue::Number(key.0))),
            Self::Datagram { metadata, .. } => {
                metadata.fields().for_each(|(name, value)| set(name, FieldValue::Text(value)));
            }
            Self::Gap { first, cause } => gap(*first, Some(position.number + 1), *cause),
            Self::OpenGap { cause } => gap(position.number, None, *cause),
            Self::End => set("kind", FieldValue::word("end")),
        }
    }

    /// Returns the bytes; none if it is neither a message nor a datagram.
    pub(crate) const fn bytes(&self) -> Option<&Arc<[u8]>> {
        match self {
            Self::Message { bytes, .. } | Self::Datagram { bytes, .. } => Some(bytes),
            Self::Gap { .. } | Self::OpenGap { .. } | Self::End => None,
        }
    }

    /// Returns the content in these fields; `None` if no bridge wrote it. `bytes` returns those beside the fields.
    pub(crate) fn read<'a>(
        fields: &impl StoredFields<'a>,
        bytes: impl FnOnce() -> Option<Arc<[u8]>>,
    ) -> Option<Self> {
        match fields.text("kind") {
            None if fields.has("kind") => None,
            None if fields.has("group") => {
                let metadata = Box::new(DatagramMetadata::parse(|name| fields.text(name))?);
                Some(Self::Datagram { metadata, bytes: bytes()? })
            }
            None => Some(Self::Message { key: fields.number("key").map(MessageKey), bytes: bytes()? }),
            Some("end") => Some(Self::End),
            Some("gap") => {
                let first = MessageNumber(fields.number("first")?);
                let cause = GapCause::from_name(fields.text("cause")?)?;
                Some(match fields.has("end") {
                    true => Self::Gap { first, cause },
                    false => Self::OpenGap { cause },
                })
            }
            Some(_) => None,
        }
    }
}

/// Any content, for the tests of engines.
#[cfg(all(
    test,
    any(all(feature = "kafka", unix), feature = "nats", feature = "rabbitmq", feature = "redis")
))]
pub(crate) fn contents() -> impl proptest::strategy::Strategy<Value = Content> {
    use proptest::prelude::*;

    let bytes = prop::collection::vec(any::<u8>(), 0..40);
    let message = (any::<Option<u64>>(), bytes)
        .prop_map(|(key, bytes)| Content::Message { key: key.map(MessageKey), bytes: bytes.into() });
    let datagram = (
        any::<std::net::SocketAddr>(),
        "[a-z][a-z0-9]{0,14}",
        any::<[Option<u8>; 2]>(),
        any::<Option<u64>>(),
    )
        .prop_map(|(address, interface, [hop_limit, dscp], kernel_time)| {
            let (mut source, mut group) = (address, address);
            if let std::net::SocketAddr::V6(source) = &mut source {
                source.set_flowinfo(0);
            }
            group.set_port(5000);
            group.set_ip(std::net::Ipv4Addr::new(239, 1, 2, 3).into());
            let interface = interface.as_str().into();
            let kernel_time = kernel_time.map(ArrivalTime);
            let metadata = DatagramMetadata { source, group, interface, kernel_time, hop_limit, dscp };
            Content::Datagram { metadata: Box::new(metadata), bytes: Arc::from(&b"payload"[..]) }
        });
    let cause = proptest::sample::select(&GapCause::ALL[..]);
    let gap = (any::<u64>(), cause.clone())
        .prop_map(|(first, cause)| Content::Gap { first: MessageNumber(first), cause });
    prop_oneof![
        message,
        datagram,
        gap,
        cause.prop_map(|cause| Content::OpenGap { cause }),
        Just(Content::End)
    ]
}

/// Where a datagram was sent, and how it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatagramMetadata {
    /// The source address and port.
    pub source: SocketAddr,
    /// The group and port that it was sent to.
    pub group: SocketAddr,
    /// The name of the interface on which it arrived.
    pub interface: Arc<str>,
    /// When the kernel received it, if it reports that.
    pub kernel_time: Option<ArrivalTime>,
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
            ("kernel", self.kernel_time.map(|time| time.0)),
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
            kernel_time: number(field("kernel"))?.map(ArrivalTime),
            hop_limit: number(field("ttl"))?,
            dscp: number(field("dscp"))?,
        })
    }
}
