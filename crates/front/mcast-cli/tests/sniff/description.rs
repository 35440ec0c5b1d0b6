//! Session descriptions in place of memberships.

use tempfile::tempdir;

use crate::sniff;
use crate::support::{Lan, mcast, recv, send};

const TWO_FEEDS: &str = "v=0
o=- 1 1 IN IP4 10.0.0.1
s=Two feeds
t=0 0
a=group:DUP a b
m=video 5004 RTP/AVP 33
c=IN IP4 239.255.1.1/8
a=source-filter: incl IN IP4 239.255.1.1 10.0.0.1
a=mid:a
m=video 5004 RTP/AVP 33
c=IN IP4 239.255.1.2/8
a=mid:b
m=audio 9 TCP/x x
";

#[test]
fn recv_and_sniff_take_its_streams_and_sources() {
    let lan = Lan::new();
    let folder = tempdir().unwrap();
    let path = folder.path().join("feeds.SDP").to_str().unwrap().to_owned();
    std::fs::write(&path, TWO_FEEDS).unwrap();
    let receiver = recv(&lan.b, &[&path, "-c", "2", "--json"]);
    let sniffer = sniff(&lan.c, &[&path, "-c", "2", "--json"]);
    send(&lan.c, &["239.255.1.1:5004", "not admitted"]);
    send(&lan.a, &["239.255.1.1:5004", "one"]);
    send(&lan.a, &["239.255.1.2:5004", "two"]);
    for ended in [receiver.end().succeeded(), sniffer.end().succeeded()] {
        let texts: Vec<_> = ended.json().iter().map(|each| each["text"].clone()).collect();
        assert_eq!(texts, ["one", "two"]);
        assert!(ended.stderr.contains("ignoring \"m=audio 9 TCP/x x\""), "{}", ended.stderr);
    }
}

#[test]
fn an_invalid_description_is_refused_with_its_line() {
    let lan = Lan::new();
    let folder = tempdir().unwrap();
    let path = folder.path().join("x.sdp").to_str().unwrap().to_owned();
    std::fs::write(&path, TWO_FEEDS.replace("/8", "/high")).unwrap();
    let ended = mcast(&lan.a, &["recv", &path]);
    assert_eq!(ended.status, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("x.sdp: line 7: \"IN IP4 239.255.1.1/high\" has no TTL"), "{ended:?}");
    std::fs::write(&path, TWO_FEEDS).unwrap();
    assert_eq!(mcast(&lan.a, &["recv", "-6", &path]).status, Some(2));
    assert_eq!(mcast(&lan.a, &["recv", "/nowhere.sdp"]).status, Some(4));
}
