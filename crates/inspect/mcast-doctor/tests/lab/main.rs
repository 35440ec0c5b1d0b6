//! Injects causes into lab networks: the doctor must find each cause, and nothing else.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod answers;
mod behind;
mod boxes;
mod combined;
mod depth;
mod drawn;
mod drops;
mod files;
mod filters;
mod firewall;
mod fleet;
mod goals;
mod group_addresses;
mod healthy;
mod interfaces;
mod ipsec;
mod ipv6;
mod many_sources;
mod measure;
mod misaddressed;
mod missed;
mod net;
mod pairs;
mod path;
mod places;
mod programs;
mod relays;
mod remedies;
mod repair;
mod routers;
mod routing;
mod rules;
mod senders;
mod several;
mod sockets;
mod started;
mod streams;
mod switches;
mod table;
mod translation;
mod treatment;
mod undo;
mod unusual;
mod wire;
