//! Why participants of DDS do not find each other, or find each other and exchange nothing, by what they announce.

use std::collections::BTreeSet;
use std::fmt;
use std::mem::discriminant;
use std::net::IpAddr;

use mcast_packet::payload::{RtpsLocator, RtpsLocatorUse, RtpsPrefix, RtpsVendor};

use super::entry::{Discovered, UntrustedText};
use super::facts::{DdsEndpoint, DdsFacts, DdsPolicy};

/// What keeps two participants apart, or the writer and the reader of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DdsObstacle {
    /// They are in different domains.
    Domain {
        /// That of the first one.
        first: u32,
        /// That of the second one.
        second: u32,
    },
    /// They are in one domain, kept apart by tags.
    DomainTag {
        /// That of the first one; empty for none.
        first: UntrustedText,
        /// That of the second one.
        second: UntrustedText,
    },
    /// They have no version of IP in common.
    Family,
    /// One announces only addresses that the other one does not reach.
    Unreachable {
        /// The participant.
        participant: RtpsPrefix,
        /// Its addresses; none if only its own host reaches it, by loopback or shared memory.
        addresses: Vec<IpAddr>,
    },
    /// A writer and a reader of one topic do not match.
    Topic {
        /// The topic.
        topic: UntrustedText,
        /// The first reason in the order in which implementations check them.
        reason: DdsMismatch,
    },
}

/// Why a writer and a reader of one topic do not match (DDS 1.4 section 2.2.3).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DdsMismatch {
    /// The types have different names.
    Type {
        /// That of the writer.
        writer: UntrustedText,
        /// That of the reader.
        reader: UntrustedText,
    },
    /// The writer is best-effort, and the reader wants all samples.
    Reliability,
    /// The reader requests more of a policy than the writer offers.
    Policy {
        /// What the writer offers.
        writer: DdsPolicy,
        /// What the reader requests.
        reader: DdsPolicy,
    },
    /// They have no partition in common.
    Partition {
        /// Those of the writer; none means the one without a name.
        writer: Vec<UntrustedText>,
        /// Those of the reader.
        reader: Vec<UntrustedText>,
    },
}

/// A reader or a writer.
type Endpoint<'a> = (&'a Discovered, &'a DdsEndpoint);

/// Returns what keeps two participants apart; `all` has their readers and writers. `reaches` says whether the second one's host can
/// send to an address of the first one, and vice versa.
#[must_use]
pub fn dds_obstacles(
    first: &Discovered,
    second: &Discovered,
    all: &[Discovered],
    reaches: impl Fn(&Discovered, IpAddr) -> bool,
) -> Vec<DdsObstacle> {
    let mut obstacles = Vec::new();
    let (Some(of_first), Some(of_second)) = (first.dds(), second.dds()) else { return obstacles };
    if let (Some(first), Some(second)) = (of_first.domain, of_second.domain)
        && first != second
    {
        // Nothing else matters before this is repaired.
        return vec![DdsObstacle::Domain { first, second }];
    }
    if of_first.tag != of_second.tag {
        return vec![DdsObstacle::DomainTag { first: of_first.tag.clone(), second: of_second.tag.clone() }];
    }
    match first.source.ip() == second.source.ip() {
        // On one host, loopback and shared memory do.
        true => {}
        false if !have_common_family(first, second) => obstacles.push(DdsObstacle::Family),
        false => {
            obstacles.extend(addresses(first, |address| reaches(second, address)));
            obstacles.extend(addresses(second, |address| reaches(first, address)));
        }
    }
    let endpoints = |participant: &DdsFacts| {
        let owner = participant.participant;
        let of_owner = all.iter().filter(|entry| entry.dds().is_some_and(|dds| dds.participant == owner));
        of_owner.filter_map(|entry| Some((entry, entry.dds_endpoint()?))).collect::<Vec<_>>()
    };
    let (of_first, of_second) = (endpoints(of_first), endpoints(of_second));
    obstacles.extend(mismatches(&of_first, &of_second));
    obstacles.extend(mismatches(&of_second, &of_first));
    obstacles.dedup();
    obstacles
}

/// Returns whether each has an address of a version of IP that the other one has. What announces none receives by multicast.
fn have_common_family(first: &Discovered, second: &Discovered) -> bool {
    let is_usable = |one: &&IpAddr| !is_local(**one);
    let mut pairs = first.addresses.iter().filter(is_usable).flat_map(|one| {
        second.addresses.iter().filter(is_usable).map(|other| one.is_ipv4() == other.is_ipv4())
    });
    pairs.clone().next().is_none() || pairs.any(|is_common| is_common)
}

/// Returns what is wrong with all addresses at which a participant receives. One that can be reached is enough.
fn addresses(participant: &Discovered, reaches: impl Fn(IpAddr) -> bool) -> Option<DdsObstacle> {
    let dds = participant.dds()?;
    let locators = || dds.locators.iter().filter(|(usage, _)| *usage == RtpsLocatorUse::Unicast);
    let addresses = locators().filter_map(|(_, locator)| match locator {
        RtpsLocator::Udp(address) | RtpsLocator::Tcp(address) => Some(address.ip()),
        _ => None,
    });
    let addresses: BTreeSet<IpAddr> = addresses.collect();
    let is_reached = |address: &IpAddr| reaches(*address) && !is_local(*address);
    let is_unreachable = locators().next().is_some() && !addresses.iter().any(is_reached);
    let addresses = addresses.into_iter().filter(|address| !is_local(*address)).collect();
    is_unreachable.then_some(DdsObstacle::Unreachable { participant: dds.participant, addresses })
}

const fn is_local(address: IpAddr) -> bool {
    address.is_loopback()
}

/// Returns why readers of the second ones do not match the writers of their topics among the first.
fn mismatches(first: &[Endpoint<'_>], second: &[Endpoint<'_>]) -> Vec<DdsObstacle> {
    let mut found = BTreeSet::new();
    for reader in second.iter().filter(|(_, endpoint)| !endpoint.is_writer) {
        let writers = first.iter().filter(|(_, endpoint)| endpoint.is_writer);
        let of_topic = writers.filter(|(writer, _)| writer.name == reader.0.name);
        found.extend(of_topic.filter_map(|writer| {
            let reason = mismatch(*writer, *reader)?;
            Some(DdsObstacle::Topic { topic: reader.0.name.clone(), reason })
        }));
    }
    found.into_iter().collect()
}

fn mismatch((writer, offers): Endpoint<'_>, (reader, requests): Endpoint<'_>) -> Option<DdsMismatch> {
    if writer.service != reader.service {
        return Some(DdsMismatch::Type { writer: writer.service.clone(), reader: reader.service.clone() });
    }
    if requests.is_reliable && !offers.is_reliable {
        return Some(DdsMismatch::Reliability);
    }
    let lacking = DdsPolicy::DEFAULTS.into_iter().find_map(|default| {
        let stated = |endpoint: &DdsEndpoint| {
            let mut policies = endpoint.policies.iter().copied();
            policies.find(|policy| discriminant(policy) == discriminant(&default)).unwrap_or(default)
        };
        // The first encoding of a writer is what it sends.
        let (writer, reader) = (stated(offers), stated(requests));
        let is_lacking = match default {
            DdsPolicy::Ownership(_) => writer != reader,
            DdsPolicy::Encoding(_) => writer != reader && !requests.policies.contains(&writer),
            DdsPolicy::Deadline(_) | DdsPolicy::LivelinessLease(_) => writer > reader,
            _ => writer < reader,
        };
        is_lacking.then_some(DdsMismatch::Policy { writer, reader })
    });
    if lacking.is_some() {
        return lacking;
    }
    let (of_writer, of_reader) = (&offers.partitions, &requests.partitions);
    let has_pattern = |names: &[UntrustedText]| names.iter().any(|name| name.as_bytes().contains(&b'*'));
    let is_in_default =
        |names: &[UntrustedText]| names.is_empty() || names.iter().any(UntrustedText::is_empty);
    let is_common = (is_in_default(of_writer) && is_in_default(of_reader))
        || of_writer.iter().any(|name| of_reader.contains(name))
        // Names may be patterns, which are not judged here.
        || has_pattern(of_writer)
        || has_pattern(of_reader);
    let mismatch = || DdsMismatch::Partition { writer: of_writer.clone(), reader: of_reader.clone() };
    (!is_common).then(mismatch)
}

/// The setting of an implementation that restricts a participant to the network of an address of its host, for the
/// environment of its program. Writes it as for a shell; that of Fast DDS is a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DdsSetting {
    /// Cyclone DDS: the variable `CYCLONEDDS_URI`.
    Cyclone(IpAddr),
    /// Fast DDS: a file of profiles, which the variable `FASTDDS_DEFAULT_PROFILES_FILE` names.
    FastDds(IpAddr),
}

impl DdsSetting {
    /// Returns the setting for a participant that should announce this address of its host; `None` for other implementations.
    #[must_use]
    pub fn of(participant: &Discovered, address: IpAddr) -> Option<Self> {
        match participant.dds()?.vendor? {
            RtpsVendor::CYCLONE => Some(Self::Cyclone(address)),
            RtpsVendor::FAST_DDS => Some(Self::FastDds(address)),
            _ => None,
        }
    }
}

impl fmt::Display for DdsSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cyclone(address) => write!(
                f,
                "CYCLONEDDS_URI='<CycloneDDS><Domain><General><Interfaces><NetworkInterface address=\"{address}\"/>\
                 </Interfaces></General></Domain></CycloneDDS>'"
            ),
            Self::FastDds(address) => write!(
                f,
                "<dds xmlns=\"http://www.eprosima.com\"><profiles><transport_descriptors><transport_descriptor>\
                 <transport_id>lan</transport_id><type>UDPv{}</type><interfaceWhiteList><address>{address}</address>\
                 </interfaceWhiteList></transport_descriptor></transport_descriptors><participant \
                 profile_name=\"lan\" is_default_profile=\"true\"><rtps><userTransports><transport_id>lan</transport_id>\
                 </userTransports><useBuiltinTransports>false</useBuiltinTransports></rtps></participant></profiles></dds>",
                if address.is_ipv4() { 4 } else { 6 }
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::DiscoveryProtocol;
    use crate::discovery::testing::{Bench, DdsSample};

    const PC: &str = "192.168.1.5:40000";
    const ROBOT: &str = "192.168.1.9:40000";

    /// Announces what each host has, and returns what keeps the participants 1 and 2 apart. Both reach 192.168.1.0/24.
    fn between(robot: &[DdsSample], pc: &[DdsSample]) -> Vec<DdsObstacle> {
        between_hosts((ROBOT, robot), (PC, pc))
    }

    fn between_hosts(one: (&str, &[DdsSample]), two: (&str, &[DdsSample])) -> Vec<DdsObstacle> {
        let mut bench = Bench::new();
        for (from, samples) in [one, two] {
            for sample in samples {
                bench.datagram(from, "239.255.0.1:7400", &sample.bytes());
            }
        }
        let all: Vec<Discovered> = bench.table.entries().into_iter().cloned().collect();
        let participant = |number: u8| {
            let id = format!("{number:02x}").repeat(12);
            all.iter().find(|entry| entry.key.id.to_string() == id).unwrap()
        };
        let reaches = |_: &Discovered, address: IpAddr| address.to_string().starts_with("192.168.1.");
        dds_obstacles(participant(1), participant(2), &all, reaches)
    }

    fn robot() -> DdsSample {
        DdsSample::participant(1).text(0x62, "robot").unicast("192.168.1.9:7411")
    }

    fn pc() -> DdsSample {
        DdsSample::participant(2).text(0x62, "pc").unicast("192.168.1.5:7411")
    }

    fn topic(reason: DdsMismatch) -> Vec<DdsObstacle> {
        vec![DdsObstacle::Topic { topic: "rt/a".into(), reason }]
    }

    #[test]
    fn participants_with_matching_ends_have_no_obstacle() {
        let writer = DdsSample::writer(1, 0x103, "rt/a").durability(1).partition("left");
        let reader = DdsSample::reader(2, 0x104, "rt/a").reliability(true).partition("left");
        assert_eq!(between(&[robot(), writer], &[pc(), reader]), []);
        // One address that can be reached is enough.
        assert_eq!(between(&[robot().unicast("172.17.0.1:7411").unicast("127.0.0.1:7411")], &[pc()]), []);
        // What announces no address receives by multicast.
        assert_eq!(between(&[DdsSample::participant(1)], &[pc()]), []);
    }

    #[test]
    fn domains_and_tags_are_the_first_obstacle() {
        let obstacles = between(&[robot().domain(42)], &[pc().domain(0)]);
        assert_eq!(obstacles, [DdsObstacle::Domain { first: 42, second: 0 }]);
        let obstacles = between(&[robot().text(0x4014, "alpha")], &[pc()]);
        assert_eq!(obstacles, [DdsObstacle::DomainTag { first: "alpha".into(), second: "".into() }]);
    }

    #[test]
    fn addresses_that_the_other_host_does_not_reach_are_an_obstacle() {
        let at = |addresses: &[&str]| {
            let bare = DdsSample::participant(1).text(0x62, "robot");
            let robot = addresses.iter().fold(bare, |robot, address| robot.unicast(address));
            between(&[robot], &[pc()])
        };
        let unreachable = |addresses: &[&str]| {
            let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
            vec![DdsObstacle::Unreachable { participant: RtpsPrefix([1; 12]), addresses }]
        };
        assert_eq!(at(&["172.17.0.2:7411"]), unreachable(&["172.17.0.2"]));
        assert_eq!(at(&["172.17.0.2:7411", "127.0.0.1:7411"]), unreachable(&["172.17.0.2"]));
        assert_eq!(at(&["127.0.0.1:7411"]), unreachable(&[]));
        let robot = DdsSample::participant(1).text(0x62, "robot").unicast("[fe80::9]:7411");
        let found = between(&[robot], &[pc().unicast("[fd00::5]:7411")]);
        assert_eq!(found, unreachable(&["fe80::9"]));
        // One receives by IPv6 only, the other one by IPv4 only.
        assert_eq!(at(&["[fd00::9]:7411"]), [DdsObstacle::Family]);
        assert_eq!(at(&["[fd00::9]:7411", "192.168.1.9:7411"]), []);
        // Between programs of one host, loopback does.
        let local = DdsSample::participant(1).unicast("127.0.0.1:7411");
        assert_eq!(between_hosts((PC, &[local]), (PC, &[pc()])), []);
    }

    #[test]
    fn writers_and_readers_that_never_match_are_an_obstacle() {
        let between = |writer: DdsSample, reader: DdsSample| between(&[robot(), writer], &[pc(), reader]);
        let writer = || DdsSample::writer(1, 0x103, "rt/a");
        let reader = || DdsSample::reader(2, 0x104, "rt/a");
        assert_eq!(
            between(writer().reliability(false), reader().reliability(true)),
            topic(DdsMismatch::Reliability)
        );
        let [volatile, transient_local] = [0, 1].map(DdsPolicy::Durability);
        assert_eq!(
            between(writer(), reader().durability(1)),
            topic(DdsMismatch::Policy { writer: volatile, reader: transient_local })
        );
        assert_eq!(
            between(writer().partition("left"), reader()),
            topic(DdsMismatch::Partition { writer: vec!["left".into()], reader: Vec::new() })
        );
        assert_eq!(between(writer().partition(""), reader()), []);
        assert_eq!(between(writer().partitions(&["left", ""]), reader()), []);
        assert_eq!(
            between(writer(), reader().text(0x07, "other::Type")),
            topic(DdsMismatch::Type { writer: "demo::Type".into(), reader: "other::Type".into() })
        );
        // Policies of which most have the default: what the writer states, what the reader states, and what does not match.
        let second = [1, 0].map(u32::to_le_bytes).concat();
        for (id, offered, requested, name) in [
            (0x23, None, Some(&second[..]), Some("deadline")),
            (0x23, Some(&second[..]), None, None),
            (0x1b, None, Some(&second), Some("liveliness")),
            (0x1b, Some(&second), None, None),
            (0x1f, Some(&second), None, Some("ownership")),
            (0x1f, None, Some(&second), Some("ownership")),
            (0x25, None, Some(&second), Some("order of samples")),
            (0x25, Some(&second), None, None),
            (0x73, Some(&[1, 0, 0, 0, 2, 0, 0, 0]), None, Some("encoding")),
            (0x73, None, Some(&[2, 0, 0, 0, 2, 0, 0, 0]), None),
            (0x73, None, Some(&[1, 0, 0, 0, 2, 0, 0, 0]), Some("encoding")),
        ] {
            let with = |end: DdsSample, value: Option<&[u8]>| match value {
                Some(value) if id == 0x1b => end.parameter(id, &[value, &[0xff; 4]].concat()),
                Some(value) => end.parameter(id, value),
                None => end,
            };
            let named = between(with(writer(), offered), with(reader(), requested));
            let named = named.iter().map(|obstacle| match obstacle {
                DdsObstacle::Topic { reason: DdsMismatch::Policy { writer, .. }, .. } => writer.name(),
                _ => "another",
            });
            assert_eq!(named.collect::<Vec<_>>(), name.into_iter().collect::<Vec<_>>(), "{id:#x}");
        }
        // The other direction, a pattern, and topics of other names.
        let other_way = super::tests::between(
            &[robot(), DdsSample::reader(1, 0x104, "rt/a").reliability(true)],
            &[pc(), DdsSample::writer(2, 0x103, "rt/a").reliability(false)],
        );
        assert_eq!(other_way, topic(DdsMismatch::Reliability));
        assert_eq!(between(writer().partition("robot*"), reader().partition("robot1")), []);
        assert_eq!(between(writer(), DdsSample::reader(2, 0x104, "rt/b").durability(1)), []);
    }

    #[test]
    fn setting_names_the_address() {
        let mut bench = Bench::new();
        bench.datagram(ROBOT, "239.255.0.1:7400", &robot().bytes());
        let entry = bench.only(DiscoveryProtocol::Rtps);
        let setting = DdsSetting::of(entry, entry.source.ip().unwrap()).unwrap().to_string();
        assert!(setting.contains("<NetworkInterface address=\"192.168.1.9\"/>"), "{setting}");
        let fast = DdsSetting::FastDds("192.168.1.9".parse().unwrap()).to_string();
        assert!(fast.contains("<type>UDPv4</type>") && fast.contains("<address>192.168.1.9</address>"));
    }
}
