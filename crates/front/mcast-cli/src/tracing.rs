//! What the libraries record, on standard error, if the environment requests it.

use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::exit::Failure;

/// A level, or a list of levels of crates.
const VARIABLE: &str = "MCAST_LOG";

/// Prints from now on what [`VARIABLE`] selects; nothing if it is not set.
pub(crate) fn start() -> anyhow::Result<()> {
    let Some(text) = std::env::var_os(VARIABLE).filter(|text| !text.is_empty()) else { return Ok(()) };
    let targets: Targets = text.to_string_lossy().parse().map_err(|error| {
        Failure::usage(format!("{VARIABLE}: {error}"))
            .remedy("write a level, such as debug, or levels of crates: mcast_stream=debug,mcast_relay=info")
    })?;
    let is_coloured = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(is_coloured);
    tracing_subscriber::registry().with(lines.with_filter(targets)).try_init()?;
    Ok(())
}
