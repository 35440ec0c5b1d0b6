//! Remedies that run the `mcast` command. The tests of the command check that it accepts all of them.

use std::net::{IpAddr, SocketAddr};

use crate::{Instructions, Remedy, RemedyScope, Tool};

/// Receives a group.
pub(crate) fn recv(to: SocketAddr) -> Remedy {
    Remedy::now(Tool::Mcast, ["recv", &to.to_string()])
}

/// Receives a group on one interface.
pub(crate) fn recv_on(to: SocketAddr, interface: &str) -> Remedy {
    Remedy::now(Tool::Mcast, ["recv", &to.to_string(), "-i", interface])
}

/// Receives a group from these sources only.
pub(crate) fn recv_from(sources: &[IpAddr], to: SocketAddr) -> Remedy {
    let sources: Vec<_> = sources.iter().map(ToString::to_string).collect();
    Remedy::now(Tool::Mcast, ["recv", &format!("{}@{to}", sources.join(","))])
}

/// Sends a datagram with a hop limit that crosses routers.
pub(crate) fn send_far(to: SocketAddr) -> Remedy {
    Remedy::now(Tool::Mcast, ["send", "--ttl", "16", &to.to_string(), "test"])
}

/// Listens for the probes that the sending machine runs with [`probe`].
pub(crate) fn listen(to: SocketAddr) -> Remedy {
    Remedy::now(Tool::Mcast, ["doctor", "--listen", &to.to_string()])
}

/// Returns the arguments that send probes to [`listen`].
pub(crate) fn probe(to: SocketAddr) -> Vec<String> {
    ["doctor", "--probe", &to.to_string()].map(str::to_owned).into()
}

/// Examines the program that has a port open.
pub(crate) fn examine_port(port: u16) -> Remedy {
    Remedy::now(Tool::Mcast, ["doctor", "--port", &port.to_string()])
}

/// Picks a group derived from a name.
pub(crate) fn pick() -> Remedy {
    Remedy::now(Tool::Mcast, ["pick", "NAME"])
}

/// Shows the queriers of a network.
pub(crate) fn watch_queriers(interface: &str) -> Remedy {
    Remedy::now(Tool::Mcast, ["querier", "-i", interface])
}

/// Acts as the querier while it runs.
pub(crate) fn become_querier(interface: &str) -> Remedy {
    let scope =
        RemedyScope::new(format!("every switch and host in the network of {interface}, while it runs"))
            .warning("switches forward groups to this machine as if it were a router");
    let remedy = Remedy::now(Tool::Mcast, ["querier", "--become", "-i", interface]).as_root();
    let undo = Some(Instructions::Advice("End it with Ctrl-C.".to_owned()));
    Remedy { undo, ..remedy.with_scope(scope) }
}

/// Returns the arguments, without the program name, of every suggestion for a group.
#[doc(hidden)]
#[must_use]
pub fn suggestions(to: SocketAddr, sources: &[IpAddr], interface: &str) -> Vec<Vec<String>> {
    let remedies = [
        recv(to),
        recv_on(to, interface),
        recv_from(sources, to),
        send_far(to),
        listen(to),
        examine_port(to.port()),
        pick(),
        watch_queriers(interface),
        become_querier(interface),
    ];
    let args = |remedy: &Remedy| match remedy.actions() {
        [crate::Action::Run { args, .. }] => args.clone(),
        _ => Vec::new(),
    };
    remedies.iter().map(args).chain([probe(to)]).collect()
}
