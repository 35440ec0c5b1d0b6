//! The number that identifies a key of a server, under whichever address it is reached. It is stored beside the key, so
//! that replicas and backups have it, too.

use std::hash::{BuildHasher, Hasher, RandomState};

use mcast_stream::wire::EngineKey;
use redis::cmd;

use super::connection::RedisConnection;
use super::keys::StreamKeys;
use crate::engine::EngineError;

/// Returns the number, which the first bridge draws.
pub(super) fn engine_key(
    connection: &mut RedisConnection,
    keys: &StreamKeys,
) -> Result<EngineKey, EngineError> {
    let beside = keys.engine();
    for _ in 0..2 {
        let stored: Option<String> = connection.query(cmd("GET").arg(&beside))?;
        if let Some(text) = stored {
            let number = u64::from_str_radix(&text, 16).map_err(|_| foreign(&beside))?;
            return Ok(EngineKey(number));
        }
        let drawn = EngineKey(RandomState::new().build_hasher().finish()).to_string();
        connection.query::<Option<String>>(cmd("SET").arg(&beside).arg(drawn).arg("NX"))?;
    }
    Err(foreign(&beside))
}

fn foreign(key: &str) -> EngineError {
    EngineError {
        what: format!("no bridge wrote the key {key}"),
        remedy: Some("choose another key for the stream with ?key=KEY".into()),
        is_transient: false,
    }
}
