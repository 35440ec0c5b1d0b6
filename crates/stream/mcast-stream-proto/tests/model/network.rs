//! Datagrams in flight: those that one machine sent to another at once are one flight.

use crate::journal::Journal;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Endpoint {
    PublisherMachine,
    Subscriber(usize),
}

#[derive(Clone, Debug)]
pub(crate) struct Flight {
    pub(crate) from: Endpoint,
    pub(crate) to: Endpoint,
    pub(crate) datagrams: Vec<Vec<u8>>,
}

impl Flight {
    fn digest(&self) -> u64 {
        let mut journal = Journal::default();
        for datagram in &self.datagrams {
            journal.note(0, datagram);
        }
        journal.value()
    }
}

/// The flights, in the order in which they were sent.
#[derive(Debug, Default)]
pub(crate) struct Network {
    flights: Vec<Flight>,
}

impl Network {
    pub(crate) fn add(&mut self, from: Endpoint, to: Endpoint, datagrams: Vec<Vec<u8>>) {
        if !datagrams.is_empty() {
            self.flights.push(Flight { from, to, datagrams });
        }
    }

    pub(crate) fn flights(&self) -> &[Flight] {
        &self.flights
    }

    /// Returns whether an earlier flight on the same way is still in flight.
    pub(crate) fn overtakes(&self, index: usize) -> bool {
        let flight = &self.flights[index];
        self.flights[..index].iter().any(|other| (other.from, other.to) == (flight.from, flight.to))
    }

    pub(crate) fn take(&mut self, index: usize) -> Flight {
        self.flights.remove(index)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.flights.is_empty()
    }

    /// Returns a digest that does not depend on the order of flights on different ways.
    pub(crate) fn digest(&self) -> Vec<(Endpoint, Endpoint, u64)> {
        let mut all: Vec<_> =
            self.flights.iter().map(|flight| (flight.from, flight.to, flight.digest())).collect();
        all.sort_by_key(|(from, to, _)| (*from, *to));
        all
    }
}
