//! Kafka, and servers that are compatible with it.
//!
//! A topic has one partition and one record for each record of the stream. The key of a record is `INCARNATION-NUMBER`; a
//! gap's is that of the last missing message. Its headers are `mcast-stream`, `mcast-time` (when a bridge received it,
//! in milliseconds since 1970), of a message `mcast-key` (its key, if it has one), and of a stream that came out of
//! engines `mcast-origin` (which ones, 16 hexadecimal digits each, the latest first, separated by commas). Other records
//! have `mcast-kind`: a `gap` has `mcast-first`, `mcast-end` (one past the last; absent if unknown) and `mcast-cause`, an
//! `end` has nothing else.
//!
//! Each batch is one transaction. All bridges of a topic have the same transactional id, so that a bridge that begins to
//! append fences the one that did before: one bridge is active, the others stand by. In a second topic, `TOPIC-bridges`,
//! bridges note what they wait for and which of them is active.

mod client;
mod entry;
mod error;
mod notes;
mod reader;
mod sink;
mod source;
mod standby;
mod target;
mod writer;

use std::sync::{Arc, Mutex};

use crate::engine::{EngineError, Sink, SinkConnector, Source, SourceConnector};
pub use source::KafkaSource;
use standby::Standby;
pub use target::KafkaTarget;

/// Makes connections to a topic in Kafka, which is created if it does not exist.
#[derive(Debug)]
pub struct KafkaConnector {
    target: KafkaTarget,
    /// When this bridge took over last. It outlasts connections.
    standby: Arc<Mutex<Standby>>,
}

impl KafkaConnector {
    /// Returns a connector that is not connected.
    #[must_use]
    pub fn new(target: KafkaTarget) -> Self {
        Self { target, standby: Arc::default() }
    }
}

impl SinkConnector for KafkaConnector {
    fn connect(&mut self) -> Result<Box<dyn Sink>, EngineError> {
        Ok(Box::new(sink::KafkaSink::connect(&self.target, Arc::clone(&self.standby))?))
    }
}

impl SourceConnector for KafkaTarget {
    fn connect(&mut self) -> Result<Box<dyn Source>, EngineError> {
        Ok(Box::new(KafkaSource::connect(self)?))
    }
}
