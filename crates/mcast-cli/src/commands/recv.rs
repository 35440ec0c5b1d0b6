//! `mcast recv`.

use crate::console::Console;
use crate::exit::{Failure, Outcome};

/// Receive the datagrams of groups
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}

pub(crate) fn run(_arguments: &Arguments, _console: &Console) -> anyhow::Result<Outcome> {
    Err(Failure::environment("`mcast recv` is being built").into())
}
