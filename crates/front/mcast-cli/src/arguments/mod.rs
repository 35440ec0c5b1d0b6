//! Argument types that several subcommands share.

mod bits;
mod description;
mod dscp;
mod duration;
mod hosts;
mod join_option;
mod keys;
mod limits;
mod memberships;
mod moment;
mod packet_filter;
mod pattern;
mod selected;
#[cfg(feature = "seal")]
mod signatures;
mod size;
mod speed;
mod stream_name;
mod wire;

pub(crate) use bits::parse_bits;
pub(crate) use description::read_description;
pub(crate) use dscp::{parse_dscp, with_dscp};
pub(crate) use duration::parse_duration;
pub(crate) use hosts::{BroadcastOption, hosts_on_each, is_host};
pub(crate) use join_option::JoinOption;
#[cfg(feature = "seal")]
pub(crate) use keys::warn_if_readable;
pub(crate) use keys::{KeyFile, read_keys};
pub(crate) use limits::{Goal, Limits};
pub(crate) use memberships::MembershipArguments;
pub(crate) use moment::parse_moment;
pub(crate) use packet_filter::{FilterOptions, Target, read_targets};
pub(crate) use pattern::Pattern;
pub(crate) use selected::{
    Admission, Egress, Families, PacketInput, on_each, select_destination, select_destinations,
    select_memberships,
};
#[cfg(feature = "seal")]
pub(crate) use signatures::{PublicKeys, SignedBy, SigningFile};
pub(crate) use size::{parse_count, parse_percent, parse_positive_size, parse_size};
pub(crate) use speed::parse_speed;
pub(crate) use stream_name::{is_stream_name, parse_stream_name};
pub(crate) use wire::{WireOption, print_wire, print_wire_changes};
