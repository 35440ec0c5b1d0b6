//! Hosts and broadcasts instead of groups, for networks without multicast.

use std::net::IpAddr;

use mcast::{Family, HostAddr, InterfaceSelector};

use super::Families;
use crate::exit::Failure;

/// `--broadcast` of the subcommands that send to hosts or listen at them.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct BroadcastOption {
    /// Use IPv4 broadcasts in place of a group: `PORT` on this link, or `ADDRESS:PORT` with the last address of a subnet
    #[arg(long)]
    pub(crate) broadcast: bool,
}

impl BroadcastOption {
    /// Divides texts into hosts, or broadcast addresses, and those that name groups.
    pub(crate) fn split(
        self,
        texts: &[String],
        families: Families,
    ) -> Result<(Vec<HostAddr>, Vec<String>), Failure> {
        if self.broadcast {
            if families.only() == Some(Family::V6) {
                return Err(no_ipv6());
            }
            let hosts = texts.iter().map(|text| parse_broadcast(text)).collect::<Result<_, _>>()?;
            return Ok((hosts, Vec::new()));
        }
        let (hosts, groups): (Vec<_>, Vec<_>) = texts.iter().partition(|text| is_host(text));
        let host = |text: &String| {
            let host: HostAddr = text.parse().map_err(|error| Failure::usage(format!("{error}")))?;
            families.check(text, host.family()).map(|()| host)
        };
        let hosts: Result<_, Failure> = hosts.into_iter().map(host).collect();
        Ok((hosts?, groups.into_iter().cloned().collect()))
    }
}

/// Returns whether the text is the address of a host and a port.
pub(crate) fn is_host(text: &str) -> bool {
    text.parse::<HostAddr>().is_ok()
}

/// Returns hosts on each interface, unless they name one themselves.
pub(crate) fn hosts_on_each(hosts: Vec<HostAddr>, interfaces: &[InterfaceSelector]) -> Vec<HostAddr> {
    let on_each = |host: HostAddr| match host.interface {
        None if !interfaces.is_empty() => {
            interfaces.iter().map(|interface| host.clone().on(interface.clone())).collect()
        }
        _ => vec![host],
    };
    hosts.into_iter().flat_map(on_each).collect()
}

/// Parses `PORT`, `:PORT` or `ADDRESS[%INTERFACE]:PORT`.
fn parse_broadcast(text: &str) -> Result<HostAddr, Failure> {
    let port = text.strip_prefix(':').unwrap_or(text);
    let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let host = match is_port {
        true => format!("255.255.255.255:{port}").parse::<HostAddr>(),
        false => text.parse(),
    };
    match host {
        Ok(host) if host.family() == Family::V6 => Err(no_ipv6()),
        Ok(host) => Ok(host),
        Err(_) if text.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6()) || text.starts_with('[') => {
            Err(no_ipv6())
        }
        Err(error) => Err(Failure::usage(format!("{error}"))
            .remedy("with --broadcast, write PORT or ADDRESS:PORT, such as 5000 or 10.0.0.255:5000")),
    }
}

fn no_ipv6() -> Failure {
    Failure::usage("IPv6 has no broadcast")
        .remedy("use a group of the link, such as [ff02::1234]:PORT, or name each host: [ADDRESS]:PORT")
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Families = Families { v4: false, v6: false };

    fn split(broadcast: bool, texts: &[&str]) -> Result<(Vec<String>, Vec<String>), String> {
        let texts: Vec<String> = texts.iter().map(ToString::to_string).collect();
        let split = BroadcastOption { broadcast }.split(&texts, BOTH);
        let (hosts, groups) = split.map_err(|failure| failure.to_string())?;
        Ok((hosts.iter().map(ToString::to_string).collect(), groups))
    }

    #[test]
    fn hosts_are_told_from_groups() {
        let (hosts, groups) =
            split(false, &["10.0.0.5:5000", "239.1.2.3:5000", "mdns", "[fe80::1%eth0]:5000"]).unwrap();
        assert_eq!(hosts, ["10.0.0.5:5000", "[fe80::1%eth0]:5000"]);
        assert_eq!(groups, ["239.1.2.3:5000", "mdns"]);
    }

    #[test]
    fn a_broadcast_is_a_port_or_an_address_of_ipv4() {
        let (hosts, _) = split(true, &["5000", ":5001", "10.0.0.255%eth0:5002"]).unwrap();
        assert_eq!(hosts, ["255.255.255.255:5000", "255.255.255.255:5001", "10.0.0.255%eth0:5002"]);
        for text in ["[ff02::1]:5000", "[::]:5000", "ff02::1", "[fe80::1%eth0]:5000"] {
            assert_eq!(split(true, &[text]).unwrap_err(), "IPv6 has no broadcast", "{text}");
        }
        for text in ["", ":", "0", "65536", "mdns", "239.1.2.3:5000", "10.0.0.255"] {
            split(true, &[text]).unwrap_err();
        }
    }
}
