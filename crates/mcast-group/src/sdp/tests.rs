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
fn a_connection_of_the_session_is_that_of_media_without_their_own() {
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
fn several_groups_and_ports_are_as_many_memberships() {
    assert_eq!(
        memberships("c=IN IP4 239.1.2.254/127/3\nm=video 5000 udp 33\n"),
        ["239.1.2.254:5000", "239.1.2.255:5000", "239.1.3.0:5000"]
    );
    assert_eq!(
        memberships("c=IN IP6 ff15::a/2\nm=video 5000 UDP 33\n"),
        ["[ff15::a]:5000", "[ff15::b]:5000"]
    );
    // RTP's ports are every second one.
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
fn a_source_filter_is_for_its_destination_and_the_mediums_own_goes_first() {
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
    // Of the other family, or for another group: not meant.
    let both = "m=video 5000 RTP/AVP 33\nc=IN IP6 ff3e::1\na=source-filter:incl IN * * 10.0.0.7 fd00::7\n\
                a=source-filter:incl IN IP6 ff3e::2 fd00::8\n";
    assert_eq!(memberships(both), ["fd00::7@[ff3e::1]:5000"]);
}

#[test]
fn duplicates_know_one_another() {
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
fn what_goes_to_no_group_is_passed_over_and_said() {
    let body = "c=IN IP4 239.1.1.1/5\nm=audio 5000 RTP/AVP 0\nm=video 0 RTP/AVP 33\nm=text 99 TCP/X x\n\
                m=video 7000 RTP/AVP 33\nc=IN IP4 10.0.0.1\n";
    let description: SessionDescription = (HEAD.to_owned() + body).parse().unwrap();
    assert_eq!(description.streams.len(), 1);
    assert_eq!(
        description.passed_over,
        vec!["m=video 0 RTP/AVP 33", "m=text 99 TCP/X x", "m=video 7000 RTP/AVP 33"]
    );
    assert_eq!(
        error("m=video 7000 RTP/AVP 33\nc=IN IP4 10.0.0.1\n"),
        "line 7: \"News\" describes nothing that is sent to a group: write c=IN IP4 GROUP/TTL and m=MEDIA PORT PROTOCOL FORMAT"
    );
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    for (body, expected) in [
        ("c=IN IP4 239.1.2.3/x\n", "line 5: \"IN IP4 239.1.2.3/x\" has no TTL"),
        ("c=IN IP4 239.1.2.3/300\n", "line 5: \"IN IP4 239.1.2.3/300\" has no TTL"),
        ("c=IN IP4 news.example/1\n", "names a host, which is not looked up"),
        ("c=IN IP4 ff15::1\n", "has an address of the other family"),
        ("c=IN IP4 239.255.255.255/1/2\n", "has too few or too many groups"),
        ("c=IN IP6 ff15::1/0\n", "has too few or too many groups"),
        ("c=ATM NSAP 1\n", "is no connection"),
        ("m=video\n", "is no media"),
        ("m=video 70000 RTP/AVP 33\n", "has no port"),
        ("m=video 5000/0 RTP/AVP 33\n", "has no port"),
        ("a=source-filter: only IN IP4 * 10.0.0.1\n", "is no source filter"),
        ("a=source-filter: incl IN IP4 *\n", "names no source"),
        ("a=source-filter: incl IN IP4 * 239.1.1.1\n", "is no host's address"),
        (
            "c=IN IP4 239.1.1.1/1\nm=video 65000/900 RTP/AVP 33\n",
            "line 6: \"video 65000/900 RTP/AVP 33\" goes beyond",
        ),
    ] {
        assert!(error(body).contains(expected), "{body}: {}", error(body));
    }
    let other = "[Unit]\nDescription=x\n".parse::<SessionDescription>().unwrap_err();
    assert_eq!((other.line(), other.error().remedy()), (1, Some("v=0")));
    assert!("".parse::<SessionDescription>().is_err());
}
