//! Situations of public reports about SSDP, rebuilt, each with what is right.

use crate::{Network, lifetime, reach, values};

const GROUP: &str = "239.255.255.250:1900";

/// An answer to a search, as it arrives at the socket that asked.
fn response(headers: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{}\r\n\r\n", headers.trim().replace('\n', "\r\n"))
}

fn notify(kind: &str, headers: &str) -> String {
    let headers = headers.trim().replace('\n', "\r\n");
    format!("NOTIFY * HTTP/1.1\r\nHOST: {GROUP}\r\nNTS: ssdp:{kind}\r\n{headers}\r\n\r\n")
}

impl Network {
    fn answers(&mut self, source: &str, headers: &str) {
        self.receive(source, "0.0.0.0:1900", response(headers));
    }

    fn announces(&mut self, source: &str, kind: &str, headers: &str) {
        self.receive(source, GROUP, notify(kind, headers));
    }
}

/// One answer each: the report, the sender, the headers, and name, service, reach, lifetime and URL of the only entry.
#[test]
fn one_answer_of_a_device_yields_its_name_service_address_and_lifetime() {
    let rows = [
        (
            "a router states the loopback address of IPv6 as its location",
            "192.168.1.1:1900",
            "CACHE-CONTROL: max-age=120\nST: upnp:rootdevice\nUSN: uuid:e4c797e0::upnp:rootdevice\nEXT:\n\
             SERVER: TP-LINK/TP-LINK UPnP/1.1 MiniUPnPd/1.8\nLOCATION: http://[::1]:1900/rootDesc.xml\n\
             BOOTID.UPNP.ORG: 1",
            ("MiniUPnPd/1.8", "", "192.168.1.1 port 1900", 120, "http://[::1]:1900/rootDesc.xml"),
        ),
        (
            "a camera whose identifier is a domain name, with a service and no device type",
            "192.168.1.23:47419",
            "CACHE-CONTROL: max-age=1800\nX-User-Agent: redsonic\nLOCATION: http://192.168.1.23:80/upnp.xml\n\
             SERVER: Linux, UPnP/1.0, Private Upnp SDK\nST: urn:schemas-upnp-org:service:Dummy:1\n\
             USN: uuid:www.vendor.com.device_3_0-3K05::urn:schemas-upnp-org:service:Dummy:1",
            (
                "Dummy",
                "urn:schemas-upnp-org:service:Dummy:1",
                "192.168.1.23 port 80",
                1_800,
                "http://192.168.1.23:80/upnp.xml",
            ),
        ),
        (
            "a television whose headers are in mixed case",
            "192.168.1.30:56428",
            "Location: http://192.168.1.30:1421/\nCache-Control: max-age=1800\nServer: WebOS/1.5 UPnP/1.0\nEXT: \n\
             USN: uuid:ae36fc1e::urn:dial-multiscreen-org:service:dial:1\n\
             ST: urn:dial-multiscreen-org:service:dial:1",
            (
                "dial",
                "urn:dial-multiscreen-org:service:dial:1",
                "192.168.1.30 port 1421",
                1_800,
                "http://192.168.1.30:1421/",
            ),
        ),
        (
            "a type that is not a URN, and a location of HTTPS",
            "192.168.1.33:1900",
            "Server: Buildroot/2019.11.1 UPnP/1.0 ssdpd/1.7\nLocation: https://192.168.1.33:443\n\
             ST: SL-10-HTTPS\nUSN: uuid:3dd4aa94::SL-10-HTTPS\nCache-Control: max-age=1800",
            ("SL-10-HTTPS", "SL-10-HTTPS", "192.168.1.33 port 443", 1_800, "https://192.168.1.33:443"),
        ),
        (
            "a bridge of lamps with a short lifetime, and no path in its location",
            "192.168.1.67:1900",
            "ST: urn:schemas-upnp-org:device:Basic:1\nUSN: uuid:07a50742::urn:schemas-upnp-org:device:Basic:1\n\
             LOCATION: http://192.168.1.67:64764\nCACHE-CONTROL: max-age=100\n\
             SERVER: FreeRTOS/7.4.2 UPnP/1.0 IpBridge/1.8.0",
            (
                "Basic",
                "urn:schemas-upnp-org:device:Basic:1",
                "192.168.1.67 port 64764",
                100,
                "http://192.168.1.67:64764",
            ),
        ),
        (
            "a player whose identifier has colons",
            "192.168.1.134:1900",
            "Cache-Control: max-age=3600\nST: roku:ecp\nLocation: http://192.168.1.134:8060/\n\
             USN: uuid:roku:ecp:P0A070000007",
            ("roku:ecp", "roku:ecp", "192.168.1.134 port 8060", 3_600, "http://192.168.1.134:8060/"),
        ),
        (
            "a device without a unique name is identified by its location",
            "10.0.0.9:1900",
            "CACHE-CONTROL: max-age=900\nST: upnp:rootdevice\nLOCATION: http://10.0.0.9/d.xml",
            ("http://10.0.0.9/d.xml", "", "10.0.0.9 port 80", 900, "http://10.0.0.9/d.xml"),
        ),
        (
            "white space around the equals sign, as the examples of UPnP have it",
            "10.0.0.9:1900",
            "CACHE-CONTROL:no-cache=\"Ext\", max-age = 600 \nST:upnp:rootdevice\nUSN:uuid:a::upnp:rootdevice",
            ("a", "", "10.0.0.9 port -", 600, ""),
        ),
        (
            "no lifetime at all",
            "10.0.0.9:1900",
            "ST: upnp:rootdevice\nUSN: uuid:a::upnp:rootdevice\nLOCATION: http://10.0.0.9:80/",
            ("a", "", "10.0.0.9 port 80", 1_800, "http://10.0.0.9:80/"),
        ),
        (
            "a lifetime of 136 years",
            "10.0.0.9:1900",
            "CACHE-CONTROL: max-age=4294967295\nUSN: uuid:a::upnp:rootdevice\nST: upnp:rootdevice",
            ("a", "", "10.0.0.9 port -", 86_400, ""),
        ),
        (
            "a location without a scheme",
            "172.16.1.47:1900",
            "USN: uuid:a::urn:schemas-upnp-org:device:MyDevice:1\nST: urn:schemas-upnp-org:device:MyDevice:1\n\
             CACHE-CONTROL: max-age=1800\nLOCATION: 172.16.1.47:8080/ssdp/device-desc.xml",
            (
                "MyDevice",
                "urn:schemas-upnp-org:device:MyDevice:1",
                "172.16.1.47 port -",
                1_800,
                "172.16.1.47:8080/ssdp/device-desc.xml",
            ),
        ),
        (
            "a location with the address that the host has without DHCP",
            "172.16.1.47:1900",
            "USN: uuid:a::upnp:rootdevice\nST: upnp:rootdevice\nCACHE-CONTROL: max-age=1800\n\
             LOCATION: http://169.254.204.77:8080/d.xml",
            ("a", "", "172.16.1.47 169.254.204.77 port 8080", 1_800, "http://169.254.204.77:8080/d.xml"),
        ),
        (
            "a server in another network, whose announcement a relay has sent",
            "10.1.0.254:1900",
            "USN: uuid:a::upnp:rootdevice\nST: upnp:rootdevice\nCACHE-CONTROL: max-age=1800\n\
             LOCATION: http://10.2.0.3:8200/d.xml",
            ("a", "", "10.2.0.3 port 8200", 1_800, "http://10.2.0.3:8200/d.xml"),
        ),
        (
            "a location with a global address, sent from a link-local one",
            "[fe80::50dd:dbe5]:1900",
            "CACHE-CONTROL: max-age=120\nST: upnp:rootdevice\nUSN: uuid:6b9a::upnp:rootdevice\n\
             SERVER: OpenBSD/6.0 UPnP/2.0 MiniUPnPd/2.0\nLOCATION: http://[2001:984::1]:5556/rootDesc.xml",
            ("MiniUPnPd/2.0", "", "2001:984::1 port 5556", 120, "http://[2001:984::1]:5556/rootDesc.xml"),
        ),
        (
            "an identifier with the prefix in upper case",
            "192.168.1.63:1900",
            "USN: UUID:9313FE1C::upnp:rootdevice\nST: upnp:rootdevice\nCACHE-CONTROL: max-age=1800",
            ("9313FE1C", "", "192.168.1.63 port -", 1_800, ""),
        ),
    ];
    for (report, source, headers, expected) in rows {
        let mut network = Network::new();
        network.answers(source, headers);
        network.pass_seconds(1);
        let entry = network.entry();
        let (name, service, url) = (entry.name.to_string(), entry.service.to_string(), entry.url.to_string());
        // The answer was recorded 250 ms after it arrived.
        let seconds = lifetime(&network, &entry).unwrap() + 1;
        let known = (name.as_str(), service.as_str(), reach(&entry), seconds, url.as_str());
        let (name, service, expected_reach, seconds, url) = expected;
        assert_eq!(known, (name, service, expected_reach.to_owned(), seconds, url), "{report}");
    }
}

const ROOT: &str =
    "CACHE-CONTROL: max-age=1800\nSERVER: Linux UPnP/1.0 Test/1\nLOCATION: http://10.0.0.7:80/d.xml\n";
const PLAYER: &str = "urn:schemas-upnp-org:device:MediaRenderer:1";

fn lines(id: &str) -> Vec<String> {
    let transport = "urn:schemas-upnp-org:service:AVTransport:1";
    let named = ["upnp:rootdevice", PLAYER, transport];
    let mut all: Vec<String> =
        named.iter().map(|kind| format!("{ROOT}NT: {kind}\nUSN: uuid:{id}::{kind}")).collect();
    all.push(format!("{ROOT}NT: uuid:{id}\nUSN: uuid:{id}"));
    all
}

#[test]
fn the_messages_of_a_device_are_one_entry_which_appears_once() {
    let mut network = Network::new();
    // Each set is sent twice, because datagrams get lost.
    for line in lines("a").iter().chain(&lines("a")) {
        network.announces("10.0.0.7:40000", "alive", line);
    }
    network.pass_seconds(1);
    let entry = network.entry();
    assert_eq!(network.events(), ["+MediaRenderer"]);
    assert_eq!(entry.service.to_string(), PLAYER);
    assert_eq!(values(&entry, "device"), [PLAYER]);
    assert_eq!(values(&entry, "service"), ["urn:schemas-upnp-org:service:AVTransport:1"]);
    assert_eq!(values(&entry, "type"), ["upnp:rootdevice"]);
    // A search for one type is answered with one line. That changes nothing.
    network.answers("10.0.0.7:1900", &format!("{ROOT}ST: {PLAYER}\nUSN: uuid:a::{PLAYER}"));
    network.pass_seconds(1);
    assert_eq!(network.events(), [""; 0]);
}

#[test]
fn one_host_announces_several_root_devices_which_are_several_entries() {
    let mut network = Network::new();
    for (id, path) in [("d0545652", 0), ("Media-Server1_0-RID", 2), ("29bbe0e1", 4)] {
        network.answers(
            "192.168.1.25:1900",
            &format!(
                "Cache-Control: max-age=1800\nLocation: http://192.168.1.25:49152/{path}/d.xml\n\
                 ST: upnp:rootdevice\nUSN: uuid:{id}::upnp:rootdevice"
            ),
        );
    }
    network.pass_seconds(1);
    assert_eq!(network.names(), ["29bbe0e1", "Media-Server1_0-RID", "d0545652"]);
}

#[test]
fn a_goodbye_needs_neither_location_nor_lifetime_and_a_device_may_return_at_once() {
    let mut network = Network::new();
    network.announces("10.0.0.7:1900", "alive", &lines("a")[0]);
    network.pass_seconds(1);
    network.announces("10.0.0.7:1901", "byebye", "NT: upnp:rootdevice\nUSN: uuid:a::upnp:rootdevice");
    network.announces("10.0.0.7:1901", "alive", &lines("a")[1]);
    network.pass_seconds(1);
    assert_eq!(network.events(), ["+Test/1", "-Test/1 Goodbye", "+MediaRenderer"]);
}

#[test]
fn an_answer_that_was_delayed_until_after_the_goodbye_brings_no_device_back() {
    let mut network = Network::new();
    let answer = "ST: x\nUSN: uuid:a::x\nCACHE-CONTROL: max-age=60";
    network.answers("10.0.0.7:1900", answer);
    network.pass_seconds(1);
    network.announces("10.0.0.7:1900", "byebye", "NT: x\nUSN: uuid:a::x");
    network.answers("10.0.0.7:1900", answer);
    network.pass_seconds(1);
    assert_eq!(network.events(), ["+x", "-x Goodbye"]);
    // An announcement does, and later an answer.
    network.announces("10.0.0.7:1900", "alive", "NT: x\nUSN: uuid:a::x");
    network.pass_seconds(1);
    network.announces("10.0.0.7:1900", "byebye", "NT: x\nUSN: uuid:a::x");
    network.pass_seconds(5);
    network.answers("10.0.0.7:1900", answer);
    network.pass_seconds(1);
    assert_eq!(network.events(), ["+x", "-x Goodbye", "+x"]);
}

#[test]
fn a_goodbye_of_a_service_leaves_the_device_and_one_before_it_was_listed_cancels_it() {
    let mut network = Network::new();
    for line in lines("a") {
        network.announces("10.0.0.7:1900", "alive", &line);
    }
    network.pass_seconds(1);
    let service = "urn:schemas-upnp-org:service:AVTransport:1";
    network.announces("10.0.0.7:1900", "byebye", &format!("NT: {service}\nUSN: uuid:a::{service}"));
    network.announces("10.0.0.8:1900", "alive", &lines("b")[1]);
    network.announces("10.0.0.8:1900", "byebye", &format!("NT: {PLAYER}\nUSN: uuid:b::{PLAYER}"));
    network.pass_seconds(1);
    assert_eq!(network.events(), ["+MediaRenderer"]);
}

#[test]
fn a_device_that_is_switched_off_lapses_after_its_lifetime_and_a_late_goodbye_is_nothing() {
    let mut network = Network::new();
    network.announces("10.0.0.7:1900", "alive", "NT: x\nUSN: uuid:a::x\nCACHE-CONTROL: max-age=60");
    network.pass_seconds(1);
    network.pass_seconds(58);
    assert_eq!(network.names(), ["x"]);
    network.pass_seconds(2);
    network.announces("10.0.0.7:1900", "byebye", "NT: x\nUSN: uuid:a::x");
    assert_eq!(network.events(), ["+x", "-x Expired"]);
    assert_eq!(network.table.counts().malformed, 0);
}

#[test]
fn a_device_of_both_families_is_one_entry_that_does_not_alternate() {
    let mut network = Network::new();
    for _ in 0..4 {
        for (source, location) in [("10.0.0.7", "10.0.0.7"), ("[fe80::7]", "[fe80::7]")] {
            let headers = format!(
                "CACHE-CONTROL: max-age=1800\nNT: {PLAYER}\nUSN: uuid:a::{PLAYER}\nLOCATION: http://{location}:80/"
            );
            network.announces(&format!("{source}:1900"), "alive", &headers);
            network.pass_seconds(1);
        }
    }
    let entry = network.entry();
    assert_eq!(
        (reach(&entry), entry.url.to_string()),
        ("10.0.0.7 fe80::7 port 80".into(), "http://10.0.0.7:80/".into())
    );
    assert_eq!(network.events(), ["+MediaRenderer", "~MediaRenderer"]);
}

#[test]
fn a_device_on_two_networks_is_an_entry_on_each_and_does_not_alternate() {
    let mut network = Network::new();
    for _ in 0..3 {
        for (interface, address) in [(2, "192.168.2.119"), (3, "192.168.56.1")] {
            network.interface = interface;
            let headers = format!("NT: {PLAYER}\nUSN: uuid:a::{PLAYER}\nLOCATION: http://{address}:80/");
            network.announces(&format!("{address}:1900"), "alive", &headers);
            network.pass_seconds(1);
        }
    }
    assert_eq!(network.events(), ["+MediaRenderer", "+MediaRenderer"]);
    let reached: Vec<String> = network.entries().iter().map(reach).collect();
    assert_eq!(reached, ["192.168.2.119 port 80", "192.168.56.1 port 80"]);
}

/// As servers whose identifier is part of the program, and copies of a card: programs show one of them, now this, now that.
#[test]
fn two_hosts_with_one_identifier_are_an_entry_with_a_remark_that_does_not_alternate() {
    let mut network = Network::new();
    let announce = |network: &mut Network, host: &str| {
        let headers = format!(
            "BOOTID.UPNP.ORG: {}\nNT: {PLAYER}\nUSN: uuid:a::{PLAYER}\nLOCATION: http://{host}:80/",
            host.len()
        );
        network.announces(&format!("{host}:1900"), "alive", &headers);
        network.pass_seconds(1);
    };
    for host in ["10.0.0.7", "10.0.0.11"].iter().cycle().take(8) {
        announce(&mut network, host);
    }
    let entry = network.entry();
    assert_eq!(reach(&entry), "10.0.0.7 port 80");
    assert!(values(&entry, "remark")[0].starts_with("10.0.0.11 announces the same UUID"), "{entry:?}");
    assert_eq!(network.events(), ["+MediaRenderer", "~MediaRenderer", "~MediaRenderer"]);
    // When the first one is gone, the other one is listed.
    network.announces("10.0.0.7:1900", "byebye", &format!("NT: {PLAYER}\nUSN: uuid:a::{PLAYER}"));
    announce(&mut network, "10.0.0.11");
    assert_eq!(reach(&network.entry()), "10.0.0.11 port 80");
}

#[test]
fn a_device_with_a_new_address_has_no_remark() {
    let mut network = Network::new();
    for host in ["10.0.0.7", "10.0.0.7", "10.0.0.11", "10.0.0.11"] {
        let headers = format!("NT: {PLAYER}\nUSN: uuid:a::{PLAYER}\nLOCATION: http://{host}:80/");
        network.announces(&format!("{host}:1900"), "alive", &headers);
        network.pass_seconds(1);
    }
    let entry = network.entry();
    assert_eq!((reach(&entry), values(&entry, "remark").len()), ("10.0.0.11 port 80".into(), 0));
}

#[test]
fn a_device_that_restarted_states_its_types_and_address_from_the_beginning() {
    let mut network = Network::new();
    let line = |boot: u32, address: &str, kind: &str| {
        format!("BOOTID.UPNP.ORG: {boot}\nLOCATION: http://{address}/\nNT: {kind}\nUSN: uuid:a::{kind}")
    };
    network.announces("10.0.0.7:1900", "alive", &line(1, "10.0.0.7", PLAYER));
    network.announces("10.0.0.7:1900", "alive", &line(1, "10.0.0.7", "urn:x-org:service:Old:1"));
    network.pass_seconds(1);
    network.announces("10.0.0.99:1900", "alive", &line(2, "10.0.0.99", PLAYER));
    network.pass_seconds(1);
    let entry = network.entry();
    assert_eq!(network.events(), ["+MediaRenderer", "~MediaRenderer"]);
    assert_eq!((reach(&entry), values(&entry, "service").len()), ("10.0.0.99 port 80".into(), 0));
    assert_eq!(values(&entry, "boot"), ["2"]);
}

#[test]
fn an_update_states_no_lifetime_and_extends_none() {
    let mut network = Network::new();
    network.announces("10.0.0.7:1900", "alive", "NT: x\nUSN: uuid:a::x\nCACHE-CONTROL: max-age=60");
    network.pass_seconds(31);
    network.announces(
        "10.0.0.7:1900",
        "update",
        "NT: x\nUSN: uuid:a::x\nBOOTID.UPNP.ORG: 1\nNEXTBOOTID.UPNP.ORG: 2",
    );
    network.pass_seconds(1);
    assert!(lifetime(&network, &network.entry()).unwrap() <= 30);
}

#[test]
fn a_message_without_a_location_leaves_the_address_that_is_known() {
    let mut network = Network::new();
    network.announces("10.1.0.254:1900", "alive", "NT: x\nUSN: uuid:a::x\nLOCATION: http://10.2.0.3:8200/");
    network.pass_seconds(1);
    network.announces("10.1.0.254:1900", "update", "NT: x\nUSN: uuid:a::x");
    network.pass_seconds(1);
    assert_eq!(reach(&network.entry()), "10.2.0.3 port 8200");
    // The relay has sent its goodbye, too.
    network.announces("10.1.0.254:1900", "byebye", "NT: x\nUSN: uuid:a::x");
    assert_eq!(network.names(), [""; 0]);
}

#[test]
fn messages_with_faults_of_form_are_read_and_searches_are_no_devices() {
    let mut network = Network::new();
    // Without the empty line at the end; with line feeds only; with another version and case; with text that is not UTF-8.
    let messages: [&[u8]; 4] = [
        b"NOTIFY * HTTP/1.1\r\nNTS: ssdp:alive\r\nNT: a\r\nUSN: uuid:a::a",
        b"NOTIFY * HTTP/1.1 \nNTS:ssdp:alive\nNT:b\nUSN:\tuuid:b::b  \n\n",
        b"notify * http/1.0\r\nnts: ssdp:alive\r\nnt: c\r\nusn: uuid:c::c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nST: d\r\nUSN: uuid:d::d\r\nSERVER: \xce\xf7\x1b[2J\r\n\r\n",
    ];
    for message in messages {
        network.receive("10.0.0.7:1900", GROUP, message);
    }
    network.receive(
        "10.0.0.8:50000",
        GROUP,
        "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\n\
         ST: urn:dial-multiscreen-org:service:dial:1\r\nUSER-AGENT: Browser/106\r\n\r\n",
    );
    network.pass_seconds(1);
    assert_eq!(network.names(), ["a", "b", "c", "d"]);
    assert_eq!(network.table.counts().malformed, 0);
    let server = values(&network.entries()[3], "server").concat();
    assert!(server.chars().all(|character| !character.is_control()), "{server:?}");
}
