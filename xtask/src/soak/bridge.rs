//! Tests of bridges with an engine that takes long to start.

use anyhow::Result;

use crate::command::cargo;
use crate::step::{Outcome, RunOptions, Step};
use crate::verify::tests;

pub(super) fn step() -> Step {
    Step::new("bridge", "bridges, and RabbitMQ, are killed, stand still and lose records", run)
}

fn run(options: &RunOptions) -> Result<Outcome> {
    let head = ["test", "--quiet", "--package", "mcast-cli", "--test", "bridge", "--", "--nocapture"];
    // Each of them starts a server.
    let which = ["--ignored", "--test-threads", "2", "rabbitmq::"];
    tests::outcome(cargo(head.iter().chain(&which)), "cargo test", options)
}
