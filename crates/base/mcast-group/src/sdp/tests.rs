use super::*;
use alloc::string::ToString;
use alloc::vec;

const HEAD: &str = "v=0\r\no=- 1 1 IN IP4 10.0.0.7\r\ns=News\r\nt=0 0\r\n";

fn memberships(body: &str) -> Vec<String> {
    let description: SessionDescription = (HEAD.to_owned() + body).parse().unwrap();
    description.streams.iter().map(|stream| stream.membership.to_string()).collect()
}

fn error(body: &str) -> String {
    (HEAD.to_owned() + body).parse::<SessionDescription>().unwrap_err().to_string()
}

#[test]
fn media_without_a_connection_use_that_of_the_session() {
    let body = "c=IN IP4 239.1.2.3/32\r\nm=audio 5004 RTP/AVP 96\r\nm=video 5006 RTP/AVP 33\r\n\
                c=IN IP6 ff15::1\r\n";
    assert_eq!(memberships(body), ["239.1.2.3:5004", "[ff15::1]:5006"]);
    let description: SessionDescription = (HEAD.to_owned() + body).parse().unwrap();
    assert_eq!(description.name, "News");
    let [audio, video] = &description.streams[..] else { panic!("{description:?}") };
    assert_eq!((audio.hop_limit, audio.media.as_str(), audio.rtp, audio.line), (Some(32), "audio", true, 6));
    assert_eq!((video.hop_limit, video.line), (None, 7));
}

#[test]
fn each_group_and_port_is_a_membership() {
    assert_eq!(
        memberships("c=IN IP4 239.1.2.254/127/3\nm=video 5000 udp 33\n"),
        ["239.1.2.254:5000", "239.1.2.255:5000", "239.1.3.0:5000"]
    );
    assert_eq!(
        memberships("c=IN IP6 ff15::a/2\nm=video 5000 UDP 33\n"),
        ["[ff15::a]:5000", "[ff15::b]:5000"]
    );
    // RTP uses every second port.
    assert_eq!(
        memberships("c=IN IP4 239.1.2.3/1\nm=video 49170/2 RTP/AVP 31\n"),
        ["239.1.2.3:49170", "239.1.2.3:49172"]
    );
    assert_eq!(
        memberships("c=IN IP4 239.1.2.3/1/2\nm=video 49170/2 RTP/AVP 31\n"),
        ["239.1.2.3:49170", "239.1.2.4:49172"]
    );
    assert!(error("c=IN IP4 239.1.2.3/1/3\nm=video 49170/2 RTP/AVP 31\n").starts_with("line 6: "));
}

#[test]
fn source_filter_applies_to_its_destination_and_media_level_overrides_session_level() {
    let body = "a=source-filter: incl IN IP4 * 10.0.0.7 10.0.0.8\n\
                m=video 5000 RTP/AVP 33\nc=IN IP4 232.1.2.3/5\n\
                m=video 5000 RTP/AVP 33\nc=IN IP4 232.1.2.4/5\na=source-filter:incl IN IP4 232.1.2.4 10.0.0.9\n\
                m=video 5000 RTP/AVP 33\nc=IN IP4 239.1.2.5/5\na=source-filter:excl IN IP4 239.1.2.5/5 10.0.0.9\n\
                m=video 5000 RTP/AVP 33\nc=IN IP6 ff15::1\n";
    assert_eq!(
        memberships(body),
        [
            "10.0.0.7,10.0.0.8@232.1.2.3:5000",
            "10.0.0.9@232.1.2.4:5000",
            "!10.0.0.9@239.1.2.5:5000",
            "[ff15::1]:5000"
        ]
    );
    // Sources of the other family and filters for another group are ignored.
    let both = "m=video 5000 RTP/AVP 33\nc=IN IP6 ff3e::1\na=source-filter:incl IN * * 10.0.0.7 fd00::7\n\
                a=source-filter:incl IN IP6 ff3e::2 fd00::8\n";
    assert_eq!(memberships(both), ["fd00::7@[ff3e::1]:5000"]);
}

#[test]
fn duplicate_streams_share_a_set() {
    let body = "a=group:LS a1 v\na=group:DUP a1 a2\na=group:DUP b1 b2\n\
                m=audio 5000 RTP/AVP 96\nc=IN IP4 239.1.1.1/5\na=mid:a1\n\
                m=audio 5000 RTP/AVP 96\nc=IN IP4 239.2.1.1/5\na=mid:a2\n\
                m=audio 5000 RTP/AVP 96\nc=IN IP4 239.1.1.2/5\na=mid:b1\n\
                m=audio 5000 RTP/AVP 96\nc=IN IP4 239.9.1.2/5\n";
    let description: SessionDescription = (HEAD.to_owned() + body).parse().unwrap();
    let sets: Vec<_> = description.streams.iter().map(|stream| stream.duplicates).collect();
    assert_eq!(sets, [Some(0), Some(0), Some(1), None]);
    assert_eq!(description.streams[1].id.as_deref(), Some("a2"));
}

#[test]
fn media_not_sent_to_a_group_are_skipped_and_listed() {
    let body = "c=IN IP4 239.1.1.1/5\nm=audio 5000 RTP/AVP 0\nm=video 0 RTP/AVP 33\nm=text 99 TCP/X x\n\
                m=video 7000 RTP/AVP 33\nc=IN IP4 10.0.0.1\n";
    let description: SessionDescription = (HEAD.to_owned() + body).parse().unwrap();
    assert_eq!(description.streams.len(), 1);
    assert_eq!(
        description.skipped_media,
        vec!["m=video 0 RTP/AVP 33", "m=text 99 TCP/X x", "m=video 7000 RTP/AVP 33"]
    );
    assert_eq!(
        error("m=video 7000 RTP/AVP 33\nc=IN IP4 10.0.0.1\n"),
        "line 7: \"News\" describes no stream that is sent to a group: write c=IN IP4 GROUP/TTL and m=MEDIA PORT PROTOCOL FORMAT"
    );
}

#[test]
fn errors_name_the_line() {
    for (body, expected) in [
        ("c=IN IP4 239.1.2.3/x\n", "line 5: \"IN IP4 239.1.2.3/x\" has no TTL"),
        ("c=IN IP4 239.1.2.3/300\n", "line 5: \"IN IP4 239.1.2.3/300\" has no TTL"),
        ("c=IN IP4 news.example/1\n", "contains a host name, which is not resolved"),
        ("c=IN IP4 ff15::1\n", "has an address of the other family"),
        ("c=IN IP4 239.255.255.255/1/2\n", "has too few or too many groups"),
        ("c=IN IP6 ff15::1/0\n", "has too few or too many groups"),
        ("c=ATM NSAP 1\n", "is not a valid connection"),
        ("m=video\n", "is not a valid media line"),
        ("m=video 70000 RTP/AVP 33\n", "has no valid port"),
        ("m=video 5000/0 RTP/AVP 33\n", "has 0 ports"),
        ("a=source-filter: only IN IP4 * 10.0.0.1\n", "is not a valid source filter"),
        ("a=source-filter: incl IN IP4 *\n", "names no source"),
        ("a=source-filter: incl IN IP4 * 239.1.1.1\n", "is not a unicast address"),
        (
            "c=IN IP4 239.1.1.1/1\nm=video 65000/900 RTP/AVP 33\n",
            "line 6: \"video 65000/900 RTP/AVP 33\" exceeds the last port",
        ),
    ] {
        assert!(error(body).contains(expected), "{body}: {}", error(body));
    }
    let other = "[Unit]\nDescription=x\n".parse::<SessionDescription>().unwrap_err();
    assert_eq!((other.line(), other.error().remedy()), (1, Some("v=0")));
    assert!("".parse::<SessionDescription>().is_err());
}
