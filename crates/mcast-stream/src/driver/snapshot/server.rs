//! The server of snapshots.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::channel::Channel;
use super::clients::{Clients, Progress};
use super::deadline::StepDeadline;
use super::{ANSWER, FIRST_ANSWER, FRAME, REQUEST, Snapshot, TIMEOUT, invalid, request_bytes};
use crate::driver::clock;
use crate::driver::error::StreamError;
use crate::seal::Keys;
use crate::wire::{Incarnation, MessageNumber, StreamId};

/// A client must complete its request within this time.
const REQUEST_TIME: Duration = Duration::from_secs(3);
/// Bytes per second to each client.
const RATE: f64 = 64e6;
/// How long to wait after accepting a connection has failed.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(20);

/// Serves snapshots until it is dropped.
#[derive(Debug)]
pub struct SnapshotServer {
    address: SocketAddr,
    is_ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Returns the current keys of the stream, which may change while the server runs.
pub(in crate::driver) type KeysNow = Box<dyn Fn() -> Keys + Send + Sync>;

struct Service<F> {
    stream: StreamId,
    incarnation: Incarnation,
    keys: KeysNow,
    capture: F,
    clients: Mutex<Clients<TcpStream>>,
    is_ending: Arc<AtomicBool>,
}

impl SnapshotServer {
    pub(in crate::driver) fn start(
        at: SocketAddr,
        stream: StreamId,
        incarnation: Incarnation,
        keys: KeysNow,
        capture: impl Fn() -> Option<Snapshot> + Send + Sync + 'static,
    ) -> Result<Self, StreamError> {
        let listener = TcpListener::bind(at).map_err(StreamError::Snapshot)?;
        let address = listener.local_addr().map_err(StreamError::Snapshot)?;
        let is_ending = Arc::new(AtomicBool::new(false));
        let clients = Mutex::new(Clients::new());
        let service =
            Service { stream, incarnation, keys, capture, clients, is_ending: Arc::clone(&is_ending) };
        let serve = move || accept(&listener, &Arc::new(service));
        let thread = std::thread::Builder::new().name("mcast-snapshots".to_owned()).spawn(serve);
        Ok(Self { address, is_ending, thread: Some(thread.map_err(StreamError::Thread)?) })
    }

    /// Returns the address that it listens on.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for SnapshotServer {
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

fn accept<F>(listener: &TcpListener, service: &Arc<Service<F>>)
where
    F: Fn() -> Option<Snapshot> + Send + Sync + 'static,
{
    for connection in listener.incoming() {
        if service.is_ending.load(Ordering::Acquire) {
            return;
        }
        let Ok(connection) = connection else {
            // Without a pause it would fail again at once, for instance where descriptors are short.
            std::thread::sleep(ACCEPT_BACKOFF);
            continue;
        };
        // It fails if the client has gone already.
        let Ok((client, connection)) = AdmittedClient::admit(service, connection) else { continue };
        let serve = move || {
            // A client whose connection fails tries again.
            let _ = client.service.serve(connection, &client.progress);
        };
        let _ = std::thread::Builder::new().name("mcast-snapshot".to_owned()).spawn(serve);
    }
}

/// An admitted client. Dropping it removes the client, even if no thread could be started or `capture` panics.
struct AdmittedClient<F> {
    service: Arc<Service<F>>,
    number: u64,
    progress: Arc<Progress>,
}

impl<F> AdmittedClient<F> {
    /// Admits a client. At the limit, the connection of the idlest one is closed.
    fn admit(service: &Arc<Service<F>>, connection: TcpStream) -> io::Result<(Self, TcpStream)> {
        let (address, handle) = (connection.peer_addr()?.ip(), connection.try_clone()?);
        let progress = Arc::new(Progress::new(Instant::now()));
        let (number, evicted) = service.clients().admit(address, Arc::clone(&progress), handle);
        if let Some(evicted) = evicted {
            // It fails if that client has gone.
            let _ = evicted.shutdown(Shutdown::Both);
        }
        Ok((Self { service: Arc::clone(service), number, progress }, connection))
    }
}

impl<F> Drop for AdmittedClient<F> {
    fn drop(&mut self) {
        self.service.clients().remove(self.number);
    }
}

impl<F> Service<F> {
    fn clients(&self) -> std::sync::MutexGuard<'_, Clients<TcpStream>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F: Fn() -> Option<Snapshot>> Service<F> {
    fn serve(&self, connection: TcpStream, progress: &Progress) -> io::Result<()> {
        let keys = (self.keys)();
        let mut keep_going = || !self.is_ending.load(Ordering::Acquire);
        let deadline = StepDeadline::for_all_steps(REQUEST_TIME, &mut keep_going);
        let mut channel = Channel::new(connection, deadline)?;
        channel.greet(clock::seed(), keys.latest())?;
        channel.seal_with(&keys, keys.latest(), self.stream, self.incarnation)?;
        let request = channel.receive(1, REQUEST)?;
        let expected = request_bytes(self.stream, self.incarnation, MessageNumber(0));
        if request.len() != REQUEST || request[..12] != expected[..12] {
            return Err(invalid("the request is for another stream"));
        }
        progress.note_request();
        channel.restart_for_each_step(TIMEOUT);
        // Without a snapshot, the client sees the end of the connection.
        let Some(snapshot) = (self.capture)() else { return Ok(()) };
        let mut answer = [0; ANSWER];
        answer[..8].copy_from_slice(&snapshot.message.0.to_be_bytes());
        answer[8..].copy_from_slice(&(snapshot.bytes.len() as u64).to_be_bytes());
        channel.send(FIRST_ANSWER, &answer)?;
        for (count, frame) in (FIRST_ANSWER + 1..).zip(snapshot.bytes.chunks(FRAME)) {
            channel.send(count, frame)?;
            progress.note();
            std::thread::sleep(Duration::from_secs_f64(frame.len() as f64 / RATE));
        }
        Ok(())
    }
}

#[cfg(all(test, feature = "seal"))]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::panic::resume_unwind;

    use super::*;
    use crate::driver::snapshot::clients::MAX_CLIENTS;
    use crate::driver::snapshot::{MAX_SNAPSHOT, fetch_snapshot, fetch_snapshot_while};
    use crate::seal::{Algorithm, GroupSecret};
    use crate::wire::KeyEpoch;

    const STREAM: (StreamId, Incarnation) = (StreamId(1), Incarnation(1));

    fn server(keys: Keys, capture: impl Fn() -> Option<Snapshot> + Send + Sync + 'static) -> SnapshotServer {
        let keys = Box::new(move || keys.clone());
        SnapshotServer::start("127.0.0.1:0".parse().unwrap(), STREAM.0, STREAM.1, keys, capture).unwrap()
    }

    fn state() -> Option<Snapshot> {
        Some(Snapshot { message: MessageNumber(5), bytes: b"state".to_vec() })
    }

    fn secret() -> Keys {
        let secret = GroupSecret::new(&[7; 32], Algorithm::Aes128Gcm);
        Keys::one(KeyEpoch(1), secret)
    }

    #[test]
    fn idle_connections_do_not_block_other_clients() {
        for keys in [Keys::none(), secret()] {
            let server = server(keys.clone(), state);
            let connect = |_| TcpStream::connect(server.address()).unwrap();
            let idle: Vec<TcpStream> = (0..2 * MAX_CLIENTS).map(connect).collect();
            let fetched =
                fetch_snapshot(server.address(), STREAM.0, STREAM.1, &keys, MessageNumber(5)).unwrap();
            assert_eq!(fetched.bytes, b"state");
            drop(idle);
        }
    }

    #[test]
    fn a_client_that_sends_its_request_byte_by_byte_is_disconnected() {
        use std::io::{Read as _, Write as _};

        let server = server(Keys::none(), state);
        let mut connection = TcpStream::connect(server.address()).unwrap();
        connection.set_read_timeout(Some(Duration::from_millis(150))).unwrap();
        let (begun, mut buffer) = (Instant::now(), [0; 64]);
        // A number, and a frame of 20 bytes, one byte every 150 ms.
        let mut bytes = [0; 32];
        bytes[11] = 20;
        let ended = bytes[..31].iter().find(|byte| {
            connection.write_all(&[**byte]).is_err()
                || connection.read(&mut buffer).is_ok_and(|count| count == 0)
        });
        assert!(ended.is_some(), "it stays connected");
        assert!(begun.elapsed() >= REQUEST_TIME - Duration::from_millis(200));
    }

    #[test]
    fn a_snapshot_longer_than_the_limit_is_refused() {
        let server =
            server(Keys::none(), || Some(Snapshot { message: MessageNumber(5), bytes: vec![7; 100_001] }));
        let fetch = |limit| {
            fetch_snapshot_while(
                server.address(),
                STREAM.0,
                STREAM.1,
                &Keys::none(),
                MessageNumber(5),
                limit,
                &mut || true,
            )
        };
        let refused = fetch(100_000).unwrap_err();
        assert!(
            matches!(refused, StreamError::SnapshotTooLarge { size: 100_001, limit: 100_000 }),
            "{refused}"
        );
        assert_eq!(fetch(MAX_SNAPSHOT).unwrap().bytes.len(), 100_001);
    }

    #[test]
    fn a_client_is_removed_if_the_capture_panics() {
        let server = server(Keys::none(), || resume_unwind(Box::new("the caller's code fails")));
        for _ in 0..=MAX_CLIENTS {
            fetch_snapshot(server.address(), STREAM.0, STREAM.1, &Keys::none(), MessageNumber(5))
                .unwrap_err();
        }
    }
}
