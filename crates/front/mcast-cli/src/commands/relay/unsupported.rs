//! Systems on which relays do not run.

use mcast_terminal::Console;

use super::Plan;
use crate::exit::{Failure, Outcome};

pub(super) fn run(_plan: Plan<'_>, _console: &Console) -> anyhow::Result<Outcome> {
    Err(Failure::environment("cannot relay: that needs Linux")
        .remedy("run it on Linux, also in a virtual machine with a bridged interface per network")
        .into())
}
