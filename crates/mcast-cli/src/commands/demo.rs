//! `mcast demo`.

use crate::console::Console;
use crate::exit::{Failure, Outcome};

/// Show on real packets what multicast does: four hosts, two groups, one switch
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}

pub(crate) fn run(_arguments: &Arguments, _console: &Console) -> anyhow::Result<Outcome> {
    Err(Failure::environment("`mcast demo` is being built").into())
}
