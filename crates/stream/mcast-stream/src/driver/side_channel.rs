//! TCP connections beside a stream, sealed with its keys, for what does not fit into datagrams: its history, and snapshots.
//! Both ends. `docs/protocol.md` specifies the protocol, under *History servers*.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::driver::clock::Clock;
use crate::seal::{Cipher, Keys, Purpose, Sealed};
use crate::side_channel::{
    Admission, AdmissionControl, AdmissionLimits, ClientId, ConnectDecision, SharedPace,
};
use crate::wire::{Incarnation, KeyEpoch, StreamId, TAG_LENGTH};

/// The time limit for one step of the other side.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);
/// A client must complete its first request within this time.
pub(super) const REQUEST_TIME: Duration = Duration::from_secs(3);
/// The number of the server's first frame. The client's first frame has number 1.
pub(super) const FIRST_ANSWER: u64 = 1 << 32;

/// Begins the greeting, and is what seals authenticate.
const GREETING: &[u8; 4] = b"MCH1";
/// A history has messages of many incarnations: its keys are those of none.
pub(super) const NO_INCARNATION: Incarnation = Incarnation(0);

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

/// What all clients share.
#[derive(Debug)]
struct State {
    admission: AdmissionControl,
    pace: SharedPace,
    /// The handles that end connections.
    connections: HashMap<ClientId, TcpStream>,
}

/// The clients of a server.
#[derive(Clone, Debug)]
pub(super) struct Clients {
    clock: Clock,
    state: Arc<Mutex<State>>,
}

/// A client that is connected. Dropping it removes the client.
#[derive(Debug)]
pub(in crate::driver) struct Client {
    clients: Clients,
    id: ClientId,
}

/// Pieces that are sent per second to all clients together at least, of which there are at most 16; and the shortest piece.
const PIECES_PER_SECOND: u64 = 128;
const SHORTEST_PIECE: usize = 4_096;

/// What became of a connection.
pub(super) enum Admitted {
    Client(Client),
    /// There are too many, or the connection has ended already.
    Refused,
    /// There is no room for this time.
    Full(Duration),
}

impl Clients {
    pub(super) fn new(rate: NonZeroU64) -> Self {
        let clock = Clock::new();
        let state = State {
            admission: AdmissionControl::new(AdmissionLimits::HISTORY),
            pace: SharedPace::new(clock.now(), rate),
            connections: HashMap::new(),
        };
        Self { clock, state: Arc::new(Mutex::new(state)) }
    }

    /// Admits a client if there is room. The connection of the client that it replaces is closed.
    pub(super) fn admit(&self, connection: &TcpStream) -> Admitted {
        let (Ok(address), Ok(handle)) = (connection.peer_addr(), connection.try_clone()) else {
            return Admitted::Refused;
        };
        let mut state = self.state();
        match state.admission.connect(self.clock.now(), address.ip()) {
            ConnectDecision::Admitted(id, replaced) => {
                if let Some(replaced) = replaced.and_then(|replaced| state.connections.remove(&replaced)) {
                    // It fails if that client has gone.
                    let _ = replaced.shutdown(Shutdown::Both);
                }
                state.connections.insert(id, handle);
                drop(state);
                Admitted::Client(Client { clients: self.clone(), id })
            }
            ConnectDecision::Refused => Admitted::Refused,
            ConnectDecision::Full(wait) => Admitted::Full(wait),
        }
    }

    fn are_there(&self) -> bool {
        self.state().admission.is_in_use(self.clock.now())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    /// Decides about a valid request: of a sealed stream, the client has the keys.
    pub(in crate::driver) fn request(&self) -> Admission {
        self.clients.state().admission.request(self.clients.clock.now(), self.id)
    }

    /// Notes that bytes were sent, and waits until more may be sent.
    pub(in crate::driver) fn sent(&self, bytes: usize) {
        let now = self.clients.clock.now();
        let mut state = self.clients.state();
        state.admission.record_progress(now, self.id);
        let wait = state.pace.spend(now, bytes);
        drop(state);
        std::thread::sleep(wait);
    }

    /// Returns how many bytes to send before the next wait: at a low rate, a client that gets a frame at a time would receive nothing
    /// in between, and take the connection for stalled.
    pub(in crate::driver) fn piece(&self) -> usize {
        let rate = self.clients.state().pace.rate().get();
        usize::try_from(rate / PIECES_PER_SECOND).unwrap_or(usize::MAX).max(SHORTEST_PIECE)
    }

    /// Whether its turn is over, so that others get theirs.
    pub(in crate::driver) fn is_over(&self) -> bool {
        self.clients.state().admission.is_over(self.clients.clock.now(), self.id)
    }

    /// Notes that a request is answered: whether up to the end of what there is.
    pub(in crate::driver) fn answered(&self, is_at_end: bool) {
        self.clients.state().admission.answered(self.clients.clock.now(), self.id, is_at_end);
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let mut state = self.clients.state();
        state.admission.disconnected(self.id);
        state.connections.remove(&self.id);
    }
}

/// Connections that the system keeps until they are accepted: many clients start together. Linux allows 4,096 unless it
/// is configured otherwise.
const BACKLOG: i32 = 4_096;
/// How long to wait after accepting a connection has failed.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(20);

/// What is served to each client.
pub(in crate::driver) trait Service: Send + Sync + 'static {
    /// Serves a client until it is done or the server is not running any more.
    fn serve(&self, connection: TcpStream, client: &Client, is_running: &dyn Fn() -> bool) -> io::Result<()>;
}

/// Serves clients until it is dropped.
#[derive(Debug)]
pub(in crate::driver) struct SideServer {
    address: SocketAddr,
    clients: Clients,
    is_ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

struct Shared<S> {
    service: S,
    clients: Clients,
    is_ending: Arc<AtomicBool>,
}

impl SideServer {
    /// Serves on this listener, on threads with this name; sends this many bytes per second to all clients together.
    pub(in crate::driver) fn start(
        listener: TcpListener,
        thread: &'static str,
        rate: NonZeroU64,
        service: impl Service,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        // The standard library asks for 128.
        SockRef::from(&listener).listen(BACKLOG)?;
        let is_ending = Arc::new(AtomicBool::new(false));
        let clients = Clients::new(rate);
        let shared = Shared { service, clients: clients.clone(), is_ending: Arc::clone(&is_ending) };
        let shared = Arc::new(shared);
        let serve = move || accept(&listener, &shared, thread);
        let thread = std::thread::Builder::new().name(format!("{thread}s")).spawn(serve)?;
        Ok(Self { address, clients, is_ending, thread: Some(thread) })
    }

    /// Whether a client is connected, or was sent away and is expected back.
    pub(in crate::driver) fn is_in_use(&self) -> bool {
        self.clients.are_there()
    }

    pub(in crate::driver) const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for SideServer {
    fn drop(&mut self) {
        self.is_ending.store(true, Ordering::Release);
        // A connection wakes the thread that accepts.
        let woken = TcpStream::connect_timeout(&reachable(self.address), Duration::from_secs(1));
        if let (Ok(_), Some(thread)) = (woken, self.thread.take()) {
            let _ = thread.join();
        }
    }
}

/// Returns an address to connect to. A server on all addresses is reached on loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => ([127, 0, 0, 1], v4.port()).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => (std::net::Ipv6Addr::LOCALHOST, v6.port()).into(),
        other => other,
    }
}

fn accept<S: Service>(listener: &TcpListener, shared: &Arc<Shared<S>>, thread: &str) {
    for connection in listener.incoming() {
        if shared.is_ending.load(Ordering::Acquire) {
            return;
        }
        let Ok(connection) = connection else {
            // Without a pause it would fail again at once, for instance where descriptors are short.
            std::thread::sleep(ACCEPT_BACKOFF);
            continue;
        };
        let Some(client) = admitted(shared, &connection) else { continue };
        let serving = Arc::clone(shared);
        let serve = move || {
            // A client whose connection fails tries again.
            let is_running = || !serving.is_ending.load(Ordering::Acquire);
            let _ = serving.service.serve(connection, &client, &is_running);
        };
        // Without a thread, the client is dropped, and tries again.
        let _ = std::thread::Builder::new().name(thread.to_owned()).spawn(serve);
    }
}

/// Admits a client; waits for room, during which others wait in the queue of the system.
fn admitted<S>(shared: &Shared<S>, connection: &TcpStream) -> Option<Client> {
    loop {
        match shared.clients.admit(connection) {
            Admitted::Client(client) => return Some(client),
            Admitted::Refused => return None,
            Admitted::Full(_) if shared.is_ending.load(Ordering::Acquire) => return None,
            Admitted::Full(wait) => std::thread::sleep(wait),
        }
    }
}

/// The most that are kept until they are taken.
const KEPT: usize = 64;

/// A request that a [`HistoryServer`](crate::HistoryServer) or [`SnapshotServer`](crate::SnapshotServer) has refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedRequest {
    /// The client.
    pub client: SocketAddr,
    /// Why.
    pub reason: String,
}

/// Counts them, and keeps the latest.
#[derive(Debug, Default)]
pub(in crate::driver) struct Refusals {
    count: AtomicU64,
    kept: Mutex<VecDeque<RefusedRequest>>,
}

impl Refusals {
    pub(in crate::driver) fn refuse(&self, client: SocketAddr, reason: String) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(RefusedRequest { client, reason });
    }

    pub(in crate::driver) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Returns the next of those that are kept.
    pub(in crate::driver) fn take(&self) -> Option<RefusedRequest> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

const HELLO: usize = 14;
/// The length of the length of a frame.
const LENGTH: usize = 4;

pub(in crate::driver) struct Channel<'p> {
    connection: TcpStream,
    deadline: StepDeadline<'p>,
    /// Counts the bytes that arrive, for a caller that watches them.
    received: Option<Arc<AtomicU64>>,
    /// The random numbers of the server and the client, from which the keys are derived.
    numbers: (u64, u64),
    cipher: Option<Box<dyn Cipher>>,
}

impl<'p> Channel<'p> {
    pub(in crate::driver) fn new(connection: TcpStream, deadline: StepDeadline<'p>) -> io::Result<Self> {
        connection.set_read_timeout(Some(CHECK_INTERVAL))?;
        connection.set_write_timeout(Some(CHECK_INTERVAL))?;
        connection.set_nodelay(true)?;
        Ok(Self { connection, deadline, received: None, numbers: (0, 0), cipher: None })
    }

    /// Counts the bytes that arrive from here on, there as well.
    pub(in crate::driver) fn count_received(&mut self, received: Arc<AtomicU64>) {
        self.received = Some(received);
    }

    /// Sets the time limit of each step from here on.
    pub(in crate::driver) const fn restart_for_each_step(&mut self, limit: Duration) {
        self.deadline.restart_for_each_step(limit);
    }

    /// Sends the server's greeting, and receives the client's number.
    pub(in crate::driver) fn greet(&mut self, number: u64, epoch: KeyEpoch) -> io::Result<()> {
        let mut greeting = [0; HELLO];
        greeting[..4].copy_from_slice(GREETING);
        greeting[4..12].copy_from_slice(&number.to_be_bytes());
        greeting[12..].copy_from_slice(&epoch.0.to_be_bytes());
        self.write(&greeting)?;
        let mut theirs = [0; 8];
        self.read(&mut theirs)?;
        self.numbers = (number, u64::from_be_bytes(theirs));
        Ok(())
    }

    /// Receives the server's greeting, and sends the client's number; returns the server's key epoch.
    pub(in crate::driver) fn receive_greeting(&mut self, number: u64) -> io::Result<KeyEpoch> {
        let mut greeting = [0; HELLO];
        self.read(&mut greeting)?;
        let (theirs, epoch) =
            read_greeting(greeting).ok_or_else(|| invalid("it is another kind of server"))?;
        self.numbers = (theirs, number);
        self.write(&number.to_be_bytes())?;
        Ok(epoch)
    }

    /// Seals everything from here on with the server's key epoch. A client with keys refuses a connection in clear.
    pub(in crate::driver) fn seal_with(
        &mut self,
        keys: &Keys,
        epoch: KeyEpoch,
        stream: StreamId,
    ) -> io::Result<()> {
        match (keys.is_empty(), epoch == KeyEpoch::CLEAR) {
            (true, true) => return Ok(()),
            (true, false) => return Err(invalid("it is sealed, and there is no key here")),
            (false, true) => return Err(invalid("it is not sealed, as its stream is")),
            (false, false) => {}
        }
        let (sealed, block) = (Sealed::Snapshot(self.numbers.0), self.numbers.1);
        let purpose = Purpose { stream, incarnation: NO_INCARNATION, epoch, sealed, block };
        self.cipher = Some(keys.cipher(&purpose).ok_or_else(|| invalid("the key is missing"))?);
        Ok(())
    }

    pub(in crate::driver) fn send(&mut self, count: u64, bytes: &[u8]) -> io::Result<()> {
        self.send_in_pieces(count, bytes, usize::MAX, |_| {})
    }

    /// Sends a frame in pieces of at most this length, and calls `sent` after each.
    pub(in crate::driver) fn send_in_pieces(
        &mut self,
        count: u64,
        bytes: &[u8],
        longest: usize,
        mut sent: impl FnMut(usize),
    ) -> io::Result<()> {
        let tag_length = if self.cipher.is_some() { TAG_LENGTH } else { 0 };
        let mut frame = Vec::with_capacity(LENGTH + bytes.len() + tag_length);
        frame.extend_from_slice(&((bytes.len() + tag_length) as u32).to_be_bytes());
        frame.extend_from_slice(bytes);
        if let Some(cipher) = &self.cipher {
            let tag = cipher.seal(count, GREETING, &mut frame[LENGTH..]);
            frame.extend_from_slice(&tag.ok_or_else(|| invalid("the cipher failed"))?);
        }
        for piece in frame.chunks(longest) {
            self.write(piece)?;
            sent(piece.len());
        }
        Ok(())
    }

    pub(in crate::driver) fn receive(&mut self, count: u64, longest: usize) -> io::Result<Vec<u8>> {
        let mut length = [0; LENGTH];
        self.read(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > longest + TAG_LENGTH {
            return Err(invalid("a frame is too long"));
        }
        let mut frame = vec![0; length];
        self.read(&mut frame)?;
        if let Some(cipher) = &self.cipher {
            if !cipher.open(count, GREETING, &mut frame) {
                return Err(invalid("it was not sealed with this key"));
            }
            frame.truncate(length.saturating_sub(TAG_LENGTH));
        }
        Ok(frame)
    }

    /// Reads all of `bytes`. The time limit is for all of it, so that single bytes do not extend it.
    fn read(&mut self, mut bytes: &mut [u8]) -> io::Result<()> {
        self.deadline.begin_step()?;
        while !bytes.is_empty() {
            match self.connection.read(bytes) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    bytes = &mut bytes[count..];
                    if let Some(received) = &self.received {
                        received.fetch_add(count as u64, Ordering::Release);
                    }
                }
                Err(error) if is_transient(&error) => {}
                Err(error) => return Err(error),
            }
            if !bytes.is_empty() {
                self.deadline.check()?;
            }
        }
        Ok(())
    }

    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.deadline.begin_step()?;
        while !bytes.is_empty() {
            match self.connection.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => bytes = &bytes[count..],
                Err(error) if is_transient(&error) => {}
                Err(error) => return Err(error),
            }
            if !bytes.is_empty() {
                self.deadline.check()?;
            }
        }
        Ok(())
    }
}

/// Returns the server's number and key epoch.
fn read_greeting(greeting: [u8; HELLO]) -> Option<(u64, KeyEpoch)> {
    let rest = greeting.strip_prefix(GREETING)?;
    let (number, epoch) = rest.split_first_chunk()?;
    Some((u64::from_be_bytes(*number), KeyEpoch(u16::from_be_bytes(*epoch.first_chunk()?))))
}

/// Whether a read or write only timed out for this interval, or was interrupted by a signal.
fn is_transient(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}

/// How often a wait asks the caller whether to continue.
pub(in crate::driver) const CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// A time limit, for each step or for all steps together, with a callback by which the caller can cancel.
pub(in crate::driver) struct StepDeadline<'p> {
    limit: Duration,
    /// When all steps together must be done; `None` if the limit is for each step.
    end: Option<Instant>,
    keep_going: Box<dyn FnMut() -> bool + 'p>,
    checked_at: Instant,
    deadline: Instant,
}

impl<'p> StepDeadline<'p> {
    pub(in crate::driver) fn new(limit: Duration, keep_going: impl FnMut() -> bool + 'p) -> Self {
        let now = Instant::now();
        Self { limit, end: None, keep_going: Box::new(keep_going), checked_at: now, deadline: now + limit }
    }

    /// Returns a limit for all steps together.
    pub(in crate::driver) fn for_all_steps(limit: Duration, keep_going: impl FnMut() -> bool + 'p) -> Self {
        Self { end: Some(Instant::now() + limit), ..Self::new(limit, keep_going) }
    }

    /// Sets a limit for each step from here on.
    pub(in crate::driver) const fn restart_for_each_step(&mut self, limit: Duration) {
        (self.limit, self.end) = (limit, None);
    }

    /// Starts the time of the next step.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub(in crate::driver) fn begin_step(&mut self) -> io::Result<()> {
        let now = Instant::now();
        self.deadline = self.end.unwrap_or(now + self.limit);
        match now.duration_since(self.checked_at) >= CHECK_INTERVAL {
            true => self.check(),
            false => Ok(()),
        }
    }

    /// Checks whether to wait again.
    ///
    /// # Errors
    /// If the caller gives up, or the step has taken too long.
    pub(in crate::driver) fn check(&mut self) -> io::Result<()> {
        self.checked_at = Instant::now();
        if !(self.keep_going)() {
            // Not `ErrorKind::Interrupted`, because callers retry on that.
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the caller gave up"));
        }
        match self.checked_at < self.deadline {
            true => Ok(()),
            false => Err(io::Error::new(io::ErrorKind::TimedOut, "the other side takes too long")),
        }
    }
}
