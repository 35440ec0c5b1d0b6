//! `mcast bridge` to real servers, over networks that lose datagrams, with programs that are killed.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod audit;
#[path = "../../../../reach/mcast-bridge/tests/servers/certificates.rs"]
mod certificates;
mod clock;
mod config;
mod datagrams;
mod engine;
mod failover;
mod faults;
mod full;
#[path = "../command/full_disk.rs"]
mod full_disk;
mod history;
mod joining;
#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "kafka")]
#[path = "../../../../reach/mcast-bridge/tests/servers/kafka.rs"]
mod kafka_server;
mod killed;
mod nats;
mod nats_cluster;
#[path = "../../../../reach/mcast-bridge/tests/servers/nats.rs"]
mod nats_server;
mod network;
#[path = "../../../../reach/mcast-bridge/tests/servers/client.rs"]
mod python_client;
mod rabbitmq;
mod rabbitmq_cluster;
#[path = "../../../../reach/mcast-bridge/tests/servers/rabbitmq.rs"]
mod rabbitmq_server;
mod redis;
mod redis_cluster;
mod relayed;
mod renewed;
mod reverse;
#[path = "../command/schemas.rs"]
mod schemas;
#[path = "../command/set_clock.rs"]
mod set_clock;
mod stored;
#[allow(dead_code)]
#[path = "../command/support.rs"]
mod support;
#[cfg(feature = "kafka")]
#[path = "../../../../reach/mcast-bridge/tests/servers/tunnel.rs"]
mod tunnel;
