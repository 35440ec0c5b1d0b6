//! Words that are not names here, and what is meant by them: misspelled names, those of other tools, and of products.

use mcast::InterfaceSelector;
use mcast::group::WellKnown;

/// The subcommand for what other tools call by these words.
const COMMANDS: &[(&[&str], &str)] = &[
    (&["kafka", "redis", "nats", "rabbitmq", "amqp", "jetstream", "broker"], "bridge"),
    (
        &["browse", "find", "devices", "services", "avahi-browse", "dns-sd", "lldp", "lldpctl", "neighbors"],
        "discover",
    ),
    (&["ros", "ros2", "dds", "switch", "switches", "upnp"], "discover"),
    (&["diagnose", "debug", "why", "snooping", "igmp-snooping", "firewall", "wsl", "wifi"], "doctor"),
    (&["maddr", "members", "memberships", "igmp", "mld"], "groups"),
    (&["nics", "ifaces", "ifconfig"], "interfaces"),
    (&["iperf", "benchmark", "throughput", "latency"], "perf"),
    (&["aeron", "zeromq"], "publish"),
    (&["listen", "receive", "join", "listener", "socat", "netcat", "nc"], "recv"),
    (&["chromecast", "airplay", "homekit", "sonos", "printer", "printers", "mdns", "dlna", "ssdp"], "relay"),
    (&["forward", "proxy", "reflector", "iptv", "udpxy", "http", "vlc", "mcproxy", "smcroute"], "relay"),
    (&["docker", "podman", "container", "kubernetes", "k8s", "vlan", "vlans", "vpn"], "relay"),
    (&["wireguard", "openvpn", "tailscale", "zerotier", "gre", "site", "sites", "tunnel"], "relay"),
    (&["play"], "replay"),
    (&["capture", "dump", "tcpdump", "wireshark"], "sniff"),
    (&["watch", "monitor", "prometheus", "grafana", "metrics", "dashboard"], "top"),
];

/// The group by which devices and programs with these names are found.
const DEVICES: &[(&[&str], &str)] = &[
    (&["airplay", "bonjour", "avahi", "chromecast", "googlecast", "homekit", "printer", "printers"], "mdns"),
    (&["dlna", "hue", "roku", "sonos", "upnp"], "ssdp"),
];

/// The finding or term that explains these words.
const SUBJECTS: &[(&[&str], &str)] = &[
    (&["inaddr_any", "in6addr_any", "ip_add_membership"], "joined-other-interface"),
    (&["ip_multicast_all", "ipv6_multicast_all"], "foreign-groups-leak"),
    (&["igmp-snooping", "snooping", "querier"], "no-querier"),
    (&["rp_filter", "rp-filter", "rpf"], "reverse-path-filter"),
    (&["firewall", "iptables", "nftables"], "firewall-drops-data"),
    (&["so_rcvbuf", "rcvbuf", "rmem_max"], "receive-buffer-overflow"),
    (&["hops", "ip_multicast_ttl"], "ttl"),
    (&["enodev", "enetunreach"], "no-route"),
    (&["eaddrinuse"], "address-in-use"),
];

/// Returns the subcommand for what other tools call by this word.
pub(crate) fn command(word: &str) -> Option<&'static str> {
    row(COMMANDS, &word.to_lowercase())
}

/// Returns the subcommand for what other tools call by a word that is similar.
pub(crate) fn similar_command(word: &str) -> Option<&'static str> {
    command(closest(word, COMMANDS.iter().flat_map(|(words, _)| *words).copied())?)
}

/// Returns the sentence about a word that is the name of an interface.
pub(crate) fn interface(word: &str) -> Option<String> {
    mcast::interface::find(&InterfaceSelector::Name(word.to_owned())).ok()?;
    Some(format!("{word} is an interface of this machine: select it with `-i {word}`"))
}

/// Returns the name of the group that is meant by a word, and a sentence with it.
pub(crate) fn group(word: &str) -> Option<(&'static str, String)> {
    if let Some(name) = row(DEVICES, &word.to_lowercase()) {
        return Some((name, format!("such devices are found by `{name}`.")));
    }
    let name = misspelled_group(word)?;
    Some((name, format!("did you mean `{name}`?")))
}

/// Returns the name of the group that is meant by a misspelled one.
pub(crate) fn misspelled_group(word: &str) -> Option<&'static str> {
    let is_device = row(DEVICES, &word.to_lowercase()).is_some();
    if is_device { None } else { closest(word, WellKnown::all().iter().map(|known| known.name)) }
}

/// Returns the finding or the term that explains a word.
pub(crate) fn subject(word: &str) -> Option<&'static str> {
    row(SUBJECTS, &word.to_lowercase())
}

fn row(table: &[(&[&str], &'static str)], word: &str) -> Option<&'static str> {
    table.iter().find(|(words, _)| words.contains(&word)).map(|(_, meant)| *meant)
}

/// Returns the most similar word, if one is similar enough.
pub(crate) fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const MIN_SIMILARITY: f64 = 0.6;

    let word = word.to_lowercase();
    let rated = known.into_iter().map(|known| (strsim::normalized_damerau_levenshtein(&word, known), known));
    let best = rated.max_by(|(one, _), (other, _)| one.total_cmp(other));
    best.filter(|(similarity, _)| *similarity >= MIN_SIMILARITY).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelled_words_are_recognized_and_other_words_are_not() {
        let closest = |word| closest(word, ["mdns", "ssdp", "ptp", "no-querier"]);
        assert_eq!(closest("mdsn"), Some("mdns"));
        assert_eq!(closest("SDSP"), Some("ssdp"));
        assert_eq!(closest("no-queirer"), Some("no-querier"));
        assert_eq!(closest("weather"), None);
    }

    #[test]
    fn words_of_others_lead_to_what_exists() {
        let definition = crate::cli::source();
        for (words, name) in COMMANDS {
            assert!(definition.find_subcommand(name).is_some(), "{name}");
            assert!(words.iter().all(|word| definition.find_subcommand(word).is_none()), "{words:?}");
        }
        let is_group = |name: &str| !WellKnown::named(name).is_empty();
        for (words, name) in DEVICES {
            assert!(is_group(name) && words.iter().all(|word| !is_group(word)), "{words:?}");
        }
        for (words, subject) in SUBJECTS {
            assert!(words.iter().all(|word| !is_group(word)), "{words:?}");
            let is_term = crate::commands::explained_terms().any(|term| term == *subject);
            assert!(is_term || subject.parse::<mcast_doctor::Id>().is_ok(), "{subject}");
        }
    }

    #[test]
    fn no_word_stands_in_a_table_twice() {
        for table in [COMMANDS, DEVICES, SUBJECTS] {
            let words: Vec<_> = table.iter().flat_map(|(words, _)| *words).collect();
            let distinct: std::collections::BTreeSet<_> = words.iter().collect();
            assert_eq!(words.len(), distinct.len());
        }
    }
}
