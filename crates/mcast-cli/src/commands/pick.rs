//! `mcast pick`.

use crate::console::Console;
use crate::exit::{Failure, Outcome};

/// Choose a good group for a name
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}

pub(crate) fn run(_arguments: &Arguments, _console: &Console) -> anyhow::Result<Outcome> {
    Err(Failure::environment("`mcast pick` is being built").into())
}
