//! The sockets of a server: connections are accepted, read and written by one thread, and none of them delays another.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mcast_pace::ClockTime;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use socket2::{SockRef, TcpKeepalive};

use crate::{HttpClientId, HttpService};

/// The token of wake-ups, and that of the first listener. Those of clients start at 0.
const WAKE: Token = Token(usize::MAX);
const LISTENERS: usize = usize::MAX / 2;
/// Connections that are accepted, and reads from and writes to one client, before others are served.
const AT_ONCE: usize = 16;
const READ_BYTES: usize = 4_096;
/// Sockets that are reported as ready together.
const EVENTS: usize = 256;
/// What the system keeps for a client; without this it would be several megabytes for one that takes nothing.
const SEND_BUFFER: usize = 512 << 10;
/// The time after which a connection without traffic is tested, and one that answers nothing is given up.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// The time without accepting connections after that failed, for example without free descriptors.
const RECOVERY: Duration = Duration::from_millis(100);

/// The monotonic clock of a driver.
#[derive(Clone, Copy, Debug)]
pub struct HttpClock(Instant);

impl HttpClock {
    /// Creates a clock of which [`ClockTime::START`] was at `start`.
    #[must_use]
    pub const fn since(start: Instant) -> Self {
        Self(start)
    }

    /// Returns the time.
    #[must_use]
    pub fn now(self) -> ClockTime {
        ClockTime::START + self.0.elapsed()
    }
}

/// Ends the wait of an [`HttpDriver`] from another thread.
#[derive(Clone, Debug)]
pub struct HttpWaker(Arc<mio::Waker>);

impl HttpWaker {
    /// Ends the wait, or the next one. If this fails, the thread looks at its next deadline.
    pub fn wake(&self) {
        let _ = self.0.wake();
    }
}

/// Carries bytes between clients and an [`HttpService`].
#[derive(Debug)]
pub struct HttpDriver {
    poll: Poll,
    events: Events,
    waker: HttpWaker,
    clock: HttpClock,
    listeners: BTreeMap<usize, (SocketAddr, TcpListener)>,
    next_listener: usize,
    /// Until when no connection is accepted.
    resting: Option<ClockTime>,
    connections: HashMap<HttpClientId, Connection>,
    /// What is reported only once by the system, and has not been done: listeners with connections, and clients with bytes.
    acceptable: BTreeSet<usize>,
    readable: BTreeSet<HttpClientId>,
    /// Whether a client may take more at once.
    is_writable: bool,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    /// Whether it takes nothing at present.
    is_full: bool,
    is_shut_down: bool,
}

impl HttpDriver {
    /// Creates a driver without listeners.
    ///
    /// # Errors
    /// If the system has no descriptor for it.
    pub fn new(clock: HttpClock) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = HttpWaker(Arc::new(mio::Waker::new(poll.registry(), WAKE)?));
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS),
            waker,
            clock,
            listeners: BTreeMap::new(),
            next_listener: LISTENERS,
            resting: None,
            connections: HashMap::new(),
            acceptable: BTreeSet::new(),
            readable: BTreeSet::new(),
            is_writable: false,
        })
    }

    /// Returns what ends the wait of this driver.
    #[must_use]
    pub fn waker(&self) -> HttpWaker {
        self.waker.clone()
    }

    /// Accepts connections from a listener. `address` is passed to the service.
    ///
    /// # Errors
    /// If it cannot be waited for.
    pub fn add_listener(&mut self, address: SocketAddr, listener: std::net::TcpListener) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let mut listener = TcpListener::from_std(listener);
        let token = self.next_listener;
        self.poll.registry().register(&mut listener, Token(token), Interest::READABLE)?;
        self.next_listener += 1;
        self.listeners.insert(token, (address, listener));
        // Clients may have connected before.
        self.acceptable.insert(token);
        Ok(())
    }

    /// Closes the listeners at other addresses.
    pub fn retain_listeners(&mut self, is_kept: impl Fn(SocketAddr) -> bool) {
        self.listeners.retain(|_, (address, _)| is_kept(*address));
    }

    /// Returns whether there are connections.
    #[must_use]
    pub fn has_connections(&self) -> bool {
        !self.connections.is_empty()
    }

    /// Serves until this returns `false`, which it is asked at least once per second.
    pub fn run(&mut self, service: &mut impl HttpService, mut is_running: impl FnMut() -> bool) {
        while is_running() {
            self.flush(service);
            self.wait(service, Some(self.clock.now() + Duration::from_secs(1)));
        }
    }

    /// Does what is due, and writes what there is for all clients.
    pub fn flush(&mut self, service: &mut impl HttpService) {
        let now = self.clock.now();
        if self.resting.is_some_and(|until| now >= until) {
            self.resting = None;
        }
        service.handle_timeout(now);
        self.is_writable = false;
        let ids: Vec<_> = self.connections.keys().copied().collect();
        for id in ids {
            self.write(service, id);
        }
    }

    /// Waits until something happens, the service has something due, or this time has come, and passes what arrives. Returns
    /// whether the driver was woken.
    pub fn wait(&mut self, service: &mut impl HttpService, deadline: Option<ClockTime>) -> bool {
        let deadline = [service.poll_timeout(), self.resting, deadline].into_iter().flatten().min();
        let has_rest = self.is_writable
            || !self.readable.is_empty()
            || self.resting.is_none() && !self.acceptable.is_empty();
        let is_woken = match has_rest {
            true => self.poll(Some(Duration::ZERO)),
            false => self.poll(deadline.map(|deadline| deadline - self.clock.now())),
        };
        if self.resting.is_none() {
            for token in std::mem::take(&mut self.acceptable) {
                self.accept(service, token);
            }
        }
        for id in std::mem::take(&mut self.readable) {
            self.read(service, id);
        }
        is_woken
    }

    /// Waits for at most this time. Returns whether the driver was woken.
    fn poll(&mut self, timeout: Option<Duration>) -> bool {
        // A signal ends the wait early. What else could fail would fail again: the loop continues with its deadlines.
        if self.poll.poll(&mut self.events, timeout).is_err() {
            return false;
        }
        let mut is_woken = false;
        for event in &self.events {
            match event.token() {
                WAKE => is_woken = true,
                Token(listener) if listener >= LISTENERS => {
                    self.acceptable.insert(listener);
                }
                Token(client) => {
                    let id = HttpClientId(client as u64);
                    if event.is_writable()
                        && let Some(connection) = self.connections.get_mut(&id)
                    {
                        connection.is_full = false;
                    }
                    if event.is_readable() || event.is_error() || event.is_read_closed() {
                        self.readable.insert(id);
                    }
                }
            }
        }
        is_woken
    }

    fn accept(&mut self, service: &mut impl HttpService, token: usize) {
        for _ in 0..AT_ONCE {
            let Some((address, listener)) = self.listeners.get(&token) else { return };
            let address = *address;
            match listener.accept() {
                Ok((stream, client)) => self.connect(service, address, stream, client),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The client has gone again.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.resting = Some(self.clock.now() + RECOVERY);
                    break;
                }
            }
        }
        self.acceptable.insert(token);
    }

    fn connect(
        &mut self,
        service: &mut impl HttpService,
        listener: SocketAddr,
        mut stream: TcpStream,
        client: SocketAddr,
    ) {
        let now = self.clock.now();
        if set_up(&stream).is_err() {
            return;
        }
        let Some(id) = service.handle_connect(now, listener, client) else { return };
        let token = usize::try_from(id.0).ok().filter(|token| *token < LISTENERS).map(Token);
        let interest = Interest::READABLE | Interest::WRITABLE;
        let added = token.map(|token| self.poll.registry().register(&mut stream, token, interest));
        match added {
            Some(Ok(())) => {
                self.connections.insert(id, Connection { stream, is_full: false, is_shut_down: false });
            }
            Some(Err(_)) | None => service.handle_disconnected(now, id),
        }
    }

    /// Reads from a client.
    fn read(&mut self, service: &mut impl HttpService, id: HttpClientId) {
        let mut buffer = [0; READ_BYTES];
        for _ in 0..AT_ONCE {
            let now = self.clock.now();
            let Some(connection) = self.connections.get_mut(&id) else { return };
            match connection.stream.read(&mut buffer) {
                Ok(0) => return self.close(service, id),
                Ok(count) => service.handle_bytes(now, id, &buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.close(service, id),
            }
        }
        self.readable.insert(id);
    }

    /// Writes what there is for a client.
    fn write(&mut self, service: &mut impl HttpService, id: HttpClientId) {
        for turn in 1..=AT_ONCE {
            let now = self.clock.now();
            let Some(connection) = self.connections.get_mut(&id).filter(|connection| !connection.is_full)
            else {
                break;
            };
            let slices = service.poll_transmit(now, id);
            if slices.iter().all(|slice| slice.is_empty()) {
                break;
            }
            self.is_writable |= turn == AT_ONCE;
            match connection.stream.write_vectored(&slices) {
                Ok(count) => service.handle_written(now, id, count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The system reports once when there is room again.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => connection.is_full = true,
                Err(_) => self.close(service, id),
            }
        }
        self.end_if_due(service, id);
    }

    /// Ends a connection whose response is complete, or that must be dropped. The client sees an ordinary end after what
    /// the system has taken.
    fn end_if_due(&mut self, service: &mut impl HttpService, id: HttpClientId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if service.is_ending(id) && !std::mem::replace(&mut connection.is_shut_down, true) {
            // It fails if the client is gone, which is noticed when it is read from.
            let _ = connection.stream.shutdown(Shutdown::Write);
        }
        if service.is_gone(id) {
            self.close(service, id);
        }
    }

    fn close(&mut self, service: &mut impl HttpService, id: HttpClientId) {
        self.connections.remove(&id);
        service.handle_disconnected(self.clock.now(), id);
    }
}

fn set_up(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_send_buffer_size(SEND_BUFFER)?;
    limit_silence(&socket)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEP_ALIVE))
}

/// Limits the time for which a client may leave what was sent unanswered, where the system can.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn limit_silence(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_user_timeout(Some(KEEP_ALIVE))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
const fn limit_silence(_socket: &SockRef<'_>) -> io::Result<()> {
    Ok(())
}
