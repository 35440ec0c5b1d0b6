//! What a contestant is to do: the same words for all of ours, whatever they are written in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use mcast::{Destination, Group, GroupAddr, InterfaceSelector, Membership};

/// One of the contestants written in Rust, and what it does.
#[derive(Args, Clone, Debug)]
pub struct PeerArguments {
    /// Which.
    pub name: Name,
    /// What.
    pub role: Role,
    /// With what.
    #[command(flatten)]
    pub work: Work,
}

/// The contestants written in Rust.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Name {
    McastSingle,
    McastLean,
    McastReader,
    McastBatched,
    McastTokio,
    Std,
    StdSameOptions,
    Tokio,
    Quinn,
    Mcrx,
}

/// What a contestant does.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Receives, and counts.
    Receive,
    /// Sends, and counts.
    Send,
    /// Sends one and waits for it to come back.
    Ping,
    /// Sends back what comes.
    Pong,
}

/// The details.
#[derive(Args, Clone, Debug)]
pub struct Work {
    /// The group, the first where there are several.
    #[arg(long)]
    pub group: IpAddr,
    /// How many groups, counting up.
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
    /// Receive buffer to ask for in bytes; 0 leaves it as it is.
    #[arg(long, default_value_t = 0)]
    pub buffer: usize,
    /// Seconds before the window opens.
    #[arg(long, default_value_t = 0.1)]
    pub warm_up: f64,
    /// The window.
    #[arg(long, default_value_t = 1.0)]
    pub seconds: f64,
    /// Count until nothing has come for a second.
    #[arg(long)]
    pub to_idle: bool,
    /// No GSO, no GRO.
    #[arg(long)]
    pub no_trains: bool,
    /// Ask again and again instead of waiting.
    #[arg(long)]
    pub spin: bool,
}

impl Work {
    /// The address of a group, by number.
    #[must_use]
    pub fn group_of(&self, number: u32) -> SocketAddr {
        let group = match self.group {
            IpAddr::V4(first) => Ipv4Addr::from_bits(first.to_bits().wrapping_add(number)).into(),
            IpAddr::V6(first) => Ipv6Addr::from_bits(first.to_bits().wrapping_add(number.into())).into(),
        };
        SocketAddr::new(group, self.port)
    }

    /// The first group and the port.
    #[must_use]
    pub fn first(&self) -> SocketAddr {
        self.group_of(0)
    }

    /// Where to send, for `mcast`.
    ///
    /// # Errors
    /// When the address is no group.
    pub fn destination(&self) -> Result<Destination> {
        Ok(Destination { address: group_addr(self.first())?, interface: Some(self.selector()) })
    }

    /// What to join, for `mcast`.
    ///
    /// # Errors
    /// When an address is no group.
    pub fn memberships(&self) -> Result<Vec<Membership>> {
        let membership = |number| Ok(Membership::new(group_addr(self.group_of(number))?).on(self.selector()));
        (0..self.groups).map(membership).collect()
    }

    fn selector(&self) -> InterfaceSelector {
        InterfaceSelector::Name(self.interface.clone())
    }
}

fn group_addr(address: SocketAddr) -> Result<GroupAddr> {
    let group = Group::new(address.ip()).with_context(|| format!("{address} is no group"))?;
    Ok(GroupAddr::new(group, address.port()))
}
