//! The thread that serves HTTP clients: does what their state machine requests.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mcast_sys::poller::Interest;
use mcast_sys::ready::{READY_AT_ONCE, Ready};
use socket2::{SockRef, TcpKeepalive};

use super::http::{Exchange, ServerReport};
use crate::http::{HttpClientId, HttpConfig, HttpServer};

/// Tokens of listeners start here, those of clients at 0.
const LISTENERS: usize = usize::MAX / 2;
/// Connections that are accepted, and writes to one client, before others are served.
const AT_ONCE: usize = 16;
const READ_BYTES: usize = 4_096;
/// What the system keeps for a client; without this it would be several megabytes for one that takes nothing.
const SEND_BUFFER: usize = 512 << 10;
/// The time after which a connection without traffic is tested, and one that answers nothing is given up.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// The time without accepting connections after that failed, for example without free descriptors.
const RECOVERY: Duration = Duration::from_millis(100);
/// The time that clients have to take the end when the relay stops.
const STOPPING: Duration = Duration::from_millis(300);

pub(super) struct HttpThread {
    server: HttpServer,
    exchange: Arc<Exchange>,
    start: Instant,
    listeners: BTreeMap<usize, (SocketAddr, TcpListener)>,
    next_listener: usize,
    /// Until when no connection is accepted.
    resting: Option<Duration>,
    connections: HashMap<HttpClientId, Connection>,
    stop_at: Option<Duration>,
}

struct Connection {
    stream: TcpStream,
    /// Whether it takes nothing at present.
    is_full: bool,
    is_shut_down: bool,
}

impl HttpThread {
    pub(super) fn new(config: HttpConfig, exchange: Arc<Exchange>, start: Instant) -> Self {
        Self {
            server: HttpServer::new(config),
            exchange,
            start,
            listeners: BTreeMap::new(),
            next_listener: LISTENERS,
            resting: None,
            connections: HashMap::new(),
            stop_at: None,
        }
    }

    pub(super) fn run(mut self) {
        while self.stop_at.is_none_or(|stop| self.now() < stop && !self.connections.is_empty()) {
            self.take_inbox();
            let now = self.now();
            if self.resting.is_some_and(|until| now >= until) {
                self.resting = None;
                self.accept_from(Interest::Readable);
            }
            self.server.handle_timeout(now);
            let ids: Vec<_> = self.connections.keys().copied().collect();
            ids.into_iter().for_each(|id| self.flush(id));
            self.report();
            self.wait();
        }
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn take_inbox(&mut self) {
        let inbox = self.exchange.take_inbox();
        let now = self.now();
        for (address, listener) in inbox.listeners {
            let added = self.exchange.poller.add_descriptor(listener.as_fd(), self.next_listener);
            if added.is_ok() {
                self.listeners.insert(self.next_listener, (address, listener));
                self.next_listener += 1;
            }
        }
        if let Some(rules) = inbox.rules {
            self.listeners.retain(|_, (address, _)| rules.iter().any(|rule| rule.listener == *address));
            self.server.set_rules(now, rules);
        }
        if let Some((token, channels)) = inbox.access {
            self.server.set_access(token, channels);
        }
        inbox.datagrams.iter().for_each(|datagram| self.server.handle_datagram(now, datagram));
        if inbox.is_stopping {
            self.listeners.clear();
            self.server.set_rules(now, Vec::new());
            self.stop_at = Some(now + STOPPING);
        }
    }

    fn report(&mut self) {
        let events = std::iter::from_fn(|| self.server.poll_event()).collect();
        let (demand, counts) = (self.server.poll_demand(), self.server.counts());
        self.exchange.report(ServerReport { demand, events, counts });
    }

    fn wait(&mut self) {
        let deadline = [self.server.poll_timeout(), self.resting, self.stop_at].into_iter().flatten().min();
        let timeout = deadline.map(|deadline| deadline.saturating_sub(self.now()));
        let mut ready = Ready::empty();
        // A signal ends the wait early. What else could fail would fail again: the loop continues with its deadlines.
        if self.exchange.poller.wait(timeout).is_err()
            || self.exchange.poller.ready(READY_AT_ONCE, &mut ready).is_err()
        {
            return;
        }
        for token in ready.sockets() {
            match token.checked_sub(LISTENERS) {
                Some(_) => self.accept(*token),
                None => self.serve(HttpClientId(*token as u64)),
            }
        }
    }

    fn accept(&mut self, token: usize) {
        for _ in 0..AT_ONCE {
            let Some((address, listener)) = self.listeners.get(&token) else { return };
            let address = *address;
            match listener.accept() {
                Ok((stream, client)) => self.connect(address, stream, client),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The client has gone again.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(_) => {
                    self.resting = Some(self.now() + RECOVERY);
                    self.accept_from(Interest::Nothing);
                    return;
                }
            }
        }
    }

    fn accept_from(&self, interest: Interest) {
        for (token, (_, listener)) in &self.listeners {
            // This only fails for a descriptor that is not registered.
            let _ = self.exchange.poller.set_interest(listener.as_fd(), *token, interest);
        }
    }

    fn connect(&mut self, listener: SocketAddr, stream: TcpStream, client: SocketAddr) {
        let now = self.now();
        if set_up(&stream).is_err() {
            return;
        }
        let Some(id) = self.server.handle_connect(now, listener, client) else { return };
        let token = usize::try_from(id.0).ok().filter(|token| *token < LISTENERS);
        let added = token.map(|token| self.exchange.poller.add_descriptor(stream.as_fd(), token));
        match added {
            Some(Ok(())) => {
                self.connections.insert(id, Connection { stream, is_full: false, is_shut_down: false });
            }
            Some(Err(_)) | None => self.server.handle_disconnected(now, id),
        }
    }

    /// Reads from a client that is readable, or has become writable.
    fn serve(&mut self, id: HttpClientId) {
        let now = self.now();
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if std::mem::take(&mut connection.is_full) {
            self.wait_for(id, Interest::Readable);
        }
        let mut buffer = [0; READ_BYTES];
        let Some(connection) = self.connections.get_mut(&id) else { return };
        match connection.stream.read(&mut buffer) {
            Ok(0) => self.close(id),
            Ok(count) => self.server.handle_bytes(now, id, &buffer[..count]),
            Err(error) if is_transient(&error) => {}
            Err(_) => self.close(id),
        }
    }

    /// Writes what there is for a client.
    fn flush(&mut self, id: HttpClientId) {
        for _ in 0..AT_ONCE {
            let now = self.now();
            let Some(connection) = self.connections.get_mut(&id).filter(|connection| !connection.is_full)
            else {
                break;
            };
            let slices = self.server.poll_transmit(now, id);
            let length: usize = slices.iter().map(|slice| slice.len()).sum();
            if length == 0 {
                break;
            }
            match connection.stream.write_vectored(&slices) {
                Ok(count) => {
                    self.server.handle_written(now, id, count);
                    if count < length {
                        self.wait_for(id, Interest::ReadableOrWritable);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_transient(&error) => self.wait_for(id, Interest::ReadableOrWritable),
                Err(_) => self.close(id),
            }
        }
        self.end_if_due(id);
    }

    /// Ends a connection whose response is complete, or that is to be dropped. The client sees an ordinary end after what
    /// the system has taken.
    fn end_if_due(&mut self, id: HttpClientId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if self.server.is_ending(id) && !std::mem::replace(&mut connection.is_shut_down, true) {
            // It fails if the client is gone, which is noticed when it is read from.
            let _ = connection.stream.shutdown(Shutdown::Write);
        }
        if self.server.is_gone(id) {
            self.close(id);
        }
    }

    fn wait_for(&mut self, id: HttpClientId, interest: Interest) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.is_full = interest == Interest::ReadableOrWritable;
        let (stream, token) = (connection.stream.as_fd(), id.0 as usize);
        if self.exchange.poller.set_interest(stream, token, interest).is_err() {
            self.close(id);
        }
    }

    fn close(&mut self, id: HttpClientId) {
        self.connections.remove(&id);
        self.server.handle_disconnected(self.now(), id);
    }
}

fn set_up(stream: &TcpStream) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.set_tcp_user_timeout(Some(KEEP_ALIVE))?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEP_ALIVE))
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
