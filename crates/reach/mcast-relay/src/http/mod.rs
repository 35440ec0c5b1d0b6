//! Groups over HTTP, as a state machine: no sockets, no clocks, no threads.
//!
//! A driver passes connections, what arrives on them, and datagrams of groups to an [`HttpServer`], which returns what to
//! write to each connection, and which groups to receive. The paths are those of udpxy, and two more:
//!
//! | path | response |
//! |---|---|
//! | `/udp/[SOURCE@]GROUP:PORT/` | the payloads, one after the other |
//! | `/rtp/[SOURCE@]GROUP:PORT/` | those of RTP, in order, each once, without header and padding |
//! | `/sse/[SOURCE@]GROUP:PORT` | an event per datagram, which a browser's `EventSource` receives |
//! | `/ws/[SOURCE@]GROUP:PORT` | a message per datagram over WebSocket; with `?raw`, its bytes |
//! | `/` | a page that lists the channels with their rates, and plays or shows them |
//! | `/playlist.m3u` | the channels, for a player |
//! | `/NAME`, `/GROUP/NAME` | the stream of a channel of the playlist |
//! | `/status` | clients, groups and rates, as a page or as JSON |
//!
//! Clients may be hostile. These rules hold:
//!
//! 1. Only groups of the rules are served, and only to requests that name the server by an address or a name that is
//!    allowed, and come from no other site: a page elsewhere cannot read the network of its visitor.
//!    With a token, only requests that have it are served.
//! 2. A group is received once, however many clients it has, and each datagram is kept once. A client is a position in
//!    a ring of chunks that all clients of the stream share. One that stays behind the ring is dropped.
//! 3. Connections, the length and the time of a request, streams and the bytes kept for all of them are bounded.
//! 4. Datagrams that a client of `/sse` or `/ws` misses are reported as a gap, with their number unless the group was not
//!    received in between.

mod address;
mod channel;
mod counts;
mod encode;
mod listing;
mod pages;
mod playlist;
mod reorder;
mod resource;
mod server;
mod silence;
mod status;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mcast_group::GroupAddr;
use mcast_http::AccessRules;

use crate::{LegId, Traffic};

pub use channel::HttpDemand;
pub use counts::HttpCounts;
pub use playlist::{HttpChannel, OddLine, PassedOver, Playlist};
pub use server::HttpServer;
pub use silence::{HttpLapse, HttpRejoin};

/// Returns the schemas of the events and of the status that clients receive as JSON. Needs the feature `schema`.
#[cfg(feature = "schema")]
#[must_use]
pub fn schemas() -> Vec<mcast_json::RecordSchema> {
    vec![encode::schema(), status::schema()]
}

/// Settings of an [`HttpServer`].
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// The largest number of clients that receive a stream at the same time.
    pub max_clients: usize,
    /// A client is dropped if it takes nothing, or remains behind, for this time.
    pub stall: Duration,
    /// Who may read what is served. Addresses in playlists begin with its public URL, if not with the host of the request.
    pub access: AccessRules,
    /// Channels with names, which the pages list if a rule serves them.
    pub playlist: Playlist,
    /// A random number, another one for each start: identifiers of events contain it.
    pub seed: u64,
}

impl HttpConfig {
    /// Creates a configuration with the defaults: 256 clients, which are dropped after 5 s.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            max_clients: 256,
            stall: Duration::from_secs(5),
            access: AccessRules {
                host_advice: ", or start the relay with --http-host",
                origin_advice: ": start the relay with --http-origin to allow it",
                ..AccessRules::default()
            },
            playlist: Playlist::default(),
            seed,
        }
    }
}

/// What is served at an address: the traffic of a rule, from its leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRule {
    /// The address that clients connect to.
    pub listener: SocketAddr,
    /// The number of the rule.
    pub rule: usize,
    /// What it names.
    pub traffic: Traffic,
    /// The leg it arrives on.
    pub leg: LegId,
    /// The name of the leg.
    pub leg_name: String,
    /// Whether the leg can be used at present.
    pub is_up: bool,
}

/// A datagram that arrived for a group.
#[derive(Clone, Debug)]
pub struct HttpDatagram {
    /// The leg.
    pub leg: LegId,
    /// The group and port.
    pub address: GroupAddr,
    /// The source.
    pub source: SocketAddr,
    /// When the kernel received it.
    pub time: Option<SystemTime>,
    /// Datagrams that were lost on this host since the one before, as far as known.
    pub lost: u64,
    /// The payload.
    pub payload: Arc<[u8]>,
}

#[cfg(test)]
mod tests;
