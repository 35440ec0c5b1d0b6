//! `--serve-history`: what the engine stores, for subscribers.

use std::net::SocketAddr;

use mcast_bridge::{EngineHistory, StreamBridge};
use mcast_stream::seal::Keys;
use mcast_stream::{HistoryListener, HistoryServer, HistoryServerStatistics, RefusedRequest};
use mcast_terminal::Console;

use super::{Arguments, engine};
use crate::message_layer::listen_for_history;

/// The history server of a bridge.
pub(super) enum History {
    /// The address is taken, and the stream is not known yet.
    Waiting(HistoryListener, EngineHistory, Keys),
    Serving(HistoryServer),
}

impl History {
    /// Listens at this address.
    pub(super) fn bind(at: SocketAddr, arguments: &Arguments, keys: Keys) -> anyhow::Result<Self> {
        let connector = engine::Target::parse(arguments)?.source_connector();
        let listener = listen_for_history(at, arguments.keeping.serve_rate)?;
        Ok(Self::Waiting(listener, EngineHistory::new(connector), keys))
    }

    /// Serves and announces the history once the stream is known.
    pub(super) fn poll(self, bridge: &StreamBridge, console: &Console) -> anyhow::Result<Self> {
        let (listener, history, keys, stream) = match (self, bridge.stream()) {
            (Self::Waiting(listener, history, keys), Some(stream)) => (listener, history, keys, stream),
            (other, _) => return Ok(other),
        };
        let mut server = listener.serve(stream, keys, Box::new(history))?;
        let statuses = bridge.subscriber().map(|subscriber| subscriber.receiver().memberships());
        let statuses = statuses.unwrap_or_default();
        let mut interfaces: Vec<_> =
            statuses.iter().flat_map(|status| &status.interfaces).map(|on| on.index).collect();
        interfaces.sort_unstable();
        interfaces.dedup();
        console.note(format_args!("serving the history at {}", server.address()));
        match interfaces.is_empty() {
            // The stream is sent to hosts.
            true => console.note("the history is not announced: subscribers name it with --history-server"),
            false => server.announce(&interfaces)?,
        }
        Ok(Self::Serving(server))
    }

    /// Returns the address and what the server has done, if it serves.
    pub(super) fn statistics(&self) -> Option<(SocketAddr, HistoryServerStatistics)> {
        match self {
            Self::Waiting(..) => None,
            Self::Serving(server) => Some((server.address(), server.statistics())),
        }
    }

    /// Returns the next request that was refused and not returned yet.
    pub(super) fn take_refused(&self) -> Option<RefusedRequest> {
        match self {
            Self::Waiting(..) => None,
            Self::Serving(server) => server.take_refused(),
        }
    }

    pub(super) fn set_keys(&mut self, new: &Keys) {
        match self {
            Self::Waiting(_, _, keys) => *keys = new.clone(),
            Self::Serving(server) => server.set_keys(new.clone()),
        }
    }
}
