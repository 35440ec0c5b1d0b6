//! RabbitMQ Streams.
//!
//! A record is a message in the encoding of AMQP 1.0: its bytes are the data, and its application properties are
//! `mcast-stream` (16 hexadecimal digits), `mcast-incarnation`, `mcast-number` (of a gap, that of the last missing message),
//! `mcast-time` (when a bridge received it, in milliseconds since 1970), and of a message `mcast-key` (its key, if it has
//! one). Other records have `mcast-kind`: a `gap` has `mcast-first`, `mcast-end` (one past the last; absent if unknown),
//! `mcast-cause` and `mcast-bridge` (a random number of the bridge that wrote it), an `end` has nothing else. Of a stream
//! that came out of engines, `mcast-engines` are these: 16 hexadecimal digits each, the latest first, separated by commas.
//!
//! RabbitMQ does not compare, so that readers do: `mcast-after` is the position of the record that a record follows
//! (`INCARNATION-NUMBER`; absent in the first one), and a record is effective only if that is the last effective one before
//! it. Readers skip all others. Whether a record is effective depends only on what is before it, and all readers agree.
//! `mcast-known` is the offset of an effective record before it, so that a reader need not begin with the first one.

mod amqp;
mod bytes;
mod chain;
mod client;
mod entry;
mod error;
mod log;
mod notes;
mod protocol;
mod sink;
mod source;
mod target;

use crate::engine::{EngineError, Sink, SinkConnector};
use client::Client;
pub use source::RabbitmqSource;
pub use target::RabbitmqTarget;

/// Makes connections to a stream in RabbitMQ, which is created if it does not exist.
#[derive(Debug)]
pub struct RabbitmqConnector(RabbitmqTarget);

impl RabbitmqConnector {
    /// Returns a connector that is not connected.
    #[must_use]
    pub const fn new(target: RabbitmqTarget) -> Self {
        Self(target)
    }
}

impl SinkConnector for RabbitmqConnector {
    fn connect(&mut self) -> Result<Box<dyn Sink>, EngineError> {
        let name = self.0.named()?.to_owned();
        let client = Client::connect_to_leader(&self.0, &name)?;
        let key = source::engine_key(client.cluster(), &self.0.virtual_host, &name);
        Ok(Box::new(sink::RabbitmqSink::open(client, name, key)?))
    }
}
