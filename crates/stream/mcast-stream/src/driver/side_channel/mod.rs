//! TCP connections beside a stream, sealed with its keys, for what does not fit into datagrams: snapshots and history.
//! Both ends.

mod channel;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::SockRef;

use crate::driver::clock::Clock;
use crate::side_channel::{
    Admission, AdmissionLimits, AdmissionQueue, ClientId, ConnectDecision, QueueToken, SharedPace,
};

pub(super) use channel::{CHECK_INTERVAL, Channel, StepDeadline};

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

/// What all clients share.
#[derive(Debug)]
struct State {
    admission: AdmissionQueue,
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

/// What became of a connection.
pub(super) enum Admitted {
    Client(Client),
    /// There are too many, or the connection has ended already.
    Refused,
    /// There is no room for this time.
    Full(Duration),
}

impl Clients {
    pub(super) fn new(limits: AdmissionLimits, rate: NonZeroU64) -> Self {
        let clock = Clock::new();
        let state = State {
            admission: AdmissionQueue::new(limits),
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
            ConnectDecision::Full(wait) => Admitted::Full(wait.into()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    /// Decides about a valid request: of a sealed stream, the client has the keys.
    pub(in crate::driver) fn request(&self, ticket: QueueToken) -> Admission {
        self.clients.state().admission.request(self.clients.clock.now(), self.id, ticket)
    }

    /// Notes that bytes were sent, and waits until more may be sent.
    pub(in crate::driver) fn sent(&self, bytes: usize) {
        let now = self.clients.clock.now();
        let mut state = self.clients.state();
        state.admission.record_progress(now, self.id);
        let wait = state.pace.spend(now, bytes);
        drop(state);
        std::thread::sleep(wait.into());
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
        let now = self.clients.clock.now();
        let mut state = self.clients.state();
        state.admission.disconnected(now, self.id);
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
        limits: AdmissionLimits,
        rate: NonZeroU64,
        service: impl Service,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        // The standard library asks for 128.
        SockRef::from(&listener).listen(BACKLOG)?;
        let is_ending = Arc::new(AtomicBool::new(false));
        let clients = Clients::new(limits, rate);
        let shared = Arc::new(Shared { service, clients, is_ending: Arc::clone(&is_ending) });
        let serve = move || accept(&listener, &shared, thread);
        let thread = std::thread::Builder::new().name(format!("{thread}s")).spawn(serve)?;
        Ok(Self { address, is_ending, thread: Some(thread) })
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
