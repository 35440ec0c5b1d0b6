//! Which descriptions of UPnP devices are fetched, and what is read of them.

use mcast_watch::discovery::{DescriptionError, DescriptionRequest, Discovered, DiscoveredField};

use crate::Network;
use crate::messages::{endpoint, envelope};

/// A device with this identifier that 10.0.0.7 announced with this location.
fn device(id: &str, location: &str) -> Discovered {
    announced_by("10.0.0.7:1900", id, location)
}

fn announced_by(source: &str, id: &str, location: &str) -> Discovered {
    let mut network = Network::new();
    let message = format!("HTTP/1.1 200 OK\r\nST: x\r\nUSN: uuid:{id}::x\r\nLOCATION: {location}\r\n\r\n");
    network.receive(source, "0.0.0.0:1900", message);
    network.pass_seconds(1);
    network.entry()
}

#[test]
fn a_description_is_fetched_only_by_http_from_the_address_that_announced_it() {
    use DescriptionError::{NoDescription, UnsuitableUrl};
    let long = format!("http://10.0.0.7/{}", "a".repeat(600));
    let cut = format!("http://10.0.0.7/{}", "a".repeat(2_000));
    let rows = [
        ("http://10.0.0.7:49152/d.xml?a=1", Ok("10.0.0.7:49152 GET /d.xml?a=1 10.0.0.7:49152")),
        ("HTTP://10.0.0.7", Ok("10.0.0.7:80 GET / 10.0.0.7")),
        ("http://10.0.0.7?x", Ok("10.0.0.7:80 GET /?x 10.0.0.7")),
        ("http://10.0.0.7/a#b", Ok("10.0.0.7:80 GET /a 10.0.0.7")),
        ("", Err(NoDescription)),
        ("https://10.0.0.7/", Err(UnsuitableUrl)),
        ("ftp://10.0.0.7/", Err(UnsuitableUrl)),
        ("file:///etc/passwd", Err(UnsuitableUrl)),
        ("10.0.0.7/d.xml", Err(UnsuitableUrl)),
        ("http://device.local/d.xml", Err(UnsuitableUrl)),
        ("http://10.0.0.7@10.0.0.8/", Err(UnsuitableUrl)),
        ("http://user@10.0.0.7/", Err(UnsuitableUrl)),
        ("http://10.0.0.7:99999/", Err(UnsuitableUrl)),
        ("http://10.0.0.7:/", Err(UnsuitableUrl)),
        ("http://10.0.0.7/a b", Err(UnsuitableUrl)),
        ("http://10.0.0.7/\u{e4}", Err(UnsuitableUrl)),
        ("http://0x0a000007/", Err(UnsuitableUrl)),
        ("http://[::ffff:10.0.0.7", Err(UnsuitableUrl)),
        (&long, Err(UnsuitableUrl)),
        (&cut, Err(UnsuitableUrl)),
    ];
    for (location, expected) in rows {
        let known = DescriptionRequest::new(&device("a", location)).map(|request| {
            let text = String::from_utf8(request.payload).unwrap();
            let lines: Vec<&str> = text.split("\r\n").collect();
            assert_eq!((lines.len(), lines[2]), (5, "Connection: close"), "{text:?}");
            let get = lines[0].strip_suffix(" HTTP/1.0").unwrap();
            format!("{} {get} {}", request.address, lines[1].strip_prefix("Host: ").unwrap())
        });
        assert_eq!(known.as_deref(), expected.as_ref().copied(), "{location}");
    }
    for other in
        ["http://10.0.0.8/", "http://127.0.0.1:631/admin", "http://169.254.169.254/", "http://[::1]/"]
    {
        let refused = DescriptionRequest::new(&device("a", other));
        assert!(matches!(refused, Err(DescriptionError::OtherHost { .. })), "{other}: {refused:?}");
    }
}

#[test]
fn a_link_local_url_is_of_the_interface_of_the_announcement() {
    let entry = announced_by("[fe80::7]:1900", "a", "http://[fe80::7%25eth7]:80/d.xml");
    let request = DescriptionRequest::new(&entry).unwrap();
    assert_eq!(request.address.to_string(), "[fe80::7%2]:80");
    assert!(String::from_utf8(request.payload).unwrap().contains("\r\nHost: [fe80::7]:80\r\n"));
}

const DOCUMENT: &str = "<?xml version=\"1.0\"?><root xmlns=\"urn:schemas-upnp-org:device-1-0\"><URLBase>x</URLBase><device>\
    <deviceType>urn:x</deviceType><friendlyName>Bridge &lt;1&gt; &amp; &#252;</friendlyName><manufacturer>M</manufacturer>\
    <modelName>N</modelName><UDN>uuid:a</UDN><iconList><icon><url>u</url></icon></iconList>\
    <deviceList><device><friendlyName>Inner</friendlyName><UDN>uuid:B</UDN></device></deviceList>\
    <presentationURL>/</presentationURL></device></root>";

fn read(id: &str, answer: &str) -> Result<String, DescriptionError> {
    let fields = DescriptionRequest::new(&device(id, "http://10.0.0.7/")).unwrap().read(answer.as_bytes())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let show = |field: &DiscoveredField| format!("{}={}", field.name, text(field.value.as_bytes()));
    Ok(fields.iter().map(show).collect::<Vec<_>>().join(" "))
}

#[test]
fn the_description_of_the_device_is_read_and_not_that_of_another_in_the_same_document() {
    let answer = |document: &str| format!("HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n\r\n{document}");
    let of_a = "friendly name=Bridge <1> & ü manufacturer=M model=N identifier=uuid:a page=/";
    assert_eq!(read("a", &answer(DOCUMENT)).as_deref(), Ok(of_a));
    assert_eq!(read("b", &answer(DOCUMENT)).as_deref(), Ok("friendly name=Inner identifier=uuid:B"));
    assert_eq!(read("unknown", &answer(DOCUMENT)).as_deref(), Ok(of_a));
    let truncated = answer(DOCUMENT.split("<manufacturer>").next().unwrap());
    assert_eq!(read("a", &truncated).as_deref(), Ok("friendly name=Bridge <1> & ü"));
    let bomb = format!("<!DOCTYPE r [<!ENTITY e \"x\">]>{DOCUMENT}");
    for (answer, error) in [
        (answer(&bomb), DescriptionError::Unreadable),
        (answer("<html>no</html>"), DescriptionError::Unreadable),
        (answer(&"<device>".repeat(16_000)), DescriptionError::Unreadable),
        (answer(&"x".repeat(200_000)), DescriptionError::TooLong),
        (
            "HTTP/1.1 302 Found\r\nLocation: http://10.0.0.8/\r\n\r\n".into(),
            DescriptionError::Refused(Some(302)),
        ),
        ("HTTP/1.1 404 Not Found\r\n\r\n".into(), DescriptionError::Refused(Some(404))),
        ("SSH-2.0-x\r\n".into(), DescriptionError::Refused(None)),
        (String::new(), DescriptionError::Refused(None)),
    ] {
        assert_eq!(read("a", &answer), Err(error), "{}", &answer[..answer.len().min(80)]);
    }
}

/// A computer that 10.0.0.5 announced with this identifier by WS-Discovery.
fn computer(id: &str) -> Discovered {
    let mut network = Network::new();
    let content = endpoint("X", "pub:Computer", "", "http://10.0.0.5:5357/id").replace("urn:uuid:X", id);
    let body = format!("<d:Hello>{content}</d:Hello>");
    network.receive("10.0.0.5:3702", "239.255.255.250:3702", envelope(&body));
    network.entry()
}

/// Windows and wsdd list themselves as computers, and have their names in their metadata only.
#[test]
fn a_computer_is_found_by_the_name_in_its_metadata() {
    let mut entry = computer("urn:uuid:id");
    let request = DescriptionRequest::new(&entry).unwrap();
    let text = String::from_utf8(request.payload.clone()).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /id HTTP/1.0\r\nHost: 10.0.0.5:5357\r\n"), "{head}");
    assert!(head.ends_with(&format!("\r\nContent-Length: {}", body.len())), "{head}");
    assert!(body.contains("transfer/Get</a:Action>") && body.contains("<a:To>urn:uuid:id</a:To>"), "{body}");
    let metadata = "<x:Metadata><x:MetadataSection><p:ThisDevice><p:FriendlyName>Host of services</p:FriendlyName>\
        </p:ThisDevice></x:MetadataSection><p:Host><pub:Computer>WINPC/Workgroup:HOME</pub:Computer></p:Host></x:Metadata>";
    let answer = format!("HTTP/1.0 200 OK\r\n\r\n{metadata}");
    assert!(!entry.is_named("winpc"));
    entry.fields.extend(request.read(answer.as_bytes()).unwrap());
    assert!(
        entry.is_named("winpc") && entry.is_named("Host of services") && entry.matches("inpc"),
        "{entry:?}"
    );
    assert!(!entry.is_named("HOME"), "{entry:?}");
    assert_eq!(Discovered::closest([&entry], "WINCP")[0].1, "WINPC");
    // It would be part of the request.
    for id in ["<![CDATA[</a:To><evil/>]]>", "a b", "&lt;"] {
        assert_eq!(DescriptionRequest::new(&computer(id)), Err(DescriptionError::UnsuitableUrl), "{id}");
    }
}

#[test]
fn a_forged_message_by_the_other_family_does_not_redirect_a_description() {
    let mut network = Network::new();
    let message = |location: &str| {
        format!("HTTP/1.1 200 OK\r\nST: x\r\nUSN: uuid:a::x\r\nLOCATION: {location}\r\n\r\n")
    };
    network.receive("10.0.0.7:1900", "0.0.0.0:1900", message("http://10.0.0.7/d.xml"));
    network.pass_seconds(1);
    network.receive("[fe80::66]:1900", "[::]:1900", message("http://10.0.0.99/"));
    network.pass_seconds(1);
    let request = DescriptionRequest::new(&network.entry()).unwrap();
    assert_eq!(request.address.to_string(), "10.0.0.7:80");
}
