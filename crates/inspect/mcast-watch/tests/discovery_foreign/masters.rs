//! VRRP with keepalived: a master is known by the addresses that it holds.

use std::fs;
use std::time::Duration;

use mcast_lab::Host;
use mcast_sim::Dice;
use mcast_watch::discovery::{Discovered, DiscoveryProtocol};
use tempfile::TempDir;

use crate::drawn::{Facts, Peers, both_list_the_same};
use crate::networks::for_networks;
use crate::{Running, Segment, field, has_programs, is_root};

/// A virtual router, which all routers know.
#[derive(Clone, Copy)]
struct Virtual {
    id: u64,
    version: u8,
    addresses: &'static [&'static str],
}

impl Virtual {
    const ADDRESSES: [&[&str]; 3] = [
        &["10.0.0.250/24"],
        &["10.0.0.251/24", "10.0.0.252/24"],
        // The first one of IPv6 must be of the link (RFC 9568 section 5.2.9).
        &["fe80::fe/64", "fd00::fe/64"],
    ];

    const fn is_v6(&self) -> bool {
        self.addresses[0].len() == 11
    }

    /// Returns the line of a master.
    fn line(&self, master: &str, priority: u8) -> String {
        let Self { id, version, .. } = self;
        let addresses: Vec<_> =
            self.addresses.iter().map(|address| address.split('/').next().unwrap()).collect();
        let addresses = addresses.join(" ");
        format!("{master} is master of {id} with priority {priority}, version {version}, 1 s: {addresses}")
    }
}

/// Routers that run keepalived.
struct Keepalived {
    folder: TempDir,
    virtuals: Vec<Virtual>,
}

/// The address by which a router announces itself.
fn address(host: &Host, is_v6: bool) -> String {
    let all = host.addresses("eth0").unwrap().into_iter().map(|held| held.address);
    let own = format!("10.0.0.{}", &host.name()[1..]);
    let is_own = |address: &String| match is_v6 {
        true => address.starts_with("fe80") && address != "fe80::fe",
        false => *address == own,
    };
    all.map(|address| address.to_string()).find(is_own).unwrap()
}

fn holds(host: &Host, address: &str) -> bool {
    let wanted = address.split('/').next().unwrap();
    host.addresses("eth0").unwrap().iter().any(|held| held.address.to_string() == wanted)
}

impl Peers for Keepalived {
    /// The priority in each virtual router.
    type Peer = Vec<u8>;
    const PROTOCOLS: &'static [DiscoveryProtocol] = &[DiscoveryProtocol::Vrrp];
    /// Until the first one is master, it waits three intervals and its skew; a better one takes over after as long.
    const ANNOUNCED: Option<Duration> = Some(Duration::from_secs(4));
    /// The entry of the master that has failed is listed no longer than it takes the next one to take over.
    const LAPSES: Option<Duration> = Some(Duration::from_secs(4));
    const ANSWERS: bool = false;
    const ROUTE: bool = false;
    const SOCKETS: bool = false;

    fn new(_segment: &Segment, dice: &mut Dice) -> Self {
        let first = dice.below(3) as usize;
        let count = 1 + dice.below(2) as usize;
        let base = 1 + dice.below(250);
        let virtuals = (first..first + count).map(|number| {
            let addresses = Virtual::ADDRESSES[number % 3];
            let version = if number % 3 == 2 { 3 } else { dice.pick(&[2, 3]) };
            Virtual { id: base + number as u64, version, addresses }
        });
        Self { folder: tempfile::tempdir().unwrap(), virtuals: virtuals.collect() }
    }

    fn draw(&self, dice: &mut Dice, number: usize) -> Vec<u8> {
        // No two routers have one priority.
        self.virtuals.iter().map(|_| 10 * (1 + dice.below(24)) as u8 + number as u8).collect()
    }

    fn start(&self, segment: &Segment, number: usize, peer: &Vec<u8>) -> Running {
        let host = &segment.hosts[number];
        let path =
            |ending: &str| self.folder.path().join(format!("{}.{ending}", host.name())).display().to_string();
        let mut settings = String::new();
        for (Virtual { id, version, addresses }, priority) in self.virtuals.iter().zip(peer) {
            let addresses = addresses.join("\n  ");
            settings += &format!(
                "vrrp_instance v{id} {{\n state BACKUP\n interface eth0\n virtual_router_id {id}\n version {version}\n\
                 priority {priority}\n advert_int 1\n virtual_ipaddress {{\n  {addresses}\n }}\n}}\n"
            );
        }
        fs::write(path("conf"), settings).unwrap();
        let files = [
            "-n",
            "-P",
            "-f",
            &path("conf"),
            "-p",
            &path("pid"),
            "-r",
            &path("vrrp"),
            "-c",
            &path("checkers"),
        ];
        Running::start(host, "keepalived", &files)
    }

    fn tidy(&self, host: &Host) {
        // It would not start if one that was killed were still to be reaped.
        for ending in ["pid", "vrrp", "checkers"] {
            let _gone = fs::remove_file(self.folder.path().join(format!("{}.{ending}", host.name())));
        }
        // A router that has failed holds nothing.
        for address in self.virtuals.iter().flat_map(|it| it.addresses).filter(|address| holds(host, address))
        {
            let _gone = host.remove_address("eth0", address);
        }
    }

    fn expected(&self, segment: &Segment, peers: &[(usize, &Vec<u8>)]) -> Facts {
        let masters = self.virtuals.iter().enumerate().filter_map(|(index, it)| {
            let (number, peer) = peers.iter().max_by_key(|(_, peer)| peer[index])?;
            Some(it.line(&address(&segment.hosts[*number], it.is_v6()), peer[index]))
        });
        masters.collect()
    }

    fn specialist(&mut self, segment: &Segment) -> Facts {
        let mut facts = Facts::new();
        for (index, it) in self.virtuals.iter().enumerate() {
            for host in
                segment.hosts.iter().filter(|host| it.addresses.iter().all(|address| holds(host, address)))
            {
                let settings = self.folder.path().join(format!("{}.conf", host.name()));
                let settings = fs::read_to_string(settings).unwrap();
                let priority = settings.lines().filter_map(|line| line.trim().strip_prefix("priority "));
                let priority = priority.map(|priority| priority.parse().unwrap()).nth(index).unwrap();
                facts.insert(it.line(&address(host, it.is_v6()), priority));
            }
        }
        facts
    }

    fn facts(&self, entry: &Discovered) -> Vec<String> {
        let addresses = entry.fields.iter().filter(|field| field.name.as_bytes() == b"virtual address");
        let mut addresses: Vec<_> = addresses.map(|field| field.value.to_string()).collect();
        // keepalived announces them in an order of its own.
        addresses.sort_by_key(|address| !address.starts_with("fe80"));
        let (id, addresses) = (entry.service.to_string().replace("virtual router ", ""), addresses.join(" "));
        let [priority, version, interval] =
            ["priority", "version", "interval"].map(|name| field(entry, name));
        vec![format!(
            "{} is master of {id} with priority {priority}, version {version}, {interval}: {addresses}",
            entry.name
        )]
    }
}

#[test]
fn masters_are_those_that_hold_the_address_in_networks_drawn_by_seed() {
    if is_root("virtual routers beside keepalived") && has_programs(&["keepalived"]) {
        for_networks(3, both_list_the_same::<Keepalived>);
    }
}
