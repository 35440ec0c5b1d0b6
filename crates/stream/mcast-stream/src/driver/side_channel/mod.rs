//! TCP connections beside a stream, sealed with its keys, for what does not fit into datagrams: snapshots and history.

mod channel;
mod client;
mod deadline;
mod refusals;
mod server;

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

pub(super) use channel::Channel;
pub(super) use client::Client;
pub(super) use deadline::{CHECK_INTERVAL, StepDeadline};
pub(super) use refusals::Refusals;
pub use refusals::RefusedRequest;
pub(super) use server::{Service, SideServer};

/// The time limit for one step of the other side.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);
/// A client must complete its first request within this time.
pub(super) const REQUEST_TIME: Duration = Duration::from_secs(3);
/// The number of the server's first frame. The client's first frame has number 1.
pub(super) const FIRST_ANSWER: u64 = 1 << 32;

pub(super) fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Connects on a separate thread, because a connection attempt cannot be cancelled. If the caller gives up, the thread
/// ends on its own.
pub(super) fn connect(to: SocketAddr, deadline: &mut StepDeadline<'_>) -> io::Result<TcpStream> {
    let (sender, connected) = channel();
    let work = move || {
        // It fails if the caller gave up.
        let _ = sender.send(TcpStream::connect_timeout(&to, TIMEOUT));
    };
    std::thread::Builder::new().name("mcast-connect".to_owned()).spawn(work)?;
    loop {
        match connected.recv_timeout(CHECK_INTERVAL) {
            Ok(connection) => return connection,
            Err(RecvTimeoutError::Timeout) => deadline.check()?,
            Err(RecvTimeoutError::Disconnected) => return Err(invalid("the thread that connects has ended")),
        }
    }
}
