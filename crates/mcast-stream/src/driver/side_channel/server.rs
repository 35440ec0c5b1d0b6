//! A server: it accepts a limited number of clients, and serves each on a thread.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::clients::{Clients, Progress};

/// How long to wait after accepting a connection has failed.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(20);

/// What is served to each client.
pub(in crate::driver) trait Service: Send + Sync + 'static {
    /// Serves a client until it is done or the server is not running any more.
    fn serve(
        &self,
        connection: TcpStream,
        progress: &Progress,
        is_running: &dyn Fn() -> bool,
    ) -> io::Result<()>;
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
    clients: Mutex<Clients<TcpStream>>,
    is_ending: Arc<AtomicBool>,
}

impl SideServer {
    /// Serves on this listener, on threads with this name.
    pub(in crate::driver) fn start(
        listener: TcpListener,
        thread: &'static str,
        service: impl Service,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let is_ending = Arc::new(AtomicBool::new(false));
        let clients = Mutex::new(Clients::new());
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
        // It fails if the client has gone already.
        let Ok((client, connection)) = AdmittedClient::admit(shared, connection) else { continue };
        let serve = move || {
            // A client whose connection fails tries again.
            let is_running = || !client.shared.is_ending.load(Ordering::Acquire);
            let _ = client.shared.service.serve(connection, &client.progress, &is_running);
        };
        let _ = std::thread::Builder::new().name(thread.to_owned()).spawn(serve);
    }
}

/// An admitted client. Dropping it removes the client, even if no thread could be started or the service panics.
struct AdmittedClient<S> {
    shared: Arc<Shared<S>>,
    number: u64,
    progress: Arc<Progress>,
}

impl<S> AdmittedClient<S> {
    /// Admits a client. At the limit, the connection of the idlest one is closed.
    fn admit(shared: &Arc<Shared<S>>, connection: TcpStream) -> io::Result<(Self, TcpStream)> {
        let (address, handle) = (connection.peer_addr()?.ip(), connection.try_clone()?);
        let progress = Arc::new(Progress::new(Instant::now()));
        let (number, evicted) = shared.clients().admit(address, Arc::clone(&progress), handle);
        if let Some(evicted) = evicted {
            // It fails if that client has gone.
            let _ = evicted.shutdown(Shutdown::Both);
        }
        Ok((Self { shared: Arc::clone(shared), number, progress }, connection))
    }
}

impl<S> Drop for AdmittedClient<S> {
    fn drop(&mut self) {
        self.shared.clients().remove(self.number);
    }
}

impl<S> Shared<S> {
    fn clients(&self) -> std::sync::MutexGuard<'_, Clients<TcpStream>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
