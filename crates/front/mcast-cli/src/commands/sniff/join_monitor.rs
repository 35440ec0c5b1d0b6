//! `--join`: holds memberships during the capture, and warns if their traffic does not arrive.

use std::time::{Duration, Instant};

use mcast::{InterfaceStatus, Membership, MembershipStatus};
use mcast_terminal::Console;
use mcast_watch::live::{HeldMemberships, LiveError, TrafficMonitor};

use crate::output::seconds;

/// How long to wait for traffic before warning; routers and switches need less.
const WARN_AFTER: Duration = Duration::from_secs(5);

/// The maximum number of groups in a warning.
const MAX_LISTED: usize = 8;

/// Memberships, and whether their traffic has arrived.
#[derive(Debug)]
pub(super) struct JoinMonitor {
    _held: HeldMemberships,
    since: Instant,
    pub(super) traffic: TrafficMonitor,
    has_warned: bool,
}

impl JoinMonitor {
    pub(super) fn join(memberships: &[Membership], console: &Console) -> Result<Self, LiveError> {
        // Routers may ignore the report of a source-specific group without a source, but a switch in between does not.
        let held = HeldMemberships::join(memberships, true, false)?;
        let statuses = held.statuses();
        statuses.iter().take(MAX_LISTED).for_each(|status| console.note(describe(status)));
        let traffic = TrafficMonitor::new(&statuses);
        Ok(Self { _held: held, since: Instant::now(), traffic, has_warned: false })
    }

    /// Returns the time until the warning is due; `None` if none is due.
    pub(super) fn time_to_warning(&self) -> Option<Duration> {
        let is_due = !self.has_warned && !self.traffic.is_complete();
        is_due.then(|| WARN_AFTER.saturating_sub(self.since.elapsed()))
    }

    /// Warns about joined groups without traffic: once when the warning is due, and at the end.
    pub(super) fn warn(&mut self, is_end: bool, console: &Console) {
        if self.traffic.is_complete() || (self.has_warned && !is_end) {
            return;
        }
        self.has_warned = true;
        let time = seconds(self.since.elapsed());
        let missing = self.traffic.missing();
        for (group, interface) in missing.iter().take(MAX_LISTED) {
            console.warn(format_args!(
                "{group} is joined on {interface}, but nothing has arrived for it in {time}"
            ));
        }
        if missing.len() > MAX_LISTED {
            console.warn(format_args!("and {} more without traffic", missing.len() - MAX_LISTED));
        }
        console.advise(
            "check that a sender is active with a sufficient TTL, and that a switch on the path has a \
             querier: `mcast doctor` finds the cause",
        );
    }
}

/// Describes a membership without its port, which does not matter.
fn describe(status: &MembershipStatus) -> String {
    let joined = |each: &&InterfaceStatus| each.failure.is_none();
    let names: Vec<&str> = status.interfaces.iter().filter(joined).map(|each| &*each.name).collect();
    match names.as_slice() {
        [] => status.to_string(),
        names => format!("{}: joined on {}", status.membership.address.group, names.join(", ")),
    }
}
