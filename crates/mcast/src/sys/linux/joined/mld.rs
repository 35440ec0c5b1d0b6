//! The MLD version in force on an interface, as far as the kernel lets it be known.
//!
//! No table has it. It can be forced; and where no query has ever come, no query of MLDv1 can
//! have put the interface into that version (RFC 3810 section 8.2.1). Otherwise it is unknown.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;

use crate::joined::Version;

/// The versions by interface, each found out once.
#[derive(Default)]
pub(super) struct Versions(RefCell<BTreeMap<String, Option<Version>>>);

impl Versions {
    pub(super) fn on(&self, interface: &str) -> Option<Version> {
        if let Some(version) = self.0.borrow().get(interface) {
            return *version;
        }
        let version = version_on(interface);
        self.0.borrow_mut().insert(interface.to_owned(), version);
        version
    }
}

fn version_on(interface: &str) -> Option<Version> {
    // What is forced for all interfaces precedes what is forced for one.
    match forced("all").or_else(|| forced(interface)) {
        Some(version) => Some(version),
        None => (queries_heard(interface)? == 0).then_some(Version::Mld2),
    }
}

fn forced(interface: &str) -> Option<Version> {
    let path = format!("/proc/sys/net/ipv6/conf/{interface}/force_mld_version");
    match fs::read_to_string(path).ok()?.trim() {
        "1" => Some(Version::Mld1),
        "2" => Some(Version::Mld2),
        _ => None,
    }
}

fn queries_heard(interface: &str) -> Option<u64> {
    let counters = fs::read_to_string(format!("/proc/thread-self/net/dev_snmp6/{interface}")).ok()?;
    counter(&counters, "Icmp6InGroupMembQueries")
}

/// A line is a name and its value.
fn counter(counters: &str, name: &str) -> Option<u64> {
    counters.lines().find_map(|line| {
        let (found, value) = line.split_once(char::is_whitespace)?;
        (found == name).then(|| value.trim().parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_found_by_its_whole_name() {
        let counters = "ifIndex                         \t4\nIcmp6InGroupMembQueries         \t12\nIcmp6InGroupMembResponses       \t7\n";
        assert_eq!(counter(counters, "Icmp6InGroupMembQueries"), Some(12));
        assert_eq!(counter(counters, "Icmp6InGroup"), None);
        assert_eq!(counter("", "ifIndex"), None);
    }
}
