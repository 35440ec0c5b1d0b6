//! Redis Streams, and servers that are compatible with them.
//!
//! A record's id is `INCARNATION-(NUMBER + 1)`; a gap's is that of the last missing message. Its fields are `s` (the
//! stream), `t` (when a bridge received it, in milliseconds since 1970), and of a message `k` (its key, if it has one)
//! and `d` (its bytes), and of a stream that came out of engines `o` (which ones, 16 hexadecimal digits each, the latest
//! first, separated by commas). Other records have `kind`: a `gap` has `first`, `end` (one past the last; absent if unknown)
//! and `cause`, an `end` has nothing else.
//!
//! A datagram of a plain group has `source`, `group`, `interface`, `kernel` (when the kernel received it, in nanoseconds
//! since 1970), `ttl` and `dscp`, as far as they are known, and `d`.

mod connection;
mod entry;
mod error;
mod identity;
mod keys;
mod packed;
mod sink;
mod source;
mod target;

use crate::engine::{EngineError, Sink, SinkConnector};
pub use source::RedisSource;
pub use target::RedisTarget;

impl SinkConnector for RedisTarget {
    fn connect(&mut self) -> Result<Box<dyn Sink>, EngineError> {
        let (connection, key) = self.connect_client()?;
        Ok(Box::new(sink::RedisSink::new(connection, key)?))
    }
}
