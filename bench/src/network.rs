//! Two hosts of a lab, and the link between them.

use anyhow::{Context, Result};
use mcast_lab::{Host, Lab, Offload};
use serde::{Deserialize, Serialize};

/// The interface of both hosts.
pub const INTERFACE: &str = "eth0";
/// The sender's address.
pub const SENDER: &str = "10.77.0.1";
/// The receiver's address.
pub const RECEIVER: &str = "10.77.0.2";

/// What the link does with trains (UDP GSO and GRO).
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "kebab-case")]
pub enum Link {
    /// (a) A plain veth pair, which never splits a train: as between containers and virtual machines.
    Whole,
    /// (b) Segmentation offload off at the sender, merging off at the receiver: a frame a datagram.
    Frames,
    /// (c) Segmentation offload off at the sender, merging (GRO) on at the receiver.
    Merged,
}

impl Link {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Whole, Self::Frames, Self::Merged];

    /// Its letter in the names of tables.
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            Self::Whole => 'a',
            Self::Frames => 'b',
            Self::Merged => 'c',
        }
    }

    /// What it is, for a heading.
    #[must_use]
    pub const fn description(self) -> &'static str {
        match self {
            Self::Whole => "(a) plain veth: trains cross whole",
            Self::Frames => "(b) offload off at the sender, merging off at the receiver: a frame a datagram",
            Self::Merged => "(c) offload off at the sender, merging on at the receiver",
        }
    }
}

/// The interface of the router towards the receiver.
pub const DOWNSTREAM: &str = "eth1";
/// The receiver's address behind the router.
pub const BEHIND_ROUTER: &str = "10.77.1.2";

/// Two hosts with a router between them.
#[derive(Debug)]
pub struct RoutedNetwork {
    /// Who sends, on the router's interface [`INTERFACE`].
    pub sender: Host,
    /// What forwards.
    pub router: Host,
    /// Who receives, on the router's interface [`DOWNSTREAM`].
    pub receiver: Host,
    /// Keeps the namespaces.
    _lab: Lab,
}

impl RoutedNetwork {
    /// Builds the hosts and their links.
    ///
    /// # Errors
    /// If namespaces are not permitted, or the kernel rejects a link.
    pub fn new(link: Link) -> Result<Self> {
        let lab = Lab::new().context("the lab to compare in")?;
        let (sender, router, receiver) = (lab.host("sender")?, lab.host("router")?, lab.host("receiver")?);
        lab.link(&sender, INTERFACE, &["10.77.0.1/24"], &router, INTERFACE, &["10.77.0.2/24"])?;
        lab.link(&router, DOWNSTREAM, &["10.77.1.1/24"], &receiver, INTERFACE, &["10.77.1.2/24"])?;
        sender.add_route("224.0.0.0/4", INTERFACE)?;
        if link != Link::Whole {
            let cut = Offload { tx_udp_segmentation: false, tso: false, ..Offload::default() };
            sender.offload(INTERFACE, cut)?;
            router.offload(DOWNSTREAM, cut)?;
        }
        if link == Link::Merged {
            router.offload(INTERFACE, Offload { gro: true, ..Offload::default() })?;
        }
        Ok(Self { sender, router, receiver, _lab: lab })
    }
}

/// Two hosts at two sites, and a relay of each site.
#[derive(Debug)]
pub struct TunnelNetwork {
    /// Who sends, on the near relay's interface [`INTERFACE`].
    pub sender: Host,
    /// The relay beside the sender.
    pub near: Host,
    /// The relay beside the receiver, at 10.77.2.2.
    pub far: Host,
    /// Who receives, on the far relay's interface [`DOWNSTREAM`].
    pub receiver: Host,
    /// Keeps the namespaces.
    _lab: Lab,
}

impl TunnelNetwork {
    /// Builds the hosts and their links.
    ///
    /// # Errors
    /// If namespaces are not permitted, or the kernel rejects a link.
    pub fn new(link: Link) -> Result<Self> {
        let lab = Lab::new().context("the lab to compare in")?;
        let [sender, near, far, receiver] = ["sender", "near", "far", "receiver"].map(|name| lab.host(name));
        let (sender, near, far, receiver) = (sender?, near?, far?, receiver?);
        lab.link(&sender, INTERFACE, &["10.77.0.1/24"], &near, INTERFACE, &["10.77.0.2/24"])?;
        lab.link(&near, DOWNSTREAM, &["10.77.2.1/24"], &far, INTERFACE, &["10.77.2.2/24"])?;
        lab.link(&far, DOWNSTREAM, &["10.77.1.1/24"], &receiver, INTERFACE, &["10.77.1.2/24"])?;
        sender.add_route("224.0.0.0/4", INTERFACE)?;
        if link != Link::Whole {
            let cut = Offload { tx_udp_segmentation: false, tso: false, ..Offload::default() };
            sender.offload(INTERFACE, cut)?;
            near.offload(DOWNSTREAM, cut)?;
            far.offload(DOWNSTREAM, cut)?;
        }
        Ok(Self { sender, near, far, receiver, _lab: lab })
    }
}

/// The two hosts.
#[derive(Debug)]
pub struct Network {
    /// Who sends.
    pub sender: Host,
    /// Who receives.
    pub receiver: Host,
    /// Holds them up.
    _lab: Lab,
}

impl Network {
    /// Builds the two hosts and their link.
    ///
    /// # Errors
    /// Where namespaces are refused, and what else the kernel says.
    pub fn new(link: Link) -> Result<Self> {
        let lab = Lab::new().context("the lab to compare in")?;
        let (sender, receiver) = (lab.host("sender")?, lab.host("receiver")?);
        lab.link(
            &sender,
            INTERFACE,
            &["10.77.0.1/24", "fd77::1/64"],
            &receiver,
            INTERFACE,
            &["10.77.0.2/24", "fd77::2/64"],
        )?;
        for host in [&sender, &receiver] {
            // Some peers know no other way to choose an interface.
            host.add_route("224.0.0.0/4", INTERFACE)?;
        }
        if link != Link::Whole {
            let cut = Offload { tx_udp_segmentation: false, tso: false, ..Offload::default() };
            sender.offload(INTERFACE, cut)?;
        }
        if link == Link::Merged {
            receiver.offload(INTERFACE, Offload { gro: true, ..Offload::default() })?;
        }
        Ok(Self { sender, receiver, _lab: lab })
    }
}
