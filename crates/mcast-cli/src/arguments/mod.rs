//! Argument types that several subcommands share.

mod chosen;
mod description;
mod dscp;
mod duration;
mod join;
mod joining;
mod keys;
mod limits;
mod pattern;
mod rate;
mod size;
mod stream_name;
mod wanted;

pub(crate) use chosen::{Families, chosen_destinations, chosen_memberships};
pub(crate) use description::read_description;
pub(crate) use dscp::parse_dscp;
pub(crate) use duration::parse_duration;
pub(crate) use join::Join;
pub(crate) use joining::Joining;
pub(crate) use keys::{KeyFile, add_next_key, read_keys, write_new_key};
pub(crate) use limits::{Goal, Limits};
pub(crate) use pattern::Pattern;
pub(crate) use rate::{one_every, parse_rate};
pub(crate) use size::{parse_percent, parse_size};
pub(crate) use stream_name::{is_stream_name, parse_stream_name};
pub(crate) use wanted::{Narrowing, Sight, Target, Wanted, is_named, read_targets};
