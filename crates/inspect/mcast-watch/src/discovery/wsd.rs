//! WS-Discovery: printers, scanners, cameras of ONVIF, and computers that share files.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::time::Duration;

use mcast_packet::payload::{WsDiscovery, WsDiscoveryKind, WsEndpoint};

use super::entry::{
    Discovered, DiscoveredKind, DiscoveryKey, DiscoveryProtocol, DiscoverySource, UntrustedText,
};
use super::registry::Registry;
use super::support::{
    Asking, announced_by, authority, keep_other_family, locate, percent_decoded, read, xml_decoded,
};
use super::{DiscoveryDatagram, DiscoveryQuestion, Observer};
use crate::clock::Time;

const GROUPS: [SocketAddr; 2] = [
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(239, 255, 255, 250), WsDiscovery::PORT)),
    SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xc), WsDiscovery::PORT, 0, 0)),
];

/// The namespaces of a question, and the type asked for. Devices implement the draft of 2005 or version 1.1, and some answer only
/// questions for a type; wsdd knows it by this prefix only.
const PROBES: [[&str; 3]; 3] = [
    [DRAFT, DRAFT_ADDRESSING, ""],
    [
        DRAFT,
        DRAFT_ADDRESSING,
        "<d:Types xmlns:wsdp=\"http://schemas.xmlsoap.org/ws/2006/02/devprof\">wsdp:Device</d:Types>",
    ],
    ["http://docs.oasis-open.org/ws-dd/ns/discovery/2009/01", "http://www.w3.org/2005/08/addressing", ""],
];
const DRAFT: &str = "http://schemas.xmlsoap.org/ws/2005/04/discovery";
const TO_DRAFT: &str = "urn:schemas-xmlsoap-org:ws:2005:04:discovery";
const DRAFT_ADDRESSING: &str = "http://schemas.xmlsoap.org/ws/2004/08/addressing";

/// Reads WS-Discovery.
#[derive(Debug, Default)]
pub(super) struct WsDiscoveryObserver {
    /// Questions for the URLs of devices that have announced none, with the time of the first one that was asked within a second.
    questions: VecDeque<DiscoveryQuestion>,
    asked: (Time, usize),
}

impl WsDiscoveryObserver {
    /// Devices whose URLs are asked for within a second: any host can announce more.
    const MAX_ASKED: usize = 16;

    /// Asks for the URL of a device, unless it was just asked for: matches may omit it (WS-Discovery 1.1 section 5.3), as those of wsdd do.
    fn resolve(&mut self, now: Time, from: SocketAddr, announced: &Discovered, known: Option<&Discovered>) {
        let second = Duration::from_secs(1);
        if now.since(self.asked.0) >= second {
            self.asked = (now, 0);
        }
        let is_due = known.is_none_or(|known| now.since(known.last_seen) >= second / 2);
        let Some(id) = plain_id(announced).filter(|_| is_due && self.asked.1 < Self::MAX_ASKED) else {
            return;
        };
        let rest = format!(
            "</s:Header><s:Body><d:Resolve><a:EndpointReference><a:Address>{id}</a:Address>\
             </a:EndpointReference></d:Resolve></s:Body>"
        );
        let action = format!("{DRAFT}/Resolve");
        let message = (now, self.asked.1);
        let payload = envelope([DRAFT, DRAFT_ADDRESSING], &action, message, TO_DRAFT, &rest).into_bytes();
        self.asked.1 += 1;
        let destination = GROUPS[usize::from(from.is_ipv6())];
        let (protocol, place) = (DiscoveryProtocol::WsDiscovery, Some(announced.key.place));
        self.questions.push_back(DiscoveryQuestion { protocol, place, destination, payload });
    }

    fn announce(
        &mut self,
        now: Time,
        datagram: &DiscoveryDatagram<'_>,
        endpoint: &WsEndpoint<'_>,
        registry: &mut Registry,
    ) {
        let (protocol, kind) = (DiscoveryProtocol::WsDiscovery, DiscoveredKind::Device);
        let mut announced = announced_by(now, datagram, protocol, kind, UntrustedText::new(endpoint.address));
        let known = registry.get(&announced.key);
        announced.expires = registry.answer_holds_until(now);
        // A device that is translated, or has several networks, states addresses of each; the one on this network is first.
        let urls = || words(endpoint.urls).take(Registry::MAX_ADDRESSES);
        let from = datagram.source.ip();
        let own = urls().find(|url| authority(url).is_some_and(|(address, _)| address == from));
        if let Some(url) = own.or_else(|| urls().next()) {
            announced.url = UntrustedText::new(xml_decoded(url));
            announced.port = authority(url).map(|(_, port)| port);
        }
        locate(&mut announced, urls());
        let types = words(endpoint.types).map(local_name).filter(|name| *name != b"Device");
        let mut types: Vec<&[u8]> = types.take(Registry::MAX_FIELDS).collect();
        if types.is_empty() && !endpoint.types.is_empty() {
            types.push(b"Device");
        }
        let scope = |name: &str| {
            let found = words(endpoint.scopes).find_map(|scope| onvif_scope(scope, name));
            found.map(|value| percent_decoded(&xml_decoded(value)))
        };
        announced.service = UntrustedText::new(types.join(&b' '));
        let id = endpoint.address.strip_prefix(b"urn:").unwrap_or(endpoint.address);
        let id = id.strip_prefix(b"uuid:").unwrap_or(id);
        let named = scope("name").or_else(|| scope("hardware"));
        announced.name = UntrustedText::new(match (&named, types.first()) {
            (Some(name), _) => name,
            (None, Some(name)) => *name,
            (None, None) => id,
        });
        for name in ["hardware", "location"] {
            announced.add_text(name, &scope(name).unwrap_or_default());
        }
        announced.add_text("metadata version", endpoint.metadata_version);
        types.iter().for_each(|name| announced.add_text("type", name));
        words(endpoint.scopes)
            .take(Registry::MAX_FIELDS)
            .for_each(|scope| announced.add_text("scope", &xml_decoded(scope)));
        urls().for_each(|url| announced.add_text("url", &xml_decoded(url)));
        if let Some(known) = known {
            // A message may leave out what another has stated (WS-Discovery 1.1 section 4.1).
            if endpoint.types.is_empty() && endpoint.scopes.is_empty() && announced.name != known.name {
                announced.name = known.name.clone();
                announced.service = known.service.clone();
                announced.fields.clone_from(&known.fields);
            } else if endpoint.urls.is_empty() {
                let urls = known.fields.iter().filter(|field| field.name.as_bytes() == b"url");
                announced.fields.extend(urls.cloned());
            }
            keep_other_family(&mut announced, known);
        }
        if announced.url.is_empty() && registry.is_asking {
            self.resolve(now, datagram.source, &announced, known);
        }
        registry.announce(now, announced);
    }
}

impl Observer for WsDiscoveryObserver {
    fn handle_datagram(&mut self, now: Time, datagram: &DiscoveryDatagram<'_>, registry: &mut Registry) {
        let Some(message) = read(datagram, WsDiscovery::PORT, registry, WsDiscovery::parse) else { return };
        let endpoints = message.endpoints().filter(|endpoint| !endpoint.address.is_empty());
        match message.kind {
            WsDiscoveryKind::Probe | WsDiscoveryKind::Resolve => {}
            WsDiscoveryKind::Bye => {
                for endpoint in endpoints {
                    let id = UntrustedText::new(endpoint.address);
                    let key =
                        DiscoveryKey { protocol: DiscoveryProtocol::WsDiscovery, place: datagram.place, id };
                    registry.goodbye(&key, DiscoverySource::Ip(datagram.source));
                }
            }
            WsDiscoveryKind::Hello | WsDiscoveryKind::ProbeMatches | WsDiscoveryKind::ResolveMatches => {
                endpoints.for_each(|endpoint| self.announce(now, datagram, &endpoint, registry));
            }
        }
    }

    fn poll_transmit(&mut self, _now: Time, _registry: &Registry) -> Option<DiscoveryQuestion> {
        self.questions.pop_front()
    }
}

pub(super) const fn asking() -> Asking {
    Asking::new(DiscoveryProtocol::WsDiscovery, &GROUPS, PROBES.len(), |now, _, variant, number| {
        let [namespace, addressing, types] = PROBES.get(variant).copied().unwrap_or_default();
        let to = match namespace {
            DRAFT => TO_DRAFT,
            _ => "urn:docs-oasis-open-org:ws-dd:ns:discovery:2009:01",
        };
        let rest = format!("</s:Header><s:Body><d:Probe>{types}</d:Probe></s:Body>");
        let action = format!("{namespace}/Probe");
        envelope([namespace, addressing], &action, (now, number), to, &rest).into_bytes()
    })
}

/// Returns a message, of which the last part follows the addressee.
fn envelope(
    [namespace, addressing]: [&str; 2],
    action: &str,
    (now, number): (Time, usize),
    to: &str,
    rest: &str,
) -> String {
    // The identifier must be unique, and need not be secret: answers to the questions of others are read, too.
    let (nanos, number) = (now.as_nanos(), number & 0xfff);
    let (high, low) = (nanos >> 32, nanos & 0xffff_ffff);
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><s:Envelope \
         xmlns:s=\"http://www.w3.org/2003/05/soap-envelope\" xmlns:a=\"{addressing}\" \
         xmlns:d=\"{namespace}\"><s:Header><a:Action>{action}</a:Action>\
         <a:MessageID>urn:uuid:{high:08x}-0000-4{number:03x}-8000-0000{low:08x}</a:MessageID>\
         <a:To>{to}</a:To>{rest}</s:Envelope>"
    )
}

/// Returns the request for the metadata of a device, in which computers have their names (Devices Profile for Web Services 1.1 section 5).
pub(super) fn metadata_request(entry: &Discovered) -> Option<String> {
    const ACTION: &str = "http://schemas.xmlsoap.org/ws/2004/09/transfer/Get";
    let id = plain_id(entry)?;
    let rest = format!(
        "<a:ReplyTo><a:Address>{DRAFT_ADDRESSING}/role/anonymous</a:Address></a:ReplyTo></s:Header><s:Body/>"
    );
    Some(envelope([DRAFT, DRAFT_ADDRESSING], ACTION, (entry.last_seen, 0), id, &rest))
}

/// Returns the identifier of a device, unless it could hold elements of XML: anybody can announce anything.
fn plain_id(entry: &Discovered) -> Option<&str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b":-._/".contains(&byte);
    str::from_utf8(entry.key.id.as_bytes()).ok().filter(|id| id.bytes().all(is_plain))
}

fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// Returns the name without its prefix.
fn local_name(name: &[u8]) -> &[u8] {
    name.rsplit(|byte| *byte == b':').next().unwrap_or(name)
}

/// Returns the value of a scope such as `onvif://www.onvif.org/name/Gate` (ONVIF Core Specification section 7.3.2.2).
fn onvif_scope<'a>(scope: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let rest = scope.strip_prefix(b"onvif://www.onvif.org/")?;
    let value = rest.get(..name.len()).filter(|it| it.eq_ignore_ascii_case(name.as_bytes()));
    let value = value.and_then(|_| rest.get(name.len()..))?.strip_prefix(b"/")?;
    (!value.is_empty()).then_some(value)
}
