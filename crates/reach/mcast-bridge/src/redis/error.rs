//! What went wrong, and what to do about it.

use std::io;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::engine::EngineError;
use crate::server::is_timeout;
use crate::tls;

/// Returns an error that may pass.
pub(super) fn passing(what: String) -> EngineError {
    EngineError { what, remedy: None, is_transient: true }
}

pub(super) fn unreachable(address: &str, cause: &io::Error) -> EngineError {
    if let Some(error) = tls::engine_error(address, cause) {
        return error;
    }
    let what = match is_timeout(cause) {
        true => format!("{address} does not respond"),
        false => format!("{address} cannot be reached: {cause}"),
    };
    let remedy = Some("check that the server runs and that a firewall admits its port".into());
    EngineError { what, remedy, is_transient: true }
}

/// The error for a server that closed the connection instead of responding to the first command.
pub(super) fn may_need_tls(address: &str, cause: &io::Error) -> EngineError {
    let remedy = Some("if the server requires TLS, write rediss://HOST; its log may have the reason".into());
    EngineError { what: format!("{address} does not accept commands: {cause}"), remedy, is_transient: true }
}

pub(super) fn replica(address: &str) -> EngineError {
    let remedy =
        Some("name the primary among the servers, or sentinels: redis+sentinel://HOST/PRIMARY".into());
    EngineError { what: format!("{address} is a replica"), remedy, is_transient: true }
}

pub(super) fn unknown_primary(address: &str, name: &str) -> EngineError {
    let what = format!("the sentinel at {address} does not know a primary with the name \"{name}\"");
    let remedy = Some("write the name that its `sentinel monitor` has: redis+sentinel://HOST/PRIMARY".into());
    EngineError { what, remedy, is_transient: false }
}

/// Returns the error of a server at this address.
pub(super) fn engine_error(address: &str, error: &RedisError) -> EngineError {
    let (remedy, is_transient) = match (error.code(), error.kind()) {
        (_, ErrorKind::AuthenticationFailed) | (Some("WRONGPASS" | "NOAUTH"), _) => {
            ("give the right user and password: redis://USER@HOST and --password-file FILE", false)
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
        (_, ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::CrossSlot)) => (
            "the slot of the key is at another server: if this is a cluster, write redis+cluster://HOST",
            true,
        ),
        (_, ErrorKind::Server(ServerErrorKind::Ask | ServerErrorKind::TryAgain)) => {
            ("the slot of the key is being moved: the bridge continues when it has moved", true)
        }
        (_, ErrorKind::Server(ServerErrorKind::ReadOnly)) => {
            ("this server is a replica: name the primary", true)
        }
        _ => ("", true),
    };
    let what = match error.detail() {
        Some(detail) => {
            format!("{address} replied: {} {detail}", error.code().unwrap_or_else(|| error.category()))
        }
        None => format!("{address}: {error}"),
    };
    EngineError { what, remedy: (!remedy.is_empty()).then(|| remedy.into()), is_transient }
}
