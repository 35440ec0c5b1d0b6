//! The packets that `mcast sniff` and `mcast top` show: from interfaces or a file, and which of them by group, membership,
//! source, port and protocol; and the groups to join meanwhile.

use std::convert::Infallible;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::{fmt, io};

use mcast::group::{Expand, GroupPattern, GroupRange};
use mcast::{Group, InterfaceSelector, Membership};
use mcast_capture::{CaptureFile, FileError, Frame, PacketFilter, PacketProtocol};
use mcast_packet::protocol;
use mcast_stream::seal::Keys;
use mcast_terminal::Console;

use super::read_keys;
use super::selected::{
    Families, Selected, filter_of_sources, is_description, on_each, open_description, read_description,
};
use crate::exit::Failure;
use crate::output::SafeText;

/// `--port` and `--protocol`.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct FilterOptions {
    /// Only datagrams to this UDP port or range of ports (`5000-5003`); repeatable
    #[arg(long = "port", value_name = "PORT", value_parser = parse_ports, value_delimiter = ',')]
    ports: Vec<RangeInclusive<u16>>,

    /// Only this protocol: udp, igmp, mld, pim, icmp, icmpv6, tcp, or its number; repeatable
    #[arg(long = "protocol", value_name = "PROTOCOL", value_parser = parse_protocol, value_delimiter = ',')]
    protocols: Vec<PacketProtocol>,
}

fn parse_ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let port = |text: &str| text.parse().map_err(|_| "write a port such as 5000, or 5000-5003");
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = port(first)?..=port(last)?;
    if range.is_empty() { Err("the last port is before the first".into()) } else { Ok(range) }
}

fn parse_protocol(text: &str) -> Result<PacketProtocol, String> {
    Ok(PacketProtocol::Number(match text.to_ascii_lowercase().as_str() {
        "mld" => return Ok(PacketProtocol::Mld),
        "udp" => protocol::UDP,
        "tcp" => protocol::TCP,
        "igmp" => protocol::IGMP,
        "pim" => protocol::PIM,
        "icmp" => protocol::ICMP,
        "icmpv6" => protocol::ICMPV6,
        number => number.parse().map_err(|_| "write udp, igmp, mld, pim, icmp, icmpv6, tcp or a number")?,
    }))
}

impl FilterOptions {
    /// Returns the filter for these targets. `resolve` returns the interfaces, by name or index, that a selector means
    /// for a group; an empty list means all.
    pub(crate) fn filter(
        &self,
        targets: &[Target],
        input: &PacketInput,
        resolve: impl Fn(&InterfaceSelector, Group) -> anyhow::Result<Vec<InterfaceSelector>>,
    ) -> anyhow::Result<PacketFilter> {
        let mut filter = PacketFilter::default()
            .sources(filter_of_sources(&input.sources)?)
            .ports(self.ports.iter().cloned())
            .protocols(self.protocols.iter().copied())
            .family(input.families.only());
        for target in targets {
            filter = match target {
                Target::Groups(_, pattern) => filter.groups(pattern.ranges()),
                Target::Membership(membership) => {
                    let group = membership.address.group;
                    let selector = membership.interface.as_ref();
                    let interfaces = selector.map(|selector| resolve(selector, group)).transpose()?;
                    filter.membership(membership, &interfaces.unwrap_or_default())
                }
            };
        }
        Ok(filter)
    }
}

/// Groups or a membership, as typed: what to show, and what to join.
#[derive(Debug)]
pub(crate) enum Target {
    /// Groups without a port.
    Groups(String, Pattern),
    Membership(Membership),
}

/// Parses targets: everything that `mcast recv` accepts, and groups without a port (`239.255.1.3`, `239.255.1.0/24`,
/// `mdns`).
pub(crate) fn read_targets(
    texts: &[String],
    families: Families,
    console: &Console,
) -> anyhow::Result<Vec<Target>> {
    let mut targets = Vec::new();
    for text in texts {
        let described = read_description(text, families, console)?;
        let memberships = match (described, text.parse::<Pattern>()) {
            (Some(memberships), _) => memberships,
            (None, Ok(pattern)) => {
                targets.push(Target::Groups(text.clone(), pattern));
                continue;
            }
            (None, Err(_)) => {
                let expansion = Expand { family: families.only(), ..Expand::default() }.memberships(text)?;
                Selected::default().expand(text, expansion, console)
            }
        };
        for membership in &memberships {
            families.check(text, membership.address.group.family())?;
        }
        targets.extend(memberships.into_iter().map(Target::Membership));
    }
    Ok(targets)
}

impl Target {
    /// Returns the memberships to hold. Groups without a port get an arbitrary one, because it does not matter.
    pub(crate) fn memberships(&self) -> anyhow::Result<Vec<Membership>> {
        /// More groups than switches keep.
        const MAX: usize = 4_096;

        let (text, pattern) = match self {
            Self::Membership(membership) => return Ok(vec![membership.clone()]),
            Self::Groups(text, pattern) => (text, pattern),
        };
        let groups: Vec<Group> = pattern.ranges().flat_map(GroupRange::groups).take(MAX + 1).collect();
        if groups.len() > MAX {
            let failure = Failure::usage(format!("{text} has too many groups to join all of them"));
            return Err(failure.remedy(format!("name at most {MAX}")).into());
        }
        /// The port of the discard protocol.
        const ANY_PORT: u16 = 9;
        let membership = |group| Membership::new(mcast::GroupAddr::new(group, ANY_PORT));
        Ok(groups.into_iter().map(membership).collect())
    }
}

/// One or several groups, as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    text: String,
    groups: GroupPattern,
}

impl Pattern {
    pub(crate) fn contains(&self, group: Group) -> bool {
        self.groups.contains(group)
    }

    pub(crate) fn ranges(&self) -> impl Iterator<Item = GroupRange> {
        self.groups.ranges()
    }
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let groups = match is_description(text) {
            true => {
                let description = open_description(text).map_err(|error| format!("{error:#}"))?;
                description.streams.iter().map(|stream| stream.membership.address.group).collect()
            }
            false => text.parse::<GroupPattern>().map_err(|error| error.to_string())?,
        };
        Ok(Self { text: text.to_owned(), groups })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Opens a capture file; `-` is standard input.
pub(crate) fn open_file(path: &Path) -> Result<CaptureFile, FileError> {
    match path.as_os_str() == "-" {
        true => CaptureFile::from_reader(io::stdin(), "standard input"),
        false => CaptureFile::open(path),
    }
}

/// Returns the name of the frame's interface to show, or its number if it has none. A name in a file is untrusted, so
/// it is escaped.
pub(crate) fn interface_name(frame: &Frame<'_>) -> String {
    match frame.interface_name {
        Some(name) => SafeText::new(name.as_bytes()).to_string(),
        None => format!("#{}", frame.interface),
    }
}

/// Groups to join while capturing.
#[derive(Debug, clap::Args)]
pub(crate) struct JoinOption {
    /// Also join the given groups, or with --join=MEMBERSHIP that one, so that switches forward them; repeatable
    #[arg(
        long,
        value_name = "MEMBERSHIP",
        value_parser = parse,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "",
        conflicts_with = "read"
    )]
    join: Vec<JoinTarget>,
}

#[derive(Clone, Debug)]
enum JoinTarget {
    /// `--join` alone: the groups that the command shows.
    Shown,
    Membership(String),
}

fn parse(text: &str) -> Result<JoinTarget, Infallible> {
    Ok(if text.is_empty() { JoinTarget::Shown } else { JoinTarget::Membership(text.into()) })
}

impl JoinOption {
    pub(crate) fn is_given(&self) -> bool {
        !self.join.is_empty()
    }

    /// Returns what to join, without duplicates. `shown` are the groups that the command shows.
    pub(crate) fn memberships(
        &self,
        shown: &[String],
        families: Families,
        console: &Console,
    ) -> anyhow::Result<Vec<Membership>> {
        let mut texts = Vec::new();
        for target in &self.join {
            match target {
                JoinTarget::Shown if shown.is_empty() => {
                    return Err(Failure::usage("--join needs a group to join")
                        .remedy("name groups or memberships, or write --join=MEMBERSHIP")
                        .into());
                }
                JoinTarget::Shown => texts.extend_from_slice(shown),
                JoinTarget::Membership(text) => texts.push(text.clone()),
            }
        }
        let mut memberships: Vec<Membership> = Vec::new();
        for target in read_targets(&texts, families, console)? {
            for membership in target.memberships()? {
                // Ports do not matter: switches do not know them.
                let key =
                    |each: &Membership| (each.address.group, each.interface.clone(), each.sources.clone());
                if !memberships.iter().any(|known| key(known) == key(&membership)) {
                    memberships.push(membership);
                }
            }
        }
        Ok(memberships)
    }
}

/// The packets that `sniff` and `top` show: from where, and which of them.
#[derive(Debug, clap::Args)]
pub(crate) struct PacketInput {
    /// Only from this source; with a leading `!`, from all sources except it; repeatable
    #[arg(short, long = "source", value_name = "SOURCE", value_delimiter = ',')]
    pub(crate) sources: Vec<String>,

    #[command(flatten)]
    pub(crate) families: Families,

    #[command(flatten)]
    pub(crate) join: JoinOption,

    /// Decode sealed datagrams with the secrets in this file
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,

    /// Read packets from this file, pcap or pcapng, also compressed (.gz); `-` for standard input
    #[arg(short, long, value_name = "FILE")]
    pub(crate) read: Option<PathBuf>,
}

impl PacketInput {
    /// Returns the memberships of `--join`; `shown` are the groups that the command shows.
    pub(crate) fn memberships(
        &self,
        shown: &[String],
        interfaces: &[InterfaceSelector],
        console: &Console,
    ) -> anyhow::Result<Vec<Membership>> {
        let memberships = self.join.memberships(shown, self.families, console)?.into_iter();
        Ok(memberships.flat_map(|membership| on_each(membership, interfaces)).collect())
    }

    pub(crate) fn keys(&self, console: &Console) -> anyhow::Result<Keys> {
        let keys = self.key.as_deref().map(|path| read_keys(path, console)).transpose()?;
        Ok(keys.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_protocols_are_parsed() {
        assert_eq!(parse_ports("5000-5003").unwrap(), 5000..=5003);
        assert_eq!(parse_ports("6000").unwrap(), 6000..=6000);
        assert_eq!(parse_protocol("MLD").unwrap(), PacketProtocol::Mld);
        assert_eq!(parse_protocol("103").unwrap(), protocol::PIM.into());
        parse_ports("5003-5000").unwrap_err();
        parse_protocol("carrier pigeon").unwrap_err();
    }

    #[test]
    fn targets_are_memberships_or_groups_without_a_port() {
        let texts = ["10.0.0.1@239.255.1.3%eth7:5000", "239.255.1.0/24", "mdns", "ff15::1"].map(String::from);
        let targets = read_targets(&texts, Families::default(), &Console::new(true, false)).unwrap();
        let [
            Target::Membership(membership),
            Target::Groups(_, range),
            Target::Groups(..),
            Target::Groups(..),
        ] = &targets[..]
        else {
            panic!("{targets:?}")
        };
        assert_eq!(membership.to_string(), texts[0]);
        assert!(range.contains("239.255.1.255".parse().unwrap()));
    }

    #[test]
    fn groups_without_a_port_can_be_joined() {
        let joined = |text: &str| {
            let targets =
                read_targets(&[text.into()], Families::default(), &Console::new(true, false)).unwrap();
            targets[0].memberships().map(|memberships| memberships.len())
        };
        assert_eq!(joined("239.255.1.0/30").unwrap(), 4);
        assert_eq!(joined("mdns").unwrap(), 2);
        assert!(joined("239.0.0.0/8").unwrap_err().to_string().contains("too many"));
    }
}
