//! Output of `netstat -s` on macOS and FreeBSD.

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

/// Parses the counters of `netstat -s -p ip` or `-p udp`.
pub(crate) fn counters(output: &str) -> Vec<(String, u64)> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macos_counters_get_linux_names() {
        let udp = "udp:\n\t43912 datagrams received\n\t\t0 with incomplete header\n\t\t3 with bad checksum\n\
                   \t\t57 broadcast/multicast datagrams undelivered\n\t\t196 dropped due to full socket buffers\n\
                   \t\t42647 delivered\n\t40213 datagrams output\n";
        let named = |name: &str, value| (name.to_owned(), value);
        let expected = [
            named("UdpInCsumErrors", 3),
            named("UdpIgnoredMulti", 57),
            named("UdpRcvbufErrors", 196),
            named("UdpInDatagrams", 42_647),
        ];
        assert_eq!(counters(udp), expected);
        let ip =
            "ip:\n\t1 total packet received\n\t\t1 packet reassembled ok\n\t1234 packets for this host\n";
        let expected = [named("IpInReceives", 1), named("IpReasmOKs", 1), named("IpInDelivers", 1234)];
        assert_eq!(counters(ip), expected);
    }
}
