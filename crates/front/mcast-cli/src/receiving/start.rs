//! What a receiver prints when it starts.

use mcast::{HostAddr, MembershipStatus, ReceiverBuilder};
use mcast_terminal::Console;

use crate::arguments::BroadcastOption;
use crate::output::{bytes, count, count_of};

/// Prints what was joined where: all of a few memberships, and of many those that were not joined.
pub(crate) fn print_memberships(statuses: &[MembershipStatus], console: &Console) {
    const MAX_LISTED: usize = 8;

    if statuses.len() <= MAX_LISTED || console.is_verbose() {
        return statuses.iter().for_each(|status| console.note(status));
    }
    let joined = statuses.iter().filter(|status| status.is_joined()).count();
    let all = count_of(statuses.len() as u64, "membership");
    console.note(format_args!("joined {} of {all} (-v names them)", count(joined as u64)));
    statuses.iter().filter(|status| !status.is_joined()).for_each(|status| console.warn(status));
}

/// Adds the addresses of this host, or with `--broadcast` the broadcasts, to what is received.
pub(crate) fn listen_at(
    hosts: &[HostAddr],
    broadcast: BroadcastOption,
    builder: ReceiverBuilder,
) -> ReceiverBuilder {
    hosts.iter().cloned().fold(builder, |builder, host| match broadcast.broadcast {
        true => builder.listen(all_hosts(host)),
        false => builder.listen(host),
    })
}

/// Returns the broadcast address with the port and the interface of another one.
pub(super) fn all_hosts(host: HostAddr) -> HostAddr {
    host.interface.into_iter().fold(HostAddr::broadcast(host.port), HostAddr::on)
}

/// Prints the addresses of this host at which datagrams are received.
pub(crate) fn print_hosts(hosts: &[HostAddr], console: &Console) {
    hosts.iter().for_each(|host| console.note(format_args!("listening at {host}")));
}

/// Prints the size of the receive buffer, as a warning if it is smaller than requested. `of_what` follows the size.
pub(crate) fn print_buffer(granted: usize, requested: Option<usize>, of_what: &str, console: &Console) {
    match requested {
        Some(requested) if granted < requested => console.warn(format_args!(
            "the system granted {} of the {} of receive buffer (Linux: raise net.core.rmem_max)",
            count(granted as u64),
            bytes(requested as u64)
        )),
        _ => console.detail(format_args!("receive buffer: {}{of_what}", bytes(granted as u64))),
    }
}
