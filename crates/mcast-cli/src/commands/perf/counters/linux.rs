//! Linux: the tables in `/proc/thread-self/net`, which are those of the thread's own network
//! namespace. Only the backlog is counted for all namespaces together.

use std::fs;

use mcast_probe::DropCounts;

use super::text;

pub(super) fn host_drops() -> DropCounts {
    let read = |table: &str| fs::read_to_string(format!("/proc/thread-self/net/{table}")).unwrap_or_default();
    text::drops(&read("snmp"), &read("snmp6"), &read("softnet_stat"), &read("dev"))
}
