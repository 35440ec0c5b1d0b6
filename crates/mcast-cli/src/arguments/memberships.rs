//! The memberships of subcommands that receive.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use anyhow::Context;
use mcast::{ErrorKind, InterfaceSelector, Membership, Receiver, ReceiverBuilder};

use super::selected::{Admission, Selected, select_memberships};
use crate::console::Console;

/// The memberships of `recv`, `record` and `perf recv`.
#[derive(Debug, clap::Args)]
pub(crate) struct MembershipArguments {
    /// What to join: `[SOURCE[,SOURCE…]@]GROUP[%INTERFACE]:PORT`, a range (`239.1.2.0/28:5000`,
    /// `239.1.2.3+10:5000`, `…:5000-5003`), a name (`mdns`, `ssdp`, `ptp`), a URL
    /// (`udp://@GROUP:PORT`), or a session description (`FILE.sdp`)
    #[arg(required = true, value_name = "MEMBERSHIP")]
    pub(crate) memberships: Vec<String>,

    /// Join on this interface: a name, index or address, `default` or `all`; repeatable
    /// [default: all that are up and can multicast, but not loopback]
    #[arg(short, long = "interface", value_name = "INTERFACE")]
    interfaces: Vec<InterfaceSelector>,

    #[command(flatten)]
    admission: Admission,

    /// Join a source-specific group (232.0.0.0/8, ff3x::/32) without a source
    #[arg(long)]
    pub(crate) any_source: bool,
}

impl MembershipArguments {
    pub(crate) fn selected(&self, console: &Console) -> anyhow::Result<Selected<Membership>> {
        select_memberships(
            &self.memberships,
            &self.interfaces,
            &self.admission.sources,
            self.admission.families,
            console,
        )
    }
}

/// Builds a receiver. If a limit is reached, raises the soft limit of file descriptors and tries again. That is
/// safe because the command does not use `select(2)`.
pub(crate) fn build_receiver(builder: ReceiverBuilder) -> mcast::Result<Receiver> {
    match builder.clone().build() {
        Err(error) if error.kind() == ErrorKind::LimitReached && mcast::raise_descriptor_limit() => {
            builder.build()
        }
        result => result,
    }
}

/// Returns a port that is currently unused.
pub(crate) fn unused_port() -> anyhow::Result<u16> {
    let any = [SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))];
    let socket = UdpSocket::bind(&any[..]).context("cannot find an unused port")?;
    Ok(socket.local_addr()?.port())
}
