//! `mcast bridge --check`: what the engine holds.

use std::io::Write;
use std::time::{Duration, SystemTime};

use mcast_bridge::{BridgeError, EngineError, StoredKind, StoredStream, StreamRecord, stored_kind};
use mcast_stream::wire::StreamId;
use mcast_terminal::Console;

use super::{Arguments, engine};
use crate::exit::Outcome;
use crate::output::rfc3339;

/// Prints what the engine holds. It succeeds if that can be continued or published.
pub(super) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    let is_source = arguments.is_reverse();
    let target = match is_source {
        true => engine::Target::parse_source(arguments)?,
        false => engine::Target::parse(arguments)?,
    };
    let mut out = console.output();
    let description = target.description();
    let Some((stored, last, kind)) = read(&target).map_err(BridgeError::Engine)? else {
        writeln!(out, "{description}: nothing is stored there")?;
        out.flush()?;
        return Ok(Outcome::of(true));
    };
    let what = match kind {
        Some(StoredKind::Datagrams) => "datagrams",
        Some(StoredKind::Stream) | None => "a stream",
    };
    let (position, time) = (last.position, SystemTime::UNIX_EPOCH + Duration::from_millis(last.time));
    writeln!(
        out,
        "{description}: {what}, {}; last record: incarnation {}, number {}, at {}",
        stored.stream,
        position.incarnation,
        position.number,
        rfc3339(time)
    )?;
    out.flush()?;
    let wanted = arguments.stream.name.as_deref().filter(|_| !is_source);
    let Some(name) = wanted.filter(|name| StreamId::named(name) != stored.stream) else {
        return Ok(Outcome::of(true));
    };
    console.warn(format_args!("it is not the stream \"{name}\", which cannot be stored there"));
    console.advise("name another place in the engine, or the stream that it holds");
    Ok(Outcome::of(false))
}

type Stored = (StoredStream, StreamRecord, Option<StoredKind>);

fn read(target: &engine::Target) -> Result<Option<Stored>, EngineError> {
    let mut source = target.source_connector().connect()?;
    let Some(stored) = source.stored()? else { return Ok(None) };
    let Some(last) = source.last()? else { return Ok(None) };
    let kind = stored_kind(&mut *source)?;
    Ok(Some((stored, last, kind)))
}
