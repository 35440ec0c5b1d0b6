//! `mcast send`.

use crate::console::Console;
use crate::exit::{Failure, Outcome};

/// Send datagrams to groups
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}

pub(crate) fn run(_arguments: &Arguments, _console: &Console) -> anyhow::Result<Outcome> {
    Err(Failure::environment("`mcast send` is being built").into())
}
