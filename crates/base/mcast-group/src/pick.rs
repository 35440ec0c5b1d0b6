//! Picking a group for a name: deterministic, and avoiding groups that are registered or in use.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::{EthernetAddress, Family, Group, Scope};

/// Options of [`pick`]. `PickOptions::default()` picks any-source IPv4 groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PickOptions {
    /// The address family of the group. Default: IPv4.
    pub family: Family,
    /// Whether to pick a source-specific group, from 232.0.0.0/8 or `ff3x::/32`. Receivers join it with a
    /// source.
    pub source_specific: bool,
    /// Groups that are already in use. Neither these nor groups that share an Ethernet address with them are
    /// picked.
    pub in_use: Vec<Group>,
}

impl Default for PickOptions {
    fn default() -> Self {
        Self { family: Family::V4, source_specific: false, in_use: Vec::new() }
    }
}

impl PickOptions {
    /// Returns the scope to pick from by default: the narrowest that extends beyond one link. For IPv4 this
    /// is the local scope, or global for source-specific groups, which have no other; for IPv6 it is
    /// site-local.
    #[must_use]
    pub const fn default_scope(&self) -> Scope {
        match (self.family, self.source_specific) {
            (Family::V4, false) => Scope::Local,
            (Family::V4, true) => Scope::Global,
            (Family::V6, _) => Scope::SiteLocal,
        }
    }
}

/// Picks a group for a name in a scope.
///
/// The same name, scope and options give the same group on every machine and in every version: a hash of
/// the name (version 1, below) selects a candidate, and excluded candidates are skipped. The registry tables
/// take part in this: a group that is registered later is excluded from then on.
///
/// | family | scope | any-source from | source-specific from |
/// |---|---|---|---|
/// | IPv4 | local | 239.255.0.0/16 (RFC 2365 section 6.1) | |
/// | IPv4 | organization-local | 239.192.0.0/14 (RFC 2365 section 6.2) | |
/// | IPv4 | global | | 232.0.1.0 to 232.255.255.255 (RFC 4607 section 1) |
/// | IPv6 | all but reserved | `ff1x::8000:0` to `ff1x::feff:ffff` (RFC 3307) | `ff3x::8000:0` to `ff3x::feff:ffff` |
///
/// These groups are excluded:
///
/// - the top /24 of a scope, which holds the relative addresses (RFC 2365 section 9), and therefore every
///   239.x.255.0/24;
/// - groups that share an Ethernet address with a control group or, in IPv6, with a solicited-node group;
/// - every registered group;
/// - groups with a de-facto name that covers at most 256 addresses (Streaming ACN alone would exclude nearly
///   all of the local scope), and IPv4 groups that share an Ethernet address with a group of such a name,
///   registered or not;
/// - the groups in [`PickOptions::in_use`], and groups that share an Ethernet address with them.
///
/// Version 1 of the hash is 64-bit FNV-1a over `mcast-pick-1`, the number of the family (4 or 6), `a`
/// (any-source) or `s` (source-specific), the scope as `Display` writes it, and the name, with a zero byte
/// after each but the last. Candidate `n` is the finalizer of SplitMix64 over the hash plus `n` times
/// 0x9e3779b97f4a7c15, modulo the number of candidates. After 1,000 candidates the search continues one by
/// one from candidate 0.
///
/// ```
/// use mcast_group::{PickOptions, Scope, pick};
/// let group = pick("weather", Scope::Local, &PickOptions::default())?;
/// assert_eq!(group.scope(), Scope::Local);
/// assert_eq!(pick("weather", Scope::Local, &PickOptions::default())?, group);
/// # Ok::<(), mcast_group::PickError>(())
/// ```
///
/// # Errors
/// Returns [`PickError`] if the name is empty, if the scope has no groups to pick from, or if all of them are
/// excluded.
pub fn pick(name: &str, scope: Scope, options: &PickOptions) -> Result<Group, PickError> {
    if name.is_empty() {
        return Err(PickError::NoName);
    }
    let candidates = Candidates::new(scope, options)?;
    let exclusions = Exclusions::new(&options.in_use);
    let seed = hash(name, scope, options);
    candidates
        .search_order(seed)
        .find(|&group| !exclusions.contains(group))
        .ok_or(PickError::Exhausted { scope })
}

/// Why no group could be picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PickError {
    /// The name is empty.
    #[error("cannot pick a group: the name is empty")]
    NoName,
    /// The scope has no groups that may be picked.
    #[error("{family} has no groups to pick from in scope {scope}: {}", remedy(*.family, *.source_specific))]
    NoGroups {
        /// The requested family.
        family: Family,
        /// The requested scope.
        scope: Scope,
        /// Whether a source-specific group was requested.
        source_specific: bool,
    },
    /// Every group of the scope is in use or excluded.
    #[error("every group of scope {scope} is in use, or shares an Ethernet address with a group in use")]
    Exhausted {
        /// The requested scope.
        scope: Scope,
    },
}

const fn remedy(family: Family, source_specific: bool) -> &'static str {
    match (family, source_specific) {
        (Family::V4, false) => {
            "use scope local or organization; a global any-source group requires your own autonomous system \
             (GLOP, RFC 3180) or prefix (RFC 6034); otherwise use a source-specific group"
        }
        (Family::V4, true) => "source-specific IPv4 groups are global (RFC 4607)",
        (Family::V6, _) => "use scope interface, link, realm, admin, site, organization or global (RFC 7346)",
    }
}

/// The consecutive groups to pick from.
struct Candidates {
    first: Group,
    count: u64,
}

impl Candidates {
    fn new(scope: Scope, options: &PickOptions) -> Result<Self, PickError> {
        let PickOptions { family, source_specific, .. } = *options;
        let range = match family {
            Family::V4 => range_v4(scope, source_specific),
            Family::V6 => range_v6(scope, source_specific),
        };
        range
            .and_then(|(first, count)| Some(Self { first: Group::from_bits(family, first)?, count }))
            .ok_or(PickError::NoGroups { family, scope, source_specific })
    }

    /// Returns the candidates in search order: 1,000 scattered by the seed, then all of them.
    fn search_order(&self, seed: u64) -> impl Iterator<Item = Group> {
        let Self { first, count } = *self;
        let nth = move |n: u64| scramble(seed.wrapping_add(n.wrapping_mul(SPLITMIX_INCREMENT))) % count;
        let scattered = (0..1000).map(nth);
        let start = scramble(seed) % count;
        let consecutive = (0..count).map(move |n| (start + n) % count);
        scattered.chain(consecutive).filter_map(move |offset| first.plus(offset.into()))
    }
}

const fn range_v4(scope: Scope, source_specific: bool) -> Option<(u128, u64)> {
    match (scope, source_specific) {
        (Scope::Local, false) => Some((0xefff_0000, 1 << 16)),
        (Scope::OrganizationLocal, false) => Some((0xefc0_0000, 1 << 18)),
        (Scope::Global, true) => Some((0xe800_0100, (1 << 24) - (1 << 8))),
        _ => None,
    }
}

/// Group identifiers from 0x80000000 are for dynamic use (RFC 3307 section 4.3). Those from 0xff000000 are
/// left out because they share their Ethernet addresses with solicited-node groups.
fn range_v6(scope: Scope, source_specific: bool) -> Option<(u128, u64)> {
    let nibble = scope.nibble().filter(|_| !matches!(scope, Scope::Reserved(_)))?;
    let flags: u128 = if source_specific { 0x30 } else { 0x10 };
    let head = (0xff00 | flags | u128::from(nibble)) << 112;
    Some((head | 0x8000_0000, 0xff00_0000 - 0x8000_0000))
}

/// The groups that are never picked.
struct Exclusions {
    in_use: BTreeSet<EthernetAddress>,
}

impl Exclusions {
    fn new(in_use: &[Group]) -> Self {
        Self { in_use: in_use.iter().map(|group| group.ethernet_address()).collect() }
    }

    fn contains(&self, group: Group) -> bool {
        // Ethernet addresses differ between the families, and comparing them covers the group itself.
        self.in_use.contains(&group.ethernet_address())
            || group.control_alias().is_some()
            || in_top_of_scope(group)
            || group.assignments().any(|assignment| assignment.standing.is_registered())
            || is_probably_in_use(group)
            || group.ethernet_aliases().any(is_probably_in_use)
    }
}

fn in_top_of_scope(group: Group) -> bool {
    matches!(group.addr(), core::net::IpAddr::V4(address) if matches!(address.octets(), [239, _, 255, _]))
}

/// Returns whether the group has a name that covers at most 256 addresses, so that traffic to it is likely.
fn is_probably_in_use(group: Group) -> bool {
    group.assignments().any(|assignment| assignment.addresses.count() <= 256)
}

fn hash(name: &str, scope: Scope, options: &PickOptions) -> u64 {
    let family = match options.family {
        Family::V4 => "4",
        Family::V6 => "6",
    };
    let service = if options.source_specific { "s" } else { "a" };
    let scope = alloc::format!("{scope}");
    let fields = ["mcast-pick-1", family, service, &scope, name].join("\0");
    fields.bytes().fold(FNV_OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME))
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;
const SPLITMIX_INCREMENT: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finalizer of SplitMix64, in which every bit of the input affects every bit of the output.
const fn scramble(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn options(family: Family, source_specific: bool) -> PickOptions {
        PickOptions { family, source_specific, ..PickOptions::default() }
    }

    fn group(text: &str) -> Group {
        text.parse().unwrap()
    }

    #[test]
    fn picked_groups_are_stable() {
        // Published behaviour: a change here requires a new hash version.
        for (name, scope, family, source_specific, expected) in [
            ("weather", Scope::Local, Family::V4, false, "239.255.168.190"),
            ("weather", Scope::OrganizationLocal, Family::V4, false, "239.192.61.126"),
            ("weather", Scope::Global, Family::V4, true, "232.252.12.53"),
            ("weather", Scope::SiteLocal, Family::V6, false, "ff15::e2a0:cf1e"),
            ("weather", Scope::Global, Family::V6, true, "ff3e::95d4:12ce"),
            ("météo", Scope::Local, Family::V4, false, "239.255.57.135"),
        ] {
            let picked = pick(name, scope, &options(family, source_specific)).unwrap();
            assert_eq!(picked.to_string(), expected, "{name} {scope} {family}");
        }
    }

    #[test]
    fn scope_without_groups_is_an_error() {
        for (scope, family, source_specific) in [
            (Scope::Global, Family::V4, false),
            (Scope::LinkLocal, Family::V4, false),
            (Scope::Local, Family::V4, true),
            (Scope::Local, Family::V6, false),
            (Scope::Reserved(0), Family::V6, false),
            (Scope::Administrative, Family::V4, false),
        ] {
            let error = pick("name", scope, &options(family, source_specific)).unwrap_err();
            assert_eq!(error, PickError::NoGroups { family, scope, source_specific });
        }
        assert_eq!(pick("", Scope::Local, &PickOptions::default()), Err(PickError::NoName));
    }

    #[test]
    fn each_reason_excludes_a_group() {
        let exclusions = Exclusions::new(&[group("239.192.7.7")]);
        for (text, reason) in [
            ("239.192.7.7", "in use"),
            ("232.64.7.7", "shares an Ethernet address with one in use"),
            ("232.128.0.5", "shares an Ethernet address with a control group"),
            ("ff15::ff00:9", "shares an Ethernet address with a solicited-node group"),
            ("239.255.255.9", "in the top /24 of the local scope"),
            ("239.193.255.9", "in the top /24 of a possible scope"),
            ("224.0.27.3", "registered, in a wide range"),
            ("239.255.77.77", "in use de facto"),
            ("239.192.0.16", "in use de facto, in a narrow range"),
            ("232.0.23.12", "shares an Ethernet address with KNXnet/IP"),
            ("239.192.152.143", "in use de facto"),
        ] {
            assert!(exclusions.contains(group(text)), "{text}: {reason}");
        }
        for text in ["239.192.7.8", "239.255.100.100", "232.9.9.9", "ff15::8000:1"] {
            assert!(!exclusions.contains(group(text)), "{text}");
        }
    }

    #[test]
    fn groups_in_use_and_their_aliases_are_skipped() {
        let mut options = options(Family::V4, false);
        let mut picked = BTreeSet::new();
        for _ in 0..50 {
            let group = pick("camera", Scope::Local, &options).unwrap();
            assert!(picked.insert(group.ethernet_address()), "{group}");
            // Mark an alias of the group as in use, not the group itself.
            options.in_use.extend(group.ethernet_aliases().next());
        }
    }

    #[test]
    fn single_free_group_is_found_and_full_scope_is_exhausted() {
        let free = group("239.255.120.121");
        let all = (0..1u32 << 16).map(|low| Group(core::net::Ipv4Addr::from_bits(0xefff_0000 | low).into()));
        let mut options = options(Family::V4, false);
        options.in_use = all.filter(|&group| group != free).collect();
        assert_eq!(pick("any", Scope::Local, &options), Ok(free));
        options.in_use.push(free);
        let exhausted = PickError::Exhausted { scope: Scope::Local };
        assert_eq!(pick("any", Scope::Local, &options), Err(exhausted));
    }

    #[test]
    fn names_spread_over_the_scope() {
        let picked: BTreeSet<Group> = (0..500)
            .map(|n| pick(&n.to_string(), Scope::OrganizationLocal, &options(Family::V4, false)).unwrap())
            .collect();
        // Among 500 of 262,144 groups, 0.5 collisions are expected by chance.
        assert!(picked.len() >= 497, "{}", picked.len());
    }
}
