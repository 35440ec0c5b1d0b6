//! The sets of `ipset`, by which rules of `iptables` test packets.
//!
//! A set of the kinds `hash:…` and `bitmap:…` is looked up as the kernel does: for each combination of prefix lengths that its
//! elements have, the longest first, the packet's fields are cut to these lengths. What is unknown of a packet leaves the
//! result unknown, as far as elements differ in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use mcast::Family;

use super::packet::{Header, KnownPacket};

/// How deep lists of sets contain others. The kernel admits no list in a list.
const MAX_DEPTH: usize = 3;
const UDP: u8 = 17;

/// The number by which rules refer to a set.
pub(crate) type IpSetIndex = u16;

/// The sets that the rules of a machine refer to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct IpSets(pub(crate) BTreeMap<IpSetIndex, IpSet>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IpSet {
    pub(crate) name: String,
    pub(crate) content: IpSetContent,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum IpSetContent {
    Elements(IpSetElements),
    /// A list of other sets.
    Members(Vec<IpSetIndex>),
    /// Why it was not read, or cannot be evaluated.
    Unknown(String),
}

/// The elements of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IpSetElements {
    /// `None` if the set has no addresses.
    pub(crate) family: Option<Family>,
    pub(crate) fields: Vec<IpSetField>,
    /// The bits of addresses that the set distinguishes, if not all.
    pub(crate) mask: Option<Vec<u8>>,
    /// Each element, and whether it is an exception (`nomatch`).
    elements: BTreeMap<IpSetElement, bool>,
    /// The lengths of the prefixes of the elements, of each field.
    lengths: BTreeSet<Vec<u8>>,
}

/// What a field of the elements is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IpSetField {
    #[cfg_attr(
        not(any(target_os = "linux", target_os = "android")),
        expect(
            dead_code,
            reason = "only Linux has sets of ipset, but their evaluation is tested on every system"
        )
    )]
    Address,
    /// An address with a prefix length.
    Network,
    Port,
}

/// The values of an element, one per field.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct IpSetElement(pub(crate) Box<[IpSetValue]>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum IpSetValue {
    Network {
        address: IpAddr,
        length: u8,
    },
    Port {
        /// The number of its protocol; `None` for sets of ports of any protocol.
        protocol: Option<u8>,
        port: u16,
    },
}

/// The address or port of a packet that a field is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PacketSide {
    Source,
    Destination,
}

/// The test of a packet by a rule: `-m set --match-set NAME src,dst`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IpSetTest {
    pub(crate) index: IpSetIndex,
    pub(crate) sides: Vec<PacketSide>,
    pub(crate) is_negated: bool,
    /// Whether the exceptions of the set are looked for (`--return-nomatch`).
    pub(crate) wants_exceptions: bool,
}

/// What the set of a test has for a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpSetFinding {
    /// The name of the set, or that of the member of a list.
    pub(crate) set: String,
    pub(crate) membership: Membership,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Membership {
    Contains(IpSetElement),
    /// The packet matches an exception of the set.
    Excepts(IpSetElement),
    Nothing,
    /// It depends on what is unknown of the packet.
    Undecided,
    /// The set is unknown, for this reason.
    Unknown(String),
}

impl IpSetElements {
    pub(crate) fn new(family: Option<Family>, fields: Vec<IpSetField>, mask: Option<Vec<u8>>) -> Self {
        Self { family, fields, mask, elements: BTreeMap::new(), lengths: BTreeSet::new() }
    }

    /// Adds an element. Its networks have no bits behind their lengths.
    pub(crate) fn add(&mut self, element: IpSetElement, is_exception: bool) {
        let lengths: Vec<_> = element.lengths().collect();
        self.lengths.insert(lengths);
        self.elements.insert(element, is_exception);
    }

    #[cfg_attr(
        not(any(target_os = "linux", target_os = "android")),
        expect(
            dead_code,
            reason = "only Linux has sets of ipset, but their evaluation is tested on every system"
        )
    )]
    pub(crate) fn len(&self) -> usize {
        self.elements.len()
    }

    fn find(&self, packet: &KnownPacket, sides: &[PacketSide]) -> Membership {
        let is_of_family = self.family.is_none_or(|family| family == packet.family());
        if !is_of_family || sides.len() < self.fields.len() {
            return Membership::Nothing;
        }
        let fields: Vec<_> = self
            .fields
            .iter()
            .zip(sides)
            .map(|(field, side)| KnownField::of(packet, *field, *side, self.mask.as_deref()))
            .collect();
        match fields.iter().all(KnownField::is_known) {
            true => self.find_known(&fields),
            false => self.find_unknown(&fields),
        }
    }

    fn find_known(&self, fields: &[KnownField]) -> Membership {
        for lengths in self.lengths.iter().rev() {
            let has_protocols = self.elements.keys().next().is_some_and(IpSetElement::has_protocol);
            let values =
                fields.iter().zip(lengths).map(|(field, length)| field.value(*length, has_protocols));
            let Some(key) = values.collect::<Option<_>>().map(IpSetElement) else { continue };
            if let Some(is_exception) = self.elements.get(&key) {
                return of_element(key, *is_exception);
            }
        }
        Membership::Nothing
    }

    /// The same for a packet that is not known entirely. The elements with the longest prefixes decide.
    fn find_unknown(&self, fields: &[KnownField]) -> Membership {
        let mut elements: Vec<_> = self
            .elements
            .iter()
            .filter_map(|(element, is_exception)| Some((element, *is_exception, element.matches(fields)?)))
            .collect();
        elements.sort_by_key(|(element, ..)| std::cmp::Reverse(element.lengths().collect::<Vec<_>>()));
        let mut possible = None;
        for (element, is_exception, is_certain) in elements {
            if possible.is_some_and(|possible| possible != is_exception) {
                return Membership::Undecided;
            }
            if is_certain {
                return of_element(element.clone(), is_exception);
            }
            possible = Some(is_exception);
        }
        match possible {
            // Whether it matches an exception or nothing, the set does not contain it; but exceptions may be looked for.
            Some(_) => Membership::Undecided,
            None => Membership::Nothing,
        }
    }
}

fn of_element(element: IpSetElement, is_exception: bool) -> Membership {
    if is_exception { Membership::Excepts(element) } else { Membership::Contains(element) }
}

impl IpSetElement {
    /// Returns the length of the prefix of each field; that of a port is 0.
    fn lengths(&self) -> impl Iterator<Item = u8> {
        self.0.iter().map(|value| match value {
            IpSetValue::Network { length, .. } => *length,
            IpSetValue::Port { .. } => 0,
        })
    }

    fn has_protocol(&self) -> bool {
        self.0.iter().any(|value| matches!(value, IpSetValue::Port { protocol: Some(_), .. }))
    }

    /// Returns whether it certainly matches; `None` if it does not.
    fn matches(&self, fields: &[KnownField]) -> Option<bool> {
        let mut is_certain = true;
        for (value, field) in self.0.iter().zip(fields) {
            is_certain &= field.matches(value)?;
        }
        Some(is_certain)
    }
}

/// A field of a packet, some of whose bytes may be unknown.
enum KnownField {
    Address(Vec<Option<u8>>),
    Port { protocol: u8, port: Vec<Option<u8>> },
}

impl KnownField {
    fn of(packet: &KnownPacket, field: IpSetField, side: PacketSide, mask: Option<&[u8]>) -> Self {
        let is_destination = usize::from(side == PacketSide::Destination);
        if field == IpSetField::Port {
            let protocol = packet.protocol();
            let port = match protocol {
                UDP => packet.bytes(Header::Transport, 2 * is_destination, 2),
                // What the kernel compares instead depends on the protocol.
                _ => vec![None; 2],
            };
            return Self::Port { protocol, port };
        }
        let (offset, length) = match packet.family() {
            Family::V4 => (12, 4),
            Family::V6 => (8, 16),
        };
        let bytes = packet.bytes(Header::Network, offset + length * is_destination, length);
        let masks = mask.into_iter().flatten().copied().chain(std::iter::repeat(u8::MAX));
        let masked = bytes.into_iter().zip(masks).map(|(byte, mask)| match mask {
            0 => Some(0),
            mask => byte.map(|byte| byte & mask),
        });
        Self::Address(masked.collect())
    }

    fn is_known(&self) -> bool {
        match self {
            Self::Address(bytes) | Self::Port { port: bytes, .. } => bytes.iter().all(Option::is_some),
        }
    }

    /// Returns the value that an element with this prefix length has.
    fn value(&self, length: u8, has_protocols: bool) -> Option<IpSetValue> {
        Some(match self {
            Self::Address(bytes) => {
                let bytes = bytes.iter().copied().collect::<Option<Vec<_>>>()?;
                IpSetValue::Network { address: cut(address(&bytes)?, length), length }
            }
            Self::Port { protocol, port } => {
                let port = u16::from_be_bytes([*port.first()?.as_ref()?, *port.get(1)?.as_ref()?]);
                IpSetValue::Port { protocol: has_protocols.then_some(*protocol), port }
            }
        })
    }

    /// Returns whether it certainly has a value; `None` if it has not.
    fn matches(&self, value: &IpSetValue) -> Option<bool> {
        match (self, value) {
            (Self::Address(bytes), IpSetValue::Network { address, length }) => {
                let with = octets(*address);
                if bytes.len() != with.len() {
                    return None;
                }
                let mut is_certain = true;
                for (position, (byte, with)) in bytes.iter().zip(with).enumerate() {
                    let bits = usize::from(*length).saturating_sub(8 * position).min(8);
                    let mask = (0xff00_u16 >> bits) as u8;
                    match byte {
                        _ if bits == 0 => {}
                        Some(byte) if byte & mask != with & mask => return None,
                        Some(_) => {}
                        None => is_certain = false,
                    }
                }
                Some(is_certain)
            }
            (Self::Port { protocol, port }, IpSetValue::Port { protocol: of, port: with }) => {
                if of.is_some_and(|of| of != *protocol) {
                    return None;
                }
                let bytes = || port.iter().zip(with.to_be_bytes());
                let differs = bytes().any(|(byte, with)| byte.is_some_and(|byte| byte != with));
                (!differs).then(|| bytes().all(|(byte, _)| byte.is_some()))
            }
            _ => None,
        }
    }
}

impl IpSets {
    #[cfg_attr(
        not(any(target_os = "linux", target_os = "android")),
        expect(
            dead_code,
            reason = "only Linux has sets of ipset, but their evaluation is tested on every system"
        )
    )]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Tests a packet. The result does not consider that the test is negated.
    pub(crate) fn test(&self, test: &IpSetTest, packet: &KnownPacket) -> IpSetFinding {
        self.find(test.index, &test.sides, packet, test.wants_exceptions, 0)
    }

    fn find(
        &self,
        index: IpSetIndex,
        sides: &[PacketSide],
        packet: &KnownPacket,
        wants_exceptions: bool,
        depth: usize,
    ) -> IpSetFinding {
        let Some(set) = self.0.get(&index) else {
            return IpSetFinding {
                set: index.to_string(),
                membership: Membership::Unknown("it was not read".to_owned()),
            };
        };
        let of_set = |membership| IpSetFinding { set: set.name.clone(), membership };
        match &set.content {
            IpSetContent::Elements(elements) => of_set(elements.find(packet, sides)),
            IpSetContent::Unknown(reason) => of_set(Membership::Unknown(reason.clone())),
            IpSetContent::Members(_) if depth >= MAX_DEPTH => {
                of_set(Membership::Unknown("it contains lists of sets".to_owned()))
            }
            IpSetContent::Members(members) => {
                let mut result = of_set(Membership::Nothing);
                for member in members {
                    let found = self.find(*member, sides, packet, wants_exceptions, depth + 1);
                    match found.membership.holds(wants_exceptions) {
                        Some(true) => return found,
                        None if result.membership == Membership::Nothing => result = found,
                        _ => {}
                    }
                }
                result
            }
        }
    }
}

impl Membership {
    /// Returns whether the kernel takes it for a match; `None` if it is unknown.
    pub(crate) const fn holds(&self, wants_exceptions: bool) -> Option<bool> {
        match self {
            Self::Contains(_) => Some(!wants_exceptions),
            Self::Excepts(_) => Some(wants_exceptions),
            Self::Nothing => Some(false),
            Self::Undecided | Self::Unknown(_) => None,
        }
    }
}

/// Returns an address of 4 or 16 bytes.
pub(crate) fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(IpAddr::from(*bytes.first_chunk::<4>()?)),
        16 => Some(IpAddr::from(*bytes.first_chunk::<16>()?)),
        _ => None,
    }
}

pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// Returns the network of an address, of which `length` bits remain.
pub(crate) fn cut(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(length.into())).unwrap_or(0);
            IpAddr::V4((u32::from(address) & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(length.into())).unwrap_or(0);
            IpAddr::V6((u128::from(address) & mask).into())
        }
    }
}

impl fmt::Display for IpSetElement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, value) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str(",")?;
            }
            match value {
                IpSetValue::Network { address, length } => {
                    let is_whole = *length == if address.is_ipv4() { 32 } else { 128 };
                    match is_whole {
                        true => write!(f, "{address}")?,
                        false => write!(f, "{address}/{length}")?,
                    }
                }
                IpSetValue::Port { protocol: None, port } => write!(f, "{port}")?,
                IpSetValue::Port { protocol: Some(UDP), port } => write!(f, "udp:{port}")?,
                IpSetValue::Port { protocol: Some(protocol), port } => write!(f, "{protocol}:{port}")?,
            }
        }
        Ok(())
    }
}

/// Writes it as evidence: `the set `NAME` of ipset: contains 239.255.2.3`.
impl fmt::Display for IpSetFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the set `{}` of ipset: {}", self.set, self.membership)
    }
}

impl fmt::Display for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Contains(element) => write!(f, "contains {element}"),
            Self::Excepts(element) => write!(f, "contains {element} as an exception (nomatch)"),
            Self::Nothing => f.write_str("has no element that matches"),
            Self::Undecided => f.write_str("may have an element that matches"),
            Self::Unknown(reason) => write!(f, "unknown: {reason}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    const BOTH: [PacketSide; 2] = [PacketSide::Source, PacketSide::Destination];

    fn network(address: &str, length: u8) -> IpSetValue {
        IpSetValue::Network { address: address.parse().unwrap(), length }
    }

    /// Returns a set with networks and whether each is an exception.
    fn networks(elements: &[(&str, u8, bool)]) -> IpSetElements {
        let mut set = IpSetElements::new(Some(Family::V4), vec![IpSetField::Network], None);
        for (address, length, is_exception) in elements {
            set.add(IpSetElement([network(address, *length)].into()), *is_exception);
        }
        set
    }

    fn to_group() -> SocketAddr {
        "239.1.2.3:5000".parse().unwrap()
    }

    fn known() -> KnownPacket {
        KnownPacket::datagram("10.9.0.1:6000".parse().unwrap(), to_group(), None)
    }

    #[test]
    fn element_with_the_longest_prefix_decides() {
        let set = networks(&[("10.0.0.0", 8, false), ("10.9.0.0", 16, true)]);
        assert_eq!(set.find(&known(), &BOTH).holds(false), Some(false));
        assert_eq!(set.find(&known(), &BOTH).holds(true), Some(true));
        let set = networks(&[("10.0.0.0", 8, true), ("10.9.0.0", 16, false)]);
        assert_eq!(set.find(&known(), &BOTH).to_string(), "contains 10.9.0.0/16");
    }

    #[test]
    fn unknown_source_is_undecided_unless_no_element_is_possible() {
        let packet = KnownPacket::from_anyone(to_group());
        let set = networks(&[("10.9.0.0", 16, false)]);
        assert_eq!(set.find(&packet, &BOTH), Membership::Undecided);
        assert_eq!(set.find(&packet, &[PacketSide::Destination]), Membership::Nothing);
        assert_eq!(networks(&[]).find(&packet, &BOTH), Membership::Nothing);
        let groups = networks(&[("239.0.0.0", 8, false)]);
        assert_eq!(groups.find(&packet, &[PacketSide::Destination]).holds(false), Some(true));
    }

    #[test]
    fn group_that_is_known_in_part_is_decided_by_elements_for_all_groups() {
        let packet = KnownPacket::to_any_group(Family::V6);
        let set = |address, length| {
            let mut set = IpSetElements::new(Some(Family::V6), vec![IpSetField::Network], None);
            set.add(IpSetElement([network(address, length)].into()), false);
            set.find(&packet, &[PacketSide::Destination]).holds(false)
        };
        assert_eq!((set("ff00::", 8), set("ff15::", 16), set("fe00::", 8)), (Some(true), None, Some(false)));
    }

    #[test]
    fn ports_of_other_protocols_than_udp_are_undecided() {
        let mut set = IpSetElements::new(Some(Family::V4), vec![IpSetField::Port], None);
        let add = |set: &mut IpSetElements, protocol| {
            set.add(IpSetElement([IpSetValue::Port { protocol: Some(protocol), port: 0 }].into()), false);
        };
        add(&mut set, UDP);
        let igmp = KnownPacket::control(crate::netfilter::ControlKind::Report, None, Family::V4);
        assert_eq!(set.find(&igmp, &BOTH), Membership::Nothing);
        add(&mut set, 2);
        assert_eq!(set.find(&igmp, &BOTH), Membership::Undecided);
    }

    #[test]
    fn set_that_was_not_read_or_contains_itself_is_unknown() {
        let test =
            |index| IpSetTest { index, sides: BOTH.to_vec(), is_negated: false, wants_exceptions: false };
        let list = IpSet { name: "loop".into(), content: IpSetContent::Members(vec![7]) };
        let sets = IpSets([(7, list)].into());
        for index in [7, 8] {
            let found = sets.test(&test(index), &known());
            assert!(matches!(found.membership, Membership::Unknown(_)), "{found:?}");
        }
    }

    #[test]
    fn unknown_member_leaves_a_list_unknown_unless_another_contains_the_packet() {
        let unknown = IpSet { name: "macs".into(), content: IpSetContent::Unknown("type".into()) };
        let elements = |address| IpSet {
            name: "sources".into(),
            content: IpSetContent::Elements(networks(&[(address, 32, false)])),
        };
        let list = IpSet { name: "all".into(), content: IpSetContent::Members(vec![1, 2]) };
        let test = IpSetTest { index: 3, sides: BOTH.to_vec(), is_negated: false, wants_exceptions: false };
        let holds = |address| {
            let sets = IpSets([(1, unknown.clone()), (2, elements(address)), (3, list.clone())].into());
            sets.test(&test, &known()).membership.holds(false)
        };
        assert_eq!((holds("10.9.0.1"), holds("10.9.0.2")), (Some(true), None));
    }
}
