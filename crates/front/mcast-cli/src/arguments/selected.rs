//! Selection of groups, interfaces and sources, typed or from a session description.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::net::IpAddr;

use anyhow::Context;
use mcast::group::{Expand, Expansion, Hints, SessionDescription};
use mcast::{Destination, Family, InterfaceSelector, Membership, SourceFilter};
use mcast_terminal::Console;

use crate::exit::Failure;
use crate::output::{count, count_of};

/// `-4` and `-6`.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(crate) struct Families {
    /// Use the IPv4 group of a name; reject IPv6 groups
    #[arg(short = '4', long = "ipv4", conflicts_with = "v6")]
    pub(super) v4: bool,

    /// Use the IPv6 group of a name; reject IPv4 groups
    #[arg(short = '6', long = "ipv6")]
    pub(super) v6: bool,
}

impl Families {
    /// Returns the selection of a single address family.
    pub(crate) fn only_in(family: Family) -> Self {
        Self { v4: family == Family::V4, v6: family == Family::V6 }
    }

    pub(crate) fn only(self) -> Option<Family> {
        match (self.v4, self.v6) {
            (true, _) => Some(Family::V4),
            (_, true) => Some(Family::V6),
            _ => None,
        }
    }

    /// Returns the flag that selects a single family.
    pub(crate) fn flag(self) -> Option<&'static str> {
        self.only().map(|family| match family {
            Family::V4 => "-4",
            Family::V6 => "-6",
        })
    }

    pub(super) fn check(self, text: &str, family: Family) -> Result<(), Failure> {
        match self.only() {
            Some(only) if only != family => Err(Failure::usage(format!("\"{text}\" is not an {only} group"))
                .remedy(format!("remove the option, or name an {only} group"))),
            _ => Ok(()),
        }
    }
}

/// `-s`, `-4` and `-6` of the subcommands that join.
#[derive(Debug, clap::Args)]
pub(crate) struct Admission {
    /// Accept only this source; with a leading `!`, all sources except it; repeatable
    #[arg(short, long = "source", value_name = "SOURCE", value_delimiter = ',')]
    pub(crate) sources: Vec<String>,

    #[command(flatten)]
    pub(crate) families: Families,
}

/// `-i`, `-t`, `-4` and `-6` of the subcommands that send.
#[derive(Debug, clap::Args)]
pub(crate) struct Egress {
    /// Send on this interface: a name, index or address, or `all`; repeatable [default: the route to the group]
    #[arg(short, long = "interface", value_name = "INTERFACE")]
    pub(crate) interfaces: Vec<InterfaceSelector>,

    /// How many networks to cross [default: 1, this network; 0 is this host]
    #[arg(short, long, value_name = "HOPS")]
    pub(crate) ttl: Option<u8>,

    #[command(flatten)]
    pub(crate) families: Families,
}

impl Egress {
    /// Returns the hop limit: the one given, the one that the selected groups imply, or 1.
    pub(crate) fn hop_limit(&self, implied: Option<u8>) -> u8 {
        self.ttl.or(implied).unwrap_or(1)
    }
}

/// The items that arguments select, and the hop limit that they imply.
#[derive(Debug)]
pub(crate) struct Selected<T> {
    pub(crate) items: Vec<T>,
    /// The highest hop limit that a URL or the protocol of a name requests.
    pub(crate) hop_limit: Option<u8>,
}

/// The number of groups from which on networks may not carry all of them.
const MANY_GROUPS: usize = 1_024;

/// Returns the memberships that these texts name. `interfaces` and `sources` apply to texts that name none.
pub(crate) fn select_memberships(
    texts: &[String],
    interfaces: &[InterfaceSelector],
    sources: &[String],
    families: Families,
    console: &Console,
) -> anyhow::Result<Selected<Membership>> {
    let expand = Expand { family: families.only(), ..Expand::default() };
    let sources = join_sources(sources)?;
    let mut selected = Selected::default();
    for text in texts {
        let memberships = match read_description(text, families, console)? {
            Some(memberships) => memberships,
            None => selected.expand(text, expand.memberships(text)?, console),
        };
        for membership in memberships {
            families.check(text, membership.address.group.family())?;
            let membership = match &sources {
                Some(sources) if membership.sources.is_any() => format!("{sources}@{membership}").parse()?,
                _ => membership,
            };
            selected.items.extend(on_each(membership, interfaces));
        }
    }
    if selected.items.len() > MANY_GROUPS {
        console.warn(format_args!(
            "{}: routers and snooping switches keep each of them, and many have room for about {}; `mcast sniff` captures a \
             range without joining it",
            count_of(selected.items.len() as u64, "membership"),
            count(MANY_GROUPS as u64)
        ));
    }
    Ok(selected)
}

/// Returns the destinations that these texts name.
pub(crate) fn select_destinations(
    texts: &[String],
    families: Families,
    console: &Console,
) -> anyhow::Result<Selected<Destination>> {
    let expand = Expand { family: families.only(), ..Expand::default() };
    let mut selected = Selected::default();
    for text in texts {
        let expansion = expand.destinations(text)?;
        for destination in selected.expand(text, expansion, console) {
            families.check(text, destination.address.group.family())?;
            selected.items.push(destination);
        }
    }
    Ok(selected)
}

/// Returns the only destination that this text names, and the hop limit that it implies. `remedy` says what to do if
/// there are several.
pub(crate) fn select_destination(
    text: &String,
    families: Families,
    remedy: &str,
    console: &Console,
) -> anyhow::Result<(Destination, Option<u8>)> {
    let selected = select_destinations(std::slice::from_ref(text), families, console)?;
    match <[Destination; 1]>::try_from(selected.items) {
        Ok([destination]) => Ok((destination, selected.hop_limit)),
        Err(_) => {
            Err(Failure::usage(format!("\"{text}\" is more than one group and port")).remedy(remedy).into())
        }
    }
}

impl<T> Default for Selected<T> {
    fn default() -> Self {
        Self { items: Vec::new(), hop_limit: None }
    }
}

impl<T> Selected<T> {
    pub(super) fn expand(&mut self, text: &str, expansion: Expansion<T>, console: &Console) -> Vec<T> {
        let Hints { hop_limit, ignored, .. } = expansion.hints;
        self.hop_limit = self.hop_limit.max(hop_limit);
        if !ignored.is_empty() {
            console.note(format_args!("{text}: ignoring {}, which has no effect here", ignored.join(", ")));
        }
        expansion.items
    }
}

/// Returns one membership per interface, unless the membership names an interface itself.
pub(crate) fn on_each(membership: Membership, interfaces: &[InterfaceSelector]) -> Vec<Membership> {
    if membership.interface.is_some() || interfaces.is_empty() {
        return vec![membership];
    }
    interfaces.iter().map(|interface| membership.clone().on(interface.clone())).collect()
}

/// Parses `-s A -s B` or `-s '!A'` as a filter.
pub(crate) fn filter_of_sources(sources: &[String]) -> anyhow::Result<SourceFilter> {
    let Some(joined) = join_sources(sources)? else { return Ok(SourceFilter::ANY) };
    let (exclude, list) = match joined.strip_prefix('!') {
        Some(list) => (true, list),
        None => (false, joined.as_str()),
    };
    let source = |text: &str| {
        text.parse()
            .map_err(|_| Failure::usage(format!("\"{text}\" is not a valid source: it is not an IP address")))
    };
    let sources = list.split(',').map(source).collect::<Result<BTreeSet<IpAddr>, _>>()?;
    Ok(if exclude { SourceFilter::Exclude(sources) } else { SourceFilter::Include(sources) })
}

/// Joins `-s A -s B` as `A,B`, the form that sources have in a membership; `-s '!A'` excludes.
fn join_sources(sources: &[String]) -> Result<Option<String>, Failure> {
    let excluded = sources.iter().filter(|source| source.starts_with('!')).count();
    match (sources.len(), excluded) {
        (0, _) => Ok(None),
        (_, 0) => Ok(Some(sources.join(","))),
        (all, excluded) if all == excluded => {
            let names: Vec<&str> = sources.iter().map(|source| source.trim_start_matches('!')).collect();
            Ok(Some(format!("!{}", names.join(","))))
        }
        _ => Err(Failure::usage("--source has both sources to accept and sources to exclude")
            .remedy("give either sources to accept, or sources to exclude (each with a `!` in front)")),
    }
}

const MAX_LENGTH: u64 = 1 << 20;

/// Returns the memberships of a session description; `None` if the text does not name such a file.
pub(crate) fn read_description(
    text: &str,
    families: Families,
    console: &Console,
) -> anyhow::Result<Option<Vec<Membership>>> {
    if !is_description(text) {
        return Ok(None);
    }
    let description = open_description(text)?;
    for line in &description.skipped_media {
        console.note(format_args!("{text}: ignoring \"{line}\": nothing to join"));
    }
    let is_selected = |family| families.only().is_none_or(|only| only == family);
    let memberships: Vec<Membership> = description
        .streams
        .into_iter()
        .map(|stream| stream.membership)
        .filter(|membership| is_selected(Family::of(membership.address.group.addr())))
        .collect();
    if memberships.is_empty() {
        let failure = Failure::usage(format!("{text} has no stream of that address family"));
        return Err(failure.remedy("remove the option -4 or -6").into());
    }
    console.detail(format_args!("{text}: {}", count_of(memberships.len() as u64, "stream")));
    Ok(Some(memberships))
}

/// Returns whether the text is the name of a session description.
pub(crate) fn is_description(text: &str) -> bool {
    let has_extension = text.rsplit_once('.').is_some_and(|(_, end)| end.eq_ignore_ascii_case("sdp"));
    has_extension && !text.contains("://")
}

pub(super) fn open_description(path: &str) -> anyhow::Result<SessionDescription> {
    let file = File::open(path).with_context(|| format!("cannot open {path}"))?;
    let mut bytes = Vec::new();
    file.take(MAX_LENGTH + 1).read_to_end(&mut bytes).with_context(|| format!("cannot read {path}"))?;
    if bytes.len() as u64 > MAX_LENGTH {
        return Err(Failure::usage(format!("{path} is too long for a session description")).into());
    }
    String::from_utf8_lossy(&bytes).parse().with_context(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Families = Families { v4: false, v6: false };

    fn memberships(texts: &[&str], interfaces: &[&str], sources: &[&str]) -> anyhow::Result<Vec<String>> {
        let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        let interfaces: Vec<_> = interfaces.iter().map(|text| text.parse().unwrap()).collect();
        let console = Console::new(true, false);
        let selected = select_memberships(&owned(texts), &interfaces, &owned(sources), BOTH, &console)?;
        Ok(selected.items.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_group_is_joined_on_each_interface() {
        assert_eq!(
            memberships(&["239.255.1.3:5000", "239.255.1.4%lo:5000"], &["eth0", "eth1"], &[]).unwrap(),
            ["239.255.1.3%eth0:5000", "239.255.1.3%eth1:5000", "239.255.1.4%lo:5000"]
        );
    }

    #[test]
    fn sources_are_admitted_or_excluded() {
        let one = |sources| memberships(&["232.1.2.3:5000"], &[], sources).map(|all| all[0].clone());
        assert_eq!(one(&["10.0.0.1", "10.0.0.2"]).unwrap(), "10.0.0.1,10.0.0.2@232.1.2.3:5000");
        assert_eq!(one(&["!10.0.0.1", "!10.0.0.2"]).unwrap(), "!10.0.0.1,10.0.0.2@232.1.2.3:5000");
        one(&["!10.0.0.1", "10.0.0.2"]).unwrap_err();
        one(&["fe80::1"]).unwrap_err();
        one(&["239.1.1.1"]).unwrap_err();
    }

    #[test]
    fn a_membership_keeps_its_own_sources() {
        let both = memberships(&["10.0.0.9@232.1.2.3:5000", "232.1.2.4:5000"], &[], &["10.0.0.1"]).unwrap();
        assert_eq!(both, ["10.0.0.9@232.1.2.3:5000", "10.0.0.1@232.1.2.4:5000"]);
    }

    #[test]
    fn a_group_of_the_other_family_is_refused() {
        let console = Console::new(true, false);
        let only = Families { v4: true, v6: false };
        let refused = select_destinations(&["[ff15::1]:5000".into()], only, &console).unwrap_err();
        assert_eq!(refused.to_string(), "\"[ff15::1]:5000\" is not an IPv4 group");
    }
}
