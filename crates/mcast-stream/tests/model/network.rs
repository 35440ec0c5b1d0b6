//! What is on its way: what one machine sent at once to another is one flight.

use crate::journal::Journal;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Place {
    Sender,
    Receiver(usize),
}

#[derive(Clone, Debug)]
pub(crate) struct Flight {
    pub(crate) from: Place,
    pub(crate) to: Place,
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

/// In the order in which they were sent.
#[derive(Debug, Default)]
pub(crate) struct Network {
    flights: Vec<Flight>,
}

impl Network {
    pub(crate) fn add(&mut self, from: Place, to: Place, datagrams: Vec<Vec<u8>>) {
        if !datagrams.is_empty() {
            self.flights.push(Flight { from, to, datagrams });
        }
    }

    pub(crate) fn flights(&self) -> &[Flight] {
        &self.flights
    }

    /// Whether something is before it on the same way.
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

    /// The same for the same flights on each way, however the ways are mixed.
    pub(crate) fn digest(&self) -> Vec<(Place, Place, u64)> {
        let mut all: Vec<_> =
            self.flights.iter().map(|flight| (flight.from, flight.to, flight.digest())).collect();
        all.sort_by_key(|(from, to, _)| (*from, *to));
        all
    }
}
