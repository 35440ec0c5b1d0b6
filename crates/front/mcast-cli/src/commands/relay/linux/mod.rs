//! Runs a relay.

mod check;
mod containers;
mod export;
mod json;
mod names;
mod session;
mod text;
mod tunnels;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use mcast_relay::driver::{Driver, DriverOptions, TunnelDial, TunnelOptions};
use mcast_relay::http::HttpConfig;
use mcast_relay::{Leg, Namespace, RelayConfig, Rule};
use mcast_terminal::Console;

use super::Plan;
use super::tunnels::DialedTunnel;
use crate::exit::Outcome;
use crate::metrics;
use crate::sys::{self, Capability};
use session::Session;

pub(super) fn run(plan: Plan<'_>, console: &Console) -> anyhow::Result<Outcome> {
    let bound = plan.arguments.metrics.as_ref().map(metrics::bind).transpose()?;
    let needs_namespaces = enters_namespaces(&plan.rules);
    let driver = open(&plan, console)?;
    keep_rights(needs_namespaces)?;
    match plan.arguments.check {
        true => check::run(driver, plan.arguments.json, console),
        false => Session::new(driver, plan.arguments, console)?.run(bound),
    }
}

fn open(plan: &Plan<'_>, console: &Console) -> anyhow::Result<Driver> {
    let forwarding = &plan.arguments.forwarding;
    // Random: the hash has a key of its own in every process.
    let seed = RandomState::new().hash_one(std::process::id());
    let relay = RelayConfig {
        priority: forwarding.priority,
        max_paths: most_paths(forwarding.max_paths, console),
        path_idle: forwarding.path_idle,
        ports: forwarding.ports,
        authenticators: plan.authenticators.clone(),
        ..RelayConfig::new(plan.rules.clone(), seed)
    };
    let clients = &plan.arguments.clients;
    let http = HttpConfig {
        max_clients: clients.http_clients.into(),
        stall: clients.http_stall,
        hosts: clients.http_host.clone(),
        origins: clients.http_origin.clone(),
        token: plan.token.clone(),
        channels: plan.channels.clone(),
        ..HttpConfig::new(seed)
    };
    Ok(Driver::open(DriverOptions {
        relay,
        containers: Arc::new(containers::process_of),
        sends_queries: !forwarding.no_querier,
        tunnels: TunnelOptions {
            keys: plan.keys.clone(),
            dial: plan.arguments.tunnels.tunnel.iter().map(dial).collect(),
            listen: plan.arguments.tunnels.listen_tunnel,
        },
        http: (!plan.arguments.check).then_some(http),
        only_checks: plan.arguments.check,
    })?)
}

/// Returns how many sockets for copies the limit on open files leaves room for: one that cannot be opened would pause a rule.
fn most_paths(wanted: u16, console: &Console) -> usize {
    mcast::raise_descriptor_limit();
    let limit = mcast_sys::process::descriptor_limit().unwrap_or(u64::MAX);
    // The other half is for the interfaces, HTTP clients and reports.
    let most = u16::try_from(limit / 2).unwrap_or(u16::MAX);
    if most < wanted {
        console.warn(format_args!(
            "at most {most} sockets for copies instead of {wanted}: this process may have {limit} open files"
        ));
        console.help(
            "raise the limit with `ulimit -n`, or `LimitNOFILE=` in the service's unit, or lower --max-paths",
        );
    }
    most.min(wanted).into()
}

fn dial(dialed: &DialedTunnel) -> TunnelDial {
    TunnelDial { name: dialed.name.clone(), host: dialed.host.clone() }
}

/// Drops the rights that sockets for interfaces that appear later do not need.
fn keep_rights(needs_namespaces: bool) -> anyhow::Result<()> {
    let mut kept = vec![Capability::NetRaw];
    if needs_namespaces {
        kept.extend([Capability::SysAdmin, Capability::SysPtrace, Capability::DacReadSearch]);
    }
    sys::keep_rights(&kept)
}

fn enters_namespaces(rules: &[Rule]) -> bool {
    let is_elsewhere =
        |leg: &Leg| !matches!(leg.namespace, Namespace::Own | Namespace::Amt(_) | Namespace::Tunnel);
    rules.iter().flat_map(Rule::legs).any(is_elsewhere)
}
