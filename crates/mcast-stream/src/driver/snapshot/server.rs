//! Who has snapshots.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::channel::Channel;
use super::patience::Patience;
use super::{ANSWER, FIRST_ANSWER, FRAME, REQUEST, Snapshot, TIMEOUT, invalid, request_bytes};
use crate::driver::clock;
use crate::driver::error::StreamError;
use crate::seal::Keys;
use crate::wire::{Incarnation, StreamId};

/// Clients that are served at once; others are turned away.
const MOST_CLIENTS: usize = 16;
/// Bytes a second for each.
const RATE: f64 = 64e6;
/// How long nobody is let in after that has failed.
const AFTER_FAILURE: Duration = Duration::from_millis(20);

/// Serves snapshots until it is dropped.
#[derive(Debug)]
pub struct SnapshotServer {
    address: SocketAddr,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Tells the keys of the stream as they are now: they change while it runs.
pub(in crate::driver) type KeysNow = Box<dyn Fn() -> Keys + Send + Sync>;

struct Service<F> {
    stream: StreamId,
    incarnation: Incarnation,
    keys: KeysNow,
    capture: F,
    clients: AtomicUsize,
    ends: Arc<AtomicBool>,
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
        let ends = Arc::new(AtomicBool::new(false));
        let clients = AtomicUsize::new(0);
        let service = Service { stream, incarnation, keys, capture, clients, ends: Arc::clone(&ends) };
        let serve = move || accept(&listener, &Arc::new(service));
        let thread = std::thread::Builder::new().name("mcast-snapshots".to_owned()).spawn(serve);
        Ok(Self { address, ends, thread: Some(thread.map_err(StreamError::Thread)?) })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for SnapshotServer {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Release);
        // Whoever accepts looks up when somebody comes.
        let woken = TcpStream::connect_timeout(&reachable(self.address), Duration::from_secs(1));
        if let (Ok(_), Some(thread)) = (woken, self.thread.take()) {
            let _ = thread.join();
        }
    }
}

/// Who listens on all addresses is reached at the local one.
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
        if service.ends.load(Ordering::Acquire) {
            return;
        }
        let Ok(connection) = connection else {
            // Where descriptors are short, it would fail again at once.
            std::thread::sleep(AFTER_FAILURE);
            continue;
        };
        let turn = Turn::take(service);
        if turn.is_one_too_many() {
            continue;
        }
        let serve = move || {
            // Who breaks off asks again.
            let _ = turn.0.serve(connection);
        };
        let _ = std::thread::Builder::new().name("mcast-snapshot".to_owned()).spawn(serve);
    }
}

/// A client's turn, which ends also when no thread can be had, or the caller's code panics.
struct Turn<F>(Arc<Service<F>>);

impl<F> Turn<F> {
    fn take(service: &Arc<Service<F>>) -> Self {
        service.clients.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(service))
    }

    fn is_one_too_many(&self) -> bool {
        self.0.clients.load(Ordering::Acquire) > MOST_CLIENTS
    }
}

impl<F> Drop for Turn<F> {
    fn drop(&mut self) {
        self.0.clients.fetch_sub(1, Ordering::AcqRel);
    }
}

impl<F: Fn() -> Option<Snapshot>> Service<F> {
    fn serve(&self, connection: TcpStream) -> io::Result<()> {
        let keys = (self.keys)();
        let mut go_on = || !self.ends.load(Ordering::Acquire);
        let mut channel = Channel::new(connection, Patience::new(TIMEOUT, &mut go_on))?;
        channel.greet(clock::seed(), keys.latest())?;
        channel.seal_with(&keys, keys.latest(), self.stream, self.incarnation)?;
        let request = channel.receive(1, REQUEST)?;
        let expected = request_bytes(self.stream, self.incarnation, 0);
        if request.len() != REQUEST || request[..12] != expected[..12] {
            return Err(invalid("it asks for another stream"));
        }
        // Without one the client sees the connection end.
        let Some(snapshot) = (self.capture)() else { return Ok(()) };
        let mut answer = [0; ANSWER];
        answer[..8].copy_from_slice(&snapshot.message.to_be_bytes());
        answer[8..].copy_from_slice(&(snapshot.bytes.len() as u64).to_be_bytes());
        channel.send(FIRST_ANSWER, &answer)?;
        for (count, frame) in (FIRST_ANSWER + 1..).zip(snapshot.bytes.chunks(FRAME)) {
            channel.send(count, frame)?;
            std::thread::sleep(Duration::from_secs_f64(frame.len() as f64 / RATE));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_that_fails_is_over() {
        use std::panic::{AssertUnwindSafe, catch_unwind};

        let (stream, incarnation) = (StreamId(1), Incarnation(1));
        let fails = || -> Option<Snapshot> { std::panic::resume_unwind(Box::new("the caller's code fails")) };
        let (keys, clients, ends) = (Box::new(Keys::none), AtomicUsize::new(0), Arc::default());
        let service = Arc::new(Service { stream, incarnation, keys, capture: fails, clients, ends });
        for _ in 0..=MOST_CLIENTS {
            let turn = Turn::take(&service);
            assert!(!turn.is_one_too_many());
            assert!(catch_unwind(AssertUnwindSafe(move || (turn.0.capture)())).is_err());
        }
        let turns: Vec<_> = (0..MOST_CLIENTS).map(|_| Turn::take(&service)).collect();
        assert!(!turns.iter().any(Turn::is_one_too_many) && Turn::take(&service).is_one_too_many());
    }
}
