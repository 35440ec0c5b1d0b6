//! The command line of our contestants, which is the same in all languages.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use mcast::{Destination, Group, GroupAddr, InterfaceSelector, Membership};

/// A contestant written in Rust, and what to do.
#[derive(Args, Clone, Debug)]
pub struct PeerArguments {
    /// The contestant.
    pub name: Name,
    /// The role.
    pub role: Role,
    /// The work.
    #[command(flatten)]
    pub work: Work,
}

/// The contestants written in Rust.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "self-explanatory")]
pub enum Name {
    McastSingle,
    McastLean,
    McastReader,
    McastBatched,
    McastWire,
    McastTokio,
    Std,
    StdSameOptions,
    Tokio,
    Quinn,
    Mcrx,
}

/// The role of a contestant.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Receives and counts datagrams.
    Receive,
    /// Sends and counts datagrams.
    Send,
    /// Sends datagrams and waits for each to return.
    Ping,
    /// Sends back every datagram received.
    Pong,
}

/// The work of a contestant.
#[derive(Args, Clone, Debug)]
pub struct Work {
    /// The group, or the first of several.
    #[arg(long)]
    pub group: IpAddr,
    /// How many consecutive groups.
    #[arg(long, default_value_t = 1)]
    pub groups: u32,
    /// The port.
    #[arg(long)]
    pub port: u16,
    /// The interface, by name.
    #[arg(long)]
    pub interface: String,
    /// The interface, by its address.
    #[arg(long)]
    pub address: IpAddr,
    /// Bytes of payload.
    #[arg(long, default_value_t = 64)]
    pub size: usize,
    /// Receive buffer to request, in bytes; 0 for the default.
    #[arg(long, default_value_t = 0)]
    pub buffer: usize,
    /// Seconds before the measurement window starts.
    #[arg(long, default_value_t = 0.1)]
    pub warm_up: f64,
    /// Length of the measurement window, in seconds.
    #[arg(long, default_value_t = 1.0)]
    pub seconds: f64,
    /// Count until no datagram has arrived for a second.
    #[arg(long)]
    pub to_idle: bool,
    /// No GSO, no GRO.
    #[arg(long)]
    pub no_trains: bool,
    /// Datagrams per second of a ping; 0 for one as soon as the last has returned.
    #[arg(long, default_value_t = 0)]
    pub rate: u32,
    /// Poll instead of waiting.
    #[arg(long)]
    pub spin: bool,
}

impl Work {
    /// Returns the address of a group, by number.
    #[must_use]
    pub fn group_of(&self, number: u32) -> SocketAddr {
        let group = match self.group {
            IpAddr::V4(first) => Ipv4Addr::from_bits(first.to_bits().wrapping_add(number)).into(),
            IpAddr::V6(first) => Ipv6Addr::from_bits(first.to_bits().wrapping_add(number.into())).into(),
        };
        SocketAddr::new(group, self.port)
    }

    /// Returns the first group and the port.
    #[must_use]
    pub fn first(&self) -> SocketAddr {
        self.group_of(0)
    }

    /// Returns the destination for `mcast`.
    ///
    /// # Errors
    /// If the address is not multicast.
    pub fn destination(&self) -> Result<Destination> {
        Ok(Destination { address: group_addr(self.first())?, interface: Some(self.selector()) })
    }

    /// Returns the memberships for `mcast`.
    ///
    /// # Errors
    /// If an address is not multicast.
    pub fn memberships(&self) -> Result<Vec<Membership>> {
        let membership = |number| Ok(Membership::new(group_addr(self.group_of(number))?).on(self.selector()));
        (0..self.groups).map(membership).collect()
    }

    fn selector(&self) -> InterfaceSelector {
        InterfaceSelector::Name(self.interface.clone())
    }
}

fn group_addr(address: SocketAddr) -> Result<GroupAddr> {
    let group = Group::new(address.ip()).with_context(|| format!("{address} is not a multicast address"))?;
    Ok(GroupAddr::new(group, address.port()))
}
