//! `mcast lab`.

use crate::console::Console;
use crate::exit::{Failure, Outcome};

/// Run networks of virtual hosts, to try anything on real kernels
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}

pub(crate) fn run(_arguments: &Arguments, _console: &Console) -> anyhow::Result<Outcome> {
    Err(Failure::environment("`mcast lab` is being built").into())
}
