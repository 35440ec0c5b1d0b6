//! The log of a publisher that is killed again and again.

use crate::command::cargo;
use crate::step::Step;
use crate::verify::tests;

/// Two hundred kills of a publisher with a log.
pub(super) fn step() -> Step {
    Step::new(
        "log",
        "a publisher with a log is killed 200 times, and its subscriber gets each message once",
        |options| {
            let head = ["test", "--quiet", "--package", "mcast-cli", "--test", "stream", "--"];
            let which = ["--nocapture", "--ignored", "--test-threads", "1", "logged::"];
            tests::outcome(cargo(head.iter().chain(&which)), "cargo test", options)
        },
    )
}
