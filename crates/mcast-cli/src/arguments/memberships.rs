//! The memberships of subcommands that receive.

use mcast::{InterfaceSelector, Membership};

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
