//! NATS JetStream.
//!
//! A stream of NATS has one subject and one message for each record. Its id (`Nats-Msg-Id`) is `INCARNATION-NUMBER`; a
//! gap's is that of the last missing message. Its headers are `Mcast-Stream`, `Mcast-Time` (when a bridge received it,
//! in milliseconds since 1970), of a message `Mcast-Key` (its key, if it has one), and of a stream that came out of engines
//! `Mcast-Origin` (which ones, 16 hexadecimal digits each, the latest first, separated by commas). Other records have
//! `Mcast-Kind`: a `gap` has `Mcast-First`, `Mcast-End` (one past the last; absent if unknown) and `Mcast-Cause`, an `end` has
//! nothing else.
//!
//! A datagram of a plain group has `Mcast-Source`, `Mcast-Group`, `Mcast-Interface`, `Mcast-Kernel-Time` (when the kernel
//! received it, in nanoseconds since 1970), `Mcast-TTL` and `Mcast-DSCP`, as far as they are known.

mod client;
mod entry;
mod error;
#[cfg_attr(not(feature = "tls"), path = "no_nkeys.rs")]
mod nkeys;
mod protocol;
mod sink;
mod source;
mod stream;
mod target;

use crate::engine::{EngineError, Sink, SinkConnector};
use client::Client;
pub use source::NatsSource;
use stream::{Settings, Stream};
pub use target::NatsTarget;

/// Makes connections to a stream in NATS JetStream, which is created if it does not exist.
#[derive(Debug)]
pub struct NatsConnector {
    target: NatsTarget,
    /// As the stream was configured last, in case that it is deleted.
    settings: Settings,
}

impl NatsConnector {
    /// Returns a connector that is not connected.
    #[must_use]
    pub fn new(target: NatsTarget) -> Self {
        Self { target, settings: Settings::default() }
    }
}

impl SinkConnector for NatsConnector {
    fn connect(&mut self) -> Result<Box<dyn Sink>, EngineError> {
        let client = Client::connect(&self.target)?;
        let stream = Stream::open(client, &self.target, self.settings.clone())?;
        Ok(Box::new(sink::NatsSink::new(stream)))
    }
}
