//! Argument types that several subcommands share.

mod announced;
mod keys;
mod memberships;
mod packet_filter;
mod quantities;
mod selected;
mod token;

pub(crate) use announced::{is_stream_name, look_for};
#[cfg(feature = "seal")]
pub(crate) use keys::signatures::{PublicKeys, SignedBy, SigningFile};
pub(crate) use keys::{
    KeyFile, KeyReload, create_tunnel_key, is_tunnel_key, read_keys, read_tunnel_keys, warn_if_readable,
};
pub(crate) use memberships::{
    BroadcastOption, MembershipArguments, WireOption, hosts_on_each, is_host, parse_stream_name, resolve_host,
};
pub(crate) use packet_filter::{
    FilterOptions, PacketInput, Pattern, Target, interface_name, open_file, read_targets,
};
pub(crate) use quantities::{
    Goal, Limits, ServedHistoryAt, parse_bits, parse_count, parse_dscp, parse_duration, parse_moment,
    parse_percent, parse_positive_duration, parse_positive_size, parse_size, parse_speed, with_dscp,
};
pub(crate) use selected::{
    Admission, Egress, Families, is_description, on_each, read_description, select_destination,
    select_destinations, select_memberships,
};
pub(crate) use token::{parse_host, read_token};

/// Hides an option from help and completion if it is one of these, which notes describe instead.
pub(crate) fn hide(option: clap::Arg, ids: &[&str]) -> clap::Arg {
    let is_hidden = ids.iter().any(|id| option.get_id() == *id);
    if is_hidden { option.hide(true) } else { option }
}
