//! A connection to a Redis server: commands of the client library on a stream of our own, their errors, and the keys of a stream.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read, Write};

use mcast_stream::wire::EngineKey;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, ServerErrorKind, Value, cmd};

use super::entry;
use super::wire::{Malformed, Replies, Reply};
use crate::error::redis::{braces, may_expect_tls};
use crate::error::{EngineError, EngineErrorKind, any};
use crate::server::ServerStream;

/// A connection. Commands are executed in the order in which they are sent.
pub(super) struct RedisConnection {
    stream: ServerStream,
    replies: Replies,
    /// What is received at once.
    buffer: Vec<u8>,
    address: String,
    has_received: bool,
}

const BUFFER_BYTES: usize = 64 << 10;

impl RedisConnection {
    pub(super) fn new(stream: ServerStream, address: String) -> Self {
        let (replies, buffer) = (Replies::default(), vec![0; BUFFER_BYTES]);
        Self { stream, replies, buffer, address, has_received: false }
    }

    /// Logs in, and selects a database.
    pub(super) fn log_in(
        &mut self,
        user: &str,
        password: Option<&str>,
        database: i64,
    ) -> Result<(), EngineError> {
        if let Some(password) = password {
            let mut login = cmd("AUTH");
            if !user.is_empty() {
                login.arg(user);
            }
            self.query::<Value>(login.arg(password))?;
        }
        if database != 0 {
            self.query::<Value>(cmd("SELECT").arg(database))?;
        }
        Ok(())
    }

    /// Returns the address of the server.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Sends a command and waits for its response.
    pub(super) fn query<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T, EngineError> {
        self.send(command)?;
        let value = self.receive()?;
        redis::from_redis_value(value).map_err(|error| engine_error(&self.address, &error.into()))
    }

    pub(super) fn send(&mut self, command: &Cmd) -> Result<(), EngineError> {
        self.send_bytes(&command.get_packed_command())
    }

    /// Sends commands.
    pub(super) fn send_bytes(&mut self, commands: &[u8]) -> Result<(), EngineError> {
        let sent = self.stream.write_all(commands).and_then(|()| self.stream.flush());
        sent.map_err(|error| unreachable(&self.address, &error))
    }

    /// Waits for the response to the oldest command without one.
    pub(super) fn receive(&mut self) -> Result<Value, EngineError> {
        let reply = self.receive_reply()?;
        reply.map_err(|error| engine_error(&self.address, &error))
    }

    /// As [`receive`](Self::receive), and an error that the server replies is returned as it is.
    pub(super) fn receive_reply(&mut self) -> Result<Result<Value, RedisError>, EngineError> {
        let reply = self.receive_whole()?;
        Ok(redis::parse_redis_value(reply.bytes).and_then(Value::extract_error))
    }

    /// As [`receive`](Self::receive), and returns only whether there is a value.
    pub(super) fn receive_existence(&mut self) -> Result<bool, EngineError> {
        let reply = self.receive_whole()?;
        if !reply.has_error {
            return Ok(!reply.is_nil());
        }
        let refused = redis::parse_redis_value(reply.bytes).and_then(Value::extract_error);
        refused.map(|_| true).map_err(|error| engine_error(&self.address, &error))
    }

    fn receive_whole(&mut self) -> Result<Reply<'_>, EngineError> {
        let malformed = |_: Malformed| entry::unexpected();
        while !self.replies.is_complete().map_err(malformed)? {
            self.read()?;
        }
        self.has_received = true;
        self.replies.next().map_err(malformed)?.ok_or_else(entry::unexpected)
    }

    fn read(&mut self) -> Result<(), EngineError> {
        let failure = match self.stream.read(&mut self.buffer) {
            Ok(0) => io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"),
            Ok(count) => {
                self.replies.push(&self.buffer[..count]);
                return Ok(());
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => error,
        };
        // What a server that expects TLS does with a command.
        let is_refused =
            matches!(failure.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof);
        let may_need_tls = !self.has_received && matches!(self.stream, ServerStream::Tcp(_));
        Err(match is_refused && may_need_tls {
            true => may_expect_tls(&self.address, &failure),
            false => unreachable(&self.address, &failure),
        })
    }
}

impl std::fmt::Debug for RedisConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisConnection").field("stream", &self.stream).finish_non_exhaustive()
    }
}

pub(super) fn unreachable(address: &str, cause: &io::Error) -> EngineError {
    crate::server::unreachable(
        address,
        cause,
        "check that the server runs and that a firewall admits its port",
    )
}

/// Returns the error of a server at this address.
pub(super) fn engine_error(address: &str, error: &RedisError) -> EngineError {
    use EngineErrorKind::{LoginRefused, Permanent, Transient};

    let (code, detail) = parts(error);
    let (remedy, kind) = match (code, error.kind()) {
        (_, ErrorKind::AuthenticationFailed) | (Some("WRONGPASS" | "NOAUTH"), _) => {
            ("give the right user and password: redis://USER@HOST and --password-file FILE", LoginRefused)
        }
        (Some("NOPERM"), _) | (_, ErrorKind::Server(ServerErrorKind::NoPerm)) => (
            "allow this user the commands EVALSHA, SCRIPT, EXISTS, TIME, XADD, XINFO, XRANGE, XREVRANGE, HSET, HGETALL, \
             HDEL, PEXPIRE, GET and SET, MULTI, EXEC, WATCH and UNWATCH, on the key of the stream and on KEY:bridges and \
             KEY:engine, and INFO and PTTL, so that the bridge sees what the server evicts",
            Permanent,
        ),
        (Some("WRONGTYPE"), _) => {
            ("the key holds something else: choose another one with ?key=KEY", Permanent)
        }
        (Some("MISCONF"), _) => {
            ("make room on the disk of the server; its log shows what it cannot write", Transient)
        }
        (Some("NOREPLICAS"), _) => {
            ("start the replicas, or lower `min-replicas-to-write` of the server", Transient)
        }
        (Some("DENIED"), _) => (
            "set a password on the server (`requirepass`) and name it with --password-file, or set `protected-mode no`",
            Permanent,
        ),
        (Some("ERR"), _) if detail.is_some_and(is_unknown_command) => (
            "use a Redis of 5.0 or later that has all its commands (`rename-command` and proxies remove some); of a sentinel, \
             write redis+sentinel://HOST/PRIMARY",
            Permanent,
        ),
        (Some("ERR"), _) if detail.is_some_and(|detail| detail.contains("max number of clients")) => {
            ("raise `maxclients` of the server", Transient)
        }
        (Some("OOM"), _) => ("raise `maxmemory` of the server, or shorten the stream with XTRIM", Transient),
        (_, ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::CrossSlot)) => (
            "the slot of the key is at another server: if this is a cluster, write redis+cluster://HOST",
            Transient,
        ),
        (_, ErrorKind::Server(ServerErrorKind::Ask | ServerErrorKind::TryAgain)) => {
            ("the slot of the key is being moved: the bridge continues when it has moved", Transient)
        }
        (Some("READONLY"), _) | (_, ErrorKind::Server(ServerErrorKind::ReadOnly)) => {
            ("this server is a replica: name the primary", Transient)
        }
        _ => ("", Transient),
    };
    let what = match detail {
        Some(_) => format!("{address} replied: {}", cleaned(error)),
        None => format!("{address}: {error}"),
    };
    EngineError::new(what, remedy, kind)
}

/// Whether a server replied that it does not have a command. Words in it are those of the server, or of a proxy.
fn is_unknown_command(detail: &str) -> bool {
    let start = detail.get(..32).unwrap_or(detail).to_ascii_lowercase();
    ["unknown command", "unsupported command"].iter().any(|what| start.starts_with(what))
}

/// Returns an error that a server replied, without what only the author of the script understands.
pub(super) fn cleaned(error: &RedisError) -> String {
    let (code, detail) = parts(error);
    format!("{} {}", code.unwrap_or_else(|| error.category()), detail.unwrap_or_default())
        .trim_end()
        .to_owned()
}

/// Returns the code and the text of an error that a server replied.
fn parts(error: &RedisError) -> (Option<&str>, Option<&str>) {
    match error.detail() {
        Some(detail) => {
            let (code, detail) = without_script(error.code(), detail);
            (code, Some(detail))
        }
        None => (error.code(), None),
    }
}

/// Removes where in a script an error occurred. Since version 7, that is behind the text: `TEXT script: HASH, on
/// @user_script:20.`; before, it is in front of the code: `ERR Error running script (call to f_HASH): @user_script:20:
/// @user_script: 20: -CODE TEXT`.
fn without_script<'a>(code: Option<&'a str>, detail: &'a str) -> (Option<&'a str>, &'a str) {
    if let Some((text, behind)) = detail.rsplit_once(" script: ")
        && behind.contains("@user_script:")
    {
        return (code, text);
    }
    let inner =
        detail.starts_with("Error running script").then(|| detail.rsplit_once("@user_script: ")).flatten();
    match inner.and_then(|(_, inner)| inner.split_once(": ")) {
        Some((_, inner)) => match inner.strip_prefix('-').and_then(|inner| inner.split_once(' ')) {
            Some((code, text)) => (Some(code), text),
            None => (code, inner),
        },
        None => (code, detail),
    }
}

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
    any::foreign(format_args!("the key {key}"), "choose another key for the stream with ?key=KEY")
}

/// The key of a stream, and what the names of those beside it begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StreamKeys {
    pub(super) stream: String,
    prefix: String,
}

impl StreamKeys {
    /// Those at a single server.
    pub(super) fn alone(key: &str) -> Self {
        Self { stream: key.to_owned(), prefix: key.to_owned() }
    }

    /// Those in a cluster, where scripts need all in the same slot. A slot is chosen by the hash of the key, or of what it
    /// has between the first `{` and the next `}`, if that is not empty.
    pub(super) fn in_cluster(key: &str) -> Result<Self, EngineError> {
        let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
        let prefix = match tag {
            Some("") => return Err(braces(key)),
            Some(_) => key.to_owned(),
            None if key.contains('}') => return Err(braces(key)),
            None => format!("{{{key}}}"),
        };
        Ok(Self { stream: key.to_owned(), prefix })
    }

    /// The hash in which bridges note themselves.
    pub(super) fn bridges(&self) -> String {
        format!("{}:bridges", self.prefix)
    }

    /// The number that identifies the stream.
    pub(super) fn engine(&self) -> String {
        format!("{}:engine", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_scripts_are_those_of_their_commands() {
        let text = "command not allowed when used memory > 'maxmemory'.";
        let seven = format!("{text} script: 7cf7676f, on @user_script:20.");
        let six = format!(
            "Error running script (call to f_7cf7676f): @user_script:20: @user_script: 20: -OOM {text}"
        );
        let plain = "Error running script (call to f_7cf7676f): @user_script:20: @user_script: 20: Wrong number of args";
        assert_eq!(without_script(Some("OOM"), &seven), (Some("OOM"), text));
        assert_eq!(without_script(Some("ERR"), &six), (Some("OOM"), text));
        assert_eq!(without_script(Some("ERR"), plain), (Some("ERR"), "Wrong number of args"));
        assert_eq!(without_script(Some("ERR"), text), (Some("ERR"), text));
    }

    #[test]
    fn keys_in_a_cluster_have_the_hash_tag_of_the_stream() {
        assert_eq!(StreamKeys::alone("prices").bridges(), "prices:bridges");
        for (key, engine) in
            [("prices", "{prices}:engine"), ("a{b}c", "a{b}c:engine"), ("a{b", "{a{b}:engine")]
        {
            let keys = StreamKeys::in_cluster(key).unwrap();
            assert_eq!((&*keys.stream, keys.engine()), (key, engine.to_owned()));
        }
        assert!(["{}", "a}b", "x{}y"].into_iter().all(|key| StreamKeys::in_cluster(key).is_err()));
    }
}
