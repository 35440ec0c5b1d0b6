//! Snapshots over TCP, sealed with the stream's keys, and their server. `docs/protocol.md` specifies the protocol,
//! under *Snapshot servers*.

mod client;

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use crate::driver::clock;
use crate::driver::error::{StreamError, StreamStep};
use crate::driver::side_channel::{
    Channel, Client, FIRST_ANSWER, REQUEST_TIME, Refusals, RefusedRequest, Service, SideServer, StepDeadline,
    TIMEOUT, invalid,
};
use crate::seal::Keys;
use crate::side_channel::{Admission, AdmissionLimits, SharedPace};
use crate::wire::{Incarnation, MessageNumber, StreamId};

pub use client::{MAX_SNAPSHOT, SnapshotFetcher, fetch_snapshot, fetch_snapshot_while};

const GREETING: &[u8; 4] = b"MCS1";
const REQUEST: usize = 20;
const ANSWER: usize = 16;
const FRAME: usize = 16 << 10;

/// A state of the application, and the messages that it covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// It covers all messages before this one.
    pub message: MessageNumber,
    /// The state.
    pub bytes: Vec<u8>,
}

fn request_bytes(stream: StreamId, incarnation: Incarnation, message: MessageNumber) -> [u8; REQUEST] {
    let mut request = [0; REQUEST];
    request[..8].copy_from_slice(&stream.0.to_be_bytes());
    request[8..12].copy_from_slice(&incarnation.0.to_be_bytes());
    request[12..].copy_from_slice(&message.0.to_be_bytes());
    request
}

/// Serves snapshots until it is dropped.
#[derive(Debug)]
pub struct SnapshotServer {
    stream: StreamId,
    server: SideServer,
    refusals: Arc<Refusals>,
    /// Withdraws the announcement of the server.
    _withdrawal: Option<Withdrawal>,
}

/// Withdraws an announcement when it is dropped.
struct Withdrawal(Box<dyn Fn() + Send + Sync>);

impl Drop for Withdrawal {
    fn drop(&mut self) {
        (self.0)();
    }
}

impl fmt::Debug for Withdrawal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Withdrawal")
    }
}

/// Returns the current keys of the stream, which may change while the server runs.
pub(in crate::driver) type KeysNow = Box<dyn Fn() -> Keys + Send + Sync>;

struct SnapshotService<F> {
    stream: StreamId,
    incarnation: Incarnation,
    keys: KeysNow,
    capture: F,
    refusals: Arc<Refusals>,
}

impl SnapshotServer {
    pub(in crate::driver) fn start(
        at: SocketAddr,
        stream: StreamId,
        incarnation: Incarnation,
        keys: KeysNow,
        capture: impl Fn() -> Option<Snapshot> + Send + Sync + 'static,
    ) -> Result<Self, StreamError> {
        let listener = TcpListener::bind(at).map_err(StreamStep::ServeSnapshots(at).failed())?;
        let refusals = Arc::<Refusals>::default();
        let service = SnapshotService { stream, incarnation, keys, capture, refusals: Arc::clone(&refusals) };
        let limits = AdmissionLimits::SNAPSHOT;
        let server = SideServer::start(listener, "mcast-snapshot", limits, SharedPace::RATE, service);
        Ok(Self {
            stream,
            server: server.map_err(StreamStep::ServeSnapshots(at).failed())?,
            refusals,
            _withdrawal: None,
        })
    }

    /// Sets what withdraws the announcement of the server when it is dropped.
    pub(in crate::driver) fn announced(self, withdraw: impl Fn() + Send + Sync + 'static) -> Self {
        Self { _withdrawal: Some(Withdrawal(Box::new(withdraw))), ..self }
    }

    /// Returns the address that it listens on.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Returns the stream whose snapshots it serves.
    #[must_use]
    pub const fn stream(&self) -> StreamId {
        self.stream
    }

    /// Returns the number of requests that were refused: malformed ones, those for another stream, and those of clients without
    /// the keys.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refusals.count()
    }

    /// Returns the next request that was refused, of the latest 64 that were not returned yet.
    #[must_use]
    pub fn take_refused(&self) -> Option<RefusedRequest> {
        self.refusals.take()
    }
}

impl<F: Fn() -> Option<Snapshot> + Send + Sync + 'static> Service for SnapshotService<F> {
    fn serve(&self, connection: TcpStream, client: &Client, is_running: &dyn Fn() -> bool) -> io::Result<()> {
        let address = connection.peer_addr()?;
        let served = self.serve_client(connection, client, is_running);
        if let Err(error) = &served
            && error.kind() == io::ErrorKind::InvalidData
        {
            self.refusals.refuse(address, error.to_string());
        }
        served
    }
}

impl<F: Fn() -> Option<Snapshot> + Send + Sync + 'static> SnapshotService<F> {
    fn serve_client(
        &self,
        connection: TcpStream,
        client: &Client,
        is_running: &dyn Fn() -> bool,
    ) -> io::Result<()> {
        let keys = (self.keys)();
        let deadline = StepDeadline::for_all_steps(REQUEST_TIME, is_running);
        let mut channel = Channel::new(connection, GREETING, deadline)?;
        channel.greet(clock::seed(), keys.latest())?;
        channel.seal_with(&keys, keys.latest(), self.stream, self.incarnation)?;
        let request = channel.receive(1, REQUEST)?;
        let expected = request_bytes(self.stream, self.incarnation, MessageNumber(0));
        if request.len() != REQUEST || request[..12] != expected[..12] {
            return Err(invalid("the request is for another stream"));
        }
        if client.request() != Admission::Now {
            // There is no way to send it away with a time.
            return Ok(());
        }
        channel.restart_for_each_step(TIMEOUT);
        // Without a snapshot, the client sees the end of the connection.
        let Some(snapshot) = (self.capture)() else { return Ok(()) };
        let mut answer = [0; ANSWER];
        answer[..8].copy_from_slice(&snapshot.message.0.to_be_bytes());
        answer[8..].copy_from_slice(&(snapshot.bytes.len() as u64).to_be_bytes());
        channel.send(FIRST_ANSWER, &answer)?;
        for (count, frame) in (FIRST_ANSWER + 1..).zip(snapshot.bytes.chunks(FRAME)) {
            channel.send(count, frame)?;
            client.sent(frame.len());
        }
        Ok(())
    }
}

#[cfg(all(test, feature = "seal"))]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::panic::resume_unwind;
    use std::time::{Duration, Instant};

    use super::*;
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
            let idle: Vec<TcpStream> = (0..2 * AdmissionLimits::SNAPSHOT.connections).map(connect).collect();
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
    fn who_is_refused_is_counted_and_named() {
        let server = server(secret(), state);
        let fetch = |keys: &Keys, stream| {
            fetch_snapshot(server.address(), stream, STREAM.1, keys, MessageNumber(5))
                .map(|it| it.bytes.len())
        };
        let other = Keys::one(KeyEpoch(1), GroupSecret::new(&[8; 32], Algorithm::Aes128Gcm));
        (0..2).for_each(|_| drop(fetch(&other, STREAM.0).unwrap_err()));
        assert_eq!(fetch(&secret(), STREAM.0).unwrap(), 5);
        let deadline = Instant::now() + Duration::from_secs(10);
        while server.refused() < 2 && Instant::now() < deadline {
            std::thread::yield_now();
        }
        let refused: Vec<_> = std::iter::from_fn(|| server.take_refused()).collect();
        assert_eq!((refused.len(), server.refused()), (2, 2), "{refused:?}");
        assert!(
            refused.iter().all(|it| it.client.ip() == server.address().ip() && !it.reason.is_empty()),
            "{refused:?}"
        );
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
        for _ in 0..=AdmissionLimits::SNAPSHOT.connections {
            fetch_snapshot(server.address(), STREAM.0, STREAM.1, &Keys::none(), MessageNumber(5))
                .unwrap_err();
        }
    }
}
