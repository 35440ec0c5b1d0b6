//! The clients of a server, for the threads that serve them.

use std::collections::HashMap;
use std::net::{Shutdown, TcpStream};
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::driver::clock::Clock;
use crate::side_channel::{
    Admission, AdmissionLimits, AdmissionQueue, ClientId, ConnectDecision, QueueToken, SharedPace,
};

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
