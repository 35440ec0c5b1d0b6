//! Warnings about interfaces on which nothing can arrive, although a group was joined or a capture was opened there:
//! Linux allows both on an interface that is down, and joins on one that has no IPv6, and does not report when one vanishes.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use mcast::interface::Interface;
use mcast::{Error, ErrorKind, Family, InterfaceSelector, MembershipStatus};
use mcast_terminal::Console;
use mcast_watch::live::selected_interfaces;

/// The time between checks of a command that runs.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Reports each reason once, and a second time only if it did not apply in between.
#[derive(Debug, Default)]
pub(crate) struct SilentInterfaces {
    reported: BTreeSet<String>,
    last_check: Option<Instant>,
    /// Interfaces that were selected by name, and on which a group was joined, and whether it is an IPv6 group. One that was
    /// removed or renamed has no membership any more.
    selected: BTreeSet<(String, bool)>,
}

impl SilentInterfaces {
    /// Warns about the interfaces on which these memberships are joined.
    pub(crate) fn warn(&mut self, statuses: &[MembershipStatus], console: &Console) {
        self.selected.extend(statuses.iter().flat_map(selected_and_joined));
        let selected = self.selected.clone();
        let selected = selected.iter().map(|(name, is_v6)| (name.as_str(), *is_v6));
        self.warn_about(statuses.iter().flat_map(joined_by).chain(selected), console);
    }

    /// Does the same at most once per second, while a command runs.
    pub(crate) fn warn_regularly(
        &mut self,
        statuses: impl FnOnce() -> Vec<MembershipStatus>,
        console: &Console,
    ) {
        if self.last_check.is_none_or(|last| last.elapsed() >= CHECK_INTERVAL) {
            self.warn(&statuses(), console);
        }
    }

    /// Warns about the interface that `-i` selects, before a search on it.
    pub(crate) fn warn_about_selected(
        selector: &InterfaceSelector,
        family: Option<Family>,
        console: &Console,
    ) {
        // The search reports an interface that does not exist.
        let Ok(found) = selected_interfaces(selector, None) else { return };
        let is_v6 = family == Some(Family::V6);
        Self::default().warn_about(found.iter().map(|interface| (interface.name.as_str(), is_v6)), console);
    }

    pub(crate) fn warn_about_captured(&mut self, interfaces: &[Interface], console: &Console) {
        self.of_captured(interfaces).into_iter().for_each(|reason| console.warn(reason));
    }

    /// Returns what is new about interfaces on which frames are captured, for which addresses do not matter.
    pub(crate) fn of_captured(&mut self, interfaces: &[Interface]) -> Vec<String> {
        self.reasons(interfaces.iter().map(|interface| (interface.name.as_str(), false)))
    }

    fn warn_about<'a>(&mut self, names: impl Iterator<Item = (&'a str, bool)>, console: &Console) {
        if !console.is_quiet() {
            self.reasons(names).into_iter().for_each(|reason| console.warn(reason));
        }
    }

    /// Returns the reasons that are new. The names have whether IPv6 is received there.
    fn reasons<'a>(&mut self, names: impl Iterator<Item = (&'a str, bool)>) -> Vec<String> {
        self.last_check = Some(Instant::now());
        // If interfaces cannot be listed, no problem with them is known.
        let Ok(interfaces) = mcast::interface::list() else { return Vec::new() };
        let names: BTreeSet<_> = names.collect();
        let reasons = names.into_iter().filter_map(|(name, is_v6)| {
            let found = interfaces.iter().find(|interface| interface.name == name);
            let gone = || Some(format!("{name} is gone: nothing arrives on it"));
            found.map_or_else(gone, |found| why(found, is_v6))
        });
        let before = std::mem::replace(&mut self.reported, reasons.collect());
        self.reported.difference(&before).cloned().collect()
    }
}

/// Returns the interfaces on which a group was joined, including those deleted since, and whether it is an IPv6 group.
fn joined_by(status: &MembershipStatus) -> impl Iterator<Item = (&str, bool)> {
    let is_v6 = status.membership.address.group.family() == Family::V6;
    let was_joined = |failure: &Error| failure.kind() == ErrorKind::NoSuchInterface;
    let joined = status.interfaces.iter().filter(move |each| each.failure.as_ref().is_none_or(was_joined));
    joined.map(move |interface| (interface.name.as_str(), is_v6))
}

/// Returns the interface of a membership that selects it by name, if it is joined there.
fn selected_and_joined(status: &MembershipStatus) -> Option<(String, bool)> {
    let Some(InterfaceSelector::Name(name)) = &status.membership.interface else { return None };
    joined_by(status).find(|(joined, _)| joined == name).map(|(name, is_v6)| (name.to_owned(), is_v6))
}

fn why(interface: &Interface, is_v6: bool) -> Option<String> {
    let name = &interface.name;
    if !interface.up {
        return Some(format!("{name} is down: nothing arrives on it until it is up"));
    }
    let has_none = is_v6 && interface.addresses_of(Family::V6).next().is_none();
    has_none.then(|| format!("{name} has no IPv6 address: if IPv6 is disabled, nothing arrives"))
}
