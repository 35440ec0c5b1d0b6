//! What a server of Redis can never take, and what it removes on its own.

use redis::{Value, cmd};

use super::connection::RedisConnection;
use super::entry;
use crate::engine::RecordBatch;
use crate::error::EngineError;
use crate::limits::{EngineRetention, RecordRefusal, RetentionRule, UnstorableRecord};
use crate::record::Content;

/// The largest word of a command that a server takes (`proto-max-bulk-len`), as far as it says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Largest(Option<usize>);

const REMEDY: &str = "raise `proto-max-bulk-len` of the server";
/// What a server replies to a longer word before it closes the connection.
const INVALID_LENGTH: &str = "invalid bulk length";

/// Whether this is the error for a word that is too large.
pub(super) fn is_too_large(error: &EngineError) -> bool {
    error.what.contains(INVALID_LENGTH)
}

impl Largest {
    /// Asks a server, which may not allow that.
    pub(super) fn of(connection: &mut RedisConnection) -> Result<Self, EngineError> {
        connection.send(cmd("CONFIG").arg("GET").arg("proto-max-bulk-len"))?;
        let Ok(reply) = connection.receive_reply()? else { return Ok(Self(None)) };
        let values: Vec<String> = redis::from_redis_value(reply).map_err(|_| entry::unexpected())?;
        Ok(Self(values.get(1).and_then(|text| text.parse().ok())))
    }

    /// Returns the largest record of a batch, as it is reported if the server does not take it.
    pub(super) fn record_of(self, batch: &RecordBatch) -> Option<UnstorableRecord> {
        let size = |content: &Content| match content {
            Content::Message { bytes, .. } | Content::Datagram { bytes, .. } => bytes.len(),
            _ => 0,
        };
        // The first of several.
        let largest = batch.records.iter().rev().max_by_key(|record| size(&record.content))?;
        Some(UnstorableRecord {
            position: largest.position,
            why: RecordRefusal::TooLarge,
            size: Some(size(&largest.content)),
            most: self.0,
            remedy: REMEDY,
        })
    }

    /// Whether the server is known not to take this record.
    pub(super) fn excludes(self, record: &UnstorableRecord) -> bool {
        self.0.is_some_and(|most| record.size > Some(most))
    }
}

/// Returns what a server removes on its own of the stream with this key, as far as it says.
pub(super) fn retention(connection: &mut RedisConnection, key: &str) -> Result<EngineRetention, EngineError> {
    connection.send(cmd("INFO").arg("memory"))?;
    connection.send(cmd("INFO").arg("stats"))?;
    connection.send(cmd("PTTL").arg(key))?;
    let (memory, stats) = (connection.receive_reply()?, connection.receive_reply()?);
    // A user without the right to ask learns nothing of it, as with the others.
    let expires = connection.receive_reply()?.ok();
    let text = |reply: Value| redis::from_redis_value::<String>(reply).map_err(|_| entry::unexpected());
    let (memory, stats) = match (memory, stats) {
        (Ok(memory), Ok(stats)) => (text(memory)?, text(stats)?),
        (Err(error), _) | (_, Err(error)) => {
            let what = super::connection::cleaned(&error);
            let unknown = format!("this user may not ask for its `maxmemory-policy` (INFO): {what}");
            return Ok(EngineRetention { unknown: Some(unknown), ..EngineRetention::default() });
        }
    };
    let expires = match expires {
        Some(Value::Int(left)) if left >= 0 => Some(left),
        _ => None,
    };
    Ok(found(&memory, &stats, expires))
}

/// Returns the value of a line `name:value`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let of_line = |line: &'a str| line.trim_end().strip_prefix(name)?.strip_prefix(':');
    text.lines().find_map(of_line)
}

/// Returns what these replies say; `expires` is after how many milliseconds the key expires.
fn found(memory: &str, stats: &str, expires: Option<i64>) -> EngineRetention {
    let (policy, most) = (field(memory, "maxmemory_policy"), field(memory, "maxmemory"));
    let evictions: Option<u64> = field(stats, "evicted_keys").and_then(|text| text.parse().ok());
    let mut rules = Vec::new();
    // Those that begin with `volatile` evict only keys that expire.
    let evicts =
        policy.filter(|policy| policy.starts_with("allkeys") || *policy != "noeviction" && expires.is_some());
    if let Some((policy, most)) = evicts.zip(most.filter(|most| *most != "0")) {
        rules.push(RetentionRule {
            what: format!(
                "maxmemory-policy {policy}: Redis evicts whole streams when it has used its maxmemory of {most} bytes"
            ),
            remedy: "set `maxmemory-policy noeviction`, and limit the stream with XTRIM, or keep it in a Redis that is not a \
                     cache",
            is_hasty: true,
        });
    }
    if let Some(left) = expires {
        rules.push(RetentionRule {
            what: format!("the key expires in {} s, and the whole stream with it", left / 1_000),
            remedy: "run PERSIST on the key, and limit the stream with XTRIM instead",
            is_hasty: true,
        });
    }
    let unknown =
        policy.is_none().then(|| "the server does not say what its `maxmemory-policy` is".to_owned());
    EngineRetention { rules, evictions, unknown }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATS: &str = "# Stats\r\nevicted_keys:7\r\nevicted_clients:9\r\n";

    fn memory(policy: &str, most: u64) -> String {
        format!("# Memory\r\nmaxmemory:{most}\r\nmaxmemory_human:x\r\nmaxmemory_policy:{policy}\r\n")
    }

    #[test]
    fn a_policy_that_evicts_streams_is_named_with_its_limit() {
        let retention = found(&memory("allkeys-lru", 3_000_000), STATS, None);
        assert_eq!((retention.evictions, retention.rules.len(), retention.unknown), (Some(7), 1, None));
        let what = &retention.rules[0].what;
        assert!(["allkeys-lru", "3000000"].iter().all(|part| what.contains(part)), "{what}");
    }

    #[test]
    fn what_cannot_evict_a_stream_is_no_rule() {
        for memory in [memory("noeviction", 1), memory("volatile-lru", 1), memory("allkeys-lru", 0)] {
            assert_eq!(found(&memory, STATS, None).rules, [], "{memory}");
        }
    }

    #[test]
    fn a_key_that_expires_is_evicted_by_policies_for_such_keys() {
        assert_eq!(found(&memory("volatile-lru", 1), STATS, Some(5_000)).rules.len(), 2);
        assert_eq!(found(&memory("noeviction", 1), STATS, Some(5_000)).rules.len(), 1);
    }

    #[test]
    fn a_server_that_does_not_name_its_policy_is_unknown() {
        assert!(found("", STATS, None).unknown.is_some());
    }
}
