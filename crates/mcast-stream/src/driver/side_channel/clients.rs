//! The clients of a server. Their number is limited, in all and per address; at the limit, a new client
//! replaces the idlest one.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// Limit of clients at a time.
pub(in crate::driver) const MAX_CLIENTS: usize = 16;
/// Limit of clients with the same address.
const MAX_CLIENTS_PER_ADDRESS: usize = 4;

/// The progress of one client.
#[derive(Debug)]
pub(in crate::driver) struct Progress {
    begun: Instant,
    has_requested: AtomicBool,
    /// When it last sent or received something, in nanoseconds since `begun`.
    last: AtomicU64,
}

impl Progress {
    pub(in crate::driver) fn new(begun: Instant) -> Self {
        Self { begun, has_requested: AtomicBool::new(false), last: AtomicU64::new(0) }
    }

    /// Notes that the client sent or received something.
    pub(in crate::driver) fn note(&self) {
        let elapsed = u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.last.store(elapsed, Ordering::Release);
    }

    /// Notes that the client has made a valid request: of a sealed stream, that it has the keys.
    pub(in crate::driver) fn note_request(&self) {
        self.has_requested.store(true, Ordering::Release);
    }

    /// The order of idleness, the idlest first: clients without a request, then by the time since their last progress.
    fn rank(&self) -> (bool, Instant) {
        let last = std::time::Duration::from_nanos(self.last.load(Ordering::Acquire));
        (self.has_requested.load(Ordering::Acquire), self.begun + last)
    }
}

#[derive(Debug)]
struct Client<C> {
    number: u64,
    address: IpAddr,
    progress: Arc<Progress>,
    connection: C,
}

/// The clients that are served, with the handles that end their connections.
#[derive(Debug)]
pub(in crate::driver) struct Clients<C> {
    all: Vec<Client<C>>,
    next: u64,
}

impl<C> Clients<C> {
    pub(in crate::driver) const fn new() -> Self {
        Self { all: Vec::new(), next: 0 }
    }

    /// Adds a client; returns its number, and the connection of the client that it replaces, if any.
    pub(in crate::driver) fn admit(
        &mut self,
        address: IpAddr,
        progress: Arc<Progress>,
        connection: C,
    ) -> (u64, Option<C>) {
        let address = address.to_canonical();
        let of_address = self.all.iter().filter(|client| client.address == address).count();
        let evicted = match (of_address >= MAX_CLIENTS_PER_ADDRESS, self.all.len() >= MAX_CLIENTS) {
            (true, _) => self.idlest(|client| client.address == address),
            (false, true) => self.idlest(|_| true),
            (false, false) => None,
        };
        let evicted = evicted.map(|index| self.all.swap_remove(index).connection);
        self.next += 1;
        self.all.push(Client { number: self.next, address, progress, connection });
        (self.next, evicted)
    }

    pub(in crate::driver) fn remove(&mut self, number: u64) {
        self.all.retain(|client| client.number != number);
    }

    fn idlest(&self, counts: impl Fn(&Client<C>) -> bool) -> Option<usize> {
        let all = self.all.iter().enumerate().filter(|(_, client)| counts(client));
        all.min_by_key(|(_, client)| client.progress.rank()).map(|(index, _)| index)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;

    fn address(last: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, last).into()
    }

    /// Returns the progress of a client that has been idle for this number of seconds.
    fn idle(seconds: u64, has_requested: bool) -> Arc<Progress> {
        let now = Instant::now() + Duration::from_secs(100);
        let progress = Progress::new(now - Duration::from_secs(seconds));
        if has_requested {
            progress.note_request();
        }
        Arc::new(progress)
    }

    #[test]
    fn one_address_cannot_take_all_places() {
        let mut clients = Clients::new();
        let evicted: Vec<_> =
            (0..6).filter_map(|each| clients.admit(address(1), idle(60 - each, false), each).1).collect();
        assert_eq!((evicted, clients.all.len()), (vec![0, 1], MAX_CLIENTS_PER_ADDRESS));
        assert_eq!(clients.admit(address(2), idle(0, false), 9).1, None);
    }

    #[test]
    fn a_full_server_replaces_a_client_without_a_request_and_then_the_idlest() {
        let mut clients = Clients::new();
        for each in 0..MAX_CLIENTS as u8 {
            let progress = idle(60 - u64::from(each), each != 7);
            assert_eq!(clients.admit(address(each), progress, each).1, None);
        }
        assert_eq!(clients.admit(address(20), idle(0, true), 20).1, Some(7));
        assert_eq!(clients.admit(address(21), idle(0, true), 21).1, Some(0));
        assert_eq!(clients.all.len(), MAX_CLIENTS);
    }

    #[test]
    fn a_client_that_is_done_makes_room() {
        let mut clients = Clients::new();
        let numbers: Vec<_> =
            (0..MAX_CLIENTS as u8).map(|each| clients.admit(address(each), idle(0, true), each).0).collect();
        clients.remove(numbers[3]);
        assert_eq!(clients.admit(address(20), idle(0, false), 20).1, None);
    }
}
