//! Programs of this machine that also carry a discovery protocol between legs of a rule, and do not announce themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use mcast::InterfaceIndex;
use mcast::joined::{Holder, Holding, memberships};
use mcast_group::Group;
use mcast_sys::joined::udp_sockets;

use super::{Driver, DriverEvent};
use crate::LegId;

/// Programs that do nothing else.
const REFLECTORS: [&str; 7] = [
    "bonjour-reflector",
    "mdns-bridge",
    "mdns-reflector",
    "mdns-repeater",
    "multicast-relay",
    "udp-broadcast-relay-redux",
    "udpbroadcastrelay",
];
/// It is one with `enable-reflector=yes`.
const AVAHI: &str = "avahi-daemon";
/// Its files, if it has changed its root to the folder or not.
const AVAHI_FILES: [&str; 2] = ["etc/avahi/avahi-daemon.conf", "avahi-daemon.conf"];
const MAX_FILE: u64 = 1 << 16;
const MDNS_PORT: u16 = 5353;

impl Driver {
    /// Reports the reflectors that have joined the groups of a rule on several of its legs. Without the right to inspect other
    /// processes, none is found.
    pub(super) fn report_reflectors(&mut self) {
        if self.relay.rules().all(|(rule, _)| rule.traffic.protocol.is_none()) {
            return;
        }
        let mut found: BTreeMap<(usize, String), BTreeSet<LegId>> = BTreeMap::new();
        for (position, namespace) in self.namespaces.iter().enumerate() {
            let legs = || self.legs.iter().zip(0..).filter(|(leg, _)| leg.namespace == position);
            if legs().count() < 2 {
                continue;
            }
            let Ok(Ok(joined)) = namespace.run(joined_by_reflectors) else { continue };
            for (program, group, interface) in joined {
                let is_there = |leg: &super::DriverLeg| {
                    leg.open.as_ref().is_some_and(|open| open.interface.index == interface)
                };
                let Some((leg, number)) = legs().find(|(leg, _)| is_there(leg)) else { continue };
                for (position, (rule, _)) in self.relay.rules().enumerate() {
                    let mut ranges = rule.traffic.ranges().iter();
                    let is_of_rule = rule.traffic.protocol.is_some()
                        && rule.legs().any(|other| *other == leg.leg)
                        && ranges.any(|range| range.groups.contains(group));
                    if is_of_rule {
                        found.entry((position, program.clone())).or_default().insert(LegId(number));
                    }
                }
            }
        }
        for ((rule, program), legs) in found {
            let mut legs = legs.into_iter();
            let Some(leg) = legs.next() else { continue };
            let event =
                |other| DriverEvent::ReflectorFound { rule, leg, other_leg: other, program: program.clone() };
            self.events.extend(legs.map(event));
        }
    }
}

/// Returns the groups that reflectors have joined in the network namespace of this thread, each with its program.
fn joined_by_reflectors() -> mcast::Result<Vec<(String, Group, InterfaceIndex)>> {
    let (mut known, mut joined) = (BTreeMap::new(), Vec::new());
    for Holding { group, interface, holder, .. } in memberships()?.holdings {
        let Holder::Socket(held) = holder else { continue };
        for process in &held.socket.processes {
            if *known.entry(process.pid).or_insert_with(|| is_reflector(process.pid, &process.name)) {
                joined.push((format!("{} ({})", process.name, process.pid), group, interface));
            }
        }
    }
    Ok(joined)
}

fn is_reflector(pid: u32, process: &str) -> bool {
    /// The kernel keeps no more of a name.
    const MAX_NAME: usize = 15;
    let is_named = |name: &&str| name.get(..MAX_NAME).unwrap_or(name) == process;
    REFLECTORS.iter().any(is_named) || (process == AVAHI && reflects(pid))
}

/// Returns whether an avahi daemon reflects. Its file may have changed since it was started, or may be another one, so its sockets
/// count first: beside the one for mDNS, it has one of each family for the reflector, and one for wide-area DNS-SD.
fn reflects(pid: u32) -> bool {
    let sockets = udp_sockets(pid, false).unwrap_or_default();
    let others = |is_v6| {
        let is_one = |local: &std::net::SocketAddr| local.is_ipv6() == is_v6 && local.port() != MDNS_PORT;
        sockets.iter().filter(|(local, _)| is_one(local)).count()
    };
    match others(false).max(others(true)) {
        0 => false,
        1 => AVAHI_FILES.iter().any(|file| {
            let path = Path::new("/proc").join(pid.to_string()).join("root").join(file);
            // Opening a pipe would wait.
            let file = path.is_file().then(|| File::open(path));
            let mut text = String::new();
            let read = file.map(|file| file.and_then(|file| file.take(MAX_FILE).read_to_string(&mut text)));
            matches!(read, Some(Ok(_))) && enables_reflector(&text)
        }),
        _ => true,
    }
}

/// Returns whether a file of avahi enables its reflector. It reads no more of a value than its first character.
fn enables_reflector(text: &str) -> bool {
    let mut settings = text.lines().filter_map(|line| line.split_once('='));
    settings.any(|(name, value)| {
        name.trim() == "enable-reflector" && value.trim_start().starts_with(['y', 'Y', '1', 't', 'T'])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reflector_of_avahi_is_enabled_by_a_line_of_its_file() {
        for (text, expected) in [
            ("[reflector]\nenable-reflector=yes\n", true),
            ("[reflector]\n enable-reflector = true", true),
            ("[reflector]\n#enable-reflector=yes\n", false),
            ("[reflector]\nenable-reflector=no\nreflect-ipv=yes\n", false),
            ("", false),
        ] {
            assert_eq!(enables_reflector(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_name_is_known_by_what_the_kernel_keeps_of_it() {
        let is_one = |name: &str| is_reflector(0, name);
        assert!(is_one("mdns-repeater") && is_one("udp-broadcast-r") && is_one("udpbroadcastrel"));
        assert!(!is_one("") && !is_one("mdns-rep") && !is_one("mdnsd") && !is_one("mcast"));
    }
}
