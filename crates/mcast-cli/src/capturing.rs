//! What the subcommands that capture share: files as input, names of interfaces, and memberships that are held
//! without receiving their datagrams.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use mcast::{Membership, MembershipStatus, Receiver};
use mcast_capture::{CaptureFile, FileError, Frame};

use crate::arguments::{build_receiver, unused_port};
use crate::output::SafeText;

/// Opens a capture file; `-` is standard input.
pub(crate) fn open_file(path: &Path) -> Result<CaptureFile, FileError> {
    match path.as_os_str() == "-" {
        true => CaptureFile::from_reader(io::stdin(), "standard input"),
        false => CaptureFile::open(path),
    }
}

/// Returns the name of the frame's interface to show, or its number if it has none. A name in a file is untrusted, so
/// it is escaped.
pub(crate) fn interface_name(frame: &Frame<'_>) -> String {
    match frame.interface_name {
        Some(name) => SafeText::new(name.as_bytes()).to_string(),
        None => format!("#{}", frame.interface),
    }
}

/// Memberships for the sake of the network: switches and routers forward the groups. The receiver is bound to an unused
/// port, so that no datagrams are delivered to it.
#[derive(Debug)]
pub(crate) struct HeldMemberships {
    receiver: Receiver,
    /// The requested ports of each membership of the receiver.
    ports: Vec<Vec<u16>>,
}

impl HeldMemberships {
    pub(crate) fn join(memberships: &[Membership], any_source: bool, follow: bool) -> anyhow::Result<Self> {
        let port = unused_port()?;
        let mut positions = HashMap::new();
        let (mut held, mut ports) = (Vec::new(), Vec::<Vec<u16>>::new());
        for membership in memberships {
            let mut elsewhere = membership.clone();
            elsewhere.address.port = port;
            let position = *positions.entry(elsewhere).or_insert_with_key(|elsewhere| {
                held.push(elsewhere.clone());
                ports.push(Vec::new());
                ports.len() - 1
            });
            ports[position].push(membership.address.port);
        }
        let builder = Receiver::builder().join_all(held).follow(follow).allow_any_source(any_source);
        Ok(Self { receiver: build_receiver(builder)?, ports })
    }

    /// Returns the memberships with the ports requested.
    pub(crate) fn statuses(&self) -> Vec<MembershipStatus> {
        let held = self.receiver.memberships().into_iter().zip(&self.ports);
        let at_each = held.flat_map(|(status, ports)| {
            ports.iter().map(move |port| {
                let mut status = status.clone();
                status.membership.address.port = *port;
                status
            })
        });
        at_each.collect()
    }

    /// Joins on interfaces that have appeared. A receiver follows its interfaces only while it receives, and this one
    /// gets no datagrams.
    pub(crate) fn refresh(&self) -> mcast::Result<()> {
        while self.receiver.try_recv(&mut [0; 1])?.is_some() {}
        Ok(())
    }
}
