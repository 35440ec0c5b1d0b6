//! The tests that compare what is discovered with what programs for one protocol each show. They are left to hosted CI and
//! `cargo soak`, because they need many programs.

use std::env;
use std::ffi::OsString;
use std::iter;

use anyhow::{Context, Result};

use super::engines;

/// Packages of Debian that only these tests need, and what they show.
pub(super) const PACKAGES: [(&str, &str); 12] = [
    ("bird2", "speaks OSPF"),
    ("gir1.2-gssdp-1.6", "announces devices by SSDP"),
    ("gupnp-tools", "lists devices by SSDP"),
    ("keepalived", "speaks VRRP"),
    ("knxd", "answers as a KNX server"),
    ("libcoap3-bin", "has a CoAP server and client"),
    ("linuxptp", "is a PTP clock"),
    ("lldpd", "lists neighbors by LLDP and CDP"),
    ("miniupnpd", "announces a router by SSDP"),
    ("ola", "is an Art-Net node"),
    ("python3-gi", "announces devices by SSDP"),
    ("wsdd", "announces and finds hosts by WS-Discovery"),
];

pub(super) const PACKAGE: &str = "mcast-watch";

/// Returns a filter of nextest that selects the tests.
pub(super) fn filter() -> String {
    format!("package({PACKAGE}) & (binary(discovery_foreign) | binary(specialists))")
}

/// Returns the path, with the Python first that has the modules.
pub(super) fn path() -> Result<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::join_paths(iter::once(engines::home().join("bin")).chain(env::split_paths(&path))).context("PATH")
}
