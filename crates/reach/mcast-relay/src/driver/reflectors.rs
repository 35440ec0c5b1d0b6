//! Programs of this machine that also carry a discovery protocol between legs of a rule, and do not announce themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Duration;

use mcast::InterfaceIndex;
use mcast::joined::{Holder, Holding, Memberships, Visibility, memberships};
use mcast_group::Group;
use mcast_pace::ClockTime;
use mcast_sys::joined::udp_sockets;

use super::leg::DriverLeg;
use super::namespace::{Entrance, LegNamespace};
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
/// Stands for a process that may be there and is hidden.
const HIDDEN: u32 = 0;
/// How often a running relay searches. Where a program has such a name, that reads all memberships.
const INTERVAL: Duration = Duration::from_secs(10);

/// A group that a reflector has joined, or seems to have joined.
struct Sighting {
    program: String,
    group: Group,
    interface: InterfaceIndex,
    is_certain: bool,
}

/// What was found in each namespace, by its position.
type Sightings = Vec<(usize, Vec<Sighting>)>;

/// The search for reflectors.
#[derive(Debug)]
pub(super) struct ReflectorSearch {
    next: ClockTime,
    /// A thread searches, because that may take longer than forwarding can wait.
    running: Option<Receiver<Sightings>>,
    reported: BTreeSet<(usize, String, LegId, LegId)>,
}

impl ReflectorSearch {
    pub(super) const fn new() -> Self {
        Self { next: ClockTime::START, running: None, reported: BTreeSet::new() }
    }

    /// Reports what is there again, when the rules have changed.
    pub(super) fn restart(&mut self) {
        *self = Self::new();
    }
}

impl Driver {
    /// Reports the reflectors that have joined the groups of a rule on several of its legs. While the relay starts, it waits for
    /// the result; afterwards, a thread searches from time to time.
    pub(super) fn report_reflectors(&mut self) {
        let now = self.now();
        match self.reflectors.running.as_ref().map(Receiver::try_recv) {
            Some(Ok(found)) => self.report_sightings(found),
            Some(Err(TryRecvError::Empty)) => return,
            Some(Err(TryRecvError::Disconnected)) | None => {}
        }
        self.reflectors.running = None;
        if now < self.reflectors.next || self.relay.rules().all(|(rule, _)| rule.traffic.protocol.is_none()) {
            return;
        }
        self.reflectors.next = now + INTERVAL;
        let has_legs = |number: usize| self.legs.iter().filter(|leg| leg.namespace == number).count() > 1;
        let entrances = self.namespaces.iter().map(LegNamespace::entrance).enumerate();
        let entrances: Vec<_> = entrances
            .filter_map(|(number, entrance)| has_legs(number).then_some((number, entrance?)))
            .collect();
        let search = move || -> Sightings {
            let candidates = candidates();
            if candidates.is_empty() {
                return Vec::new();
            }
            let seen = |entrance: &Entrance| entrance.run(|| sightings(&candidates)).ok()?.ok();
            entrances.iter().filter_map(|(number, entrance)| Some((*number, seen(entrance)?))).collect()
        };
        if self.is_starting {
            return self.report_sightings(search());
        }
        let (sender, receiver) = channel();
        // If the relay has ended, nobody waits for the result. Without a thread, the next search may have one.
        let search = move || drop(sender.send(search()));
        let started = std::thread::Builder::new().name("reflectors".into()).spawn(search);
        self.reflectors.running = started.is_ok().then_some(receiver);
    }

    fn report_sightings(&mut self, sightings: Sightings) {
        let mut found: BTreeMap<(usize, String), (bool, BTreeSet<LegId>)> = BTreeMap::new();
        for (position, sighting) in
            sightings.into_iter().flat_map(|(position, seen)| seen.into_iter().map(move |it| (position, it)))
        {
            let is_there = |leg: &DriverLeg| {
                leg.namespace == position
                    && leg.open.as_ref().is_some_and(|open| open.interface.index == sighting.interface)
            };
            let Some((leg, number)) = self.legs.iter().zip(0..).find(|(leg, _)| is_there(leg)) else {
                continue;
            };
            for (rule_number, (rule, _)) in self.relay.rules().enumerate() {
                let mut ranges = rule.traffic.ranges().iter();
                let is_of_rule = rule.traffic.protocol.is_some()
                    && rule.legs().any(|other| *other == leg.leg)
                    && ranges.any(|range| range.groups.contains(sighting.group));
                if is_of_rule {
                    let (is_certain, legs) =
                        found.entry((rule_number, sighting.program.clone())).or_default();
                    *is_certain |= sighting.is_certain;
                    legs.insert(LegId(number));
                }
            }
        }
        let mut reported = BTreeSet::new();
        for ((rule, program), (is_certain, legs)) in found {
            let mut legs = legs.into_iter();
            let Some(leg) = legs.next() else { continue };
            for other_leg in legs {
                let key = (rule, program.clone(), leg, other_leg);
                if !self.reflectors.reported.contains(&key) {
                    let program = program.clone();
                    self.events.push_back(match is_certain {
                        true => DriverEvent::ReflectorFound { rule, leg, other_leg, program },
                        false => DriverEvent::ReflectorLikely { rule, leg, other_leg, program },
                    });
                }
                reported.insert(key);
            }
        }
        self.reflectors.reported = reported;
    }
}

/// Returns the processes with the name of a reflector. Names are public, unlike sockets.
fn candidates() -> BTreeMap<u32, String> {
    let named = |pid: u32| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        let name = name.trim_end_matches('\n');
        may_reflect(name).then(|| (pid, name.to_owned()))
    };
    let mut found: BTreeMap<u32, String> =
        mcast_sys::process::ids().map(|ids| ids.filter_map(named).collect()).unwrap_or_default();
    // The unit of the service hides the processes of other users (ProtectProc=), and not their files.
    if !Path::new("/proc/1").exists() {
        found.insert(HIDDEN, AVAHI.to_owned());
    }
    found
}

/// Returns the groups that these processes have joined in the network namespace of this thread. A process that may not be inspected
/// seems to hold what no other one does.
fn sightings(candidates: &BTreeMap<u32, String>) -> mcast::Result<Vec<Sighting>> {
    let Memberships { holdings, visibility, .. } = memberships()?;
    let is_closed = |pid: &u32| match &visibility {
        Visibility::Full => *pid == HIDDEN,
        Visibility::Partial { closed } => *pid == HIDDEN || closed.contains(pid),
        _ => true,
    };
    let reflectors: BTreeMap<u32, bool> =
        candidates.iter().filter_map(|(pid, name)| Some((*pid, reflects(*pid, name)?))).collect();
    let mut seen = Vec::new();
    for Holding { group, interface, holder, .. } in holdings {
        let pids: Vec<u32> = match holder {
            Holder::Socket(held) => held.socket.processes.iter().map(|process| process.pid).collect(),
            Holder::Unseen { .. } => reflectors.keys().copied().filter(is_closed).collect(),
            _ => continue,
        };
        for (pid, is_certain) in pids.iter().filter_map(|pid| Some((pid, reflectors.get(pid)?))) {
            let name = candidates.get(pid).map_or("", String::as_str);
            let program = if *pid == HIDDEN { name.to_owned() } else { format!("{name} ({pid})") };
            let is_certain = *is_certain && !is_closed(pid);
            seen.push(Sighting { program, group, interface, is_certain });
        }
    }
    Ok(seen)
}

fn may_reflect(process: &str) -> bool {
    /// The kernel keeps no more of a name.
    const MAX_NAME: usize = 15;
    let is_named = |name: &&str| name.get(..MAX_NAME).unwrap_or(name) == process;
    process == AVAHI || REFLECTORS.iter().any(is_named)
}

/// Returns whether a program with such a name certainly or probably reflects; `None` if nothing indicates it.
///
/// The file of an avahi daemon may have changed since it was started, or may be another one (its arguments cannot be read), so its
/// sockets count first: beside the one for mDNS, it has one of each family for the reflector, and one for wide-area DNS-SD.
fn reflects(pid: u32, process: &str) -> Option<bool> {
    if process != AVAHI {
        return Some(true);
    }
    let others = udp_sockets(pid, false).map(|sockets| {
        let of_family = |is_v6| {
            let is_one = |local: &std::net::SocketAddr| local.is_ipv6() == is_v6 && local.port() != MDNS_PORT;
            sockets.iter().filter(|(local, _)| is_one(local)).count()
        };
        of_family(false).max(of_family(true))
    });
    let text = avahi_file(pid);
    let setting = |name| setting(text.as_deref().unwrap_or_default(), name);
    match (others, setting("enable-reflector")) {
        (Ok(0), _) => None,
        (Ok(2..), _) | (_, Some(true)) => Some(true),
        // It was started with another file, or the socket is that for wide-area DNS-SD.
        (Ok(_), _) if text.is_none() || setting("enable-wide-area") == Some(false) => Some(false),
        _ => None,
    }
}

/// Returns the usual file of an avahi daemon: of its own root or, without the right to enter that, of this process.
fn avahi_file(pid: u32) -> Option<String> {
    let roots = [format!("/proc/{pid}/root"), "/".to_owned()];
    let mut paths = roots.iter().flat_map(|root| AVAHI_FILES.map(|file| Path::new(root).join(file)));
    paths.find_map(|path| {
        let mut text = String::new();
        // Opening a pipe would wait.
        let file = path.is_file().then(|| File::open(&path).ok())?;
        file?.take(MAX_FILE).read_to_string(&mut text).ok()?;
        Some(text)
    })
}

/// Returns whether a file of avahi enables this. Avahi reads no more of a value than its first character.
fn setting(text: &str, wanted: &str) -> Option<bool> {
    let mut settings = text.lines().filter_map(|line| line.split_once('='));
    let (_, value) = settings.rfind(|(name, _)| name.trim() == wanted)?;
    Some(value.trim_start().starts_with(['y', 'Y', '1', 't', 'T']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reflector_of_avahi_is_enabled_by_a_line_of_its_file() {
        for (text, expected) in [
            ("[reflector]\nenable-reflector=yes\n", Some(true)),
            ("[reflector]\n enable-reflector = true", Some(true)),
            ("[reflector]\n#enable-reflector=yes\n", None),
            ("[reflector]\nenable-reflector=no\nreflect-ipv=yes\n", Some(false)),
            ("", None),
        ] {
            assert_eq!(setting(text, "enable-reflector"), expected, "{text:?}");
        }
    }

    #[test]
    fn a_name_is_known_by_what_the_kernel_keeps_of_it() {
        let named = ["mdns-repeater", "udp-broadcast-r", "udpbroadcastrel", "avahi-daemon"];
        assert!(named.into_iter().all(may_reflect));
        assert!(!["", "mdns-rep", "mdnsd", "mcast"].into_iter().any(may_reflect));
    }
}
