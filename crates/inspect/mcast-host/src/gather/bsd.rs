//! macOS and FreeBSD: what `netstat` and `sysctl` report.

use crate::snapshot::HostSnapshot;

/// The protocol, the text, and the name of the corresponding `nstat` counter on Linux.
const NAMES: [(&str, &str, &str); 8] = [
    ("ip", "total packets received", "IpInReceives"),
    ("ip", "packets for this host", "IpInDelivers"),
    ("ip", "fragments received", "IpReasmReqds"),
    ("ip", "packets reassembled ok", "IpReasmOKs"),
    ("udp", "with bad checksum", "UdpInCsumErrors"),
    ("udp", "broadcast/multicast datagrams undelivered", "UdpIgnoredMulti"),
    ("udp", "dropped due to full socket buffers", "UdpRcvbufErrors"),
    ("udp", "delivered", "UdpInDatagrams"),
];

/// Returns what the tools report, which `run` runs with their arguments; everything else is empty.
pub(super) fn query(run: impl Fn(&str, &[&str]) -> String) -> HostSnapshot {
    let of_protocol = |protocol| counters(&run("netstat", &["-s", "-p", protocol]));
    let names = ["net.inet.igmp.default_version", "kern.ipc.maxsockbuf"];
    let firewall = run("/usr/libexec/ApplicationFirewall/socketfilterfw", &["--getglobalstate"]);
    HostSnapshot {
        counters: ["ip", "udp"].into_iter().flat_map(of_protocol).collect(),
        settings: settings(&run("sysctl", &names)).into_iter().collect(),
        firewall: is_firewall_on(&firewall).then(|| "the application firewall is on".to_owned()),
        ..HostSnapshot::default()
    }
}

/// Parses the counters of `netstat -s -p ip` or `-p udp`.
fn counters(output: &str) -> Vec<(String, u64)> {
    let mut protocol = "";
    let mut counters = Vec::new();
    for line in output.lines() {
        if let Some(name) = line.strip_suffix(':').filter(|_| !line.starts_with(char::is_whitespace)) {
            protocol = name;
            continue;
        }
        let Some((value, words)) = line.trim().split_once(' ') else { continue };
        let known = NAMES.iter().find(|(of, text, _)| *of == protocol && is_same(words, text));
        if let (Some((_, _, name)), Ok(value)) = (known, value.parse()) {
            counters.push(((*name).to_owned(), value));
        }
    }
    counters
}

/// Compares ignoring the plural: the systems print "1 packet" but "2 packets".
fn is_same(words: &str, text: &str) -> bool {
    let singular = |text: &str| {
        text.replace("packets", "packet").replace("fragments", "fragment").replace("datagrams", "datagram")
    };
    singular(words) == singular(text)
}

/// Parses lines `NAME: VALUE`. Errors about unknown names go to standard error and are not part of it.
fn settings(output: &str) -> Vec<(String, String)> {
    let setting = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.trim().to_owned(), value.trim().to_owned()))
    };
    output.lines().filter_map(setting).collect()
}

/// Returns whether the macOS application firewall is on, from `socketfilterfw --getglobalstate`.
fn is_firewall_on(output: &str) -> bool {
    output.contains("(State = 1)") || output.contains("(State = 2)")
}

#[cfg(test)]
mod tests {
    use super::*;

    const IP: &str =
        "ip:\n\t1 total packet received\n\t\t1 packet reassembled ok\n\t1234 packets for this host\n";
    const UDP: &str = "udp:\n\t43912 datagrams received\n\t\t0 with incomplete header\n\t\t3 with bad checksum\n\
        \t\t57 broadcast/multicast datagrams undelivered\n\t\t196 dropped due to full socket buffers\n\
        \t\t42647 delivered\n\t40213 datagrams output\n";

    fn machine(firewall: &str) -> HostSnapshot {
        query(|program, arguments| {
            let output = match (program, arguments.last()) {
                ("netstat", Some(&"ip")) => IP,
                ("netstat", _) => UDP,
                ("sysctl", _) => "net.inet.igmp.default_version: 3\nkern.ipc.maxsockbuf: 8388608\nnothing\n",
                _ => firewall,
            };
            output.to_owned()
        })
    }

    #[test]
    fn macos_counters_get_linux_names() {
        let counters = machine("").counters;
        let expected = [
            ("IpInReceives", 1),
            ("IpReasmOKs", 1),
            ("IpInDelivers", 1234),
            ("UdpInCsumErrors", 3),
            ("UdpIgnoredMulti", 57),
            ("UdpRcvbufErrors", 196),
            ("UdpInDatagrams", 42_647),
        ];
        assert_eq!(counters, expected.map(|(name, value)| (name.to_owned(), value)).into_iter().collect());
    }

    #[test]
    fn settings_and_firewall_state_are_parsed() {
        let on = machine("Firewall is enabled. (State = 1)\n");
        assert_eq!(on.number("net.inet.igmp.default_version"), Some(3));
        assert_eq!((on.setting("kern.ipc.maxsockbuf"), on.settings.len()), (Some("8388608"), 2));
        assert!(on.firewall.is_some() && machine("Firewall is disabled. (State = 0)\n").firewall.is_none());
    }
}
