//! `mcast interfaces`.

use crate::console::Console;
use crate::exit::{Failure, Outcome};

/// List the network interfaces, and where multicast can work
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}

pub(crate) fn run(_arguments: &Arguments, _console: &Console) -> anyhow::Result<Outcome> {
    Err(Failure::environment("`mcast interfaces` is being built").into())
}
