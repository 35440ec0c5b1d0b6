//! Output that subcommands share.

mod names;
mod number;

pub(crate) use mcast::group::SafeText;

pub(crate) use mcast_json::{
    PayloadRecord as Payload, as_text, clock_time, record, rfc3339, write_json, write_record,
};
pub(crate) use mcast_terminal::{Cell, Palette, Table, columns, fit_line, text_width, wrap};
pub(crate) use names::InterfaceNames;
pub(crate) use number::{
    bits_per_second, bytes, count, count_of, excess_loss, per_second, rates, seconds, too_few, traffic_in,
};
