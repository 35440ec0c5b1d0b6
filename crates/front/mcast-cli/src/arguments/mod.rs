//! Argument types that several subcommands share.

mod hosts;
mod keys;
mod limits;
mod memberships;
mod packet_filter;
mod quantities;
mod selected;

pub(crate) use hosts::{BroadcastOption, hosts_on_each, is_host};
#[cfg(feature = "seal")]
pub(crate) use keys::signatures::{PublicKeys, SignedBy, SigningFile};
#[cfg(feature = "seal")]
pub(crate) use keys::warn_if_readable;
pub(crate) use keys::{KeyFile, read_keys};
pub(crate) use limits::{Goal, Limits};
pub(crate) use memberships::{
    JoinOption, MembershipArguments, WireOption, is_stream_name, parse_stream_name, print_wire,
    print_wire_changes, read_description,
};
pub(crate) use packet_filter::{FilterOptions, Pattern, Target, read_targets};
pub(crate) use quantities::{
    parse_bits, parse_count, parse_dscp, parse_duration, parse_moment, parse_percent, parse_positive_size,
    parse_size, parse_speed, with_dscp,
};
pub(crate) use selected::{
    Admission, Egress, Families, PacketInput, on_each, select_destination, select_destinations,
    select_memberships,
};
