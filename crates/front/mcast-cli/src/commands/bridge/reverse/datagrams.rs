//! `mcast bridge ENGINE to GROUP:PORT`, where the engine holds datagrams of a plain group.

use mcast::{Destination, Sender, SenderBuilder};
use mcast_bridge::{BridgeError, GroupReplay, ReplayConfig, StartAt, StoredKind, stored_kind};
use mcast_terminal::Console;

use super::running::Running;
use crate::arguments::select_destinations;
use crate::commands::bridge::{Arguments, engine};
use crate::exit::Failure;

/// Returns whether an engine holds datagrams of a plain group. One that holds nothing yet is taken for that of a stream.
pub(super) fn are_stored(target: &engine::Target) -> anyhow::Result<bool> {
    let kind = || stored_kind(&mut *target.source_connector().connect()?);
    Ok(kind().map_err(BridgeError::Engine)? == Some(StoredKind::Datagrams))
}

/// Starts to send the datagrams.
pub(super) fn start(
    arguments: &Arguments,
    target: &engine::Target,
    console: &Console,
) -> anyhow::Result<Running> {
    if let Some(option) = option_of_streams(arguments) {
        let problem =
            format!("{option} applies to a stream, and the engine holds datagrams of a plain group");
        return Err(Failure::usage(problem).remedy("remove the option").into());
    }
    let options = &arguments.reverse;
    let texts = arguments.engine.as_slice();
    let chosen = select_destinations(texts, arguments.admission.families, console)?;
    let on_interface = |destination: Destination| Destination {
        interface: destination.interface.clone().or_else(|| arguments.interface.clone()),
        ..destination
    };
    let builder = chosen.items.into_iter().map(on_interface).fold(Sender::builder(), SenderBuilder::to);
    let sender = options.ttl.into_iter().fold(builder, SenderBuilder::hop_limit).build()?;
    let config = ReplayConfig {
        start: options.from.as_ref().map_or(Ok(StartAt::Oldest), |from| from.resolve(target))?,
        speed: Some(options.speed.unwrap_or(1.0)),
        stay: arguments.stream.stay,
    };
    console.note(format_args!("datagrams from {} to {}", target.description(), arguments.engine()));
    Ok(Running::Datagrams(Box::new(GroupReplay::start(sender, target.source_connector(), config)?)))
}

/// Returns the name of an option that was given, and that applies only to streams.
fn option_of_streams(arguments: &Arguments) -> Option<&'static str> {
    let (stream, options) = (&arguments.stream, &arguments.reverse);
    let given = [
        (!arguments.paths.is_empty(), "--path"),
        (stream.name.is_some(), "--name"),
        (stream.key.is_some(), "--key"),
        (options.announce.is_some(), "--announce"),
        (options.history.is_some(), "--history"),
        (options.evict_after.is_some(), "--evict-after"),
        (options.wait_for.is_some(), "--wait-for"),
        (options.linger.is_some(), "--linger"),
    ];
    given.into_iter().find_map(|(is_given, name)| is_given.then_some(name))
}
