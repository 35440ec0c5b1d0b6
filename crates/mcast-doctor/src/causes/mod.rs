//! The causes, one module each: pure functions from an observation to findings.

mod address_in_use;
mod backlog_drops;
mod bad_checksum;
mod bound_to_unicast;
mod cloud_network;
mod connected_elsewhere;
mod container_bridge;
mod duplicate_interfaces;
mod duplicate_path;
mod fast_leave;
mod firewall_drops_data;
mod firewall_drops_igmp;
mod flood_off;
mod foreign_groups_leak;
mod fragments_lost;
mod igmp_version_forced;
mod interface_down;
mod interface_recreated;
mod ipv6_loopback_route;
mod ipv6_not_ready;
mod joined_other_interface;
mod loopback_off;
mod mac_alias;
mod membership_limit;
mod mtu_too_small;
mod no_querier;
mod no_route;
mod not_joined;
mod nothing_arrives;
mod receive_buffer_overflow;
mod reverse_path_filter;
mod router_wrong_interface;
mod scope_never_leaves;
mod sender_queue_drops;
mod snooping_table_full;
mod source_is_local;
mod source_not_admitted;
mod source_zero;
mod ssm_without_source;
mod ttl_threshold;
mod ttl_too_small;
mod vlan_tagged;
mod vpn_takes_default;
mod wireless;
mod wrong_port;

#[cfg(test)]
mod fixtures;

use crate::observation::Observation;
use crate::{Finding, Severity};

/// A function that judges one cause.
type Check = fn(&Observation) -> Vec<Finding>;

/// All checks except [`nothing_arrives`], which applies only if no other does.
const CHECKS: &[Check] = &[
    address_in_use::check,
    backlog_drops::check,
    bad_checksum::check,
    bound_to_unicast::check,
    cloud_network::check,
    connected_elsewhere::check,
    container_bridge::check,
    duplicate_interfaces::check,
    duplicate_path::check,
    fast_leave::check,
    firewall_drops_data::check,
    firewall_drops_igmp::check,
    flood_off::check,
    foreign_groups_leak::check,
    fragments_lost::check,
    igmp_version_forced::check,
    interface_down::check,
    interface_recreated::check,
    ipv6_loopback_route::check,
    ipv6_not_ready::check,
    joined_other_interface::check,
    loopback_off::check,
    mac_alias::check,
    membership_limit::check,
    mtu_too_small::check,
    no_querier::check,
    no_route::check,
    not_joined::check,
    receive_buffer_overflow::check,
    reverse_path_filter::check,
    router_wrong_interface::check,
    scope_never_leaves::check,
    sender_queue_drops::check,
    snooping_table_full::check,
    source_is_local::check,
    source_not_admitted::check,
    source_zero::check,
    ssm_without_source::check,
    ttl_threshold::check,
    ttl_too_small::check,
    vlan_tagged::check,
    vpn_takes_default::check,
    wireless::check,
    wrong_port::check,
];

/// Returns all findings of an observation, most severe first.
pub(crate) fn judge(observation: &Observation) -> Vec<Finding> {
    let mut findings: Vec<_> = CHECKS.iter().flat_map(|check| check(observation)).collect();
    if findings.iter().all(|finding| finding.severity == Severity::Note) {
        findings.extend(nothing_arrives::check(observation));
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}
