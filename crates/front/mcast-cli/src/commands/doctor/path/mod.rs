//! `mcast doctor --listen` and `--probe`: tests which datagrams pass between two machines, by size, hop limit and
//! family.

mod probe;
mod report;

pub(super) use probe::interface_of;

use mcast::group::{PickOptions, pick};
use mcast::{Family, Interface};
use mcast_doctor::Listener;
use mcast_terminal::Console;

use super::{Arguments, RIGHTS};
use crate::arguments::select_memberships;
use crate::exit::{Failure, Outcome};
use crate::rights;

/// The name from which the default groups are picked.
const NAME: &str = "mcast doctor";
const PORT: u16 = 24_787;

/// One end of the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Receives probes and replies.
    Listen,
    /// Sends probes and evaluates the replies.
    Probe,
}

pub(super) fn run(end: End, arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    match end {
        End::Listen => listen(arguments, console),
        End::Probe => probe::run(arguments, console),
    }
}

fn listen(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    let Arguments { interfaces, admission, .. } = arguments;
    let (sources, families) = (&admission.sources, admission.families);
    let chosen = select_memberships(&groups(arguments)?, interfaces, sources, families, console)?;
    let listener = Listener::path_tests(chosen.items)?;
    rights::keep(&RIGHTS)?;
    crate::probe::respond(&listener, arguments.timing.timeout, console)
}

/// Returns the groups in the arguments, or by default one per family, which are the same on every machine.
pub(super) fn groups(arguments: &Arguments) -> Result<Vec<String>, Failure> {
    if !arguments.memberships.is_empty() {
        return Ok(arguments.memberships.clone());
    }
    let only = arguments.admission.families.only();
    let families =
        [Family::V4, Family::V6].into_iter().filter(|family| only.is_none_or(|only| only == *family));
    families
        .map(|family| {
            let options = PickOptions { family, ..PickOptions::default() };
            let group = pick(NAME, options.default_scope(), &options)
                .map_err(|error| Failure::environment(error.to_string()))?;
            Ok(match family {
                Family::V4 => format!("{group}:{PORT}"),
                Family::V6 => format!("[{group}]:{PORT}"),
            })
        })
        .collect()
}

/// Returns whether a multicast interface has an address of this family.
pub(super) fn is_here(family: Family) -> anyhow::Result<bool> {
    let has = |interface: &Interface| {
        interface.is_joined_by_default() && interface.addresses_of(family).next().is_some()
    };
    Ok(mcast::interfaces()?.iter().any(has))
}
