//! A server: it accepts a limited number of clients, and serves each on a thread.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::SockRef;

use super::client::{Admitted, Client, Clients};
use crate::side_channel::AdmissionLimits;

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
