//! Gathers the observations: what is captured, joined and tried here, and the facts of the machine from `mcast-host`.

pub(crate) mod experiment;
pub(crate) mod listen;
pub(crate) mod program;
pub(crate) mod protocols;
pub(crate) mod services;

pub(crate) use mcast_host::{
    DropCounter, accepted_packets, processes, queues, refresh_counters, refused_frames, sending_snapshot,
    snapshot, socket_drops, source_routes,
};
