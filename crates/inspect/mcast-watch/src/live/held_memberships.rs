//! Memberships that are held without receiving their datagrams.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use mcast::{Membership, MembershipStatus, Receiver};

use super::LiveError;

/// Memberships for the sake of the network: switches and routers forward the groups. The receiver is bound to an unused
/// port, so that no datagrams are delivered to it.
#[derive(Debug)]
pub struct HeldMemberships {
    receiver: Receiver,
    /// The requested ports of each membership of the receiver.
    ports: Vec<Vec<u16>>,
}

impl HeldMemberships {
    /// Joins the groups. `any_source` allows source-specific groups without a source; `follow` is for interfaces that
    /// appear and vanish ([`Self::refresh`]).
    ///
    /// # Errors
    /// [`LiveError::Port`], and [`LiveError::Multicast`] if a group cannot be joined.
    pub fn join(memberships: &[Membership], any_source: bool, follow: bool) -> Result<Self, LiveError> {
        let port = unused_port().map_err(LiveError::Port)?;
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
        Ok(Self { receiver: builder.build_raising_limit()?, ports })
    }

    /// Returns the state of the memberships, with the ports requested.
    #[must_use]
    pub fn statuses(&self) -> Vec<MembershipStatus> {
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
    ///
    /// # Errors
    /// If the system refuses to list the interfaces.
    pub fn refresh(&self) -> mcast::Result<()> {
        while self.receiver.try_recv(&mut [0; 1])?.is_some() {}
        Ok(())
    }
}

/// Returns a port that is currently unused.
fn unused_port() -> io::Result<u16> {
    let any = [SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))];
    Ok(UdpSocket::bind(&any[..])?.local_addr()?.port())
}
