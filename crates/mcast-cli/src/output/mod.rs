//! Output that subcommands share.

mod json;
mod names;
mod number;
mod palette;
mod table;
mod time;
mod wrap;

pub(crate) use mcast::group::SafeText;

pub(crate) use json::{Payload, as_text, protocol_name, write_json, write_record};
pub(crate) use names::{InterfaceNames, name_of_group};
pub(crate) use number::{
    bits_per_second, bytes, count, count_of, excess_loss, per_second, rates, seconds, too_few, traffic_in,
};
pub(crate) use palette::Palette;
pub(crate) use table::{Cell, Table};
pub(crate) use time::{clock_time, rfc3339};
pub(crate) use wrap::{columns, fit_line, text_width, wrap};
