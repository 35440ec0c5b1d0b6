//! A membership: join, and listen at all depths.

use std::time::SystemTime;

use mcast::{ErrorKind, InterfaceSelector, Membership, Receiver};

use crate::gather::listen::{Subject, Taps, listen};
use crate::gather::{processes, snapshot};
use crate::observation::{About, Asked, Failure, Observation};
use crate::snapshot::Snapshot;
use crate::{Options, Report, Result, Watch};

/// Joins, listens at three depths at once (the wire, the counters of the IP layer, the socket), and
/// names the layer at which datagrams got lost.
///
/// Without the right to capture (`CAP_NET_RAW`) the wire stays unknown, which the report says.
///
/// # Errors
/// When the system does not tell its interfaces, when there is no such interface, or receiving fails. That
/// joining is refused for a reason that can be cured is a finding.
pub fn examine_membership(membership: &Membership, options: &Options, watch: Watch<'_>) -> Result<Report> {
    let mut before = snapshot()?;
    let (group, port) = (membership.address.group, membership.address.port);
    let mut taps = Taps::of(&before, &named(membership, &before));
    let built = Receiver::builder().join(membership.clone()).build();
    // Now switches may let it through, and not sooner.
    taps.recorder.count_data_from(SystemTime::now());
    let mut asked = asked(membership);
    let receiver = match built {
        Ok(receiver) => Some(receiver),
        Err(error) if is_examined(error.kind()) => {
            asked.failures.push(failure(&error));
            None
        }
        Err(error) => return Err(error.into()),
    };
    asked.joined =
        receiver.as_ref().map(|receiver| joined(receiver, &mut asked.failures)).unwrap_or_default();
    asked.joined_before =
        asked.joined.iter().copied().filter(|index| before.is_joined(group.addr(), *index)).collect();

    // What could not be joined is still worth a look at the wire, but no long one.
    let options = if receiver.is_some() {
        options.clone()
    } else {
        options.clone().listening(options.listen.min(BRIEF))
    };
    let subject = Subject { group: Some(group.addr()), port: Some(port) };
    let (wire, ear) = listen(taps, receiver.as_ref(), subject, &options, watch)?;
    asked.heard = ear.heard();
    asked.dropped =
        receiver.as_ref().and_then(|receiver| receiver.statistics().dropped.count()).unwrap_or_default();
    let after = snapshot()?;
    if asked.failed_with(ErrorKind::AddressInUse).is_some() {
        let holders = processes::holders();
        for socket in &mut before.udp_sockets {
            socket.programs = holders.get(&socket.inode).cloned().unwrap_or_default();
        }
    }
    let seen = Observation { before, after, wire, about: About::Membership(asked), options };
    Ok(super::report(&seen))
}

const BRIEF: std::time::Duration = std::time::Duration::from_secs(2);

fn asked(membership: &Membership) -> Asked {
    Asked {
        group: membership.address.group,
        port: membership.address.port,
        sources: membership.sources.clone(),
        by_default: membership.interface == Some(InterfaceSelector::Default),
        joined: Vec::new(),
        joined_before: Vec::new(),
        failures: Vec::new(),
        heard: Vec::new(),
        dropped: 0,
    }
}

/// The interface that the membership names, which may be one that is not listened on otherwise.
fn named(membership: &Membership, machine: &Snapshot) -> Vec<u32> {
    let found = membership.interface.as_ref().and_then(|selector| mcast::find(selector).ok());
    let index = found.map(|interface| interface.index.number());
    index.into_iter().filter(|index| machine.link(*index).is_some_and(|link| link.up)).collect()
}

/// Whether a refusal is one that a cause explains; others are the caller's to hear.
fn is_examined(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::AddressInUse
            | ErrorKind::FamilyUnavailable
            | ErrorKind::InterfaceDown
            | ErrorKind::LimitReached
            | ErrorKind::NoRoute
            | ErrorKind::SourceNeeded
    )
}

/// Where it was joined; what failed is noted.
fn joined(receiver: &Receiver, failures: &mut Vec<Failure>) -> Vec<u32> {
    let mut indices = Vec::new();
    for status in receiver.memberships() {
        for interface in status.interfaces {
            match &interface.failure {
                None => indices.push(interface.index.number()),
                Some(error) => failures.push(Failure { interface: Some(interface.name), ..failure(error) }),
            }
        }
    }
    indices
}

fn failure(error: &mcast::Error) -> Failure {
    Failure { interface: error.interface().map(str::to_owned), kind: error.kind(), text: error.to_string() }
}
