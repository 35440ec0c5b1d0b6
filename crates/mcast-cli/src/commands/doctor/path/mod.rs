//! `mcast doctor --listen` and `--probe`: what passes between two machines, by size, hop limit and
//! family.

mod judge;
mod listen;
mod plan;
mod probe;
mod tell;

use mcast::group::{PickOptions, pick};
use mcast::{Destination, Family, Interface};

use super::Arguments;
use crate::console::Console;
use crate::exit::{Failure, Outcome};

/// What the default groups are picked for.
const NAME: &str = "mcast doctor";
const PORT: u16 = 24_787;

/// Which end of the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Hears and answers.
    Listen,
    /// Asks and judges.
    Probe,
}

pub(super) fn run(end: End, arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    match end {
        End::Listen => listen::run(arguments, console),
        End::Probe => probe::run(arguments, console),
    }
}

/// The groups that are named, or one of each family that is picked by name: the same on every machine.
fn groups(arguments: &Arguments) -> Result<Vec<String>, Failure> {
    if !arguments.memberships.is_empty() {
        return Ok(arguments.memberships.clone());
    }
    let only = arguments.families.only();
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

/// `IPv4`, `IPv6`.
fn family_of(destination: &Destination) -> Family {
    destination.address.group.family()
}

/// Whether an interface that groups can leave by has an address of this family.
pub(super) fn is_here(family: Family) -> anyhow::Result<bool> {
    let has = |interface: &Interface| {
        interface.is_joined_by_default() && interface.addresses_of(family).next().is_some()
    };
    Ok(mcast::interfaces()?.iter().any(has))
}
