//! `mcast groups`.

use crate::console::Console;
use crate::exit::{Failure, Outcome};

/// Show who on this machine has joined what
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}

pub(crate) fn run(_arguments: &Arguments, _console: &Console) -> anyhow::Result<Outcome> {
    Err(Failure::environment("`mcast groups` is being built").into())
}
