//! The filters of traffic control (`tc filter`), which act before the IP layer and behind it, from rtnetlink.

use std::io;

use mcast_sys::netlink::{Netlink, NetlinkProtocol, NetlinkReply, attribute, text, u32_at};

use crate::snapshot::{Link, TrafficFilter};

const NEW_FILTER: u16 = 44;
const GET_FILTER: u16 = 46;
/// The length of `struct tcmsg`.
const HEADER: usize = 20;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
/// `TCA_BPF_NAME`
const BPF_NAME: u16 = 7;
const INGRESS: u32 = 0xffff_fff2;
const EGRESS: u32 = 0xffff_fff3;

/// Adds the filters to the interfaces that have any.
pub(super) fn add(links: &mut [Link]) -> io::Result<()> {
    let mut netlink = Netlink::open(NetlinkProtocol::Route)?;
    for link in links.iter_mut().filter(|link| link.classifier.is_some()) {
        for (parent, is_ingress) in [(INGRESS, true), (EGRESS, false)] {
            let replies = netlink.dump(GET_FILTER, &request(link.index().number(), parent))?;
            for filter in replies.iter().filter_map(|reply| filter(reply, is_ingress)) {
                // A filter is listed with each of its tables and entries.
                let same = |other: &&mut TrafficFilter| {
                    (other.is_ingress, other.preference) == (filter.is_ingress, filter.preference)
                };
                match link.filters.iter_mut().find(same) {
                    Some(known) => known.name = known.name.take().or(filter.name),
                    None => link.filters.push(filter),
                }
            }
        }
    }
    Ok(())
}

fn request(interface: u32, parent: u32) -> Vec<u8> {
    let mut body = vec![0; HEADER];
    body[4..8].copy_from_slice(&interface.to_ne_bytes());
    body[12..16].copy_from_slice(&parent.to_ne_bytes());
    body
}

fn filter(reply: &NetlinkReply, is_ingress: bool) -> Option<TrafficFilter> {
    let (header, attributes) = reply.payload.split_at_checked(HEADER).filter(|_| reply.kind == NEW_FILTER)?;
    let options = attribute(attributes, TCA_OPTIONS);
    Some(TrafficFilter {
        kind: text(attribute(attributes, TCA_KIND)?),
        is_ingress,
        preference: u32_at(header, 16)? >> 16,
        name: options
            .and_then(|options| attribute(options, BPF_NAME))
            .map(text)
            .filter(|name| !name.is_empty()),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What Linux 6.18 reports for `tc filter add dev lo ingress pref 49152 bpf bytecode '1,6 0 0 2' direct-action`.
    const FILTER: &str = "000000000100000001000000f2ffffff000300c0080001006270660008000b0000000000280002000600040001 \
        0000000c000500060000000200000008000800010000000800090008000000";

    fn bytes(hexadecimal: &str) -> Vec<u8> {
        let digits: Vec<_> = hexadecimal.chars().filter_map(|digit| digit.to_digit(16)).collect();
        digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
    }

    #[test]
    fn filter_of_the_kernel_is_parsed() {
        let reply = NetlinkReply { kind: NEW_FILTER, payload: bytes(FILTER) };
        let expected = TrafficFilter { kind: "bpf".into(), is_ingress: true, preference: 49_152, name: None };
        assert_eq!(filter(&reply, true), Some(expected));
    }

    proptest! {
        #[test]
        fn any_message_is_parsed_without_panic(payload in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = filter(&NetlinkReply { kind: NEW_FILTER, payload }, true);
        }
    }
}
