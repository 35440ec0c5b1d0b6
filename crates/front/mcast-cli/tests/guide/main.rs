//! The guide is correct: its commands run and print the shown output, its links have targets, and its remedies are
//! accepted by the programs they are for.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)]
#[path = "../../../../reach/mcast-bridge/tests/servers/certificates.rs"]
mod certificates;
mod charts;
mod console;
mod elsewhere;
mod equivalents;
#[path = "../../examples/generate-docs/documents/mod.rs"]
mod generator;
#[allow(dead_code)]
#[path = "../../../../reach/mcast-bridge/tests/servers/kafka.rs"]
mod kafka_server;
mod links;
mod markdown;
#[allow(dead_code)]
#[path = "../../../../reach/mcast-bridge/tests/servers/nats.rs"]
mod nats_server;
mod network;
#[allow(dead_code)]
#[path = "../../../../reach/mcast-bridge/tests/servers/client.rs"]
mod python_client;
#[allow(dead_code)]
#[path = "../../../../reach/mcast-bridge/tests/servers/rabbitmq.rs"]
mod rabbitmq_server;
mod remedies;
#[allow(dead_code)]
#[path = "../command/support.rs"]
mod support;
#[allow(dead_code)]
#[path = "../../../../reach/mcast-bridge/tests/servers/tunnel.rs"]
mod tunnel;
