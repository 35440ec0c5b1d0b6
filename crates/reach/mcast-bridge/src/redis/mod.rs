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

mod entry;
mod error;
mod identity;
mod packed;
mod sink;
mod source;

use std::time::Duration;

use redis::{Client, Connection, IntoConnectionInfo, RedisConnectionInfo};

use crate::engine::{EngineError, Sink, SinkConnector};
use crate::record::Position;
use error::passing;
pub use source::RedisSource;

/// How long to wait for a connection or a response. A server that stands still for longer is connected to again.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A stream in Redis.
#[derive(Clone, Debug)]
pub struct RedisTarget {
    client: Client,
    key: Option<String>,
}

impl RedisTarget {
    /// Parses `redis://[USER:PASSWORD@]HOST[:PORT][/DB][?key=KEY]` or `redis+unix:///PATH[?db=DB&key=KEY]`.
    ///
    /// # Errors
    /// If it is not such a URL.
    pub fn parse(url: &str) -> Result<Self, EngineError> {
        let invalid = |why: String| EngineError {
            what: format!("not a URL of Redis: {why}"),
            remedy: Some("write redis://HOST[:PORT][/DB][?key=KEY]".into()),
            is_transient: false,
        };
        let parsed = redis::parse_redis_url(url).ok_or_else(|| invalid("it has another form".into()))?;
        let key = parsed.query_pairs().find(|(name, _)| name == "key").map(|(_, key)| key.into_owned());
        if key.as_ref().is_some_and(String::is_empty) {
            return Err(invalid("the key is empty".into()));
        }
        let info = parsed.into_connection_info().map_err(|error| invalid(error.to_string()))?;
        let client = Client::open(info).map_err(|error| invalid(error.to_string()))?;
        Ok(Self { client, key })
    }

    /// Sets the password, so that it need not be in the URL.
    ///
    /// # Errors
    /// If the settings of the connection do not fit it.
    pub fn password(self, password: &str) -> Result<Self, EngineError> {
        let info = self.client.get_connection_info();
        let settings: RedisConnectionInfo = info.redis_settings().clone().set_password(password);
        let info = info.clone().set_redis_settings(settings);
        let client = Client::open(info).map_err(|error| error::engine_error("", &error))?;
        Ok(Self { client, ..self })
    }

    /// Returns the key of the stream, if the URL has one.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// Sets the key of the stream.
    #[must_use]
    pub fn with_key(self, key: String) -> Self {
        Self { key: Some(key), ..self }
    }

    /// Returns the position of the record with this id, as Redis shows it: `INCARNATION-NUMBER`, where numbers start with
    /// 1.
    #[must_use]
    pub fn position(id: &str) -> Option<Position> {
        entry::position(id)
    }

    /// Returns the address of the server, without secrets.
    #[must_use]
    pub fn address(&self) -> String {
        self.client.get_connection_info().addr().to_string()
    }

    fn connect_client(&self) -> Result<(Connection, &str), EngineError> {
        let key = self.key.as_deref().ok_or_else(|| passing("no key was given".into()))?;
        let failed = |error| error::engine_error(&self.address(), &error);
        let connection = self.client.get_connection_with_timeout(TIMEOUT).map_err(failed)?;
        connection.set_read_timeout(Some(TIMEOUT)).map_err(failed)?;
        connection.set_write_timeout(Some(TIMEOUT)).map_err(failed)?;
        Ok((connection, key))
    }
}

impl SinkConnector for RedisTarget {
    fn connect(&mut self) -> Result<Box<dyn Sink>, EngineError> {
        let (connection, key) = self.connect_client()?;
        Ok(Box::new(sink::RedisSink::new(connection, key, self.address())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_parsed_and_others_refused() {
        let target = RedisTarget::parse("redis://example.org:7000/2?key=prices%20now").unwrap();
        assert_eq!((target.key(), &*target.address()), (Some("prices now"), "example.org:7000"));
        assert_eq!(target.client.get_connection_info().redis_settings().db(), 2);
        assert_eq!(RedisTarget::parse("redis://[::1]").unwrap().key(), None);
        for text in ["", "redis", "http://a", "redis://", "redis://a?key=", "redis://a/x", "rediss://a"] {
            assert!(RedisTarget::parse(text).is_err(), "{text}");
        }
    }
}
