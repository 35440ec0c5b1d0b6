//! The tests that compare what is discovered with what programs for one protocol each show. They are left to hosted CI and
//! `cargo soak`, because they need many programs.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::iter;

use anyhow::{Context, Result};

use super::engines;
use crate::command::{program, succeeds};

/// Packages of Debian that only these tests need, and what they show.
pub(super) const PACKAGES: [(&str, &str); 18] = [
    ("bird2", "speaks OSPF"),
    ("frr", "speaks PIM"),
    ("gir1.2-gssdp-1.6", "announces devices by SSDP"),
    ("gupnp-tools", "lists devices by SSDP"),
    ("keepalived", "speaks VRRP"),
    ("knxd", "answers as a KNX server"),
    ("libcoap3-bin", "has a CoAP server and client"),
    ("linuxptp", "is a PTP clock"),
    ("lldpd", "lists neighbors by LLDP and CDP"),
    ("miniupnpd", "announces a router by SSDP"),
    ("minissdpd", "keeps devices by SSDP"),
    ("ola", "is an Art-Net node"),
    ("python3-gi", "announces devices by SSDP"),
    ("python3-scapy", "reads HSRP"),
    ("smcroute", "announces a multicast router"),
    ("vlc-bin", "announces sessions by SAP"),
    ("vlc-plugin-base", "announces sessions by SAP"),
    ("wsdd", "announces and finds hosts by WS-Discovery"),
];

pub(super) const PACKAGE: &str = "mcast-watch";

/// Returns a filter of nextest that selects the tests.
pub(super) fn filter() -> String {
    format!(
        "package({PACKAGE}) & (binary(discovery_foreign) | binary(specialists) | (binary(discovery_mdns) & test(systemd_resolved)))"
    )
}

/// Unpacks systemd-resolved, a responder of mDNS. Its package is not installed: it would take over the names of the machine.
pub(super) fn unpack_resolved() -> Result<()> {
    let folder = crate::root().join("target/resolved");
    if folder.join("lib/systemd/systemd-resolved").exists() {
        return Ok(());
    }
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let mut fetch = program("apt-get", ["download", "systemd-resolved"]);
    fetch.current_dir(&folder);
    // Where it cannot be fetched, the test that needs it is left out, and reports that.
    if succeeds(fetch) {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|ending| ending == "deb") {
                succeeds(program("dpkg", ["--extract".as_ref(), path.as_os_str(), folder.as_os_str()]));
            }
        }
    }
    Ok(())
}

/// Returns the path, with the Python first that has the modules.
pub(super) fn path() -> Result<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::join_paths(iter::once(engines::home().join("bin")).chain(env::split_paths(&path))).context("PATH")
}
