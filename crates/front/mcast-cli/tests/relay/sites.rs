//! Sites behind NATs, a hub, and the network between them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mcast_lab::{BadLink, Host, Impairment, Lab, Switch};

use crate::network::{member, relay_unready, sender};
use crate::support::{Running, eventually, mcast, program};

pub(crate) const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
pub(crate) const HUB: &str = "203.0.113.1:5700";
/// 239.1.2.3 as the kernel lists it.
pub(crate) const GROUP_IN_TABLE: &str = "030201EF";

/// A network 203.0.113.0/24 between sites, and the keys of their relays.
pub(crate) struct Sites {
    /// The public keys of the sites.
    keys: RefCell<BTreeMap<String, String>>,
    pub(crate) lab: Lab,
    pub(crate) wan: Switch,
    pub(crate) folder: tempfile::TempDir,
}

/// A site: its network 10.N.0.0/24 with a host and a relay.
pub(crate) struct Site {
    name: String,
    pub(crate) number: u8,
    pub(crate) host: Host,
    pub(crate) relay: Host,
    /// The NAT between the relay and the world, if there is one.
    pub(crate) nat: Option<(Host, BadLink)>,
}

impl Sites {
    pub(crate) fn new() -> Self {
        let lab = Lab::new().unwrap();
        let wan = lab.switch("wan").unwrap();
        Self { keys: RefCell::default(), lab, wan, folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn file(&self, name: &str) -> String {
        PathBuf::from(self.folder.path()).join(name).to_str().unwrap().to_owned()
    }

    /// Adds a site whose relay is on the network between sites itself, as 203.0.113.N.
    pub(crate) fn open_site(&self, name: &str, number: u8) -> Site {
        let site = self.lan(name, number);
        site.relay.connect("wan", &self.wan, &[&format!("203.0.113.{number}/24")]).unwrap();
        site
    }

    /// Adds a site behind a NAT, with a path of MTU 1280 that impairs what is sent.
    pub(crate) fn site_behind_nat(&self, name: &str, number: u8, impairment: Impairment) -> Site {
        let site = self.lan(name, number);
        let nat = self.lab.host(&format!("{name}-nat")).unwrap();
        let outside = format!("203.0.113.{number}/24");
        let (_, link) = self.lab.connect_badly(&nat, "wan", &self.wan, &[&outside], impairment).unwrap();
        nat.set_mtu("wan", 1_280).unwrap();
        self.lab.link(&site.relay, "wan", &["192.168.1.1/24"], &nat, "lan", &["192.168.1.254/24"]).unwrap();
        site.relay.add_route_via("0.0.0.0/0", "192.168.1.254").unwrap();
        nat.sysctl("net/ipv4/ip_forward", "1").unwrap();
        let rules = "add table ip nat; add chain ip nat out { type nat hook postrouting priority 100; }; \
            add rule ip nat out oifname wan masquerade; \
            add table ip firewall; add chain ip firewall forward { type filter hook forward priority 0; policy drop; }; \
            add rule ip firewall forward iifname lan accept; \
            add rule ip firewall forward ct state established,related accept";
        program(&nat, "nft", &[rules], false).end().succeeded();
        Site { nat: Some((nat, link)), ..site }
    }

    fn lan(&self, name: &str, number: u8) -> Site {
        let switch = self.lab.switch(&format!("{name}-lan")).unwrap();
        let add = |host: &str, last: u8| {
            let host = self.lab.host(host).unwrap();
            host.connect("eth0", &switch, &[&format!("10.{number}.0.{last}/24")]).unwrap();
            host
        };
        let (name, host, relay) = (name.to_owned(), add(&format!("{name}-host"), 1), add(name, 9));
        let site = Site { name, number, host, relay, nat: None };
        self.renew_key(&site);
        site
    }

    /// Makes a key pair for a site; [`Self::key`] writes the key files.
    pub(crate) fn renew_key(&self, site: &Site) {
        let file = self.file(&format!("{}.private", site.name));
        let _ = std::fs::remove_file(&file);
        let made = mcast(&site.relay, &["keys", "make", "--tunnel", &file]).succeeded();
        self.keys.borrow_mut().insert(site.name.clone(), made.text().trim().to_owned());
    }

    /// Starts a relay with the key of its site.
    pub(crate) fn relay(&self, site: &Site, arguments: &[&str]) -> Running {
        let key = self.key(site, arguments);
        relay_unready(&site.relay, &[arguments, &["--tunnel-key", &key]].concat())
    }

    /// Writes the key file of a site, in which the other sites are peers for all tunnels that these arguments name.
    pub(crate) fn key(&self, site: &Site, arguments: &[&str]) -> String {
        let file = self.file(&format!("{}.key", site.name));
        std::fs::copy(self.file(&format!("{}.private", site.name)), &file).unwrap();
        self.add_peers(&file, &site.name, arguments);
        file
    }

    /// Writes the key file of a relay that knows the sites, and that they do not know.
    pub(crate) fn key_of_stranger(&self, host: &Host, arguments: &[&str]) -> String {
        let file = self.file("stranger-to-all.key");
        mcast(host, &["keys", "make", "--tunnel", &file]).succeeded();
        self.add_peers(&file, "", arguments);
        file
    }

    fn add_peers(&self, file: &str, own: &str, arguments: &[&str]) {
        let mut file = std::fs::File::options().append(true).open(file).unwrap();
        for name in tunnels(arguments) {
            for (_, key) in self.keys.borrow().iter().filter(|(name, _)| *name != own) {
                writeln!(file, "peer {name} {key}").unwrap();
            }
        }
    }
}

impl Site {
    /// Opens a socket that sends to groups, with TTL 8.
    pub(crate) fn sender(&self) -> UdpSocket {
        sender(&self.host, [10, self.number, 0, 1].into())
    }

    /// Opens a socket on port 5000 that joins a group.
    pub(crate) fn member(&self, group: Ipv4Addr) -> UdpSocket {
        let socket = member(&self.host, (group, 5000), [10, self.number, 0, 1].into());
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket
    }
}

/// Returns whether there is a NAT on this machine; says so if there is none.
pub(crate) fn has_nft() -> bool {
    mcast_lab::has_program("nft", "--version", "tunnels through NATs")
}

/// Sends a datagram again and again until one arrives.
pub(crate) fn wait_for_path(sender: &UdpSocket, group: Ipv4Addr, member: &UdpSocket) {
    let mut buffer = [0; 64];
    member.set_nonblocking(true).unwrap();
    eventually("a datagram through the tunnels", || {
        sender.send_to(b"anybody there?", (group, 5000)).unwrap();
        member.recv_from(&mut buffer).is_ok()
    });
    member.set_nonblocking(false).unwrap();
    // What is still under way.
    member.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    while member.recv_from(&mut buffer).is_ok() {}
}

/// Creates a key file of announcements in this folder.
pub(crate) fn new_key(host: &Host, folder: &Path) -> String {
    let file = folder.join("relays.key").to_str().unwrap().to_owned();
    mcast(host, &["keys", "make", &file]).succeeded();
    file
}

/// Creates a key file for both ends of tunnels with these names in this folder: each end is its own peer.
pub(crate) fn new_tunnel_key(host: &Host, folder: &Path, names: &[&str]) -> String {
    let path = folder.join("tunnels.key").to_str().unwrap().to_owned();
    let made = mcast(host, &["keys", "make", "--tunnel", &path]).succeeded();
    let mut file = std::fs::File::options().append(true).open(&path).unwrap();
    for name in names {
        writeln!(file, "peer {name} {}", made.text().trim()).unwrap();
    }
    path
}

/// Returns the names of the tunnels in rules.
fn tunnels<'a>(arguments: &[&'a str]) -> BTreeSet<&'a str> {
    let words = arguments.iter().flat_map(|argument| argument.split([' ', ',']));
    words.filter_map(|word| word.strip_prefix("tunnel:")).collect()
}
