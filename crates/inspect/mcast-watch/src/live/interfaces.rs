//! The interfaces that selectors mean.

use mcast::{Family, Group, Interface, InterfaceSelector};

use super::LiveError;

/// Returns the interfaces that a selector means, for a group if there is one: `all` are those on which groups are joined
/// by default, `default` is the one that the routing table selects.
///
/// # Errors
/// [`LiveError::NoInterface`], [`LiveError::NoDefaultInterface`], and [`LiveError::Multicast`] if there is no such
/// interface.
pub fn selected_interfaces(
    selector: &InterfaceSelector,
    group: Option<Group>,
) -> Result<Vec<Interface>, LiveError> {
    match selector {
        InterfaceSelector::All => {
            let mut all = mcast::interfaces()?;
            all.retain(Interface::is_joined_by_default);
            if all.is_empty() { Err(LiveError::NoInterface) } else { Ok(all) }
        }
        InterfaceSelector::Default => {
            let default = match group {
                Some(group) => mcast::default_interface(group)?,
                None => mcast::default_interface_of(Family::V4)?
                    .map_or_else(|| mcast::default_interface_of(Family::V6), |found| Ok(Some(found)))?,
            };
            Ok(vec![default.ok_or(LiveError::NoDefaultInterface)?])
        }
        named => Ok(vec![mcast::find(named)?]),
    }
}
