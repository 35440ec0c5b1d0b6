//! CoAP with libcoap and aiocoap, and KNX with knxd and xknx: servers that only answer.

use std::collections::BTreeSet;
use std::time::Duration;

use mcast_sim::Dice;
use mcast_watch::discovery::{Discovered, DiscoveryProtocol};

use crate::drawn::{Facts, Peers, both_list_the_same};
use crate::networks::for_networks;
use crate::{Running, Segment, field, found, has_modules, has_programs, output, wait_until};

#[test]
fn servers_of_libcoap_have_the_resources_that_its_client_shows() {
    if !has_programs(&["coap-server-notls", "coap-client-notls"]) {
        return;
    }
    let segment = Segment::new(3, 0.0, 0);
    let start = |number: usize| {
        Running::start(&segment.hosts[number], "coap-server-notls", &["-g", "224.0.1.187", "-G", "eth0"])
    };
    let running: Vec<Running> = (0..3).map(start).collect();
    let discovery = segment.discover(true, false);
    let server = |entry: &Discovered| entry.addresses.iter().map(ToString::to_string).collect();
    let expected: BTreeSet<String> = (1..=3).map(|number| format!("10.0.0.{number}")).collect();
    let took = wait_until("all servers", &discovery, &expected, || {
        found(&discovery, DiscoveryProtocol::Coap, server)
    });
    eprintln!("all servers after {took:?}");
    let entries = discovery.entries();
    for entry in entries.iter().filter(|entry| entry.key.protocol == DiscoveryProtocol::Coap) {
        let url = format!("coap://{}/.well-known/core", entry.addresses[0]);
        let list = output(&segment.watcher, "coap-client-notls", &["-B", "3", &url]);
        let shown: BTreeSet<&str> = list
            .split(",<")
            .filter_map(|link| Some(link.trim_start_matches('<').split_once('>')?.0))
            .collect();
        let known: BTreeSet<String> = entry.fields.iter().map(|field| field.name.to_string()).collect();
        assert!(!shown.is_empty(), "{list:?}");
        assert_eq!(known.iter().map(String::as_str).collect::<BTreeSet<_>>(), shown, "{list:?}");
    }
    drop(running);
}

/// Serves resources, each `PATH|TYPE`.
const SERVER: &str = r#"
import asyncio, sys
import aiocoap
from aiocoap import resource
class Thing(resource.Resource):
    def __init__(self, kind):
        super().__init__()
        self.rt = kind
    async def render_get(self, request):
        return aiocoap.Message(payload=b"1")
async def main():
    site = resource.Site()
    site.add_resource([".well-known", "core"], resource.WKCResource(site.get_resources_as_linkheader))
    for thing in sys.argv[1:]:
        path, kind = thing.split("|")
        site.add_resource(path.split("/"), Thing(kind))
    await aiocoap.Context.create_server_context(site, multicast=["eth0"])
    print("ready", flush=True)
    await asyncio.get_running_loop().create_future()
asyncio.run(main())
"#;

/// Returns whether a resource is one that was drawn: aiocoap adds the list itself and a page about its version.
fn is_own(line: &str) -> bool {
    line.contains(" /h")
}

/// Servers of CoAP, which are asked by libcoap.
struct Coap;

impl Peers for Coap {
    /// The path and the type of each resource.
    type Peer = Vec<(String, &'static str)>;
    const PROTOCOLS: &'static [DiscoveryProtocol] = &[DiscoveryProtocol::Coap];
    const ANNOUNCED: Option<Duration> = None;
    /// An answer holds for 150 s at least.
    const LAPSES: Option<Duration> = None;
    const ANSWERS: bool = true;

    fn new(_segment: &Segment, _dice: &mut Dice) -> Self {
        Self
    }

    fn draw(&self, dice: &mut Dice, number: usize) -> Self::Peer {
        let count = 1 + dice.below(4);
        let paths =
            (0..count).map(|index| format!("h{number}/{}/{index}", dice.pick(&["light", "temp", "a,b"])));
        let paths: Vec<_> = paths.collect();
        paths.into_iter().map(|path| (path, dice.pick(&["core.s", "oic.r.light", "lwm2m"]))).collect()
    }

    fn start(&self, segment: &Segment, number: usize, peer: &Self::Peer) -> Running {
        let resources: Vec<_> = peer.iter().map(|(path, kind)| format!("{path}|{kind}")).collect();
        let mut arguments = vec!["-c", SERVER];
        arguments.extend(resources.iter().map(String::as_str));
        Running::ready(&segment.hosts[number], "python3", &arguments)
    }

    fn expected(&self, _segment: &Segment, peers: &[(usize, &Self::Peer)]) -> Facts {
        let own = peers.iter().flat_map(|(number, peer)| {
            peer.iter().map(move |(path, kind)| format!("10.0.0.{} /{path} {kind}", number + 1))
        });
        own.collect()
    }

    fn specialist(&mut self, segment: &Segment) -> Facts {
        // It waits for hosts without a server.
        let list = |number| {
            let url = format!("coap://10.0.0.{number}/.well-known/core");
            (number, output(&segment.watcher, "coap-client-notls", &["-B", "2", &url]))
        };
        let lists: Vec<(usize, String)> = std::thread::scope(|scope| {
            let asked: Vec<_> =
                (1..=segment.hosts.len()).map(|number| scope.spawn(move || list(number))).collect();
            asked.into_iter().map(|asked| asked.join().unwrap()).collect()
        });
        let mut facts = Facts::new();
        for (number, list) in lists {
            for link in list.split('<').skip(1) {
                let (target, attributes) = link.split_once('>').unwrap();
                let kind =
                    attributes.split(';').find_map(|part| part.strip_prefix("rt=")).unwrap_or_default();
                facts.insert(format!("10.0.0.{number} {target} {}", kind.trim_matches([',', '"', '\n'])));
            }
        }
        facts.into_iter().filter(|line| is_own(line)).collect()
    }

    fn facts(&self, entry: &Discovered) -> Vec<String> {
        // It answers by IPv6, too.
        let address = entry.addresses.iter().find(|address| address.is_ipv4());
        let links = entry.fields.iter().filter(|_| address.is_some()).map(|field| {
            let (target, attributes) = (field.name.to_string(), field.value.to_string());
            let kind = attributes.split(';').find_map(|part| part.strip_prefix("rt=")).unwrap_or_default();
            format!("{} {target} {}", address.unwrap(), kind.trim_matches('"'))
        });
        links.filter(|line| is_own(line)).collect()
    }
}

#[test]
fn resources_are_those_that_libcoap_gets_in_networks_drawn_by_seed() {
    if has_modules("python3", &["aiocoap"]) && has_programs(&["coap-client-notls"]) {
        for_networks(2, both_list_the_same::<Coap>);
    }
}

/// Prints what answers a search: the name, the address, the port and the individual address.
const SCANNER: &str = r#"
import asyncio
from xknx import XKNX
from xknx.io.gateway_scanner import GatewayScanner
async def main():
    for it in await GatewayScanner(XKNX(), timeout_in_seconds=1.5).scan():
        print(f"{it.name} at {it.ip_addr}:{it.port}, {it.individual_address}")
asyncio.run(main())
"#;

/// Servers of knxd, which xknx lists.
struct Knx;

impl Peers for Knx {
    /// The name and the individual address.
    type Peer = (String, String);
    const PROTOCOLS: &'static [DiscoveryProtocol] = &[DiscoveryProtocol::Knx];
    const ANNOUNCED: Option<Duration> = None;
    const LAPSES: Option<Duration> = None;
    const ANSWERS: bool = true;

    fn new(_segment: &Segment, _dice: &mut Dice) -> Self {
        Self
    }

    fn draw(&self, dice: &mut Dice, _number: usize) -> (String, String) {
        let name = format!("{} {}", dice.pick(&["House", "2.OG", "a & b"]), dice.below(1_000));
        (name, format!("{}.{}.{}", 1 + dice.below(15), dice.below(16), 1 + dice.below(255)))
    }

    fn start(&self, segment: &Segment, number: usize, (name, own): &(String, String)) -> Running {
        let arguments = ["-n", name, "-e", own, "-E", "1.2.1:4", "-D", "-T", "-R", "-S", "-b", "dummy:"];
        Running::start(&segment.hosts[number], "knxd", &arguments)
    }

    fn expected(&self, _segment: &Segment, peers: &[(usize, &(String, String))]) -> Facts {
        let line = |(number, (name, own)): &(usize, &(String, String))| {
            format!("{name} at 10.0.0.{}:3671, {own}", number + 1)
        };
        peers.iter().map(line).collect()
    }

    fn specialist(&mut self, segment: &Segment) -> Facts {
        output(&segment.watcher, "python3", &["-c", SCANNER]).lines().map(str::to_owned).collect()
    }

    fn facts(&self, entry: &Discovered) -> Vec<String> {
        let (address, port) = (entry.addresses[0], entry.port.unwrap_or_default());
        vec![format!("{} at {address}:{port}, {}", entry.name, field(entry, "individual address"))]
    }
}

#[test]
fn servers_of_knxd_are_those_that_xknx_finds_in_networks_drawn_by_seed() {
    if has_programs(&["knxd"]) && has_modules("python3", &["xknx"]) {
        for_networks(2, both_list_the_same::<Knx>);
    }
}
