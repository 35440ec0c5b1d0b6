//! What receives the frames of an interface without being visible as an interface of this network namespace.

use std::io;

use mcast_group::InterfaceIndex;

use super::bystanders::captures;
use crate::netlink::{Netlink, NetlinkProtocol, attribute, attributes, text, u32_at};

/// `struct ifinfomsg`. A dump of forwarding entries that begins with it is limited to one interface.
const LINK_HEADER: usize = 16;
/// The size of `struct ndmsg`.
const NEIGHBOUR_HEADER: usize = 12;
const NTF_SELF: u8 = 2;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;

/// The size of `struct tcmsg`.
const TRAFFIC_HEADER: usize = 20;
/// Where the filters of `ingress` and `clsact` are: `TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)`.
const AT_INGRESS: u32 = 0xffff_fff2;

/// `NFT_MSG_GETCHAIN` of `NFNL_SUBSYS_NFTABLES`.
const GET_CHAINS: u16 = 10 << 8 | 4;
/// The size of `struct nfgenmsg`.
const NETFILTER_HEADER: usize = 4;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_DEV: u16 = 3;
const NFTA_HOOK_DEVS: u16 = 4;
/// `NF_NETDEV_INGRESS`, and `NF_INET_INGRESS` of the family inet.
const INGRESS_HOOKS: [(u8, u32); 2] = [(5, 0), (1, 5)];

/// Who needs the frames of an interface before, or beside, the sockets of this network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sharing {
    /// Something that is not visible here.
    Elsewhere,
    /// Rules for frames that arrive.
    IngressRules,
}

/// An interface, and what of it this namespace can explain.
#[derive(Debug)]
pub(super) struct Shared<'a> {
    pub(super) interface: InterfaceIndex,
    pub(super) name: &'a str,
    /// How often somebody requested all frames of it, without an administrator (`ip link set promisc on`).
    pub(super) promiscuity: u32,
    /// Addresses that interfaces for VLANs have, which receive only tagged frames.
    pub(super) vlan_addresses: Vec<&'a [u8]>,
}

impl Shared<'_> {
    pub(super) fn with(&self, netlink: &mut Netlink) -> io::Result<Option<Sharing>> {
        if self.has_foreign_address(netlink)? || self.is_promiscuous_for_others()? {
            return Ok(Some(Sharing::Elsewhere));
        }
        Ok((self.has_filters(netlink)? || self.has_chains()?).then_some(Sharing::IngressRules))
    }

    /// Whether it receives frames for another unicast address. An interface of kind macvlan or ipvlan adds its own address to the
    /// list of the one below, whichever namespace it is in.
    fn has_foreign_address(&self, netlink: &mut Netlink) -> io::Result<bool> {
        let mut body = vec![0; LINK_HEADER];
        body[0] = libc::AF_BRIDGE as u8;
        body[4..8].copy_from_slice(&self.interface.number().to_ne_bytes());
        let entries = netlink.dump(libc::RTM_GETNEIGH, &body)?;
        let is_foreign = |payload: &[u8]| {
            let is_own_list = u32_at(payload, 4) == Some(self.interface.number())
                && payload.get(10).is_some_and(|flags| flags & NTF_SELF != 0);
            let Some(rest) = payload.get(NEIGHBOUR_HEADER..).filter(|_| is_own_list) else { return false };
            // Those of a tunnel name the other end.
            let is_of_tunnel = attribute(rest, NDA_DST).is_some();
            let address = attribute(rest, NDA_LLADDR).filter(|address| is_unicast(address));
            !is_of_tunnel && address.is_some_and(|address| !self.vlan_addresses.contains(&address))
        };
        Ok(entries.iter().any(|reply| is_foreign(&reply.payload)))
    }

    /// Whether something other than a program that captures here receives all frames: [`super::Bystanders`] names programs.
    fn is_promiscuous_for_others(&self) -> io::Result<bool> {
        Ok(self.promiscuity > 0 && !captures(self.interface)?)
    }

    /// Whether traffic control has filters for frames that arrive.
    fn has_filters(&self, netlink: &mut Netlink) -> io::Result<bool> {
        let mut body = vec![0; TRAFFIC_HEADER];
        body[4..8].copy_from_slice(&self.interface.number().to_ne_bytes());
        body[12..16].copy_from_slice(&AT_INGRESS.to_ne_bytes());
        let filters = known(netlink.dump(libc::RTM_GETTFILTER, &body))?.unwrap_or_default();
        Ok(!filters.is_empty())
    }

    /// Whether nftables has a chain for frames that arrive.
    fn has_chains(&self) -> io::Result<bool> {
        let Some(mut netlink) = known(Netlink::open(NetlinkProtocol::Netfilter))? else { return Ok(false) };
        let chains = known(netlink.dump(GET_CHAINS, &[0; NETFILTER_HEADER]))?.unwrap_or_default();
        Ok(chains.iter().any(|reply| hooks_ingress(&reply.payload, self.name)))
    }
}

fn is_unicast(address: &[u8]) -> bool {
    address.first().is_some_and(|first| first & 1 == 0)
}

/// `None` if this kernel does not have the mechanism, or does not show it to this process, which then lacks the rights for a program.
fn known<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) => match error.raw_os_error() {
            Some(
                libc::EPERM
                | libc::EINVAL
                | libc::ENOENT
                | libc::EOPNOTSUPP
                | libc::EPROTONOSUPPORT
                | libc::ENODEV,
            ) => Ok(None),
            _ => Err(error),
        },
    }
}

/// Whether a chain, as the kernel describes it, is one for frames that arrive on this interface.
fn hooks_ingress(payload: &[u8], interface: &str) -> bool {
    let Some((family, rest)) = payload.first().zip(payload.get(NETFILTER_HEADER..)) else { return false };
    let Some(hook) = attribute(rest, NFTA_CHAIN_HOOK) else { return false };
    let number = attribute(hook, NFTA_HOOK_HOOKNUM).and_then(|value| value.first_chunk().copied());
    let is_ingress =
        number.is_some_and(|number| INGRESS_HOOKS.contains(&(*family, u32::from_be_bytes(number))));
    let one = attribute(hook, NFTA_HOOK_DEV);
    let several = attribute(hook, NFTA_HOOK_DEVS).into_iter().flat_map(attributes).map(|(_, name)| name);
    is_ingress && one.into_iter().chain(several).any(|name| text(name) == interface)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::push_attribute;

    fn chain(family: u8, hook: u32, devices: &[&[u8]]) -> Vec<u8> {
        let mut list = Vec::new();
        devices.iter().for_each(|name| push_attribute(&mut list, 1, name));
        let mut hooks = Vec::new();
        push_attribute(&mut hooks, NFTA_HOOK_HOOKNUM, &hook.to_be_bytes());
        push_attribute(&mut hooks, NFTA_HOOK_DEVS, &list);
        let mut payload = vec![family, 0, 0, 0];
        push_attribute(&mut payload, 1, b"table\0");
        push_attribute(&mut payload, NFTA_CHAIN_HOOK, &hooks);
        payload
    }

    #[test]
    fn chains_count_at_the_ingress_of_the_interface_only() {
        let devices: [&[u8]; 2] = [b"eth1\0", b"eth0\0"];
        assert!(hooks_ingress(&chain(5, 0, &devices), "eth0"), "netdev");
        assert!(hooks_ingress(&chain(1, 5, &devices), "eth0"), "inet");
        assert!(!hooks_ingress(&chain(5, 1, &devices), "eth0"), "egress");
        assert!(!hooks_ingress(&chain(1, 1, &devices), "eth0"), "input");
        assert!(!hooks_ingress(&chain(5, 0, &devices), "eth"), "another interface");
        for end in 0..chain(5, 0, &devices).len() {
            hooks_ingress(&chain(5, 0, &devices)[..end], "eth0");
        }
    }
}
