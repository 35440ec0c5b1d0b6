//! The sets of `ipset` that rules of `iptables` refer to, from netlink. Needs `CAP_NET_ADMIN`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use mcast::Family;
use mcast_sys::netlink::{
    Netlink, NetlinkProtocol, NetlinkReply, attribute, attributes, push_attribute, text,
};

use crate::netfilter::{
    Expression, IpSet, IpSetContent, IpSetElement, IpSetElements, IpSetField, IpSetIndex, IpSetValue, IpSets,
    Ruleset, address, cut, octets,
};

// Messages and attributes from linux/netfilter/ipset/ip_set.h.
const SUBSYSTEM: u16 = 6 << 8;
const LIST: u16 = SUBSYSTEM | 7;
const GET_BY_NAME: u16 = SUBSYSTEM | 14;
const GET_BY_INDEX: u16 = SUBSYSTEM | 15;
/// The version of the protocol that has `GET_BY_INDEX` (Linux 4.20). Every newer kernel accepts it.
const PROTOCOL: u8 = 7;
/// `struct nfgenmsg`: family (any), version and resource id.
const HEADER: [u8; 4] = [0; 4];
const ATTRIBUTE_PROTOCOL: u16 = 1;
const SET_NAME: u16 = 2;
const TYPE_NAME: u16 = 3;
const FAMILY: u16 = 5;
const FLAGS: u16 = 6;
const DATA: u16 = 7;
const ELEMENTS: u16 = 8;
const INDEX: u16 = 11;
/// `IPSET_FLAG_LIST_HEADER`: without the elements.
const HEADER_ONLY: u32 = 4;

// Attributes of a set or of an element.
const ADDRESS: u16 = 1;
const PREFIX_LENGTH: u16 = 3;
const PORT: u16 = 4;
const PORT_PROTOCOL: u16 = 7;
const ELEMENT_FLAGS: u16 = 8;
const BIT_MASK: u16 = 12;
const NAME: u16 = 18;
const SECOND_ADDRESS: u16 = 20;
const NET_MASK: u16 = 20;
const SECOND_PREFIX_LENGTH: u16 = 21;
const ELEMENT_COUNT: u16 = 24;
const NOMATCH: u32 = 4;

/// How many elements all sets together may have; sets beyond it are unknown. By default, a set has at most 65,536.
const MAX_ELEMENTS: usize = 200_000;
/// The most bytes of a dump: an element of the types that are read takes less than 100.
const MAX_BYTES: usize = 20_000_000;
/// The most sets that are read, including the members of lists.
const MAX_SETS: usize = 1_000;

/// Reads the sets that the rules of a ruleset refer to into it. Returns those that are unknown, each with the reason.
pub(super) fn add_to(ruleset: &mut Ruleset) -> Vec<String> {
    let expressions = ruleset.chains.iter().flat_map(|chain| &chain.rules).flat_map(|rule| &rule.expressions);
    let indices: BTreeSet<_> = expressions
        .filter_map(|expression| match expression {
            Expression::IpSet(test) => Some(test.index),
            _ => None,
        })
        .collect();
    ruleset.ip_sets = read(indices);
    let unknown = ruleset.ip_sets.0.values().filter_map(|set| match &set.content {
        IpSetContent::Unknown(reason) => Some(format!("{} ({reason})", set.name)),
        _ => None,
    });
    unknown.collect()
}

fn read(indices: BTreeSet<IpSetIndex>) -> IpSets {
    let mut sets = BTreeMap::new();
    let mut remaining = MAX_ELEMENTS;
    let mut waiting: Vec<_> = indices.into_iter().collect();
    while let Some(index) = waiting.pop() {
        if sets.contains_key(&index) {
            continue;
        }
        let set = match sets.len() < MAX_SETS {
            true => set(index, remaining),
            false => unknown(format!("number {index}"), "there are too many sets"),
        };
        match &set.content {
            IpSetContent::Elements(elements) => remaining = remaining.saturating_sub(elements.len()),
            IpSetContent::Members(members) => waiting.extend(members),
            IpSetContent::Unknown(_) => {}
        }
        sets.insert(index, set);
    }
    IpSets(sets)
}

/// Reads a set of at most this number of elements.
fn set(index: IpSetIndex, most: usize) -> IpSet {
    let name = match name_of(index) {
        Ok(Some(name)) => name,
        Ok(None) => return unknown(format!("number {index}"), "its name could not be read"),
        Err(error) => {
            return unknown(format!("number {index}"), format!("its name could not be read: {error}"));
        }
    };
    let content = match elements_of(&name, most) {
        Ok(content) => content,
        Err(error) => IpSetContent::Unknown(format!("it could not be read: {error}")),
    };
    IpSet { name, content }
}

fn unknown(name: String, reason: impl Into<String>) -> IpSet {
    IpSet { name, content: IpSetContent::Unknown(reason.into()) }
}

fn request() -> Vec<u8> {
    let mut body = HEADER.to_vec();
    push_attribute(&mut body, ATTRIBUTE_PROTOCOL, &[PROTOCOL]);
    body
}

fn name_of(index: IpSetIndex) -> io::Result<Option<String>> {
    let mut body = request();
    push_attribute(&mut body, INDEX, &index.to_be_bytes());
    let replies = Netlink::open(NetlinkProtocol::Netfilter)?.request_one(GET_BY_INDEX, 0, &body)?;
    Ok(replies.iter().find_map(|reply| attribute(reply.payload.get(HEADER.len()..)?, SET_NAME)).map(text))
}

fn index_of(name: &str) -> io::Result<Option<IpSetIndex>> {
    let mut body = request();
    push_attribute(&mut body, SET_NAME, &[name.as_bytes(), b"\0"].concat());
    let replies = Netlink::open(NetlinkProtocol::Netfilter)?.request_one(GET_BY_NAME, 0, &body)?;
    let index = replies.iter().find_map(|reply| attribute(reply.payload.get(HEADER.len()..)?, INDEX));
    Ok(index.and_then(|index| Some(u16::from_be_bytes(*index.first_chunk()?))))
}

fn elements_of(name: &str, most: usize) -> io::Result<IpSetContent> {
    let mut body = request();
    push_attribute(&mut body, SET_NAME, &[name.as_bytes(), b"\0"].concat());
    let mut headers = body.clone();
    push_attribute(&mut headers, FLAGS, &HEADER_ONLY.to_be_bytes());
    let mut netlink = Netlink::open(NetlinkProtocol::Netfilter)?;
    let mut parsed = match Parsed::header(&netlink.dump(LIST, &headers)?) {
        Ok(parsed) => parsed,
        Err(reason) => return Ok(IpSetContent::Unknown(reason)),
    };
    // Older kernels do not state the number, so that the dump is bounded as well.
    if parsed.stated > most {
        return Ok(IpSetContent::Unknown(format!("it has {} elements", parsed.stated)));
    }
    let Some(replies) = netlink.dump_at_most(LIST, &body, MAX_BYTES)? else {
        return Ok(IpSetContent::Unknown("it has too many elements".to_owned()));
    };
    Ok(match parsed.add_elements(&replies, most) {
        Ok(()) => parsed.content(|name| index_of(name).ok().flatten()),
        Err(reason) => IpSetContent::Unknown(reason),
    })
}

/// A set while it is parsed.
#[derive(Debug)]
struct Parsed {
    /// How many elements the kernel states; 0 if it does not.
    stated: usize,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Elements(IpSetElements),
    /// The names of the members.
    List(Vec<String>),
}

impl Parsed {
    /// Parses the replies that describe a set; an error is the reason why it cannot be evaluated.
    fn header(replies: &[NetlinkReply]) -> Result<Self, String> {
        let part =
            |kind| replies.iter().find_map(|reply| attribute(reply.payload.get(HEADER.len()..)?, kind));
        let name = part(TYPE_NAME).map(text).ok_or("its type is not stated")?;
        let family = match part(FAMILY).and_then(|family| family.first()) {
            Some(2) => Some(Family::V4),
            Some(10) => Some(Family::V6),
            _ => None,
        };
        let data = part(DATA).unwrap_or_default();
        let stated = attribute(data, ELEMENT_COUNT).and_then(be32).unwrap_or_default();
        let stated = usize::try_from(stated).unwrap_or(usize::MAX);
        if name == "list:set" {
            return Ok(Self { stated, kind: Kind::List(Vec::new()) });
        }
        let fields = fields(&name).ok_or_else(|| format!("sets of type {name} are not evaluated"))?;
        let mask = mask(data, family).map_err(|()| "its mask cannot be understood")?;
        Ok(Self { stated, kind: Kind::Elements(IpSetElements::new(family, fields, mask)) })
    }

    /// Adds the elements in the replies. One that cannot be understood makes the set unknown.
    fn add_elements(&mut self, replies: &[NetlinkReply], most: usize) -> Result<(), String> {
        let lists =
            replies.iter().filter_map(|reply| attribute(reply.payload.get(HEADER.len()..)?, ELEMENTS));
        for (number, (_, data)) in lists.flat_map(attributes).enumerate() {
            if number >= most {
                return Err("it has too many elements".to_owned());
            }
            let is_added = match &mut self.kind {
                Kind::List(names) => attribute(data, NAME).map(|name| names.push(text(name))),
                Kind::Elements(elements) => element(data, &elements.fields).map(|element| {
                    let flags = attribute(data, ELEMENT_FLAGS).and_then(be32).unwrap_or_default();
                    elements.add(element, flags & NOMATCH != 0);
                }),
            };
            is_added.ok_or("an element cannot be understood")?;
        }
        Ok(())
    }

    /// Returns the content. Lists name their members.
    fn content(self, index_of: impl Fn(&str) -> Option<IpSetIndex>) -> IpSetContent {
        match self.kind {
            Kind::Elements(elements) => IpSetContent::Elements(elements),
            Kind::List(names) => {
                let members: Option<_> = names.iter().map(|name| index_of(name)).collect();
                members.map_or_else(
                    || IpSetContent::Unknown("a member of the list could not be read".to_owned()),
                    IpSetContent::Members,
                )
            }
        }
    }
}

/// Returns the fields of a type, such as `hash:ip,port`; `None` if packets are compared with something else, such as the Ethernet
/// address of the source.
fn fields(kind: &str) -> Option<Vec<IpSetField>> {
    let (storage, names) = kind.split_once(':')?;
    matches!(storage, "hash" | "bitmap").then_some(())?;
    let field = |name| match name {
        "ip" => Some(IpSetField::Address),
        "net" => Some(IpSetField::Network),
        "port" => Some(IpSetField::Port),
        _ => None,
    };
    names.split(',').map(field).collect()
}

/// Returns the bits of addresses that a set distinguishes, if it states them.
fn mask(data: &[u8], family: Option<Family>) -> Result<Option<Vec<u8>>, ()> {
    if let Some(mask) = attribute(data, BIT_MASK) {
        return Ok(Some(bytes_of_address(mask).ok_or(())?.to_vec()));
    }
    let Some(length) = attribute(data, NET_MASK).and_then(|length| length.first()) else { return Ok(None) };
    let all: &[u8] = match family {
        Some(Family::V4) => &[u8::MAX; 4],
        Some(Family::V6) => &[u8::MAX; 16],
        None => return Err(()),
    };
    Ok(Some(octets(cut(address(all).ok_or(())?, *length))))
}

fn element(data: &[u8], fields: &[IpSetField]) -> Option<IpSetElement> {
    let mut addresses = [(ADDRESS, PREFIX_LENGTH), (SECOND_ADDRESS, SECOND_PREFIX_LENGTH)].into_iter();
    let value = |field: &IpSetField| {
        if *field == IpSetField::Port {
            let port = u16::from_be_bytes(*attribute(data, PORT)?.first_chunk()?);
            let protocol = attribute(data, PORT_PROTOCOL).and_then(|protocol| protocol.first()).copied();
            return Some(IpSetValue::Port { protocol, port });
        }
        let (place, length) = addresses.next()?;
        let address = address(bytes_of_address(attribute(data, place)?)?)?;
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let length = attribute(data, length).and_then(|length| length.first().copied()).unwrap_or(whole);
        (length <= whole).then(|| IpSetValue::Network { address: cut(address, length), length })
    };
    let values: Option<Box<[_]>> = fields.iter().map(value).collect();
    values.map(IpSetElement)
}

/// Returns the address in an attribute that contains one, of either family.
fn bytes_of_address(nested: &[u8]) -> Option<&[u8]> {
    const V4: u16 = 1;
    const V6: u16 = 2;
    let of = |kind, length| attribute(nested, kind).filter(|address| address.len() == length);
    of(V4, 4).or_else(|| of(V6, 16))
}

fn be32(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use mcast_lab::Lab;
    use proptest::prelude::*;

    use super::*;

    fn reply(attributes: &[(u16, Vec<u8>)]) -> NetlinkReply {
        let mut payload = HEADER.to_vec();
        for (kind, value) in attributes {
            push_attribute(&mut payload, *kind, value);
        }
        NetlinkReply { kind: LIST, payload }
    }

    fn nested(attributes: &[(u16, Vec<u8>)]) -> Vec<u8> {
        reply(attributes).payload.split_off(HEADER.len())
    }

    fn v4(address: [u8; 4]) -> Vec<u8> {
        nested(&[(1, address.to_vec())])
    }

    fn header(kind: &str) -> NetlinkReply {
        reply(&[(TYPE_NAME, kind.as_bytes().to_vec()), (FAMILY, vec![2])])
    }

    fn with(elements: &[Vec<u8>]) -> NetlinkReply {
        let elements: Vec<_> = elements.iter().map(|element| (DATA, element.clone())).collect();
        reply(&[(ELEMENTS, nested(&elements))])
    }

    #[test]
    fn networks_are_cut_to_their_length() {
        let network = nested(&[(ADDRESS, v4([10, 9, 8, 7])), (PREFIX_LENGTH, vec![16])]);
        let value = element(&network, &[IpSetField::Network]).unwrap();
        assert_eq!(value.to_string(), "10.9.0.0/16");
        let too_long = nested(&[(ADDRESS, v4([10, 9, 8, 7])), (PREFIX_LENGTH, vec![33])]);
        assert_eq!(element(&too_long, &[IpSetField::Network]), None);
    }

    #[test]
    fn set_with_an_element_that_cannot_be_understood_or_too_many_is_unknown() {
        let address = nested(&[(ADDRESS, v4([10, 9, 0, 1]))]);
        let add = |elements: &[Vec<u8>], most| {
            let mut parsed = Parsed::header(&[header("hash:ip")]).unwrap();
            parsed.add_elements(&[with(elements)], most)
        };
        assert_eq!(add(std::slice::from_ref(&address), 1), Ok(()));
        assert!(add(&[address.clone(), nested(&[])], 9).is_err());
        assert!(add(&[address.clone(), address.clone()], 1).is_err());
    }

    #[test]
    fn type_that_compares_something_else_is_unknown() {
        for kind in ["hash:mac", "hash:ip,mark", "hash:net,iface", "bitmap:ip,mac", "tree:ip", "nonsense"] {
            assert!(Parsed::header(&[header(kind)]).is_err(), "{kind}");
        }
        assert!(Parsed::header(&[]).is_err());
    }

    #[test]
    fn set_with_more_elements_than_are_left_is_unknown() {
        let lab = Lab::new().unwrap();
        let host = lab.host("a").unwrap();
        if let Err(error) = host.add_ip_set("s", "hash:ip", &["10.9.0.1", "10.9.0.2"]) {
            return mcast_lab::skip(format!("this test needs ipset in the kernel: {error}"));
        }
        let read = |most| host.run(|| elements_of("s", most).unwrap()).unwrap();
        assert_eq!(read(1), IpSetContent::Unknown("it has 2 elements".to_owned()));
        assert!(matches!(read(2), IpSetContent::Elements(elements) if elements.len() == 2));
        let missing = host.run(|| set(999, 1)).unwrap();
        assert!(matches!(missing.content, IpSetContent::Unknown(_)), "{missing:?}");
    }

    proptest! {
        #[test]
        fn any_reply_is_parsed_without_panic(
            kind in proptest::sample::select(vec!["hash:ip", "hash:net,port,net", "bitmap:port", "list:set"]),
            family in any::<u8>(),
            data in proptest::collection::vec(any::<u8>(), 0..60),
            elements in proptest::collection::vec(any::<u8>(), 0..120),
        ) {
            let header = reply(&[(TYPE_NAME, kind.as_bytes().to_vec()), (FAMILY, vec![family]), (DATA, data)]);
            if let Ok(mut parsed) = Parsed::header(&[header]) {
                let replies = [reply(&[(ELEMENTS, elements.clone())]), NetlinkReply { kind: LIST, payload: elements }];
                let _ = parsed.add_elements(&replies, 100);
                let _ = parsed.content(|_| None);
            }
        }

        #[test]
        fn any_element_is_parsed_without_panic(
            address in proptest::collection::vec(any::<u8>(), 0..20),
            length in any::<u8>(),
            port in proptest::collection::vec(any::<u8>(), 0..4),
        ) {
            let data = nested(&[(ADDRESS, address), (PREFIX_LENGTH, vec![length]), (PORT, port)]);
            let _ = element(&data, &[IpSetField::Network, IpSetField::Port]);
        }
    }
}
