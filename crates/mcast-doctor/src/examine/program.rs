//! Somebody else's program.

use std::time::SystemTime;

use crate::gather::listen::{Subject, Taps, listen};
use crate::gather::{program, snapshot};
use crate::observation::{About, Observation};
use crate::{Options, Report, Result, Watch};

/// Somebody else's program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// The process of this id.
    Process(u32),
    /// Whoever has this UDP port open.
    Port(u16),
}

/// Looks at another program's sockets, and at what the wire has for them. Joins nothing, so that it
/// changes nothing.
///
/// To see whose sockets are whose needs the same user or root, on Linux.
///
/// # Errors
/// [`Error::NoProgram`](crate::Error::NoProgram) when there is no such program, or it has no UDP socket;
/// [`Error::Hidden`](crate::Error::Hidden) when it is another user's, and
/// [`Error::OtherNamespace`](crate::Error::OtherNamespace) when it is in another network namespace.
pub fn examine_program(target: Target, options: &Options, watch: Watch<'_>) -> Result<Report> {
    let before = snapshot()?;
    let first = program::look(target, &before)?;
    let mut taps = Taps::of(&before, &first.sockets.iter().flat_map(interfaces).collect::<Vec<_>>());
    // It listens from now on, whether or not anything comes.
    taps.recorder.count_data_from(SystemTime::now());
    let groups: Vec<_> = first.sockets.iter().flat_map(|socket| &socket.memberships).collect();
    let subject = Subject { group: groups.first().map(|membership| membership.group.addr()), port: None };
    let (wire, _) = listen(taps, None, subject, options, watch)?;
    let after = snapshot()?;
    // It may have ended meanwhile, and taken its sockets with it.
    let last = program::look(target, &after).unwrap_or_default();
    let about = About::Program(program::compare(first, &last));
    let seen = Observation { before, after, wire, about, options: options.clone() };
    Ok(super::report(&seen))
}

fn interfaces(socket: &crate::observation::ProgramSocket) -> impl Iterator<Item = u32> {
    socket.memberships.iter().map(|membership| membership.interface)
}
