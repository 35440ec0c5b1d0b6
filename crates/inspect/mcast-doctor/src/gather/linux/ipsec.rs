//! The IPsec policies for packets that arrive, from `NETLINK_XFRM`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mcast_sys::netlink::{NetlinkProtocol, NetlinkReply, attribute, u16_at, u32_at};

use super::dump;
use crate::snapshot::{IpsecAction, IpsecPolicy};

const NEW_POLICY: u16 = 0x13;
const GET_POLICY: u16 = 0x15;
/// The length of `struct xfrm_userpolicy_id`.
const REQUEST: usize = 64;
/// The length of `struct xfrm_userpolicy_info`.
const HEADER: usize = 168;
/// `XFRMA_TMPL`
const TEMPLATES: u16 = 5;
const INCOMING: u8 = 0;
const BLOCK: u8 = 1;
const AF_INET6: u16 = 10;

/// Returns the policies. A kernel without IPsec has none, and reading them needs `CAP_NET_ADMIN`: without it, the counters
/// still show what they reject.
pub(super) fn policies() -> Vec<IpsecPolicy> {
    let replies = dump(NetlinkProtocol::Ipsec, GET_POLICY, &[0; REQUEST]).unwrap_or_default();
    replies.iter().filter_map(policy).collect()
}

/// Reads a `struct xfrm_userpolicy_info`, which begins with a `struct xfrm_selector`.
fn policy(reply: &NetlinkReply) -> Option<IpsecPolicy> {
    let (header, attributes) = reply.payload.split_at_checked(HEADER).filter(|_| reply.kind == NEW_POLICY)?;
    (header.get(160)? == &INCOMING).then_some(())?;
    let is_v6 = u16_at(header, 40)? == AF_INET6;
    let network = |start: usize, prefix: usize| Some((address(header, start, is_v6)?, *header.get(prefix)?));
    let port = header.get(32..34)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))?;
    let action = match (*header.get(161)?, attribute(attributes, TEMPLATES)) {
        (BLOCK, _) => IpsecAction::Block,
        (_, Some(_)) => IpsecAction::Protect,
        (_, None) => IpsecAction::Allow,
    };
    Some(IpsecPolicy {
        destination: network(0, 42)?,
        source: network(16, 43)?,
        port: (u16_at(header, 34)? != 0).then_some(port),
        protocol: *header.get(44)?,
        priority: u32_at(header, 152)?,
        action,
    })
}

fn address(header: &[u8], start: usize, is_v6: bool) -> Option<IpAddr> {
    let bytes: &[u8; 16] = header.get(start..)?.first_chunk()?;
    Some(if is_v6 {
        Ipv6Addr::from(*bytes).into()
    } else {
        Ipv4Addr::from(*bytes.first_chunk::<4>()?).into()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reply(direction: u8, action: u8) -> NetlinkReply {
        let mut payload = vec![0; HEADER];
        payload[..4].copy_from_slice(&[239, 1, 0, 0]);
        payload[16..20].copy_from_slice(&[10, 9, 0, 0]);
        payload[32..36].copy_from_slice(&[0x13, 0x88, 0xff, 0xff]);
        payload[40..42].copy_from_slice(&2_u16.to_ne_bytes());
        payload[42..45].copy_from_slice(&[16, 24, 17]);
        payload[152..156].copy_from_slice(&7_u32.to_ne_bytes());
        (payload[160], payload[161]) = (direction, action);
        NetlinkReply { kind: NEW_POLICY, payload }
    }

    #[test]
    fn policy_for_packets_that_arrive_is_read() {
        let read = policy(&reply(0, 1)).unwrap();
        let text = "src 10.9.0.0/24 dst 239.1.0.0/16 proto udp dport 5000 action block priority 7";
        assert_eq!(read.to_string(), text);
        assert_eq!(policy(&reply(1, 1)), None, "for packets that leave");
        assert_eq!(policy(&reply(0, 0)).unwrap().action, IpsecAction::Allow);
        let mut protected = reply(0, 0);
        protected.payload.extend([8, 0, 5, 0, 0, 0, 0, 0]);
        assert_eq!(policy(&protected).unwrap().action, IpsecAction::Protect);
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_without_panic(payload in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = policy(&NetlinkReply { kind: NEW_POLICY, payload });
        }
    }
}
