//! Snapshots over TCP, sealed with the stream's keys: a [server](SnapshotServer) of a history that has snapshots and no
//! records, and its client.

mod client;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use crate::driver::error::{StreamError, StreamStep};
use crate::driver::history::{
    self, Counts, HistoryProvider, HistorySource, HistoryUnavailable, KeysNow, Withdrawal,
};
use crate::driver::side_channel::{RefusedRequest, SideServer};
use crate::side_channel::SharedPace;
use crate::wire::{Incarnation, StreamId};

pub use crate::driver::history::Snapshot;
pub use client::{MAX_SNAPSHOT, SnapshotFetcher, fetch_snapshot, fetch_snapshot_while};

/// Serves snapshots until it is dropped.
#[derive(Debug)]
pub struct SnapshotServer {
    stream: StreamId,
    server: SideServer,
    counts: Arc<Counts>,
    /// Withdraws the announcement of the server.
    _withdrawal: Option<Withdrawal>,
}

/// A history without records.
struct Captures<F> {
    incarnation: Incarnation,
    capture: F,
}

impl<F: Fn() -> Option<Snapshot> + Send + Sync> HistoryProvider for Captures<F> {
    fn open(&self, _: StreamId) -> Result<Box<dyn HistorySource>, HistoryUnavailable> {
        Err(HistoryUnavailable::Unreadable("only snapshots are served here".into()))
    }

    fn snapshot(&self, incarnation: Incarnation) -> Option<Snapshot> {
        (incarnation == self.incarnation).then(|| (self.capture)()).flatten()
    }
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
        let captures = Box::new(Captures { incarnation, capture });
        let started = history::start(listener, "mcast-snapshot", SharedPace::RATE, stream, keys, captures);
        let (server, counts) = started.map_err(StreamStep::ServeSnapshots(at).failed())?;
        Ok(Self { stream, server, counts, _withdrawal: None })
    }

    /// Sets what withdraws the announcement of the server when it is dropped.
    pub(in crate::driver) fn announced(self, withdraw: impl Fn() + Send + Sync + 'static) -> Self {
        Self { _withdrawal: Some(Withdrawal::new(withdraw)), ..self }
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

    /// Returns the number of requests that were refused: malformed ones, those for another stream, those of clients without the
    /// keys, and those for which there was no snapshot.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.counts.refusals.count()
    }

    /// Returns the next request that was refused, of the latest 64 that were not returned yet.
    #[must_use]
    pub fn take_refused(&self) -> Option<RefusedRequest> {
        self.counts.refusals.take()
    }
}

#[cfg(all(test, feature = "seal"))]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::net::TcpStream;
    use std::panic::resume_unwind;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::driver::side_channel::REQUEST_TIME;
    use crate::driver::snapshot::{MAX_SNAPSHOT, fetch_snapshot, fetch_snapshot_while};
    use crate::seal::{Algorithm, GroupSecret, Keys};
    use crate::side_channel::AdmissionLimits;
    use crate::wire::{KeyEpoch, MessageNumber};

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
            let idle: Vec<TcpStream> = (0..2 * AdmissionLimits::HISTORY.connections).map(connect).collect();
            let fetched =
                fetch_snapshot(server.address(), STREAM.0, STREAM.1, &keys, MessageNumber(5)).unwrap();
            assert_eq!(fetched.bytes, b"state");
            drop(idle);
        }
    }

    #[test]
    fn clients_that_are_sent_away_come_back_and_get_a_snapshot() {
        let clients = 2 * AdmissionLimits::HISTORY.connections_per_address;
        let server = server(secret(), || {
            std::thread::sleep(Duration::from_millis(50));
            state()
        });
        let fetch = || fetch_snapshot(server.address(), STREAM.0, STREAM.1, &secret(), MessageNumber(5));
        std::thread::scope(|scope| {
            let fetching: Vec<_> = (0..clients).map(|_| scope.spawn(fetch)).collect();
            for fetching in fetching {
                assert_eq!(fetching.join().unwrap().unwrap().bytes, b"state");
            }
        });
        // Of one address, not all are served at a time.
        assert!(server.counts.postponed() > 0);
        assert_eq!(server.refused(), 0);
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
        for _ in 0..=AdmissionLimits::HISTORY.turns {
            fetch_snapshot(server.address(), STREAM.0, STREAM.1, &Keys::none(), MessageNumber(5))
                .unwrap_err();
        }
    }
}
