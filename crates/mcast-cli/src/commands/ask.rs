//! `mcast ask`.

use crate::console::Console;
use crate::exit::{Failure, Outcome};

/// Send one datagram and collect the answers
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}

pub(crate) fn run(_arguments: &Arguments, _console: &Console) -> anyhow::Result<Outcome> {
    Err(Failure::environment("`mcast ask` is being built").into())
}
