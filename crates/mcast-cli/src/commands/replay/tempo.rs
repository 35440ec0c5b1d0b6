//! Waits until a datagram is due, to within microseconds; clocks for launch times.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use mcast::{InterfaceSelector, LaunchClock};

use crate::exit::Failure;
use crate::interrupt::Interrupt;

/// A sleep may last longer than requested by about this time, so the rest is waited for awake.
const SLEEP_ERROR: Duration =
    if cfg!(windows) { Duration::from_millis(2) } else { Duration::from_micros(150) };
/// Waits longer than this end early at an interrupt.
const LONG: Duration = Duration::from_millis(20);
/// The part of a long wait that is left over when it ends, because long waits are less exact.
const SPARE: Duration = Duration::from_millis(2);

/// Waits until then, or until an interrupt or the deadline comes; says whether the moment has come.
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
        match left {
            left if left > LONG => drop(interrupt.sleep(left - SPARE)),
            left if left > SLEEP_ERROR => thread::sleep(left - SLEEP_ERROR),
            _ => std::hint::spin_loop(),
        }
    }
}

/// The clock by which the queue disciplines of all these interfaces keep times.
pub(super) fn launch_clock(interfaces: &[InterfaceSelector]) -> anyhow::Result<LaunchClock> {
    let mut clock = None;
    for selector in interfaces {
        let interface = mcast::find(selector)?;
        let disciplines = mcast::queue_disciplines(interface.index)
            .with_context(|| format!("cannot read the queue discipline of {}", interface.name))?;
        let kept = disciplines.iter().map(|discipline| match discipline.as_str() {
            "fq" => Some(LaunchClock::Monotonic),
            "etf" => Some(LaunchClock::Tai),
            _ => None,
        });
        let kept: Vec<_> = kept.collect();
        let first = kept.first().copied().flatten();
        if first.is_none()
            || kept.iter().any(|each| *each != first)
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
