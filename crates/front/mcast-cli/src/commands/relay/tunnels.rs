//! Options that stand for several: tunnels with their keys, and profiles with their rules.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use mcast::interface::Interface;
use mcast_relay::{LocalDiscovery, Namespace, Rule};
use mcast_terminal::Console;
use mcast_tunnel::TunnelKeys;

use super::parse;
use crate::arguments::read_tunnel_keys;
use crate::exit::Failure;

/// Options for tunnels to other sites.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Tunnels")]
pub(super) struct TunnelArguments {
    /// Connect to the other end of tunnel:NAME at this address; repeatable
    #[arg(long, value_name = "NAME=HOST:PORT")]
    pub(super) tunnel: Vec<DialedTunnel>,

    /// Listen here for all other tunnels of the rules
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(super) listen_tunnel: Option<SocketAddr>,

    /// The private key of this relay and the public keys of its peers; SIGHUP rereads the file; `mcast keys make --tunnel
    /// FILE` creates one
    #[arg(long, value_name = "FILE")]
    pub(super) tunnel_key: Option<PathBuf>,
}

/// A tunnel that is dialed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DialedTunnel {
    pub(super) name: String,
    pub(super) host: String,
}

impl FromStr for DialedTunnel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = || "write NAME=HOST:PORT, such as paris=hub.example:5700".to_owned();
        let (name, host) = text.split_once('=').ok_or_else(invalid)?;
        let (address, port) = host.rsplit_once(':').ok_or_else(invalid)?;
        let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
        let is_address = address.starts_with('[') == address.contains(':') && !address.is_empty();
        let is_name = format!("tunnel:{name}").parse::<mcast_relay::Leg>().is_ok();
        match is_name && is_port && is_address {
            true => Ok(Self { name: name.to_owned(), host: host.to_owned() }),
            false => Err(invalid()),
        }
    }
}

impl TunnelArguments {
    /// Returns the keys; none without tunnels. A tunnel of the rules without a peer is a warning: who removes a stolen key need not
    /// change the rules, and the relay still starts for all others.
    pub(super) fn read_keys(&self, rules: &[Rule], console: &Console) -> anyhow::Result<TunnelKeys> {
        let Some(path) = &self.tunnel_key else { return Ok(TunnelKeys::none()) };
        let keys = read_tunnel_keys(path, console)?;
        let mut names: BTreeSet<_> =
            rules.iter().flat_map(Rule::legs).filter_map(mcast_relay::Leg::tunnel).collect();
        names.retain(|name| keys.peers().all(|(known, _)| known != *name));
        for name in names {
            console.warn(format_args!(
                "{} has no peer for tunnel:{name}, which stays down: add the line `peer {name} KEY` with the public key of its other end, \
                 which `mcast keys show FILE` prints there",
                path.display()
            ));
        }
        Ok(keys)
    }

    /// Checks that the rules and these options name the same tunnels.
    pub(super) fn check(&self, rules: &[Rule]) -> anyhow::Result<()> {
        let legs = rules.iter().flat_map(Rule::legs);
        let named: BTreeSet<&str> = legs.filter_map(mcast_relay::Leg::tunnel).collect();
        let dialed: BTreeSet<&str> = self.tunnel.iter().map(|dialed| dialed.name.as_str()).collect();
        if dialed.len() < self.tunnel.len() {
            return Err(Failure::usage("--tunnel names a tunnel twice")
                .remedy("give every tunnel a name of its own")
                .into());
        }
        if let Some(name) = dialed.difference(&named).next() {
            return Err(Failure::usage(format!("no rule names tunnel:{name}"))
                .remedy(format!("write a rule, such as '239.255.1.3:5000 from eth0 to tunnel:{name}'"))
                .into());
        }
        let mut listened = named.difference(&dialed);
        match (listened.next(), self.listen_tunnel) {
            (Some(name), None) => Err(Failure::usage(format!(
                "a rule names tunnel:{name}, but this relay neither connects it nor listens for it"
            ))
            .remedy(format!(
                "connect it with --tunnel {name}=HOST:PORT, or listen for it with --listen-tunnel 0.0.0.0:5700"
            ))
            .into()),
            (None, Some(address)) => Err(Failure::usage(format!("no rule names a tunnel to listen for at {address}"))
                .remedy("write a rule, such as '239.255.1.3:5000 from eth0 to tunnel:paris'")
                .into()),
            _ if !named.is_empty() && self.tunnel_key.is_none() => {
                Err(Failure::usage("tunnels are sealed, and --tunnel-key is missing")
                    .remedy(
                        "create a key file with `mcast keys make --tunnel FILE` at each end, and add the public key of the \
                         other one",
                    )
                    .into())
            }
            _ => Ok(()),
        }
    }
}

/// Services of mDNS that are of use on one network only: Thread border routers exchange radio frames with their neighbours over
/// link-local addresses (TREL), and a sleep proxy answers and wakes a host in its own network.
const LOCAL_SERVICES: &str = "trel,sleep-proxy";

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Profile {
    /// Devices of a home: discovery in both directions, and no streams
    Home,
}

impl Profile {
    /// Returns the rules of the profile between the first of these legs and each of the others. Those do not see each other.
    pub(super) fn rules(self, legs: &[String]) -> anyhow::Result<Vec<Rule>> {
        let Some((main, others)) = legs.split_first().filter(|(_, others)| !others.is_empty()) else {
            let text = "a profile needs the interfaces of at least two networks";
            return Err(Failure::usage(text)
                .remedy("for example: mcast relay --profile home lan iot")
                .into());
        };
        if let Some(rule) = legs.iter().find(|leg| leg.contains(char::is_whitespace)) {
            let text =
                format!("\"{rule}\" is not an interface: with --profile, the rules are those of the profile");
            return Err(Failure::usage(text).remedy("put other rules in a file, with --config").into());
        }
        let rules = |other: &String| {
            let Self::Home = self;
            [
                format!("mdns between {main} and {other} deny {LOCAL_SERVICES}"),
                format!("ssdp between {main} and {other}"),
                format!("wsd between {main} and {other}"),
            ]
        };
        others.iter().flat_map(rules).map(|text| parse(&text)).collect()
    }

    /// Reports what passes, what does not, and what is missing for it.
    pub(super) fn explain(self, rules: &[Rule], console: &Console) {
        let Self::Home = self;
        console.note(
            "home: forwards the discovery of HomeKit, Matter, AirPlay, Chromecast, printers (mdns), speakers and televisions (ssdp), \
             scanners and cameras (wsd)",
        );
        console.note(format_args!(
            "home: omits {LOCAL_SERVICES}, and addresses that are valid in one network only; your router and firewall must allow \
             the connections themselves"
        ));
        for leg in legs_without_prefix(rules) {
            console.warn(format_args!(
                "{leg} has no IPv6 address that is valid beyond its network: Matter devices there will be found, but cannot be \
                 reached; let your router announce a prefix there"
            ));
        }
    }
}

/// Returns the interfaces of this machine that have no IPv6 address with a scope beyond their link.
fn legs_without_prefix(rules: &[Rule]) -> BTreeSet<String> {
    let is_mdns = |rule: &&Rule| rule.traffic.protocol == Some(LocalDiscovery::Mdns);
    let legs =
        rules.iter().filter(is_mdns).flat_map(Rule::legs).filter(|leg| leg.namespace == Namespace::Own);
    // What is wrong with an interface that cannot be found is reported as for every rule.
    let found = legs.filter_map(|leg| mcast::interface::find(&leg.interface).ok());
    let is_wide =
        |address: &IpAddr| matches!(address, IpAddr::V6(address) if !address.is_unicast_link_local());
    let has_none = |found: &Interface| !found.addresses.iter().any(|address| is_wide(&address.address));
    found.filter(has_none).map(|found| found.name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dialed_tunnel_has_a_name_a_host_and_a_port() {
        for text in ["paris=hub.example:5700", "a.b_c-d=10.0.0.1:1", "x=[2001:db8::1]:5700"] {
            assert!(text.parse::<DialedTunnel>().is_ok(), "{text}");
        }
        for text in
            ["paris", "=hub:5700", "paris=hub", "paris=hub:0", "paris=:5700", "p/q=hub:1", "x=2001:db8::1:5"]
        {
            let error = text.parse::<DialedTunnel>().unwrap_err();
            assert!(error.contains("paris=hub.example:5700"), "{text}");
        }
    }

    #[test]
    fn rules_and_options_name_the_same_tunnels() {
        let check = |rules: &str, tunnel: &[&str], listen: Option<&str>, has_key: bool| {
            let arguments = TunnelArguments {
                tunnel: tunnel.iter().map(|text| text.parse().unwrap()).collect(),
                listen_tunnel: listen.map(|text| text.parse().unwrap()),
                tunnel_key: has_key.then(|| "relay.key".into()),
            };
            let rules = mcast_relay::parse_rules(rules).unwrap();
            arguments.check(&rules).err().map(|error| error.to_string()).unwrap_or_default()
        };
        let rule = "239.255.1.3:5000 between eth0 and tunnel:paris";
        assert_eq!(check(rule, &["paris=hub:1"], None, true), "");
        assert_eq!(check(rule, &[], Some("0.0.0.0:1"), true), "");
        assert_eq!(check("239.255.1.3:5000 from eth0 to eth1", &[], None, false), "");
        for (error, expected) in [
            (check(rule, &[], None, true), "neither connects it nor listens for it"),
            (check(rule, &["rome=hub:1"], Some("0.0.0.0:1"), true), "no rule names tunnel:rome"),
            (check(rule, &["paris=hub:1", "paris=hub:2"], None, true), "names a tunnel twice"),
            (check(rule, &["paris=hub:1"], Some("0.0.0.0:1"), true), "no rule names a tunnel to listen for"),
            (check(rule, &["paris=hub:1"], None, false), "--tunnel-key is missing"),
        ] {
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn the_first_network_sees_the_others_which_do_not_see_each_other() {
        let texts = |legs: &[&str]| {
            let legs: Vec<_> = legs.iter().map(ToString::to_string).collect();
            let rules = Profile::Home.rules(&legs).map_err(|error| error.to_string())?;
            Ok::<_, String>(rules.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        let expected = |other: &str| {
            let mdns = format!("mdns between lan and {other} deny trel,sleep-proxy");
            [mdns, format!("ssdp between lan and {other}"), format!("wsd between lan and {other}")]
        };
        assert_eq!(texts(&["lan", "iot"]).unwrap(), expected("iot"));
        assert_eq!(texts(&["lan", "iot", "guest"]).unwrap(), [expected("iot"), expected("guest")].concat());
        assert!(texts(&["lan"]).unwrap_err().contains("at least two"));
        assert!(texts(&["lan", "mdns between lan and iot"]).unwrap_err().contains("is not an interface"));
    }
}
