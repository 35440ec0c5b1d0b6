//! Messages of protocols that are not text.

use std::net::Ipv4Addr;

/// A message of WS-Discovery, as its body.
pub(crate) fn envelope(body: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<SOAP-ENV:Envelope \
         xmlns:SOAP-ENV=\"http://www.w3.org/2003/05/soap-envelope\" \
         xmlns:wsa=\"http://schemas.xmlsoap.org/ws/2004/08/addressing\" \
         xmlns:d=\"http://schemas.xmlsoap.org/ws/2005/04/discovery\"><SOAP-ENV:Header>\
         <wsa:ReplyTo><wsa:Address>urn:uuid:not-this</wsa:Address></wsa:ReplyTo></SOAP-ENV:Header>\
         <SOAP-ENV:Body>{body}</SOAP-ENV:Body></SOAP-ENV:Envelope>"
    )
}

/// The content of a `ProbeMatch`, a `Hello` or a `Bye`.
pub(crate) fn endpoint(id: &str, types: &str, scopes: &str, urls: &str) -> String {
    let element = |name: &str, text: &str| match text {
        "" => String::new(),
        text => format!("<d:{name}>{text}</d:{name}>"),
    };
    format!(
        "<wsa:EndpointReference><wsa:Address>urn:uuid:{id}</wsa:Address></wsa:EndpointReference>{}{}{}\
         <d:MetadataVersion>1</d:MetadataVersion>",
        element("Types", types),
        element("Scopes", scopes),
        element("XAddrs", urls),
    )
}

/// A message of SAP by 10.0.0.7.
pub(crate) fn sap(flags: u8, hash: u16, kind: &str, description: &str) -> Vec<u8> {
    let kind = if kind.is_empty() { Vec::new() } else { [kind.as_bytes(), &[0]].concat() };
    [&[0x20 | flags, 0], &hash.to_be_bytes()[..], &[10, 0, 0, 7], &kind, description.as_bytes()].concat()
}

/// A response of KNX with this endpoint, serial number and name.
pub(crate) fn knx(endpoint: ([u8; 4], u16), serial: [u8; 6], name: &[u8], families: &[(u8, u8)]) -> Vec<u8> {
    let mut padded = name.to_vec();
    padded.resize(30, 0);
    let families: Vec<u8> = families.iter().flat_map(|(family, version)| [*family, *version]).collect();
    let body = [
        &[8, 1],
        &endpoint.0[..],
        &endpoint.1.to_be_bytes(),
        &[54, 1, 2, 0, 0x11, 0x05, 0, 0],
        &serial,
        &[224, 0, 23, 12, 0, 0x0e, 0x8c, 1, 2, 3],
        &padded,
        &[u8::try_from(families.len() + 2).unwrap(), 2],
        &families,
    ]
    .concat();
    let length = u16::try_from(body.len() + 6).unwrap().to_be_bytes();
    [&[6, 0x10, 2, 2][..], &length, &body].concat()
}

/// A packet of sACN.
pub(crate) fn sacn(cid: u8, name: &str, universe: u16, priority: u8, options: u8, start_code: u8) -> Vec<u8> {
    let mut packet = sacn_root(4, cid, 2, name);
    packet.extend([priority, 0, 0, 7, options]);
    packet.extend(universe.to_be_bytes());
    packet.extend([0x70, 0x0b, 2, 0xa1, 0, 0, 0, 1, 0, 3, start_code, 255, 0]);
    packet
}

/// The list of universes of a source.
pub(crate) fn sacn_list(cid: u8, name: &str, universes: &[u16]) -> Vec<u8> {
    let mut packet = sacn_root(8, cid, 2, name);
    packet.extend([0, 0, 0, 0, 0x70, 0, 0, 0, 0, 1, 0, 0]);
    packet.extend(universes.iter().flat_map(|universe| universe.to_be_bytes()));
    packet
}

fn sacn_root(vector: u8, cid: u8, framing: u8, name: &str) -> Vec<u8> {
    let mut packet = b"\x00\x10\x00\x00ASC-E1.17\0\0\0\x70\0\0\0\0".to_vec();
    packet.push(vector);
    packet.extend([cid; 16]);
    packet.extend([0x70, 0, 0, 0, 0, framing]);
    let mut name = name.as_bytes().to_vec();
    name.resize(64, 0);
    packet.extend(name);
    packet
}

/// A node of Art-Net.
#[derive(Clone, Copy)]
pub(crate) struct Node {
    pub(crate) address: [u8; 4],
    pub(crate) names: (&'static str, &'static str),
    pub(crate) net: (u8, u8),
    pub(crate) kinds: [u8; 4],
    pub(crate) inputs: [u8; 4],
    pub(crate) outputs: [u8; 4],
    pub(crate) mac: u8,
    pub(crate) bind_index: u8,
}

impl Node {
    pub(crate) const PLAIN: Self = Self {
        address: [10, 0, 0, 7],
        names: ("Node", "A longer name of the node"),
        net: (0, 0),
        kinds: [0x80, 0, 0, 0],
        inputs: [0; 4],
        outputs: [0; 4],
        mac: 1,
        bind_index: 0,
    };

    pub(crate) fn reply(&self) -> Vec<u8> {
        let mut packet = vec![0; 239];
        let mut put = |at: usize, bytes: &[u8]| packet[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, b"Art-Net\0\x00\x21");
        put(10, &self.address);
        put(14, &6454_u16.to_le_bytes());
        put(16, &[1, 2, self.net.0, self.net.1, 0x12, 0x34]);
        put(26, self.names.0.as_bytes());
        put(44, self.names.1.as_bytes());
        put(108, b"#0001 [0042] running");
        put(173, &[4]);
        put(174, &self.kinds);
        put(186, &self.inputs);
        put(190, &self.outputs);
        put(201, &[0, 0, 0, 0, 0, self.mac]);
        put(207, &Ipv4Addr::from(self.address).octets());
        put(211, &[self.bind_index]);
        packet
    }
}

/// A response of CoAP with content; options in ascending order.
pub(crate) fn coap(options: &[(u8, &[u8])], payload: &str) -> Vec<u8> {
    let mut message = vec![0x52, 0x45, 0, 1, 0xaa, 0xbb];
    let mut last = 0;
    for (number, value) in options {
        let delta = number - last;
        let length = u8::try_from(value.len()).unwrap();
        assert!(length < 13);
        if delta < 13 {
            message.push(delta << 4 | length);
        } else {
            message.extend([0xd0 | length, delta - 13]);
        }
        message.extend(*value);
        last = *number;
    }
    message.push(0xff);
    message.extend(payload.as_bytes());
    message
}
