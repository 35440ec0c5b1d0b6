//! `mcast explain`.

use crate::console::Console;
use crate::exit::{Failure, Outcome};

/// Say all that is known about multicast addresses
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}

pub(crate) fn run(_arguments: &Arguments, _console: &Console) -> anyhow::Result<Outcome> {
    Err(Failure::environment("`mcast explain` is being built").into())
}
