//! The group comes in, to another port.

use crate::observation::{Observation, Wanted};
use crate::wire::Flow;
use crate::{Evidence, Finding, Id, Remedy, Severity, Sort, Tool};

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    let wanted = seen.wanted();
    // The same group on several ports: at least one of them is the right one.
    let is_served = |group: std::net::IpAddr, port: u16| {
        wanted.iter().any(|wanted| wanted.group.addr() == group && wanted.port == port)
    };
    wanted.iter().filter_map(|wanted| judge(seen, wanted, &is_served)).collect()
}

fn judge(
    seen: &Observation,
    wanted: &Wanted<'_>,
    is_served: &dyn Fn(std::net::IpAddr, u16) -> bool,
) -> Option<Finding> {
    let group = wanted.group.addr();
    let own_port = |flow: &Flow| flow.key.port == wanted.port;
    if seen.wire.incoming(group).any(own_port) || seen.wire.outgoing(group).any(own_port) {
        return None;
    }
    let other = |flow: &&Flow| {
        flow.key.interface == wanted.interface
            && flow.key.vlan.is_none()
            && wanted.sources.admits(flow.key.source.ip())
            && !is_served(group, flow.key.port)
    };
    let flow = seen.wire.incoming(group).find(other)?;
    let (seen_port, source) = (flow.key.port, flow.key.source);
    // Somebody here wants that port: then the sender may mean him, and this one be silent.
    let meant_for_another = seen.after.udp_sockets.iter().any(|socket| socket.local.port() == seen_port);
    let severity = if meant_for_another { Severity::Warning } else { Severity::Fault };
    let interface = seen.link_name(wanted.interface);
    let real = std::net::SocketAddr::new(group, seen_port);
    let finding = Finding::new(
        Id::WrongPort,
        severity,
        format!(
            "{source} sends to port {seen_port} of {}, and port {} is listened on.",
            wanted.group, wanted.port
        ),
    )
    .on(&interface)
    .of(wanted.destination())
    .from(source)
    .because(Evidence::new(
        Sort::Packet,
        &interface,
        format!("{} datagrams to {real}, none to port {}", flow.datagrams, wanted.port),
    ))
    .remedied([
        Remedy::advice(
            Tool::Program,
            format!("Bind to port {seen_port}, or have the sender send to port {}.", wanted.port),
        ),
        Remedy::now(Tool::Mcast, format!("mcast recv {real}")),
    ]);
    Some(finding)
}

#[cfg(test)]
mod tests {
    use super::super::invent::{ETH0, ETH1, flow, membership};
    use super::*;
    use crate::snapshot::UdpSocket;

    const TO: &str = "239.1.2.3:5000";
    const OTHER: &str = "239.1.2.3:5001";

    #[test]
    fn a_port_that_somebody_else_here_wants_may_be_meant_for_him() {
        let mut seen = membership(TO, vec![flow(ETH0, "10.9.0.1:6000", OTHER)], 0);
        assert_eq!(check(&seen)[0].severity, Severity::Fault);
        seen.after.udp_sockets = vec![UdpSocket {
            local: "0.0.0.0:5001".parse().unwrap(),
            peer: None,
            inode: 9,
            drops: 0,
            programs: Vec::new(),
        }];
        assert_eq!(check(&seen)[0].severity, Severity::Warning);
    }

    #[test]
    fn other_ports_beside_the_right_one_and_on_other_interfaces_are_no_case() {
        let both = vec![flow(ETH0, "10.9.0.1:6000", OTHER), flow(ETH0, "10.9.0.1:6000", TO)];
        assert_eq!(check(&membership(TO, both, 10)), []);
        assert_eq!(check(&membership(TO, vec![flow(ETH1, "10.8.0.1:6000", OTHER)], 0)), []);
    }
}
