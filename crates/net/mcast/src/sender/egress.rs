//! The interfaces by which a sender sends, and their source addresses.

use std::net::{IpAddr, SocketAddr};
use std::sync::{PoisonError, RwLock};

use mcast_group::{Family, Group, InterfaceIndex, InterfaceSelector};

use crate::error::{Error, ErrorKind, Operation, Result};
use crate::interface::{self, Interface, select};

/// The outgoing interfaces. If there are none, the route to the group decides.
#[derive(Debug)]
pub(crate) struct Egress {
    selectors: Vec<InterfaceSelector>,
    indexes: RwLock<Vec<InterfaceIndex>>,
    follow: bool,
}

impl Egress {
    /// Resolves these selectors. With `follow`, an interface that does not exist yet is looked up
    /// again when sending.
    pub(crate) fn resolve(
        selectors: &[InterfaceSelector],
        to: Option<SocketAddr>,
        follow: bool,
    ) -> Result<Self> {
        let selectors: Vec<_> =
            selectors.iter().filter(|selector| **selector != InterfaceSelector::Default).cloned().collect();
        let indexes = match look_up(&selectors, to) {
            Err(_) if follow => Vec::new(),
            result => result?,
        };
        Ok(Self { selectors, indexes: RwLock::new(indexes), follow })
    }

    /// Returns the only outgoing interface, or `Some(None)` for the route; `None` if there are
    /// several, or none yet.
    #[inline]
    pub(crate) fn single(&self) -> Option<Option<InterfaceIndex>> {
        if self.selectors.is_empty() {
            return Some(None);
        }
        match self.indexes.read().unwrap_or_else(PoisonError::into_inner)[..] {
            [index] => Some(Some(index)),
            _ => None,
        }
    }

    /// Calls `send` for each interface, or once for the route; returns the first failure.
    pub(crate) fn each(&self, mut send: impl FnMut(Option<InterfaceIndex>) -> Result<()>) -> Result<()> {
        if self.selectors.is_empty() {
            return send(None);
        }
        let indexes = self.indexes.read().unwrap_or_else(PoisonError::into_inner);
        if indexes.is_empty() {
            return Err(
                Error::new(Operation::Send, ErrorKind::NoSuchInterface).on_interface(&self.selectors[0])
            );
        }
        super::first_error(indexes.iter().map(|index| send(Some(*index))))
    }

    /// Looks the interfaces up again if they are followed; returns whether they changed.
    pub(crate) fn refresh_egress(&self, to: Option<SocketAddr>) -> Result<bool> {
        if !self.follow || self.selectors.is_empty() {
            return Ok(false);
        }
        let Ok(current) = look_up(&self.selectors, to) else {
            return Ok(false);
        };
        let mut indexes = self.indexes.write().unwrap_or_else(PoisonError::into_inner);
        let changed = *indexes != current;
        *indexes = current;
        Ok(changed)
    }
}

fn look_up(selectors: &[InterfaceSelector], to: Option<SocketAddr>) -> Result<Vec<InterfaceIndex>> {
    if selectors.is_empty() {
        return Ok(Vec::new());
    }
    let list = interface::list()?;
    let mut indexes = Vec::new();
    for selector in selectors {
        let found = find(selector, to, &list)?;
        for index in found {
            if !indexes.contains(&index) {
                indexes.push(index);
            }
        }
    }
    Ok(indexes)
}

fn find(
    selector: &InterfaceSelector,
    to: Option<SocketAddr>,
    list: &[Interface],
) -> Result<Vec<InterfaceIndex>> {
    let family = to.map_or(Family::V4, |to| Family::of(to.ip()));
    // Only a default interface needs the group, and the route decides about those.
    let any = || Group::new(std::net::Ipv4Addr::new(224, 0, 0, 1).into());
    let group = to.map_or_else(any, |to| Group::new(to.ip()).or_else(|_| any()));
    let group = group.map_err(|_| Error::new(Operation::Route, ErrorKind::Other))?;
    let found = select(selector, group, list, |_| Ok(None)).map_err(|error| match to {
        Some(to) => error.during(Operation::Send).on_address(to),
        None => error,
    })?;
    // "All interfaces" means all that have an address to send from.
    let all = *selector == InterfaceSelector::All;
    let usable =
        found.into_iter().filter(|interface| !all || interface.addresses_of(family).next().is_some());
    Ok(usable.map(|interface| interface.index_for(family)).collect())
}

/// Interfaces that are entries to have an address to send from.
///
/// It is a list, because a sender uses so few that searching it is faster than a table.
#[derive(Debug, Default)]
pub(crate) struct Addressed {
    entries: RwLock<Vec<(Family, InterfaceIndex, Option<IpAddr>)>>,
}

impl Addressed {
    /// Returns the source address for an interface that is entries to have one: `Some` where the
    /// system uses it only if it is given explicitly.
    #[inline]
    pub(crate) fn find(&self, family: Family, index: InterfaceIndex) -> Option<Option<IpAddr>> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.iter().find(|(of, on, _)| (*of, *on) == (family, index)).map(|(_, _, named)| *named)
    }

    /// Looks up whether the interface has an address, and whether it must be given explicitly.
    pub(crate) fn look_up(&self, to: SocketAddr, index: InterfaceIndex) -> Result<Option<IpAddr>> {
        let family = Family::of(to.ip());
        let list = interface::list()?;
        let Some(interface) = list.iter().find(|interface| interface.index_for(family) == index) else {
            return Err(Error::new(Operation::Send, ErrorKind::NoSuchInterface)
                .on_address(to)
                .on_interface(index));
        };
        let Some(first) = interface.addresses_of(family).next() else {
            // An interface that is down has lost its IPv6 addresses.
            let why = if interface.up { ErrorKind::NoAddress } else { ErrorKind::InterfaceDown };
            return Err(Error::new(Operation::Send, why).on_address(to).on_interface(&interface.name));
        };
        // Linux does not choose a loopback address, whose scope is this host, and would send from
        // 0.0.0.0.
        let named = interface.loopback.then_some(first);
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|(of, on, _)| (*of, *on) != (family, index));
        entries.push((family, index, named));
        Ok(named)
    }
}

/// Returns the name of an interface for a message, or its index if it no longer exists.
pub(crate) fn name_of(index: InterfaceIndex) -> String {
    let list = interface::list().unwrap_or_default();
    list.into_iter()
        .find(|interface| interface.index == index)
        .map_or_else(|| index.to_string(), |interface| interface.name)
}

/// Adds the reason why an address is unreachable although the interface was named.
pub(crate) fn why_unreachable(error: Error, to: SocketAddr, index: Option<InterfaceIndex>) -> Error {
    let list = interface::list().unwrap_or_default();
    let family = Family::of(to.ip());
    let Some(interface) = list.iter().find(|interface| Some(interface.index_for(family)) == index) else {
        return error.because(ErrorKind::NoSuchInterface);
    };
    if !interface.up {
        return error.because(ErrorKind::InterfaceDown);
    }
    // An interface without IPv6 has no address either. With one, the routes or the rules for routing are at fault.
    let has_family = interface.addresses_of(family).next().is_some() && !interface.loopback;
    if family == Family::V6 && to.ip().is_multicast() && !has_family {
        let (why, remedy) = mcast_sys::why_no_ipv6(interface.loopback);
        let error = error.because(ErrorKind::FamilyUnavailable).detail(why);
        return match remedy {
            Some(remedy) => error.remedied(remedy),
            None => error,
        };
    }
    error
}

/// Returns whether an address belongs to this machine, as far as its interfaces can be read.
pub(crate) fn is_own(address: IpAddr) -> bool {
    let list = interface::list().unwrap_or_default();
    list.is_empty()
        || list.iter().flat_map(|interface| &interface.addresses).any(|own| own.address == address)
}

/// Adds the address to send from, which does not belong to this machine, and those that do.
pub(crate) fn not_own(error: Error, source: IpAddr) -> Error {
    let own = own_addresses(Family::of(source));
    let error = error.because(ErrorKind::AddressNotAvailable);
    match own.is_empty() {
        true => error.detail(format!("{source}")),
        false => error.detail(format!("{source}; this machine has {own}")),
    }
}

/// Returns the addresses of a family that this machine can send from, with their interfaces.
fn own_addresses(family: Family) -> String {
    const MAX_LISTED: usize = 8;
    let list = interface::list().unwrap_or_default();
    let usable = list.iter().filter(|interface| interface.up);
    let addresses = usable.flat_map(|interface| {
        interface.addresses_of(family).map(|address| format!("{address} ({})", interface.name))
    });
    let all: Vec<_> = addresses.collect();
    match all.len().saturating_sub(MAX_LISTED) {
        0 => all.join(", "),
        more => format!("{} and {more} more", all[..MAX_LISTED].join(", ")),
    }
}
