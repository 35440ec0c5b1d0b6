//! The matches of `ebtables` on the headers of IP, which its rules carry in nftables, too.

use super::{comparison, masked, payload, u16_at};
use crate::netfilter::{Expression, Header};

/// Where a match has what it compares (`struct ebt_ip_info`, `struct ebt_ip6_info`), and where the packet has it.
struct Layout {
    address: usize,
    /// The offsets of the source and of the destination in the packet.
    addresses: [usize; 2],
    /// The offset of the protocol in the packet.
    protocol: usize,
    flags_of_messages: u8,
}

const V4: Layout = Layout { address: 4, addresses: [12, 16], protocol: 9, flags_of_messages: 0xc0 };
const V6: Layout = Layout { address: 16, addresses: [8, 24], protocol: 6, flags_of_messages: 0x40 };

// The bits of what is compared (`EBT_IP_…`), which the bits of what is inverted equal.
const ADDRESSES: [u8; 2] = [1, 2];
const TRAFFIC_CLASS: u8 = 4;
const PROTOCOL: u8 = 8;
const PORTS: [u8; 2] = [0x10, 0x20];

/// Returns the conditions of the match `ip` or `ip6`; `None` if it is malformed or tests something else.
pub(super) fn matching(is_ipv6: bool, data: &[u8]) -> Option<Vec<Expression>> {
    let layout = if is_ipv6 { &V6 } else { &V4 };
    let numbers = 4 * layout.address;
    let (protocol, tested, inverted) =
        (*data.get(numbers + 1)?, *data.get(numbers + 2)?, *data.get(numbers + 3)?);
    if tested & (TRAFFIC_CLASS | layout.flags_of_messages) != 0 {
        return None;
    }
    let mut conditions = Vec::new();
    for (side, flag) in ADDRESSES.into_iter().enumerate().filter(|(_, flag)| tested & flag != 0) {
        let field = |index: usize| Some(data.get(index * layout.address..)?.get(..layout.address)?.to_vec());
        conditions.push(payload(Header::Network, layout.addresses[side], layout.address));
        conditions.extend(masked(inverted & flag != 0, field(side + 2)?, field(side)?));
    }
    if tested & PROTOCOL != 0 {
        conditions.push(payload(Header::Network, layout.protocol, 1));
        conditions.push(comparison(inverted & PROTOCOL != 0, vec![protocol]));
    }
    for (side, flag) in PORTS.into_iter().enumerate().filter(|(_, flag)| tested & flag != 0) {
        let port =
            |index: usize| Some(u16_at(data, numbers + 4 + 4 * side + 2 * index)?.to_be_bytes().to_vec());
        conditions.push(payload(Header::Transport, 2 * side, 2));
        conditions.push(Expression::Range {
            register: 0,
            is_negated: inverted & flag != 0,
            from: port(0)?,
            to: port(1)?,
        });
    }
    Some(conditions)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use mcast::InterfaceIndex;
    use mcast_lab::Lab;
    use proptest::prelude::*;

    use super::*;
    use crate::netfilter::{FilterLayer, Hook, KnownPacket, RuleEffect, Ruleset};

    /// Returns the effects that rules of ebtables have on datagrams to this destination, each with its certainty.
    fn effects(rules: &[&str], to: &str) -> Option<Vec<(RuleEffect, bool)>> {
        let lab = Lab::new().unwrap();
        let host = lab.host("a").unwrap();
        let run = |rule: &&str| {
            let output = host.command("ebtables-nft").unwrap().args(rule.split(' ')).output();
            output.is_ok_and(|output| output.status.success())
        };
        if !rules.iter().all(run) {
            mcast_lab::skip("this test needs ebtables-nft");
            return None;
        }
        let ruleset: Ruleset = host.run(crate::gather::linux::nftables::ruleset).unwrap().unwrap();
        let to: SocketAddr = to.parse().unwrap();
        let source = if to.is_ipv4() { "10.9.0.1:6000" } else { "[fe80::7]:6000" };
        let packet = KnownPacket::datagram(source.parse().unwrap(), to, Some(1))
            .arriving_on(InterfaceIndex::new(4).unwrap(), "e0");
        let outcomes = ruleset.trace(&packet, FilterLayer::Bridge, Hook::Prerouting, "e0");
        Some(outcomes.iter().map(|outcome| (outcome.effect, outcome.is_certain)).collect())
    }

    #[test]
    fn rule_of_ebtables_takes_what_its_conditions_name() {
        let rules = [
            "-t nat -A PREROUTING -p IPv4 --ip-dst 239.0.0.0/8 -j dnat --to-dst 02:00:00:00:00:09",
            "-t nat -A PREROUTING -p IPv6 --ip6-dst ff15::/16 --ip6-proto udp --ip6-dport 5000:5001 -j DROP",
        ];
        let Some(v4) = effects(&rules, "239.1.2.3:5000") else { return };
        assert_eq!(v4, [(RuleEffect::Readdress, true)]);
        assert_eq!(effects(&rules, "224.1.2.3:5000").unwrap(), []);
        assert_eq!(effects(&rules, "[ff15::1234]:5000").unwrap(), [(RuleEffect::Drop, true)]);
        assert_eq!(effects(&rules, "[ff15::1234]:5002").unwrap(), []);
        assert_eq!(effects(&rules, "[ff18::1234]:5000").unwrap(), []);
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_without_panic(data in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = (matching(false, &data), matching(true, &data));
        }
    }
}
