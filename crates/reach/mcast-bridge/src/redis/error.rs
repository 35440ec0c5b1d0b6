//! What went wrong, and what to do about it.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::engine::EngineError;

/// Returns an error that may pass.
pub(super) fn passing(what: String) -> EngineError {
    EngineError { what, remedy: None, is_transient: true }
}

/// Returns the error of a server at this address.
pub(super) fn engine_error(address: &str, error: &RedisError) -> EngineError {
    let (remedy, is_transient) = match (error.code(), error.kind()) {
        (_, ErrorKind::AuthenticationFailed) | (Some("WRONGPASS" | "NOAUTH"), _) => {
            ("give the right user and password: redis://USER:PASSWORD@HOST", false)
        }
        (_, ErrorKind::Server(ServerErrorKind::NoPerm)) => (
            "allow this user the commands EVALSHA, SCRIPT, EXISTS, TIME, XADD, XINFO, XRANGE, XREVRANGE, HSET, HGETALL, \
             HDEL, PEXPIRE, GET and SET, on the key of the stream and on KEY:bridges and KEY:engine",
            false,
        ),
        (Some("WRONGTYPE"), _) => ("the key holds something else: choose another one with ?key=KEY", false),
        (Some("MISCONF"), _) => {
            ("make room on the disk of the server; its log shows what it cannot write", true)
        }
        (Some("OOM"), _) => ("raise `maxmemory` of the server, or shorten the stream with XTRIM", true),
        (_, ErrorKind::Server(ServerErrorKind::ReadOnly)) => {
            ("this server is a replica: name the primary", true)
        }
        (_, ErrorKind::Io) => ("check that the server runs and that a firewall admits its port", true),
        _ => ("", true),
    };
    let what = match (error.kind(), error.detail(), error.is_timeout()) {
        (_, _, true) => format!("{address} does not respond"),
        (ErrorKind::Io, _, _) => format!("{address} cannot be reached: {error}"),
        (_, Some(detail), _) => {
            format!("{address} replied: {} {detail}", error.code().unwrap_or_else(|| error.category()))
        }
        _ => format!("{address}: {error}"),
    };
    EngineError { what, remedy: (!remedy.is_empty()).then(|| remedy.into()), is_transient }
}
