//! Sets of `ipset`, for the rules of `iptables` on a host, without that program.

use std::io;
use std::net::IpAddr;

use mcast_sys::netlink::{Netlink, NetlinkProtocol, push_attribute};

use crate::error::ErrorContext;
use crate::{Host, LabError};

// Messages and attributes from linux/netfilter/ipset/ip_set.h.
const SUBSYSTEM: u16 = 6 << 8;
const CREATE: u16 = SUBSYSTEM | 2;
const ADD: u16 = SUBSYSTEM | 9;
const PROTOCOL: u8 = 7;
const NESTED: u16 = 0x8000;
const NETWORK_ORDER: u16 = 0x4000;
const NOMATCH: u32 = 4;

impl Host {
    /// Creates a set of `ipset`. Its kind and its elements are written as that program takes them, as far as they consist of
    /// addresses, networks, ports (`udp:5000`), the ranges of bitmaps, names of other sets, and the options `family inet6`,
    /// `netmask N`, `timeout N` and `nomatch`.
    ///
    /// # Errors
    ///
    /// The system's error where the kernel refuses the set or an element, and [`io::ErrorKind::InvalidInput`] for what is written
    /// otherwise.
    pub fn add_ip_set(&self, name: &str, kind: &str, elements: &[&str]) -> Result<(), LabError> {
        let create = || {
            let mut netlink = Netlink::open(NetlinkProtocol::Netfilter)?;
            let words: Vec<_> = kind.split_whitespace().collect();
            let (kind, options) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
            let is_ipv6 = options.contains(&"inet6");
            let mut body = request(name, is_ipv6);
            push_attribute(&mut body, 3, &zero_terminated(kind));
            push_attribute(&mut body, 4, &[0]);
            // `NFPROTO_…`
            let family = match *kind {
                "list:set" | "bitmap:port" => 0,
                _ if is_ipv6 => 10,
                _ => 2,
            };
            push_attribute(&mut body, 5, &[family]);
            push_attribute(&mut body, NESTED | 7, &settings(options)?);
            netlink.request_one(CREATE, 0, &body)?;
            for element in elements {
                let mut body = request(name, is_ipv6);
                push_attribute(&mut body, NESTED | 7, &values(kind, element)?);
                netlink.request_one(ADD, 0, &body)?;
            }
            Ok(())
        };
        self.run(create)?.context(|| format!("create the set '{name}' on '{}'", self.name()))
    }
}

fn request(name: &str, is_ipv6: bool) -> Vec<u8> {
    let mut body = vec![if is_ipv6 { 10 } else { 2 }, 0, 0, 0];
    push_attribute(&mut body, 1, &[PROTOCOL]);
    push_attribute(&mut body, 2, &zero_terminated(name));
    body
}

fn zero_terminated(text: &str) -> Vec<u8> {
    [text.as_bytes(), b"\0"].concat()
}

/// Returns the attributes of a set.
fn settings(options: &[&str]) -> io::Result<Vec<u8>> {
    let mut data = Vec::new();
    let mut options = options.iter();
    while let Some(option) = options.next() {
        let mut number = || options.next().and_then(|value| value.parse::<u32>().ok());
        match *option {
            "family" | "inet" | "inet6" => {}
            "netmask" => push_attribute(&mut data, 20, &[small(number())?]),
            "timeout" => {
                let seconds = number().ok_or(io::ErrorKind::InvalidInput)?;
                push_attribute(&mut data, NETWORK_ORDER | 6, &seconds.to_be_bytes());
            }
            "maxelem" => {
                let most = number().ok_or(io::ErrorKind::InvalidInput)?;
                push_attribute(&mut data, NETWORK_ORDER | 19, &most.to_be_bytes());
            }
            "range" => {}
            range => match range.split_once('-') {
                Some((from, to)) => {
                    for (kind, port) in [(4, from), (5, to)] {
                        let port: u16 = port.parse().map_err(|_| io::ErrorKind::InvalidInput)?;
                        push_attribute(&mut data, NETWORK_ORDER | kind, &port.to_be_bytes());
                    }
                }
                None => push_network(&mut data, range, (1, 3))?,
            },
        }
    }
    Ok(data)
}

/// Returns the attributes of an element.
fn values(kind: &str, element: &str) -> io::Result<Vec<u8>> {
    let mut data = Vec::new();
    let mut words = element.split_whitespace();
    let fields = words.next().unwrap_or_default().split(',');
    let mut networks = [(1, 3), (20, 21)].into_iter();
    for (field, value) in kind.split([':', ',']).skip(1).zip(fields) {
        match field {
            "set" => push_attribute(&mut data, 18, &zero_terminated(value)),
            "port" => {
                let (protocol, port) = value.split_once(':').unwrap_or(("", value));
                let port: u16 = port.parse().map_err(|_| io::ErrorKind::InvalidInput)?;
                push_attribute(&mut data, NETWORK_ORDER | 4, &port.to_be_bytes());
                match protocol {
                    "" => {}
                    "udp" => push_attribute(&mut data, 7, &[17]),
                    "tcp" => push_attribute(&mut data, 7, &[6]),
                    _ => return Err(io::ErrorKind::InvalidInput.into()),
                }
            }
            "mac" => {
                let bytes = value.split(':').map(|byte| u8::from_str_radix(byte, 16));
                let bytes: Vec<_> =
                    bytes.collect::<Result<_, _>>().map_err(|_| io::ErrorKind::InvalidInput)?;
                push_attribute(&mut data, 17, &bytes);
            }
            _ => {
                let place = networks.next().ok_or(io::ErrorKind::InvalidInput)?;
                push_network(&mut data, value, place)?;
            }
        }
    }
    while let Some(word) = words.next() {
        match word {
            "nomatch" => push_attribute(&mut data, NETWORK_ORDER | 8, &NOMATCH.to_be_bytes()),
            "timeout" => {
                let seconds: u32 =
                    words.next().and_then(|value| value.parse().ok()).ok_or(io::ErrorKind::InvalidInput)?;
                push_attribute(&mut data, NETWORK_ORDER | 6, &seconds.to_be_bytes());
            }
            _ => return Err(io::ErrorKind::InvalidInput.into()),
        }
    }
    // `IPSET_ATTR_LINENO`, which the kernel requires of what adds.
    push_attribute(&mut data, NETWORK_ORDER | 9, &0_u32.to_be_bytes());
    Ok(data)
}

/// Appends an address, and the length of its prefix where it is written.
fn push_network(data: &mut Vec<u8>, text: &str, (address_kind, length_kind): (u16, u16)) -> io::Result<()> {
    let (address, length) =
        text.split_once('/').map_or((text, None), |(address, rest)| (address, Some(rest)));
    let mut nested = Vec::new();
    match address.parse().map_err(|_| io::ErrorKind::InvalidInput)? {
        IpAddr::V4(address) => push_attribute(&mut nested, NETWORK_ORDER | 1, &address.octets()),
        IpAddr::V6(address) => push_attribute(&mut nested, NETWORK_ORDER | 2, &address.octets()),
    }
    push_attribute(data, NESTED | address_kind, &nested);
    if let Some(length) = length {
        push_attribute(data, length_kind, &[small(length.parse().ok())?]);
    }
    Ok(())
}

fn small(number: Option<u32>) -> io::Result<u8> {
    number.and_then(|number| number.try_into().ok()).ok_or_else(|| io::ErrorKind::InvalidInput.into())
}
