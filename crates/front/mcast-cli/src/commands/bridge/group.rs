//! `mcast bridge --datagrams`: keeps the datagrams of groups that carry no stream.

use std::collections::BTreeSet;
use std::sync::Arc;

use mcast::{InterfaceIndex, Receiver};
use mcast_bridge::{BridgeConfig, StreamBridge};
use mcast_stream::wire::StreamId;
use mcast_terminal::Console;

use super::process::Process;
use super::session::Session;
use super::{Arguments, engine, random};
use crate::arguments::select_memberships;
use crate::exit::Outcome;
use crate::metrics;
use crate::output::InterfaceNames;
use crate::receiving::print_memberships;

pub(super) fn run(arguments: &Arguments, process: &Process, console: &Console) -> anyhow::Result<Outcome> {
    let target = engine::Target::parse(arguments)?;
    let bound = arguments.metrics.as_ref().map(metrics::bind).transpose()?;
    let interfaces = arguments.interface.as_slice();
    let admission = &arguments.admission;
    let places = arguments.place.as_slice();
    let chosen = select_memberships(places, interfaces, &admission.sources, admission.families, console)?;
    // The groups identify what is stored there, whichever interfaces and sources are admitted.
    let groups: BTreeSet<String> =
        chosen.items.iter().map(|membership| membership.address.to_string()).collect();
    let groups = groups.into_iter().collect::<Vec<_>>().join(" ");
    let stream = StreamId::named(&format!("datagrams of {groups}"));
    // Without GRO, because it makes the count of drops a lower bound.
    let receiver = Receiver::builder().join_all(chosen.items).gro(false).build_raising_limit()?;
    print_memberships(&receiver.memberships(), console);
    let config = BridgeConfig { buffer: arguments.keeping.buffer, ..BridgeConfig::new(stream, random()) };
    let (description, waker) = (target.description(), receiver.waker());
    let bridge = StreamBridge::start_group(receiver, Box::new(names()), target.connector(), config)?;
    Session::new(bridge, waker, description, None, arguments, process, console)?.run(bound)
}

/// Returns a function that returns the names of interfaces.
fn names() -> impl FnMut(InterfaceIndex) -> Arc<str> + Send {
    let mut names = InterfaceNames::new();
    move |index| names.of(index)
}
