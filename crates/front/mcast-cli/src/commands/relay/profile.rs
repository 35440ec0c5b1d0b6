//! Rules for a purpose, instead of rules one by one.

use std::collections::BTreeSet;
use std::net::IpAddr;

use mcast::Interface;
use mcast_relay::{DiscoveryProtocol, Namespace, Rule};
use mcast_terminal::Console;

use super::parse;
use crate::exit::Failure;

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
            "home: forwards what finds HomeKit, Matter, AirPlay, Chromecast, printers (mdns), speakers and televisions (ssdp), \
             scanners and cameras (wsd)",
        );
        console.note(format_args!(
            "home: omits {LOCAL_SERVICES}, and addresses that are valid in one network only; connections to what was found are \
             a matter of your router and firewall"
        ));
        for leg in legs_without_prefix(rules) {
            console.warn(format_args!(
                "{leg} has no IPv6 address that is valid beyond its network: Matter devices there will be found, and cannot be \
                 reached; let your router announce a prefix there"
            ));
        }
    }
}

/// Returns the interfaces of this machine that have no IPv6 address with a scope beyond their link.
fn legs_without_prefix(rules: &[Rule]) -> BTreeSet<String> {
    let is_mdns = |rule: &&Rule| rule.traffic.protocol == Some(DiscoveryProtocol::Mdns);
    let legs =
        rules.iter().filter(is_mdns).flat_map(Rule::legs).filter(|leg| leg.namespace == Namespace::Own);
    // What is wrong with an interface that cannot be found is reported as for every rule.
    let found = legs.filter_map(|leg| mcast::find(&leg.interface).ok());
    let is_wide =
        |address: &IpAddr| matches!(address, IpAddr::V6(address) if !address.is_unicast_link_local());
    let has_none = |found: &Interface| !found.addresses.iter().any(|address| is_wide(&address.address));
    found.filter(has_none).map(|found| found.name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
