//! Waits until a datagram is due, to within microseconds; clocks for launch times.

use std::time::Instant;

use anyhow::Context;
use mcast::{InterfaceSelector, LaunchClock};

use crate::exit::Failure;
use crate::interrupt::Interrupt;
use crate::sending::pause;

/// Waits until `due`, the deadline or an interrupt; returns whether `due` was reached.
pub(super) fn wait_until(due: Instant, deadline: Option<Instant>, interrupt: &Interrupt) -> bool {
    loop {
        let now = Instant::now();
        if interrupt.has_arrived() || deadline.is_some_and(|deadline| now >= deadline) {
            return false;
        }
        let left = due.saturating_duration_since(now);
        if left.is_zero() {
            return true;
        }
        let left = deadline.map_or(left, |deadline| left.min(deadline.saturating_duration_since(now)));
        pause(left, interrupt);
    }
}

/// Returns the clock of launch times that the queue disciplines of all these interfaces use.
pub(super) fn launch_clock(interfaces: &[InterfaceSelector]) -> anyhow::Result<LaunchClock> {
    let mut clock = None;
    for selector in interfaces {
        let interface = mcast::find(selector)?;
        let disciplines = mcast::queue_disciplines(interface.index)
            .with_context(|| format!("cannot read the queue discipline of {}", interface.name))?;
        let clocks = disciplines.iter().map(|discipline| match discipline.as_str() {
            "fq" => Some(LaunchClock::Monotonic),
            "etf" => Some(LaunchClock::Tai),
            _ => None,
        });
        let clocks: Vec<_> = clocks.collect();
        let first = clocks.first().copied().flatten();
        if first.is_none()
            || clocks.iter().any(|each| *each != first)
            || clock.is_some_and(|clock| clock != first)
        {
            let found = if disciplines.is_empty() { "none".into() } else { disciplines.join(", ") };
            return Err(Failure::environment(format!(
                "{} has the queue discipline {found}, which ignores launch times",
                interface.name
            ))
            .remedy(format!("sudo tc qdisc replace dev {} root fq", interface.name))
            .into());
        }
        clock = Some(first);
    }
    clock.flatten().ok_or_else(|| Failure::usage("--txtime needs an interface: -i").into())
}
