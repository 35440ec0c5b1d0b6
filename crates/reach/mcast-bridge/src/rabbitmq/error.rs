//! What went wrong, and what to do about it.

use std::io;

use super::bytes::ProtocolError;
use crate::engine::EngineError;
use crate::server::ServerAddress;
use crate::tls;

/// The codes of responses that are handled, not only reported.
pub(super) const OK: u16 = 1;
pub(super) const NO_STREAM: u16 = 2;
pub(super) const STREAM_EXISTS: u16 = 5;
pub(super) const NOT_AVAILABLE: u16 = 6;
pub(super) const PRECONDITION_FAILED: u16 = 17;
pub(super) const NO_PUBLISHER: u16 = 18;

/// A server that is short of disk or memory blocks publishers, and does not send them the reason.
const MAKE_ROOM: &str = "check that the server runs, and that it has not blocked publishers (rabbitmq-diagnostics alarms): \
                         make room on its disk, or raise disk_free_limit or vm_memory_high_watermark";

fn error(what: String, remedy: &str, is_transient: bool) -> EngineError {
    EngineError { what, remedy: (!remedy.is_empty()).then(|| remedy.into()), is_transient }
}

pub(super) fn unreachable(address: &str, cause: &io::Error) -> EngineError {
    if let Some(error) = tls::engine_error(address, cause) {
        return error;
    }
    let remedy = "check that the server runs, that its plugin for streams is enabled (rabbitmq-plugins enable \
                  rabbitmq_stream), and that a firewall admits its port";
    error(format!("{address} cannot be reached: {cause}"), remedy, true)
}

pub(super) fn silent(address: &str) -> EngineError {
    error(format!("{address} does not respond"), MAKE_ROOM, true)
}

pub(super) fn blocked(address: &str) -> EngineError {
    error(format!("{address} does not accept messages at present ({PRECONDITION_FAILED})"), MAKE_ROOM, true)
}

pub(super) fn closed(address: &str, reason: &str) -> EngineError {
    let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    error(format!("{address} closed the connection{reason}"), "", true)
}

pub(super) fn broken(address: &str, cause: ProtocolError) -> EngineError {
    let remedy = "check host and port: streams have a port of their own, by default 5552";
    error(format!("{address}: {cause}"), remedy, true)
}

pub(super) fn unexpected(address: &str) -> EngineError {
    error(format!("{address} sent a response of an unexpected form"), "", true)
}

pub(super) fn no_plain(address: &str) -> EngineError {
    let remedy = "allow PLAIN in auth_mechanisms of the server";
    error(format!("{address} does not accept passwords"), remedy, false)
}

/// The error for a response with this code.
pub(super) fn code(address: &str, code: u16) -> EngineError {
    let (what, remedy, is_transient) = match code {
        NO_STREAM => ("the stream does not exist", "", true),
        NOT_AVAILABLE => {
            ("the stream is not available", "check that most servers with a copy of the stream run", true)
        }
        8 | 9 => (
            "authentication failed",
            "give the right user and password: rabbitmq-stream://USER@HOST and --password-file FILE",
            false,
        ),
        11 => (
            "this user may only connect on the server itself",
            "create a user for the bridge: rabbitmqctl add_user USER PASSWORD",
            false,
        ),
        12 => (
            "the virtual host does not exist, or this user has no access to it",
            "check it in the URL (rabbitmq-stream://HOST/VHOST), and grant access with rabbitmqctl set_permissions",
            false,
        ),
        14 => ("a message exceeds the largest frame", "raise stream.frame_max of the server", false),
        16 => (
            "access refused",
            "grant this user configure, write and read access to the stream and to STREAM.bridges: rabbitmqctl \
             set_permissions",
            false,
        ),
        PRECONDITION_FAILED => (
            "a queue with this name exists that is not a stream, or the stream has impossible settings",
            "choose another name with ?stream=STREAM",
            false,
        ),
        _ => ("an error of the server", "see the log of the server", true),
    };
    error(format!("{address} replied: {what} ({code})"), remedy, is_transient)
}

/// The error for a message that no bridge wrote.
pub(super) fn foreign(stream: &str, offset: u64) -> EngineError {
    let remedy = "give each stream one of its own in RabbitMQ: ?stream=STREAM";
    error(format!("no bridge wrote the message at offset {offset} of the stream \"{stream}\""), remedy, false)
}

pub(super) fn too_large(address: &str, size: usize, most: usize) -> EngineError {
    let what = format!(
        "a message of {size} bytes with its properties exceeds the {most} bytes that {address} allows"
    );
    error(what, "raise stream.frame_max of the server", false)
}

/// The error for a leader that cannot be connected to.
pub(super) fn no_leader(address: &str, leader: &ServerAddress, cause: EngineError) -> EngineError {
    let what = format!("{address} names {leader} as the leader of the stream, but {}", cause.what);
    let reachable =
        || "let servers name themselves so that the bridge reaches them: stream.advertised_host".into();
    EngineError { what, remedy: cause.remedy.or_else(|| Some(reachable())), ..cause }
}

pub(super) fn changed(address: &str, stream: &str) -> EngineError {
    error(format!("the stream \"{stream}\" at {address} has another leader, or was made again"), "", true)
}
