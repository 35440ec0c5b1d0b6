//! What subcommands share in what they show.

mod json;
mod names;
mod number;
mod palette;
mod table;
mod text;
mod time;
mod wrap;

pub(crate) use json::{Payload, as_text, write_json};
pub(crate) use names::InterfaceNames;
pub(crate) use number::{bits_per_second, bytes, count, count_of, datagrams_per_second, expected, seconds};
pub(crate) use palette::Palette;
pub(crate) use table::{Cell, Table};
pub(crate) use text::SafeText;
pub(crate) use time::{clock_time, rfc3339};
pub(crate) use wrap::wrap;
