//! All injections with the cause that the doctor must find: one test each.

use mcast_doctor::{Id, Report};

use crate::filters;
use crate::net::assert_only;
use crate::{
    answers, boxes, depth, drops, files, firewall, fleet, interfaces, ipsec, ipv6, misaddressed, path,
    programs, relays, remedies, routers, routing, rules, senders, sockets, started, streams, switches,
    translation, wire,
};

/// An injection and the cause that must be found.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) id: Id,
    pub(crate) how: &'static str,
    pub(crate) inject: fn() -> Report,
}

macro_rules! cases {
    ($($name:ident: $id:ident, $how:literal, $inject:expr;)+) => {
        pub(crate) const CASES: &[Case] = &[$(Case { name: stringify!($name), id: Id::$id, how: $how, inject: $inject }),+];

        $(
            #[test]
            fn $name() {
                let case = stringify!($name);
                let needs_tracing = NEEDS_TRACING.contains(&Id::$id) || TRACED_CASES.contains(&case);
                if crate::net::has_programs() && (!needs_tracing || crate::drops::can_trace()) {
                    assert_only(&crate::treatment::inject_and_treat(case, Id::$id, $inject), Id::$id);
                }
            }
        )+
    };
}

cases! {
    no_querier: NoQuerier, "a snooping switch that received one query and then none", switches::no_querier;
    joined_other_interface: JoinedOtherInterface, "joined on `eth1`, sent on `eth0`", sockets::membership_on_other_interface;
    joined_other_interface_by_a_program: JoinedOtherInterface, "a program, the same", sockets::program_on_other_interface;
    no_route: NoRoute, "no route for groups, `%default` joined", sockets::no_route;
    no_route_on_the_machine: NoRoute, "no route for groups, machine examined", sockets::no_route_of_machine;
    firewall_drops_data: FirewallDropsData, "`nft` input rule", firewall::input_rule;
    firewall_drops_data_by_policy: FirewallDropsData, "`nft` input policy without counters", firewall::input_policy;
    unread_queue: FirewallDropsData, "`iptables-legacy` rule with a queue that no program reads", firewall::unread_queue;
    unread_queue_v6: FirewallDropsData, "the same in IPv6 (queue)", firewall::unread_queue_v6;
    firewall_drops_data_at_ingress: FirewallDropsData, "`nft` ingress rule", firewall::ingress_rule;
    firewall_drops_data_of_ipv6: FirewallDropsData, "`nft` input rule, IPv6", firewall::input_rule_v6;
    firewall_drops_data_of_a_program: FirewallDropsData, "`nft` input rule, program examined", firewall::input_rule_for_program;
    firewall_drops_igmp: FirewallDropsIgmp, "`nft` output rule for IGMP", firewall::output_igmp;
    firewall_drops_mld: FirewallDropsIgmp, "`nft` output rule for MLD", firewall::output_mld;
    reverse_path_filter: ReversePathFilter, "`rp_filter` 1 and a source on another network", firewall::strict_reverse_path;
    reverse_path_filter_of_a_program: ReversePathFilter, "the same for all interfaces, program examined", firewall::strict_reverse_path_for_program;
    ttl_too_small: TtlTooSmall, "hop limit 1 at a router", routers::ttl_too_small;
    receive_buffer_overflow: ReceiveBufferOverflow, "a program that reads slowly", programs::slow_reader;
    receive_buffer_overflow_earlier: ReceiveBufferOverflow, "a program that does not read, machine examined later", sockets::receive_buffer_of_machine;
    sender_queue_drops: SenderQueueDrops, "`tc` token bucket that is too small", sockets::sender_queue;
    wrong_port: WrongPort, "sent to port 5001, received on port 5000", sockets::wrong_port;
    wrong_port_of_a_program: WrongPort, "a program, the same", sockets::wrong_port_of_program;
    bound_to_unicast: BoundToUnicast, "a program bound to the address of the interface", sockets::bound_to_unicast;
    foreign_groups_leak: ForeignGroupsLeak, "bound to the wildcard address, another program joins another group", sockets::foreign_groups;
    address_in_use: AddressInUse, "a program that does not share its port", sockets::address_in_use;
    duplicate_interfaces: DuplicateInterfaces, "joined on two interfaces of one network", sockets::two_interfaces_of_one_lan;
    duplicate_interfaces_of_a_program: DuplicateInterfaces, "a program, the same", sockets::program_on_two_interfaces;
    duplicate_path: DuplicatePath, "a link that delivers everything twice", path::duplicating_link;
    duplicate_path_by_a_relay: DuplicatePath, "a relay that forwards everything again", path::relayed_twice;
    loopback_off: LoopbackOff, "a local sender with `IP_MULTICAST_LOOP` 0", sockets::loopback_off;
    membership_limit: MembershipLimit, "a program's socket with 20 groups", sockets::membership_limit;
    membership_limit_and_another_group: MembershipLimit, "a program's socket that may join two groups, and datagrams to a third", sockets::third_of_two_groups;
    membership_limit_of_sources: MembershipLimit, "a program's membership with 10 sources", sockets::source_limit;
    ssm_without_source: SsmWithoutSource, "232.1.2.3 joined without a source", sockets::ssm_without_source;
    ssm_without_source_by_a_program: SsmWithoutSource, "a program, the same", sockets::ssm_without_source_in_program;
    source_not_admitted: SourceNotAdmitted, "joined with another source than the sender", sockets::source_not_admitted;
    source_not_admitted_by_a_program: SourceNotAdmitted, "a program, the same", sockets::source_not_admitted_by_program;
    igmp_version_forced: IgmpVersionForced, "`force_igmp_version` 2", switches::forced_version;
    igmp_version_forced_under_a_program: IgmpVersionForced, "the same for all interfaces, program examined", switches::forced_version_of_program;
    igmp_version_of_the_querier: IgmpVersionForced, "an IGMPv2 querier, a source-specific membership", switches::old_querier;
    flood_off: FloodOff, "`mcast_flood off` at a port", switches::flood_off;
    fast_leave: FastLeave, "`fastleave on` at ports, two hosts behind one", switches::fast_leave;
    mac_alias: MacAlias, "239.129.2.3 besides 239.1.2.3", sockets::mac_alias;
    fragments_lost_before_the_ip_layer: FragmentsLost, "`nft` ingress rule for fragments", path::fragments_filtered;
    fragments_not_admitted: FragmentsLost, "`nft` input rules that admit a port alone, IPv6, beside a stream that arrives, program examined", path::fragments_not_admitted;
    fragments_lost_on_the_way: FragmentsLost, "the switch drops fragments", path::fragments_lost_on_the_way;
    mtu_too_small: MtuTooSmall, "receiver's MTU 1000, 1400 bytes sent", path::small_mtu;
    bad_checksum: BadChecksum, "one wrong bit in the checksum", path::bad_checksum;
    source_zero: SourceZero, "source 0.0.0.0", path::source_zero;
    source_is_local: SourceIsLocal, "the receiver's own address as the source", path::source_is_local;
    ipv6_not_ready: Ipv6NotReady, "`disable_ipv6` 1", ipv6::disabled;
    ipv6_duplicate_address: Ipv6NotReady, "an address that another host also has", ipv6::duplicate_address;
    ipv6_loopback_route: Ipv6LoopbackRoute, "`lo` without a route for groups", ipv6::loopback_route;
    scope_never_leaves: ScopeNeverLeaves, "ff01::1234 joined on `eth0`", ipv6::interface_local_scope;
    scope_reserved: ScopeNeverLeaves, "ff10::1234 joined", ipv6::reserved_scope;
    interface_recreated: InterfaceRecreated, "the interface deleted and created again while a program runs", sockets::interface_recreated;
    container_bridge: ContainerBridge, "a host behind a router without multicast routing", routers::container;
    vpn_takes_default: VpnTakesDefault, "route for groups into a `tun` device", routers::tunnel;
    nothing_arrives: NothingArrives, "no sender", sockets::nothing_arrives;
    interface_down: InterfaceDown, "the interface is down", sockets::interface_down;
    snooping_table_full: SnoopingTableFull, "`mcast_hash_max` 4, ten groups", switches::full_table;
    vlan_tagged: VlanTagged, "frames with VLAN tag 42", path::vlan_tagged;
    vlan_tagged_in_part: VlanTagged, "every second frame with VLAN tag 42", path::vlan_tagged_in_part;
    vlan_tagged_in_part_v6: VlanTagged, "some frames with VLAN tag 42, equal payloads, IPv6", path::vlan_tagged_in_part_v6;
    connected_elsewhere: ConnectedElsewhere, "a socket connected to another host", sockets::connected_elsewhere;
    not_joined: NotJoined, "a program that binds but does not join", sockets::not_joined;
    router_wrong_interface: RouterWrongInterface, "a multicast route that expects the group on the other interface", routers::wrong_interface;
    ttl_threshold: TtlThreshold, "a threshold of 16, hop limit 4", routers::ttl_threshold;
    firewall_drops_data_before_routing: FirewallDropsData, "`nft` rule in `raw` without a counter", filters::raw_prerouting;
    firewall_drops_data_before_routing_of_ipv6: FirewallDropsData, "the same, IPv6", filters::raw_prerouting_v6;
    firewall_drops_data_of_a_program_before_routing: FirewallDropsData, "the same, program examined", filters::raw_prerouting_of_a_program;
    firewall_drops_data_of_a_set: FirewallDropsData, "`nft` rule for a set of source networks", filters::set_of_sources;
    firewall_drops_data_without_a_route_back: FirewallDropsData, "firewalld's reverse path test, IPv6", filters::reverse_path_by_firewalld;
    firewall_drops_data_of_a_zone: FirewallDropsData, "`nft` map of interfaces to a chain that rejects", filters::rejected_by_a_zone;
    firewall_drops_data_at_a_device: FirewallDropsData, "`nft` ingress rule without a counter", filters::device_ingress;
    firewall_drops_data_of_one_source: FirewallDropsData, "`nft` rule for one of two sources", filters::one_of_two_sources;
    firewall_drops_data_without_experiments: FirewallDropsData, "`nft` input rule, experiments off", filters::input_rule_without_experiments;
    firewall_drops_output: FirewallDropsOutput, "`nft` output rule, the group examined on the sender", filters::output_rule;
    firewall_drops_output_of_ipv6: FirewallDropsOutput, "`nft` rule after routing, IPv6, the same", filters::output_rule_v6;
    firewall_drops_output_at_a_device: FirewallDropsOutput, "`nft` egress rule, the same", filters::egress_rule;
    firewall_drops_output_of_a_program: FirewallDropsOutput, "`nft` output rule, the sending program examined", filters::output_rule_of_a_program;
    firewall_drops_igmp_queries: FirewallDropsIgmp, "`nft` input rule for IGMP, an IGMPv3 querier", filters::igmp_queries;
    firewall_drops_igmp_queries_of_version_2: FirewallDropsIgmp, "`nft` rule in `raw` for IGMP, an IGMPv2 querier", filters::igmp_queries_of_version_2;
    firewall_drops_mld_queries: FirewallDropsIgmp, "`nft` input rule for MLD queries", filters::mld_queries;
    firewall_drops_igmp_after_routing: FirewallDropsIgmp, "`nft` rule after routing for IGMP", filters::igmp_reports_after_routing;
    redirected: Redirected, "`nft` rule with `redirect` for a port", filters::nat_redirect;
    redirected_v6: Redirected, "`nft` rule with `dnat`, IPv6", filters::nat_dnat_v6;
    redirected_to_a_proxy: Redirected, "`nft` rule with `tproxy`", filters::transparent_proxy;
    tc_diverts: TcDrops, "`tc` ingress filter that redirects to another interface", filters::tc_diverts;
    firewall_drops_data_at_a_bridge: FirewallDropsData, "`nft` bridge input rule, joined on the bridge", filters::bridge_input;
    firewall_drops_data_before_a_bridge: FirewallDropsData, "`nft` bridge prerouting rule, IPv6, the same", filters::bridge_prerouting_v6;
    firewall_drops_data_at_a_port: FirewallDropsData, "`nft` ingress rule of a port, the same", filters::port_ingress;
    firewall_drops_data_when_forwarded: FirewallDropsData, "`nft` bridge forward rule, the switch examined", filters::bridge_forward;
    firewall_drops_igmp_at_a_bridge: FirewallDropsIgmp, "`nft` bridge rule for IGMP, a snooping switch examined", filters::reports_at_a_bridge;
    firewall_drops_igmp_of_the_machine: FirewallDropsIgmp, "`nft` output rule for IGMP, machine examined", filters::reports_of_a_machine;
    dropped_in_prerouting: FirewallDropsData, "a `nft` prerouting rule that cannot be evaluated, experiments off", depth::prerouting_drop;
    dropped_in_prerouting_of_ipv6: FirewallDropsData, "the same, IPv6", depth::prerouting_drop_v6;
    dropped_at_ingress: FirewallDropsData, "such a rule at ingress", depth::ingress_drop;
    dropped_at_ingress_for_a_program: FirewallDropsData, "the same, program examined", depth::ingress_drop_for_program;
    dropped_of_one_source: FirewallDropsData, "such a rule at ingress for one of two sources", depth::one_source_dropped;
    firewall_rewrites_port: Redirected, "`nft` rule that changes the port", depth::rewritten_port;
    firewall_rewrites_port_of_a_program: Redirected, "the same, program examined", depth::rewritten_port_for_program;
    firewall_rewrites_port_of_ipv6: Redirected, "`nft` rule that changes the port, IPv6", depth::rewritten_port_v6;
    firewall_rewrites_port_of_one_source: Redirected, "`nft` rule that changes the port of one of two sources", depth::one_source_rewritten;
    silent_port: NothingArrives, "no sender, port of a program examined", depth::silent_port;
    silent_process: NothingArrives, "no sender, process of a program examined", depth::silent_process;
    sent_by_another_interface_than_joined: NothingArrives, "a sender on the machine of a program uses another interface", depth::sent_by_another_interface;
    tc_drops: TcDrops, "a `tc` filter at ingress", drops::tc_ingress;
    tc_drops_of_a_program: TcDrops, "the same, IPv6, program examined", drops::tc_ingress_for_program;
    tc_drops_of_a_sender: TcDrops, "a `tc` filter at egress, sender examined", drops::tc_egress;
    tc_drops_of_reports: TcDrops, "a `tc` filter at egress, MLD dropped", drops::tc_egress_of_reports;
    xdp_drops: XdpDrops, "an XDP program that drops everything", drops::xdp;
    frames_to_another_host: FramesToAnotherHost, "frames to another host's Ethernet address", drops::other_hosts_address;
    frames_to_another_host_of_ipv6: FramesToAnotherHost, "the same, IPv6", drops::other_hosts_address_v6;
    invalid_source_group: InvalidSource, "a group as the source", drops::group_as_source;
    invalid_source_group_of_ipv6: InvalidSource, "a group as the source, IPv6", drops::group_as_source_v6;
    invalid_source_loopback: InvalidSource, "127.0.0.5 as the source", drops::loopback_as_source;
    invalid_source_loopback_of_ipv6: InvalidSource, "::1 as the source", drops::loopback_as_source_v6;
    malformed_packets_by_header_checksum: MalformedPackets, "a wrong checksum of the IP header", drops::header_checksum;
    malformed_packets_by_udp_length: MalformedPackets, "a UDP length beyond the packet", drops::udp_length;
    malformed_packets_of_ipv6: MalformedPackets, "an IPv6 payload length beyond the packet", drops::packet_length_v6;
    malformed_packets_by_header_length: MalformedPackets, "a wrong length of the IP header", drops::header_length;
    malformed_packets_by_version: MalformedPackets, "a wrong version in the IPv6 header", drops::version_v6;
    dropped_when_sending: DroppedWhenSending, "a tunnel whose program does not read, sender examined", drops::full_tunnel;
    bad_checksum_absent: BadChecksum, "IPv6 datagrams with the UDP checksum 0", drops::no_checksum_v6;
    bad_checksum_absent_for_a_program: BadChecksum, "the same, program examined (checksum 0)", drops::no_checksum_v6_for_program;
    bound_to_other_interface: BoundToOtherInterface, "a program joined on `eth0` and bound to `eth1`", programs::bound_to_other_interface;
    bound_to_other_interface_v6: BoundToOtherInterface, "the same, IPv6", programs::bound_to_other_interface_v6;
    bound_to_other_interface_beside: BoundToOtherInterface, "the same, group examined", programs::other_program_bound_to_other_interface;
    bound_to_other_interface_of_machine: BoundToOtherInterface, "the same, machine examined", programs::bound_to_other_interface_of_machine;
    bound_to_other_group: BoundToOtherGroup, "a program joined 239.1.2.3 and bound to 239.1.2.4", programs::bound_to_other_group;
    bound_to_other_group_v6: BoundToOtherGroup, "the same, IPv6", programs::bound_to_other_group_v6;
    ipv6_only_socket: FamilyMismatch, "an IPv4 membership of a socket with `IPV6_V6ONLY`", programs::ipv6_only_socket;
    ipv6_address_of_ipv4_group: FamilyMismatch, "an IPv4 membership of a socket bound to an IPv6 address", programs::ipv6_address_of_ipv4_group;
    own_groups_only: OwnGroupsOnly, "`IP_MULTICAST_ALL` 0 on the socket that reads, another has joined", programs::own_groups_only;
    own_groups_only_of_ipv6: OwnGroupsOnly, "an IPv6 socket reads, an IPv4 socket has joined", programs::ipv6_reader_of_ipv4_member;
    connected_to_the_sender: ConnectedElsewhere, "a socket connected to the sender", programs::connected_to_the_sender;
    program_stopped: ProgramStopped, "a program stopped by SIGSTOP", programs::stopped;
    program_stopped_v6: ProgramStopped, "the same, IPv6", programs::stopped_v6;
    program_stopped_beside: ProgramStopped, "the same, group examined", programs::stopped_beside;
    not_read: NotRead, "a program that never reads, its buffer full", programs::not_read;
    not_read_yet: NotRead, "a program that never reads, room in its buffer, IPv6", programs::not_read_yet;
    socket_filter: SocketFilter, "a filter attached to the program's socket", programs::socket_filter;
    socket_filter_v6: SocketFilter, "the same, IPv6", programs::socket_filter_v6;
    left_group: LeftGroup, "a program that leaves the group while it is examined", programs::left_group;
    ttl_zero: TtlTooSmall, "a program that sends with hop limit 0, beside a member", programs::hop_limit_zero_of_program;
    ttl_zero_v6: TtlTooSmall, "the same, IPv6", programs::hop_limit_zero_of_program_v6;
    ttl_zero_of_a_membership: TtlTooSmall, "the same, group examined on the sender", programs::hop_limit_zero_of_membership;
    sent_by_other_interface: SentByOtherInterface, "sent by `eth1`, examined on the sender's `eth0`", programs::sent_by_other_interface;
    sent_by_other_interface_v6: SentByOtherInterface, "the same, IPv6", programs::sent_by_other_interface_v6;
    sent_by_other_interface_than_a_member: SentByOtherInterface, "a program sends by `eth1`, a host joins behind `eth0`", programs::sent_by_other_interface_than_that_of_a_member;
    sent_with_the_address_of_another_interface: SentByOtherInterface, "a program sends by `eth1` with the address of `eth0`", programs::sent_with_the_address_of_another_interface;
    loopback_off_for_a_program: LoopbackOff, "a local sender with `IP_MULTICAST_LOOP` 0, program examined", programs::loopback_off_for_program;
    no_route_of_a_sender: NoRoute, "no route for groups, sending program examined", programs::no_route_of_sender;
    loss_of_rtp: LostBeforeThisMachine, "5 % of RTP lost on the way", wire::random_loss;
    loss_by_storm_control: LostBeforeThisMachine, "20 datagrams per second let through by the switch", wire::storm_control;
    loss_of_an_unknown_format: LostBeforeThisMachine, "10 % of numbered IPv6 datagrams lost on the way", wire::loss_of_numbered_datagrams;
    loss_for_a_program: LostBeforeThisMachine, "5 % of RTP lost on the way, program examined", wire::random_loss_for_program;
    loss_in_bursts: LostBeforeThisMachine, "a switch that drops 30 datagrams in a row, again and again", wire::burst_loss;
    igmp_queries_blocked: FirewallDropsIgmp, "`nft` input rule for IGMP, an IGMPv2 querier", wire::igmp_queries_blocked;
    igmpv3_queries_blocked: FirewallDropsIgmp, "`nft` prerouting rule for IGMP, an IGMPv3 querier", wire::igmpv3_queries_blocked;
    mld_queries_blocked: FirewallDropsIgmp, "`nft` input rule for MLD queries, program examined", wire::mld_queries_blocked;
    old_mld_querier: IgmpVersionForced, "an MLDv1 querier, a source-specific membership", wire::old_mld_querier;
    two_queriers: TwoQueriers, "queries from two addresses", wire::two_queriers;
    frequent_queries: QuerierMisconfigured, "a hundred queries per second", wire::frequent_queries;
    long_response_time: QuerierMisconfigured, "response time 10 s, query interval 5 s", wire::long_response_time;
    stopped_querier: NoQuerier, "a querier stops", wire::stopped_querier;
    other_group: SentToAnotherGroup, "sent to 239.61.7.70, joined 239.61.7.7", wire::other_group;
    other_group_of_a_program: SentToAnotherGroup, "sent to ff05::1234, a program joins ff15::1234", wire::other_group_for_program;
    jumbo_frames: MtuTooSmall, "receiver's MTU 1500, 4000 bytes sent as jumbo frames", wire::jumbo_frames;
    macvlan_isolation: MacvlanIsolation, "a container with a macvlan interface on the receiver sends", wire::macvlan_isolation;
    forgotten_membership: MembershipForgotten, "a snooping switch that has forgotten another program", wire::forgotten_membership;
    forgotten_membership_of_a_program: MembershipForgotten, "the same, program examined", wire::forgotten_membership_of_program;
    answers_dropped: AnswersDropped, "`nft` input rule for what belongs to no connection, a program searches by SSDP", answers::dropped_by_rule;
    answers_dropped_v6: AnswersDropped, "the same, IPv6, a rule with a counter", answers::dropped_by_rule_v6;
    member_without_datagrams: MembersGetNothing, "a capture of a member and of another group", files::member_without_datagrams;
    path_loss: PathLoss, "`--probe` over a link that loses half of everything", fleet::lossy_link;
    path_loss_of_multicast: PathLoss, "`--probe`, and a switch that limits multicast only", fleet::limited_multicast;
    replies_lost: RepliesLost, "`--probe`, and the prober's firewall drops the answers", fleet::replies_dropped_here;
    replies_lost_on_the_way: RepliesLost, "`--probe`, and the listener's firewall drops its answers", fleet::replies_dropped_there;
    unicast_only: UnicastOnly, "`--probe --peer`, and a switch that drops the group", fleet::multicast_blocked;
    unicast_only_in_ipv6: UnicastOnly, "the same in IPv6", fleet::multicast_blocked_v6;
    host_unreachable: HostUnreachable, "`--probe --peer` of an address that nobody has", fleet::nobody_there;
    host_without_a_listener: HostUnreachable, "`--probe --peer` of a machine without a listener", fleet::no_listener;
    firewall_of_the_listener: FirewallDropsData, "`--probe`, and the listener's input firewall", fleet::firewall_of_the_listener;
    port_that_learns: PortNotForwarding, "the port of the sender is in state learning, examined on the switch", boxes::learning_port;
    port_that_is_disabled: PortNotForwarding, "the port of the receiver is disabled, IPv6, examined on the switch", boxes::disabled_port_v6;
    port_that_listens: PortNotForwarding, "a port is in state listening, switch examined without a group", boxes::listening_port_of_machine;
    isolated_ports: PortIsolated, "the ports of sender and receiver are isolated, examined on the switch", boxes::isolated_ports;
    isolated_ports_of_the_machine: PortIsolated, "the same, switch examined without a group", boxes::isolated_ports_of_machine;
    locked_port: PortLocked, "the port of the sender is locked, examined on the switch", boxes::locked_port;
    firewall_of_a_bridge: FirewallDropsData, "`nft` forward rule of a bridge, examined on the switch", boxes::bridge_rule;
    firewall_of_a_bridge_in_ipv6: FirewallDropsData, "the same in IPv6 without a counter", boxes::bridge_rule_v6;
    firewall_of_the_receivers_port: FirewallDropsData, "`nft` egress rule of the receiver's port, examined on the switch", boxes::egress_rule_of_port;
    firewall_of_the_senders_port: FirewallDropsData, "`nft` ingress rule of the sender's port, examined on the switch", boxes::ingress_rule_of_port;
    firewall_drops_igmp_at_a_port: FirewallDropsIgmp, "`nft` rule of a bridge for IGMP, examined on the switch", boxes::igmp_dropped_at_port;
    tc_drops_at_a_port: TcDrops, "a `tc` ingress filter of the sender's port, examined on the switch", boxes::tc_at_ingress_of_port;
    tc_diverts_at_a_port_v6: TcDrops, "one that redirects to another interface, IPv6", boxes::tc_diverts_at_port_v6;
    full_queue_of_a_port: NotForwarded, "a `tc` token bucket of the receiver's port that is too small, examined on the switch", boxes::full_queue_of_port;
    filter_of_a_port: TcDrops, "a `tc` filter of the receiver's port, examined on the switch", boxes::tc_at_port;
    mtu_of_a_port: MtuTooSmall, "a port with MTU 1000, 1400 bytes sent, examined on the switch", boxes::small_port;
    querier_of_the_switch_has_stopped: NoQuerier, "the querier has stopped, switch examined without a group", boxes::stopped_querier;
    router_without_a_route: NoMulticastRoute, "a router without a route for the group, examined there", boxes::no_route;
    router_without_a_route_in_ipv6: NoMulticastRoute, "the same in IPv6", boxes::no_route_v6;
    route_to_nowhere: NoMulticastRoute, "a route without outgoing interfaces, examined on the router", boxes::route_to_nowhere;
    no_multicast_routing: NoMulticastRoute, "`ip_forward` 1 and no multicast routing, examined there", boxes::no_routing;
    forward_chain: FirewallDropsData, "`nft` forward rule of a router, examined there", boxes::forward_rule;
    forward_chain_in_ipv6: FirewallDropsData, "`nft` forward rule of a router without a counter, IPv6", boxes::forward_rule_v6;
    mtu_of_an_outgoing_interface: MtuTooSmall, "a router's outgoing interface with MTU 1000, 1400 bytes sent", boxes::small_outgoing_interface;
    joined_by_route: JoinedOtherInterface, "joined on the interface of the route for groups, `eth1`, sent on `eth0`", remedies::joined_by_route;
    joined_by_route_v6: JoinedOtherInterface, "the same, IPv6", remedies::joined_by_route_v6;
    unreachable_route: NoRoute, "a route that rejects groups", remedies::unreachable_route;
    no_route_v6: NoRoute, "no route for IPv6 groups, `%default` joined", remedies::no_route_v6;
    no_address_is_generated: Ipv6NotReady, "`addr_gen_mode` 1, no address", remedies::no_address_is_generated;
    deleted_ipv6_addresses: Ipv6NotReady, "no IPv6 address", remedies::deleted_addresses;
    sent_by_route: SentByOtherInterface, "sent by the route for groups, `eth1`, examined on the sender's `eth0`", remedies::sent_by_route;
    sent_by_route_v6: SentByOtherInterface, "the same, IPv6", remedies::sent_by_route_v6;
    address_in_use_printed: AddressInUse, "a wrapped program prints `EADDRINUSE`", started::address_in_use;
    no_route_printed: NoRoute, "a program prints `ENODEV`, no route for groups", started::no_route;
    no_route_to_send_printed: NoRoute, "a program prints `ENETUNREACH`", started::no_route_to_send;
    no_such_interface: NoSuchInterface, "a program joins with the address of another machine", started::no_such_interface;
    sender_bound_to_an_address_that_moved: NoSuchInterface, "the address that a sender is bound to deleted", senders::bound_address_moved;
    sender_with_a_renewed_address: NoSuchInterface, "the address in a sender's `IP_MULTICAST_IF` replaced", senders::interface_address_renewed;
    sender_with_a_deleted_interface_v6: NoSuchInterface, "the interface in a sender's `IPV6_MULTICAST_IF` deleted", senders::interface_deleted_v6;
    policy_rule: PolicyRule, "`ip rule` that prohibits groups, the sending program examined", rules::groups_prohibited;
    policy_rule_of_a_transparent_proxy: PolicyRule, "`ip rule` for a mark with a local route, `src_valid_mark` 1", rules::transparent_proxy;
    policy_rule_for_a_source: PolicyRule, "`ip -6 rule` before the table `local` that prohibits the source", rules::source_prohibited_v6;
    policy_rule_of_a_router: PolicyRule, "`ip mrule` that leads to a table without the multicast route, examined on the router", rules::other_multicast_table;
    ipv6_without_enough_mtu: Ipv6NotReady, "MTU 1200, below the least of IPv6", ipv6::small_mtu;
    membership_limit_printed: MembershipLimit, "a program joins 30 groups and prints `ENOBUFS`", started::too_many_groups;
    interface_down_of_a_program: InterfaceDown, "the interface is down, program examined", sockets::interface_down_of_program;
    translated_source: Redirected, "`nft` rule with `snat` for groups, the sender examined with its own source", translation::translated_source;
    translated_source_of_program: Redirected, "the same, sending program examined", translation::translated_source_of_program;
    translated_destination: Redirected, "`nft` output rule with `dnat`, the sender examined", translation::translated_destination;
    translated_destination_of_program: Redirected, "the same, sending program examined", translation::translated_destination_of_program;
    sent_by_unicast: SentToUnicast, "sent to the receiver's unicast address", misaddressed::sent_by_unicast;
    sent_by_unicast_v6: SentToUnicast, "the same, IPv6", misaddressed::sent_by_unicast_v6;
    sent_by_broadcast: SentToUnicast, "sent to the broadcast address, program examined", misaddressed::sent_by_broadcast;
    sent_by_unicast_by_program: SentToUnicast, "a program sends to a unicast address only, it is examined", misaddressed::sent_by_unicast_by_program;
    other_group_sent_here: SentToAnotherGroup, "sent to 239.1.3.2, 239.1.2.3 examined on the sender", misaddressed::other_group_sent_here;
    other_port_sent_here: WrongPort, "sent to port 500, port 5000 examined on the sender, IPv6", misaddressed::other_port_sent_here;
    joined_on_port: JoinedOtherInterface, "joined on `eth0`, which is a port of the bridge `br0`", interfaces::joined_on_port;
    joined_on_port_v6: JoinedOtherInterface, "the same, IPv6", interfaces::joined_on_port_v6;
    program_on_port: JoinedOtherInterface, "the same, program examined", interfaces::program_on_port;
    sent_by_loopback: SentByOtherInterface, "a program sends by `lo`, it is examined", interfaces::sent_by_loopback;
    sender_without_carrier: InterfaceDown, "the switch port of a sending program is down, it is examined", interfaces::sender_without_carrier;
    policy_blocks_output: DroppedWhenSending, "an IPsec policy blocks what a program sends, it is examined", ipsec::policy_blocks_output;
    vxlan_without_remotes: DroppedWhenSending, "a program sends by a VXLAN without remote hosts, it is examined", interfaces::vxlan_without_remotes;
    stopped_worker: ProgramStopped, "a process that shares the socket of a waiting parent is stopped", sockets::stopped_worker;
    forgetful_switch: QuerierMisconfigured, "a bridge that forgets memberships before its next query, switch examined without a group", switches::forgetful_switch;
    message_too_long: MtuTooSmall, "a program that forbids fragments sends 3000 bytes and prints `EMSGSIZE`", started::message_too_long;
    ipsec_policy: IpsecPolicy, "an IPsec policy that blocks groups", ipsec::ipsec_blocks;
    ipsec_policy_of_ipv6: IpsecPolicy, "an IPsec policy that demands ESP, IPv6", ipsec::ipsec_demands_esp;
    ipsec_policy_for_a_program: IpsecPolicy, "an IPsec policy that blocks the group, program examined", ipsec::ipsec_blocks_program;
    local_route_covers_source: SourceIsLocal, "a route of type `local` that covers the source", routing::local_route_covers_source;
    prefix_on_loopback: SourceIsLocal, "the prefix of the network at an address of `lo`", routing::prefix_on_loopback;
    source_is_broadcast_address: InvalidSource, "the broadcast address of the receiver's network as the source", routing::source_is_broadcast_address;
    no_v6_group_route: Ipv6NotReady, "no route for IPv6 groups in the table `local`", routing::no_v6_group_route;
    macvlan_in_source_mode: MacvlanIsolation, "joined on a macvlan in source mode", interfaces::macvlan_in_source_mode;
    firewall_drops_untracked: FirewallDropsData, "`nft` rules `notrack` and `ct state untracked drop`", firewall::untracked_dropped;
    destination_rewritten: Redirected, "`nft` rule that writes a unicast address as the destination", translation::destination_rewritten;
    joined_by_routing_rule: JoinedOtherInterface, "joined on the interface that `ip rule` chooses, `eth1`, sent on `eth0`", routing::joined_by_routing_rule;
    interface_down_of_two: InterfaceDown, "one of two interfaces is down, joined on all", interfaces::one_of_two_interfaces_is_down;
    port_of_sender_down: PortMissing, "the port of the sender is down, examined on the switch", boxes::port_of_sender_down;
    port_of_receiver_down_v6: PortMissing, "the port of the receiver is down, IPv6, examined on the switch", boxes::port_of_receiver_down_v6;
    port_down_of_machine: PortMissing, "the port of the receiver is down, switch examined without a group", boxes::port_down_of_machine;
    port_goes_down: PortMissing, "the port of the receiver goes down while the doctor listens on the switch", boxes::port_goes_down;
    sender_taken_out: PortMissing, "the sender's interface is taken out of the bridge, examined on the switch", boxes::sender_taken_out;
    sender_taken_out_v6: PortMissing, "the same in IPv6 (taken out of the bridge)", boxes::sender_taken_out_v6;
    receiver_taken_out: PortMissing, "the interface of a host that joins is taken out of the bridge, examined on the switch", boxes::receiver_taken_out;
    port_group_limit: PortGroupLimit, "`mcast_max_groups` 1 at the port of a host that joins a second group, examined on the switch", boxes::port_group_limit;
    port_group_limit_of_machine: PortGroupLimit, "the same, switch examined without a group (`mcast_max_groups`)", boxes::port_group_limit_of_machine;
    one_routed_interface: NoMulticastRoute, "a daemon that routes groups on one interface only, and a host behind another one that joins, examined on the router", routers::one_routed_interface;
    omitted_leg: NoMulticastRoute, "a route that omits the network of a host that joins, examined on the router", boxes::omitted_leg;
    omitted_leg_v6: NoMulticastRoute, "the same in IPv6 (route that omits a network)", boxes::omitted_leg_v6;
    conflicting_transport_streams: ConflictingStreams, "two MPEG transport streams to one group and port", streams::conflicting_transport_streams;
    conflicting_transport_streams_for_a_program: ConflictingStreams, "the same from two hosts, program examined", streams::conflicting_transport_streams_for_a_program;
    conflicting_rtp_v6: ConflictingStreams, "two streams of RTP with the same SSRC, IPv6", streams::conflicting_rtp_v6;
    stopped_stream: StreamStopped, "a regular stream whose sender ends", streams::stopped;
    stopped_stream_v6: StreamStopped, "the same, IPv6 (sender ends)", streams::stopped_v6;
    program_ended: ProgramEnded, "a program that a signal ends after it has joined", started::ended_by_signal;
    address_in_use_printed_to_stdout: AddressInUse, "a program prints `EADDRINUSE` to standard output", started::address_in_use_on_stdout;
    decapsulated: Decapsulated, "a program whose socket decapsulates ESP in UDP", programs::decapsulated;
    decapsulated_v6: Decapsulated, "the same, IPv6 (ESP in UDP)", programs::decapsulated_v6;
    first_fragments_lost: FragmentsLost, "the switch drops first fragments, and the receiver waits 1 s for them", path::first_fragments_lost_on_the_way;
    other_scope: SentToAnotherGroup, "sent to ff02::1234, joined ff15::1234", misaddressed::other_scope;
    udp_lite: NothingArrives, "sent by UDP-Lite", misaddressed::udp_lite;
    firewall_drops_every_tenth: FirewallDropsData, "`nft` input rule for every tenth datagram, program examined", firewall::every_tenth_for_program;
    two_hosts_with_one_address: ConflictingStreams, "two hosts with the same address", streams::two_hosts_with_one_address;
    sender_taken_out_of_machine: PortMissing, "the sender's interface is taken out of the bridge, switch examined without a group", boxes::sender_taken_out_of_machine;
    lost_in_this_machine: LostInThisMachine, "datagrams with a source route in the IP header", drops::unexplained;
    lost_in_this_machine_for_a_program: LostInThisMachine, "the same, program examined (source route)", drops::unexplained_for_program;
    macvlan_behind_a_rule_v6: FirewallDropsData, "`nft` ingress rule of the interface below a macvlan, joined on the macvlan, IPv6", interfaces::macvlan_behind_a_rule_v6;
    program_on_macvlan_behind_a_rule_v6: FirewallDropsData, "the same, program examined (macvlan)", interfaces::program_on_macvlan_behind_a_rule_v6;
    macvlan_behind_a_filter: TcDrops, "a `tc` ingress filter of the interface below a macvlan", interfaces::macvlan_behind_a_filter;
    slow_reader_of_large_datagrams_v6: ReceiveBufferOverflow, "a program that reads slowly, large datagrams, IPv6", programs::slow_reader_of_large_datagrams_v6;
    firewall_drops_data_by_policy_behind_goto: FirewallDropsData, "`nft` input policy behind chains with `goto` and `return`", filters::policy_behind_goto;
    not_relayed: NotRelayed, "a relay whose datagrams have TTL 1, the group examined there", relays::ttl_used_up;
    not_relayed_of_machine: NotRelayed, "a relay with datagrams above the rate of a rule, machine examined, IPv6", relays::above_the_rate;
    forward_policy_of_a_bridge: FirewallDropsData, "`nft` forward policy of the IP layer and `bridge-nf-call-iptables`, examined on the switch", boxes::forward_policy;
    forward_policy_of_a_bridge_v6: FirewallDropsData, "the same in IPv6 (`bridge-nf-call-ip6tables`)", boxes::forward_policy_v6;
    firewall_drops_data_first_of_all: FirewallDropsData, "`nft` ingress rule with the lowest priority, IPv6", filters::first_of_all_v6;
    firewall_drops_data_last_of_all: FirewallDropsData, "`nft` input rule with the highest priority", filters::last_of_all;
}

/// Causes that a lab cannot create; unit tests cover them.
pub(crate) const NOT_IN_A_LAB: &[Id] = &[Id::CloudNetwork, Id::Wireless, Id::BacklogDrops];

/// Causes that only the kernel's drop reasons show, which not every user may read.
const NEEDS_TRACING: &[Id] = &[Id::TcDrops, Id::XdpDrops, Id::MalformedPackets, Id::DroppedWhenSending];

/// Cases of other causes, the same: without experiments, and with rules that cannot be evaluated.
const TRACED_CASES: &[&str] = &[
    "dropped_in_prerouting",
    "dropped_in_prerouting_of_ipv6",
    "dropped_at_ingress",
    "dropped_at_ingress_for_a_program",
    "dropped_of_one_source",
];

#[test]
fn every_cause_is_injected_or_listed_as_impossible() {
    for id in Id::ALL {
        let injected = CASES.iter().any(|case| case.id == *id);
        assert_ne!(injected, NOT_IN_A_LAB.contains(id), "{id}");
    }
}

#[test]
fn every_remedy_is_applied_or_listed_with_the_reason() {
    crate::treatment::assert_complete(CASES.iter().map(|case| (case.name, case.id)));
}
