//! Clocks, as pmc of linuxptp lists them.

use std::collections::BTreeSet;
use std::time::Duration;

use mcast_lab::{Child, Host, Lab, has_program};
use mcast_sim::Dice;
use mcast_watch::Discovery;
use mcast_watch::discovery::DiscoveryProtocol;

use super::networks::for_networks;
use super::{agree, discover, entries, field};

/// How the clocks of a network talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    UdpV4,
    UdpV6,
    Ethernet,
}

impl Transport {
    const fn setting(self) -> &'static str {
        match self {
            Self::UdpV4 => "UDPv4",
            Self::UdpV6 => "UDPv6",
            Self::Ethernet => "L2",
        }
    }

    const fn option(self) -> &'static str {
        match self {
            Self::UdpV4 => "-4",
            Self::UdpV6 => "-6",
            Self::Ethernet => "-2",
        }
    }
}

/// Starts a clock that announces itself every 250 ms, and never changes the time of this machine.
fn clock(host: &Host, folder: &tempfile::TempDir, transport: Transport, domain: u8, priority: u8) -> Child {
    let path = |ending: &str| folder.path().join(format!("{}.{ending}", host.name())).display().to_string();
    let settings = format!(
        "[global]\ndomainNumber {domain}\npriority1 {priority}\nfree_running 1\ntime_stamping software\n\
         network_transport {}\nlogAnnounceInterval -2\nlogSyncInterval -2\nlogMinDelayReqInterval -2\n\
         uds_address {}\n[eth0]\n",
        transport.setting(),
        path("sock"),
    );
    std::fs::write(path("conf"), settings).unwrap();
    let mut command = host.command("ptp4l").unwrap();
    command.args(["-f", &path("conf"), "-q"]).spawn().unwrap()
}

/// Returns the clocks of these domains: the identity, the domain and whether it is a master.
fn specialist(host: &Host, transport: Transport, domains: &[u8]) -> BTreeSet<(String, u8, bool)> {
    let mut seen = BTreeSet::new();
    for domain in domains {
        let mut pmc = host.command("pmc").unwrap();
        let number = domain.to_string();
        pmc.args([transport.option(), "-i", "eth0", "-d", &number, "-b", "0", "GET PORT_DATA_SET"]);
        let output = pmc.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut identity = String::new();
        for line in text.lines() {
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                ["portIdentity", port] => port.split('-').next().unwrap().clone_into(&mut identity),
                ["portState", state] => {
                    seen.insert((identity.clone(), *domain, state == "MASTER"));
                }
                _ => {}
            }
        }
    }
    seen
}

/// Returns whether every master is the best clock of its domain, and alone. One that has just started may not have heard of the others yet.
fn is_best_elected(discovery: &Discovery, clocks: &[(u8, u8, Child)]) -> bool {
    let best = |domain: &str| {
        let of_domain = clocks.iter().filter(|(of, ..)| of.to_string() == domain);
        of_domain.map(|(_, priority, _)| priority.to_string()).min()
    };
    let all = entries(discovery, DiscoveryProtocol::Ptp);
    let mut masters = all.iter().filter(|entry| field(entry, "state") == "master");
    // A remark about the one before goes with the next announcement.
    masters.all(|entry| {
        best(&field(entry, "domain")) == Some(field(entry, "priority 1")) && entry.field("remark").is_none()
    })
}

fn both_list_the_same(seed: u64) {
    let purpose = "clocks beside linuxptp";
    if !has_program("ptp4l", "-v", purpose) || !has_program("pmc", "-v", purpose) {
        return;
    }
    let mut dice = Dice::new(seed);
    let lab = Lab::new().unwrap();
    let lan = lab.switch("lan").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let host = |name: &str, number: u8| {
        let host = lab.host(name).unwrap();
        let addresses = [format!("10.0.0.{number}/24"), format!("fd00::{number}/64")];
        host.connect("eth0", &lan, &addresses.each_ref().map(String::as_str)).unwrap();
        host
    };
    let observer = host("observer", 99);
    let transport = dice.pick(&[Transport::UdpV4, Transport::Ethernet, Transport::UdpV6]);
    let domains: &[u8] = dice.pick(&[&[0][..], &[0, 24]]);
    let mut clocks: Vec<(u8, u8, Child)> = Vec::new();
    for number in 0..2 + dice.below(2) as u8 {
        let domain = dice.pick(domains);
        // The lowest number of a domain wins.
        let priority = 100 + number;
        clocks.push((
            domain,
            priority,
            clock(&host(&format!("c{number}"), number + 1), &folder, transport, domain, priority),
        ));
    }
    let discovery = discover(&observer, true);
    let used: BTreeSet<u8> = clocks.iter().map(|(domain, ..)| *domain).collect();
    for step in ["all", "without the first"] {
        let domains_left: BTreeSet<u8> = clocks.iter().map(|(domain, ..)| *domain).collect();
        let count = clocks.len();
        let took = agree(
            &format!("seed {seed}, {transport:?}, {step}"),
            &discovery,
            Duration::from_secs(60),
            || specialist(&observer, transport, &used.iter().copied().collect::<Vec<_>>()),
            || {
                let all = entries(&discovery, DiscoveryProtocol::Ptp).into_iter();
                all.map(|entry| {
                    let domain = field(&entry, "domain").parse().unwrap();
                    (entry.name.to_string(), domain, field(&entry, "state") == "master")
                })
                .collect()
            },
            |seen| {
                let masters = seen.iter().filter(|(.., is_master)| *is_master).count();
                seen.len() == count && masters == domains_left.len() && is_best_elected(&discovery, &clocks)
            },
        );
        println!("seed {seed}, {transport:?}, {step}: {count} clocks, agreed after {took:?}");
        // The best clock of its domain fails.
        let (.., child) = clocks.remove(0);
        child.kill().unwrap();
    }
}

#[test]
fn clocks_and_masters_are_those_that_pmc_lists_in_networks_drawn_by_seed() {
    for_networks(3, both_list_the_same);
}
