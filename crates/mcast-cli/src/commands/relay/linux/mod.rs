//! Runs a relay.

mod check;
mod containers;
mod export;
mod json;
mod names;
mod session;
mod text;

use std::hash::{BuildHasher, RandomState};

use mcast_relay::driver::{Driver, DriverOptions};
use mcast_relay::{Namespace, RelayConfig, Rule};

use super::Plan;
use crate::console::Console;
use crate::exit::Outcome;
use crate::metrics;
use crate::rights::{self, Capability};
use session::Session;

pub(super) fn run(plan: Plan<'_>, console: &Console) -> anyhow::Result<Outcome> {
    let bound = plan.arguments.metrics.as_ref().map(metrics::bind).transpose()?;
    let needs_namespaces = enters_namespaces(&plan.rules);
    let driver = open(&plan)?;
    keep_rights(needs_namespaces)?;
    match plan.arguments.check {
        true => check::run(driver, plan.arguments.json, console),
        false => Session::new(driver, plan.arguments, console)?.run(bound),
    }
}

fn open(plan: &Plan<'_>) -> anyhow::Result<Driver> {
    let forwarding = &plan.arguments.forwarding;
    // Random: the hash has a key of its own in every process.
    let seed = RandomState::new().hash_one(std::process::id());
    let relay = RelayConfig {
        priority: forwarding.priority,
        max_paths: forwarding.max_paths.into(),
        path_idle: forwarding.path_idle,
        authenticator: plan.authenticator.clone(),
        ..RelayConfig::new(plan.rules.clone(), seed)
    };
    mcast::raise_descriptor_limit();
    Ok(Driver::open(DriverOptions {
        relay,
        containers: Box::new(containers::process_of),
        sends_queries: !forwarding.no_querier,
    })?)
}

/// Drops the rights that sockets for interfaces that appear later do not need.
fn keep_rights(needs_namespaces: bool) -> anyhow::Result<()> {
    let mut kept = vec![Capability::NetRaw];
    if needs_namespaces {
        kept.extend([Capability::SysAdmin, Capability::SysPtrace, Capability::DacReadSearch]);
    }
    rights::keep(&kept)
}

fn enters_namespaces(rules: &[Rule]) -> bool {
    rules.iter().flat_map(Rule::legs).any(|leg| leg.namespace != Namespace::Own)
}
