//! What subcommands receive: memberships, typed or found by the name of a stream, or for networks without multicast hosts
//! and broadcasts; and the options for how they are received.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use mcast::group::WellKnown;
use mcast::{Family, HostAddr, InterfaceSelector, Membership, Wire};
use mcast_terminal::Console;

use super::announced::{announced_memberships, is_announced_name, is_stream_name};
use super::selected::{Admission, Families, Selected, select_memberships};
use crate::exit::Failure;
use crate::words::closest;

/// The memberships of `recv`, `record` and `perf recv`.
#[derive(Debug, clap::Args)]
pub(crate) struct MembershipArguments {
    /// What to join: `[SOURCE[,SOURCE…]@]GROUP[%INTERFACE]:PORT`, a range (`239.255.1.0/28:5000`,
    /// `239.255.1.3+10:5000`, `…:5000-5003`), a name (`mdns`, `ssdp`, `ptp`), a URL
    /// (`udp://@GROUP:PORT`), a session description (`FILE.sdp`), or the name of an announced session or stream
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
        let Self { interfaces, admission: Admission { sources, families }, .. } = self;
        let (names, groups): (Vec<_>, Vec<_>) =
            texts.iter().cloned().partition(|text| is_announced_name(text));
        let mut selected = select_memberships(&groups, interfaces, sources, *families, console)?;
        if !names.is_empty() && !sources.is_empty() {
            return Err(Failure::usage("an announcement already names the sources to join")
                .remedy("remove --source, or give the groups instead of the name")
                .into());
        }
        for name in &names {
            selected.items.extend(announced_memberships(name, interfaces, *families, console)?);
        }
        Ok(selected)
    }
}

/// Whether to receive past the kernel's network stack.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct WireOption {
    /// Take datagrams off the interface before the kernel's network stack (AF_XDP): `auto`, if possible and no other
    /// program needs them, or `require`
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "off",
        hide_possible_values = true,
        hide_default_value = true
    )]
    wire: When,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum When {
    Auto,
    Require,
    Off,
}

impl WireOption {
    pub(crate) const fn policy(self) -> Wire {
        match self.wire {
            When::Auto => Wire::Auto,
            When::Require => Wire::Require,
            When::Off => Wire::Off,
        }
    }
}

/// The maximum length that fits into an announcement.
const MAX_NAME_LENGTH: usize = 255;

/// Parses a name that is distinguishable from a membership.
pub(crate) fn parse_stream_name(text: &str) -> Result<String, String> {
    match text.len() <= MAX_NAME_LENGTH && is_stream_name(text) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "a name must contain a letter and none of \":@%/\", have at most {MAX_NAME_LENGTH} bytes, and not be the \
             name of a protocol (such as mdns)"
        )),
    }
}

/// `--broadcast` of the subcommands that send to hosts or listen at them.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct BroadcastOption {
    /// Use IPv4 broadcasts instead of a group: `PORT` on this link, or `ADDRESS:PORT` with the broadcast address of a
    /// subnet
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
        if let Some(host) = texts.iter().find(|text| lacks_port(text)) {
            let example = if host.contains(':') { format!("[{host}]:PORT") } else { format!("{host}:PORT") };
            return Err(Failure::usage(format!("\"{host}\" is a host without a port"))
                .remedy(format!("write {example}; or for multicast the address of a group")));
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

/// Returns whether the text is the address of a host alone.
fn lacks_port(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok_and(|address| !address.is_multicast())
}

/// Returns whether the text is the address of a host and a port.
pub(crate) fn is_host(text: &str) -> bool {
    text.parse::<HostAddr>().is_ok()
}

/// Returns the address, with its port, for the name of a host such as `receiver.example:5000`, and notes which one it is; `None`
/// if the text is not such a name.
pub(crate) fn resolve_host(
    text: &str,
    families: Families,
    console: &Console,
) -> Result<Option<String>, Failure> {
    let Some((name, port)) = split_host_name(text) else { return Ok(None) };
    let found = (name, port).to_socket_addrs().map_err(|error| {
        Failure::environment(format!("cannot resolve \"{name}\": {error}")).remedy(
            "write the address of the host, or a group; `mcast explain --names` lists the names of groups",
        )
    })?;
    let found: Vec<SocketAddr> = found.collect();
    let address = choose_address(name, &found, families)?;
    let others =
        found.iter().filter(|other| other.is_ipv4() == address.is_ipv4() && **other != address).count();
    match others {
        0 => console.note(format_args!("{name} is {}", address.ip())),
        others => {
            console.note(format_args!("{name} is {}, the first of {} addresses", address.ip(), others + 1));
        }
    }
    Ok(Some(address.to_string()))
}

/// Splits the name of a host and a port. Names of groups are not looked up as hosts, not even misspelled ones: the error about
/// them is clearer, and nothing is asked on the network.
fn split_host_name(text: &str) -> Option<(&str, u16)> {
    let (name, port) = text.split_once(':')?;
    let port = port.parse().ok().filter(|port| *port > 0)?;
    let has_form = name.split('.').all(|label| {
        !label.is_empty()
            && label.chars().all(|letter| letter.is_alphanumeric() || letter == '-' || letter == '_')
    });
    let is_word = name.rsplit('.').next().is_some_and(|last| last.contains(char::is_alphabetic));
    let is_like_a_group =
        || !name.contains('.') && closest(name, WellKnown::all().iter().map(|known| known.name)).is_some();
    (has_form && is_word && !is_like_a_group()).then_some((name, port))
}

/// Chooses one of the addresses of a host: the first, if all that may be used are of one family.
fn choose_address(name: &str, found: &[SocketAddr], families: Families) -> Result<SocketAddr, Failure> {
    let is_selected =
        |address: &&SocketAddr| families.only().is_none_or(|only| only == Family::of(address.ip()));
    let mut usable = found.iter().filter(is_selected);
    let Some(first) = usable.next() else {
        let family = families.only().map(|only| format!(" {only}")).unwrap_or_default();
        return Err(Failure::usage(format!("\"{name}\" has no{family} address")));
    };
    match usable.find(|other| other.is_ipv4() != first.is_ipv4()) {
        Some(other) => Err(Failure::usage(format!(
            "\"{name}\" has addresses of both families: {} and {}",
            first.ip(),
            other.ip()
        ))
        .remedy("choose one with -4 or -6, or write the address")),
        None => Ok(*first),
    }
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

    #[test]
    fn memberships_even_misspelled_ones_are_not_stream_names() {
        for name in ["prices", "eth0 prices", "a.b-c_d+1", "Größe"] {
            assert_eq!(parse_stream_name(name).as_deref(), Ok(name));
        }
        let memberships =
            ["239.255.1.3:7000", "239.255.1.3", "239.1.2", "239.255.1.0/28:1", "[ff15::1]:1", "ff15::1"];
        let others = ["mdns", "mdns%eth0", "udp://239.255.1.3:1", "day.sdp", "", "7000", "a\nb"];
        for text in memberships.iter().chain(&others) {
            assert!(!is_stream_name(text), "{text}");
        }
        parse_stream_name(&"x".repeat(256)).unwrap_err();
    }

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
            split(false, &["10.0.0.5:5000", "239.255.1.3:5000", "mdns", "[fe80::1%eth0]:5000"]).unwrap();
        assert_eq!(hosts, ["10.0.0.5:5000", "[fe80::1%eth0]:5000"]);
        assert_eq!(groups, ["239.255.1.3:5000", "mdns"]);
    }

    #[test]
    fn a_broadcast_is_a_port_or_an_address_of_ipv4() {
        let (hosts, _) = split(true, &["5000", ":5001", "10.0.0.255%eth0:5002"]).unwrap();
        assert_eq!(hosts, ["255.255.255.255:5000", "255.255.255.255:5001", "10.0.0.255%eth0:5002"]);
        for text in ["[ff02::1]:5000", "[::]:5000", "ff02::1", "[fe80::1%eth0]:5000"] {
            assert_eq!(split(true, &[text]).unwrap_err(), "IPv6 has no broadcast", "{text}");
        }
        for text in ["", ":", "0", "65536", "mdns", "239.255.1.3:5000", "10.0.0.255"] {
            split(true, &[text]).unwrap_err();
        }
    }

    #[test]
    fn names_of_hosts_have_a_port_and_are_not_names_of_groups() {
        assert_eq!(split_host_name("receiver.example:5000"), Some(("receiver.example", 5000)));
        assert_eq!(split_host_name("localhost:1"), Some(("localhost", 1)));
        for other in [
            "localhost",
            "localhost:0",
            "localhost:x",
            "239.255.1.3:5000",
            "10.0.0.1:5000",
            "[::1]:5000",
            "mdns:5353",
            "mdsn:5353",
            "udp://239.255.1.3:1",
            "a..b:1",
            "a b:1",
            "a%eth0:1",
            ":5000",
        ] {
            assert_eq!(split_host_name(other), None, "{other}");
        }
    }

    #[test]
    fn a_host_with_addresses_of_both_families_needs_a_choice() {
        let [v4, other_v4, v6] =
            ["10.0.0.5:1", "10.0.0.6:1", "[fd00::5]:1"].map(|text| text.parse::<SocketAddr>().unwrap());
        let only = Families::only_in;
        assert_eq!(choose_address("a", &[v4, other_v4], Families::default()).ok(), Some(v4));
        assert_eq!(choose_address("a", &[v4, v6], only(Family::V6)).ok(), Some(v6));
        assert_eq!(choose_address("a", &[v6, v4], only(Family::V4)).ok(), Some(v4));
        for (found, families) in
            [(&[v4, v6][..], Families::default()), (&[v4], only(Family::V6)), (&[], Families::default())]
        {
            assert!(choose_address("a", found, families).is_err(), "{found:?}");
        }
    }
}
