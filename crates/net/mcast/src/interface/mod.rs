//! Network interfaces: listing, selecting and watching them.

mod watch;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mcast_group::{Family, Group, InterfaceIndex, InterfaceSelector};

use crate::error::{Error, ErrorKind, Operation, Result};
#[doc(inline)]
pub use mcast_sys::{AddressState, HardwareAddress, Interface, InterfaceAddress, Warning};
pub use watch::{InterfaceChange, InterfaceWatcher};

/// Returns all interfaces of this machine, ordered by index; on Linux, those of the calling
/// thread's network namespace.
///
/// # Errors
/// If the system refuses to list them.
pub fn list() -> Result<Vec<Interface>> {
    mcast_sys::interface::list().map_err(|error| Error::os(Operation::Interfaces, error))
}

/// The group that represents all of IPv4: one from the administratively scoped block (RFC 2365)
/// without an assigned meaning.
const ANY_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(239, 255, 0, 1));
/// The same for IPv6: transient and site-local (RFC 4291 section 2.7).
const ANY_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0, 1));

/// Returns the interface that the routing table selects for multicast of a family: the one for
/// 239.255.0.1 or ff15::1. Groups with routes of their own may use another; see
/// [`towards`].
///
/// # Errors
/// If the system refuses the lookup.
pub fn default_of(family: Family) -> Result<Option<Interface>> {
    towards(match family {
        Family::V4 => ANY_V4,
        Family::V6 => ANY_V6,
    })
}

/// Returns the interface that the system selects for a sender to this group or host that names none: the result of a
/// lookup in the routing table, policy rules included. On Linux, the table of the calling thread's network namespace. Returns
/// `None` if there is no route.
///
/// With several equal IPv6 routes (Linux has one per interface), the system may choose another
/// route for another datagram; name an interface where that matters.
///
/// # Errors
/// If the system refuses the lookup.
pub fn towards(address: IpAddr) -> Result<Option<Interface>> {
    let index =
        mcast_sys::route::interface_towards(address).map_err(|error| Error::os(Operation::Route, error))?;
    let Some(index) = index else { return Ok(None) };
    let family = Family::of(address);
    Ok(list()?.into_iter().find(|interface| interface.index_for(family) == index))
}

/// Interfaces for unit tests.
#[cfg(test)]
pub(crate) mod examples {
    use mcast_group::InterfaceIndex;

    use super::*;

    /// Returns an interface that is up, running and able to multicast, without addresses.
    pub(crate) fn interface(index: u32, name: &str) -> Interface {
        let mut interface = Interface::new(InterfaceIndex::new(index).unwrap(), name.into());
        (interface.up, interface.running, interface.multicast) = (true, true, true);
        interface.mtu = 1500;
        interface.hardware_address = Some(HardwareAddress([2, 0, 0, 0, 0, index as u8]));
        interface
    }

    pub(crate) fn loopback() -> Interface {
        changed(interface(1, "lo"), |lo| {
            (lo.multicast, lo.loopback, lo.hardware_address) = (false, true, None);
            lo.addresses = vec![address("127.0.0.1", 8), address("::1", 128)];
        })
    }

    pub(crate) fn changed(mut interface: Interface, change: impl FnOnce(&mut Interface)) -> Interface {
        change(&mut interface);
        interface
    }

    pub(crate) fn address(address: &str, prefix: u8) -> InterfaceAddress {
        InterfaceAddress::new(address.parse().unwrap(), prefix)
    }
}

/// Finds the one interface with a name, index or address.
///
/// In text form, `all`, `default` and plain numbers are never names. Use the index or
/// [`InterfaceSelector::Name`] for an interface that has such a name.
///
/// # Errors
/// [`ErrorKind::NoSuchInterface`] if none matches, with a list of the interfaces that exist, or if
/// several have the address (which is possible for link-local addresses); [`ErrorKind::Mismatch`]
/// for [`InterfaceSelector::Default`] and [`InterfaceSelector::All`], which do not name a single
/// interface without a group (see [`towards`]).
pub fn find(selector: &InterfaceSelector) -> Result<Interface> {
    find_in(&list()?, selector).cloned()
}

/// Returns the interfaces in a listing that a selector means for a group.
///
/// `route` is called only for [`InterfaceSelector::Default`].
pub(crate) fn select<'a>(
    selector: &InterfaceSelector,
    group: Group,
    interfaces: &'a [Interface],
    route: impl FnOnce(Group) -> Result<Option<InterfaceIndex>>,
) -> Result<Vec<&'a Interface>> {
    match selector {
        InterfaceSelector::Default => {
            let index = route(group)?.ok_or_else(|| Error::new(Operation::Route, ErrorKind::NoRoute))?;
            find_in(interfaces, &InterfaceSelector::Index(index)).map(|interface| vec![interface])
        }
        InterfaceSelector::All => {
            let all: Vec<_> =
                interfaces.iter().filter(|interface| interface.is_joined_by_default()).collect();
            if all.is_empty() {
                return Err(Error::new(Operation::Interfaces, ErrorKind::NoUsableInterface)
                    .detail(existing(interfaces)));
            }
            Ok(all)
        }
        named => find_in(interfaces, named).map(|interface| vec![interface]),
    }
}

fn find_in<'a>(interfaces: &'a [Interface], selector: &InterfaceSelector) -> Result<&'a Interface> {
    let refused =
        |kind, detail: String| Error::new(Operation::Find, kind).on_interface(selector).detail(detail);
    let found: Vec<_> = match selector {
        InterfaceSelector::Default | InterfaceSelector::All => {
            let detail = format!("\"{selector}\" does not name a single interface");
            return Err(refused(ErrorKind::Mismatch, detail));
        }
        InterfaceSelector::Name(name) => interfaces.iter().filter(|each| each.name == *name).collect(),
        InterfaceSelector::Index(index) => interfaces.iter().filter(|each| has_index(each, *index)).collect(),
        InterfaceSelector::Address(address) => {
            interfaces.iter().filter(|each| has_address(each, *address)).collect()
        }
    };
    match found.as_slice() {
        [interface] => Ok(interface),
        [] => {
            let hint = hint(selector).map(|hint| format!("{hint}; ")).unwrap_or_default();
            Err(refused(ErrorKind::NoSuchInterface, hint + &existing(interfaces)))
        }
        several => {
            let names: Vec<_> = several.iter().map(|interface| interface.name.as_str()).collect();
            let detail = format!("several interfaces have this address ({})", names.join(", "));
            Err(refused(ErrorKind::NoSuchInterface, detail).remedied("use the name of the interface"))
        }
    }
}

fn has_index(interface: &Interface, index: InterfaceIndex) -> bool {
    interface.index == index || interface.index_for(Family::V6) == index
}

fn has_address(interface: &Interface, address: IpAddr) -> bool {
    interface.addresses.iter().any(|entry| entry.address == address.to_canonical())
}

/// Returns a hint about a name that no interface has.
fn hint(selector: &InterfaceSelector) -> Option<&'static str> {
    match selector {
        InterfaceSelector::Name(name) if name == "any" => Some("`all` means every interface"),
        InterfaceSelector::Name(name) if name.contains(',') => Some("name each interface separately"),
        _ => None,
    }
}

/// Returns a short list of the existing interfaces, for the detail of an error.
fn existing(interfaces: &[Interface]) -> String {
    const SHOWN: usize = 10;

    if interfaces.is_empty() {
        return "this machine has no interfaces".into();
    }
    let mut names: Vec<_> = interfaces
        .iter()
        .take(SHOWN)
        .map(|interface| {
            let state = if interface.up { "" } else { ", down" };
            format!("{} ({}{state})", interface.name, interface.index)
        })
        .collect();
    if interfaces.len() > SHOWN {
        names.push(format!("and {} more", interfaces.len() - SHOWN));
    }
    format!("this machine has {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::examples::{address, changed, interface, loopback};
    use super::*;

    fn machine() -> Vec<Interface> {
        let mut eth0 = interface(2, "eth0");
        eth0.addresses = vec![address("10.0.0.1", 24), address("fe80::1", 64)];
        let mut eth1 = interface(3, "eth1");
        eth1.addresses = vec![address("10.1.0.1", 24), address("fe80::1", 64)];
        let down = changed(interface(4, "eth2"), |each| (each.up, each.running) = (false, false));
        let port = changed(interface(5, "port"), |each| each.port_of = InterfaceIndex::new(6));
        vec![loopback(), eth0, eth1, down, port, interface(6, "br0")]
    }

    fn group() -> Group {
        "239.1.2.3".parse().unwrap()
    }

    fn names(selector: &str, route: Option<u32>) -> Result<Vec<String>> {
        let machine = machine();
        let found = select(&selector.parse().unwrap(), group(), &machine, |_| {
            Ok(route.and_then(InterfaceIndex::new))
        })?;
        Ok(found.iter().map(|interface| interface.name.clone()).collect())
    }

    #[test]
    fn an_interface_is_found_by_name_index_and_address() {
        assert_eq!(names("eth1", None).unwrap(), ["eth1"]);
        assert_eq!(names("3", None).unwrap(), ["eth1"]);
        assert_eq!(names("10.1.0.1", None).unwrap(), ["eth1"]);
        assert_eq!(names("::1", None).unwrap(), ["lo"]);
        assert_eq!(names("::ffff:10.0.0.1", None).unwrap(), ["eth0"]);
    }

    #[test]
    fn an_unknown_interface_is_refused_with_a_list_of_the_existing_ones() {
        let error = names("eth7", None).unwrap_err();
        assert_eq!((error.kind(), error.interface()), (ErrorKind::NoSuchInterface, Some("eth7")));
        assert_eq!(
            error.to_string(),
            "cannot find the interface eth7: no such interface: this machine has lo (1), eth0 (2), eth1 (3), \
             eth2 (4, down), port (5), br0 (6)"
        );
    }

    #[test]
    fn an_address_of_several_interfaces_is_refused_with_their_names() {
        let error = names("fe80::1", None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot find the interface fe80::1: no such interface: several interfaces have this address \
             (eth0, eth1)"
        );
        assert_eq!(error.remedy().as_deref(), Some("use the name of the interface"));
    }

    #[test]
    fn all_omits_loopback_ports_and_interfaces_that_are_down() {
        assert_eq!(names("all", None).unwrap(), ["eth0", "eth1", "br0"]);
    }

    #[test]
    fn all_without_a_usable_interface_is_an_error() {
        let only_loopback = [loopback()];
        let error = select(&InterfaceSelector::All, group(), &only_loopback, |_| Ok(None)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoUsableInterface);
    }

    #[test]
    fn default_is_the_interface_of_the_route() {
        assert_eq!(names("default", Some(2)).unwrap(), ["eth0"]);
        assert_eq!(names("default", None).unwrap_err().kind(), ErrorKind::NoRoute);
    }

    #[test]
    fn a_name_that_looks_like_a_keyword_or_number_is_found_by_name() {
        let machine = [interface(2, "all"), interface(3, "2")];
        let found = find_in(&machine, &InterfaceSelector::Name("all".into())).unwrap();
        assert_eq!(found.index.number(), 2);
        let found = find_in(&machine, &InterfaceSelector::Name("2".into())).unwrap();
        assert_eq!(found.index.number(), 3);
    }

    #[test]
    fn a_long_list_is_cut_short() {
        let many: Vec<_> = (1..=30).map(|index| interface(index, &format!("eth{index}"))).collect();
        assert!(existing(&many).ends_with("eth10 (10), and 20 more"));
    }
}
