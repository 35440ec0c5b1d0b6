//! `--join`: memberships that are held while packets are watched, and whether their traffic comes.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use mcast::{InterfaceIndex, InterfaceSelector, InterfaceStatus, Membership, MembershipStatus, Receiver};
use mcast_capture::Frame;
use mcast_packet::Packet;

use super::Arguments;
use crate::console::Console;
use crate::output::seconds;

/// After so long a silence it is worth saying something: routers and switches take less.
const SUSPICIOUS: Duration = Duration::from_secs(5);

/// Groups that are told singly.
const TOLD: usize = 8;

/// Memberships, and which of them have brought something.
#[derive(Debug)]
pub(super) struct Held {
    /// Nobody reads it: that it is a member is all that it is for.
    _receiver: Receiver,
    since: Instant,
    /// The first packet after the join of each group on each interface.
    heard: HashMap<(IpAddr, InterfaceIndex), Awaited>,
    missing: usize,
    has_warned: bool,
}

#[derive(Debug)]
struct Awaited {
    membership: String,
    interface: String,
    came: bool,
}

impl Held {
    pub(super) fn join(arguments: &Arguments, console: &Console) -> anyhow::Result<Self> {
        /// Nobody reads, so what is kept is memory lost.
        const SMALL: usize = 4_096;

        let memberships =
            arguments.join.memberships(&arguments.targets, arguments.families, console)?.into_iter();
        let memberships = memberships.flat_map(|membership| on_each(membership, &arguments.interfaces));
        let builder = Receiver::builder()
            .join_all(memberships)
            .receive_buffer(SMALL)
            // Routers may ignore it, but a switch in between hears it.
            .allow_any_source(true);
        let receiver = crate::arguments::build_receiver(builder)?;
        let statuses = receiver.memberships();
        statuses.iter().take(TOLD).for_each(|status| console.note(told(status)));
        let mut heard = HashMap::new();
        for status in &statuses {
            let group = status.membership.address.group;
            for interface in status.interfaces.iter().filter(|each| each.failure.is_none()) {
                let (membership, interface_name) = (group.to_string(), interface.name.clone());
                let awaited = Awaited { membership, interface: interface_name, came: false };
                heard.insert((group.addr(), interface.index), awaited);
            }
        }
        let missing = heard.len();
        Ok(Self { _receiver: receiver, since: Instant::now(), heard, missing, has_warned: false })
    }

    /// A packet with data was seen, shown or not. What this machine sends itself proves nothing.
    pub(super) fn see(&mut self, frame: &Frame<'_>, packet: &Packet<'_>) {
        if self.missing == 0 || frame.direction.is_outgoing() {
            return;
        }
        let Some(ip) = packet.ip_layer() else { return };
        if let Some(awaited) = self.heard.get_mut(&(ip.destination, frame.interface))
            && !awaited.came
        {
            awaited.came = true;
            self.missing -= 1;
        }
    }

    /// How long until there is something to be said of what has not come.
    pub(super) fn patience(&self) -> Option<Duration> {
        (!self.has_warned && self.missing > 0).then(|| SUSPICIOUS.saturating_sub(self.since.elapsed()))
    }

    /// Says what has not come although it is joined: once when it is due, and at the end.
    pub(super) fn tell(&mut self, is_end: bool, console: &Console) {
        if self.missing == 0 || (self.has_warned && !is_end) {
            return;
        }
        self.has_warned = true;
        let time = seconds(self.since.elapsed());
        let mut missing: Vec<&Awaited> = self.heard.values().filter(|awaited| !awaited.came).collect();
        missing.sort_by_key(|awaited| (&awaited.membership, &awaited.interface));
        for Awaited { membership, interface, .. } in missing.iter().take(TOLD) {
            console.warn(format_args!(
                "{membership} is joined on {interface}, but nothing has arrived for it in {time}"
            ));
        }
        if missing.len() > TOLD {
            console.warn(format_args!("and {} more without traffic", missing.len() - TOLD));
        }
        console.advise(
            "check that a sender is active with a sufficient TTL, and that a switch on the path has a \
             querier: `mcast doctor` finds the cause",
        );
    }
}

/// Without the port, which does not count.
fn told(status: &MembershipStatus) -> String {
    let joined = |each: &&InterfaceStatus| each.failure.is_none();
    let names: Vec<&str> = status.interfaces.iter().filter(joined).map(|each| &*each.name).collect();
    match names.as_slice() {
        [] => status.to_string(),
        names => format!("{}: joined on {}", status.membership.address.group, names.join(", ")),
    }
}

/// One membership an interface, where it names none itself.
fn on_each(membership: Membership, interfaces: &[InterfaceSelector]) -> Vec<Membership> {
    if membership.interface.is_some() || interfaces.is_empty() {
        return vec![membership];
    }
    interfaces.iter().map(|interface| membership.clone().on(interface.clone())).collect()
}
