//! The MLD version in use on an interface, as far as it can be determined.
//!
//! The kernel reports it in no table. The version can be forced by configuration. If no query was
//! ever received, no MLDv1 query can have switched the interface to that version (RFC 3810 section
//! 8.2.1). If queries were received, the version is unknown, because MLDv2 reports may be older
//! than the last query.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;

use crate::Version;

/// The version of each interface, determined once.
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
    // A version forced for all interfaces takes precedence over one forced for a single interface.
    match forced("all").or_else(|| forced(interface)) {
        Some(version) => Some(version),
        None => version_by(&counters(interface)?),
    }
}

/// Derives the version from the interface's ICMPv6 counters.
fn version_by(counters: &str) -> Option<Version> {
    (counter(counters, "Icmp6InGroupMembQueries")? == 0).then_some(Version::Mld2)
}

fn forced(interface: &str) -> Option<Version> {
    let path = format!("/proc/sys/net/ipv6/conf/{interface}/force_mld_version");
    match fs::read_to_string(path).ok()?.trim() {
        "1" => Some(Version::Mld1),
        "2" => Some(Version::Mld2),
        _ => None,
    }
}

fn counters(interface: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/thread-self/net/dev_snmp6/{interface}")).ok()
}

/// Finds a counter. Each line has a name and a value.
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
    fn the_version_is_known_only_if_no_query_was_received() {
        let version = |queries: u64| version_by(&format!("Icmp6InGroupMembQueries {queries}\n"));
        assert_eq!((version(0), version(9)), (Some(Version::Mld2), None));
    }

    #[test]
    fn a_counter_is_found_by_its_whole_name() {
        let counters = "ifIndex                         \t4\nIcmp6InGroupMembQueries         \t12\nIcmp6InGroupMembResponses       \t7\n";
        assert_eq!(counter(counters, "Icmp6InGroupMembQueries"), Some(12));
        assert_eq!(counter(counters, "Icmp6InGroup"), None);
        assert_eq!(counter("", "ifIndex"), None);
    }
}
