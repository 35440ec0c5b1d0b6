//! The memberships of subcommands that receive.

use mcast::{HostAddr, InterfaceSelector, Membership};
use mcast_terminal::Console;

use super::hosts::{BroadcastOption, hosts_on_each};
use super::selected::{Admission, Selected, select_memberships};
use crate::exit::Failure;

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
        self.select(&self.memberships, console)
    }

    /// Returns the hosts or broadcasts among the arguments, and the memberships.
    pub(crate) fn selected_with_hosts(
        &self,
        broadcast: BroadcastOption,
        console: &Console,
    ) -> anyhow::Result<(Vec<HostAddr>, Selected<Membership>)> {
        let (hosts, groups) = broadcast.split(&self.memberships, self.admission.families)?;
        if !hosts.is_empty() && !self.admission.sources.is_empty() {
            return Err(Failure::usage("--source selects the senders to a group, not to a host").into());
        }
        Ok((hosts_on_each(hosts, &self.interfaces), self.select(&groups, console)?))
    }

    fn select(&self, texts: &[String], console: &Console) -> anyhow::Result<Selected<Membership>> {
        select_memberships(texts, &self.interfaces, &self.admission.sources, self.admission.families, console)
    }
}
