//! What subcommands share in what they show.

mod palette;

pub(crate) use palette::Palette;
