//! Playlists of providers, rules that are as wide as these, and what is in front of a relay that serves them.

use crate::http::{SERVER, curl, fetched, rtp_packet, server, users, wait_for_bytes};
use crate::network::{Network, address, sender, stop};
use crate::support::{eventually, mcast};

const LIST: &str = "#EXTM3U url-tvg=\"http://guide.example/x.xml\"\n\
    #EXTINF:-1 tvg-id=\"n1\" tvg-name=\"News\" tvg-logo=\"http://logo.example/n.png\" group-title=\"General\",News HD\n\
    rtp://239.1.2.3:5000$HD\n#EXTINF:-1,Odd\nrtp://tv.example:5000\n#EXTINF:-1 group-title=\"Sports\",Sport\n\
    igmp://239.1.2.4:5000\n#EXTINF:-1,Film\nhttps://tv.example/film.mp4\n";

#[test]
fn a_provider_s_list_is_served_with_everything_that_it_says_and_its_odd_lines_are_named() {
    let network = Network::new(1);
    let (r, b) = (network.host("r", 9, &[1]), network.host("b", 2, &[1]));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tv.m3u");
    std::fs::write(&path, LIST).unwrap();
    let relay = server(
        &r,
        &["playlist from eth0 to http://10.0.1.9:4022", "--http-playlist", path.to_str().unwrap()],
    );
    let (status, list) = fetched(&b, &[&format!("{SERVER}/playlist.m3u")]);
    let expected = LIST
        .replace("#EXTINF:-1,Odd\nrtp://tv.example:5000\n", "")
        .replace("rtp://239.1.2.3:5000$HD", &format!("{SERVER}/rtp/239.1.2.3:5000/$HD"))
        .replace("igmp://239.1.2.4:5000", &format!("{SERVER}/rtp/239.1.2.4:5000/"));
    assert_eq!((status.as_str(), list), ("200", expected));
    for (path, status) in [
        ("/rtp/239.1.2.3:5000/$HD", "200"),
        ("/News%20HD", "200"),
        ("/Sports/Sport", "200"),
        ("/rtp/239.1.2.5:5000/", "403"),
        ("/Film", "404"),
    ] {
        let ended = curl(&b, &["-I", &format!("{SERVER}{path}")]).end();
        assert!(ended.text().starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {ended:?}");
    }
    let log = relay.signalled(libc::SIGINT).stderr;
    assert!(log.contains("tv.m3u, line 5: \"rtp://tv.example:5000\": "), "{log}");
}

#[test]
fn a_list_in_another_encoding_is_served_under_its_names() {
    let network = Network::new(1);
    let (r, b) = (network.host("r", 9, &[1]), network.host("b", 2, &[1]));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tv.m3u");
    let text = |name: &str| format!("#EXTM3U\n#EXTINF:-1,{name}\nrtp://239.1.2.3:5000\n");
    // 央视新闻综合频道 in GBK, and a name in Latin-1.
    let gbk = b"\xd1\xeb\xca\xd3\xd0\xc2\xce\xc5\xd7\xdb\xba\xcf\xc6\xb5\xb5\xc0";
    let in_bytes = |name: &[u8]| [b"#EXTM3U\n#EXTINF:-1,", name, b"\nrtp://239.1.2.3:5000\n"].concat();
    let utf16 = format!("\u{feff}{}", text("News")).encode_utf16().flat_map(u16::to_le_bytes).collect();
    let lists: [(Vec<u8>, &str); 4] = [
        (in_bytes(gbk), "央视新闻综合频道"),
        (in_bytes(b"T\xe9l\xe9 fran\xe7aise"), "Télé française"),
        (utf16, "News"),
        (format!("\u{feff}{}", text("Télé")).into_bytes(), "Télé"),
    ];
    std::fs::write(&path, &lists[0].0).unwrap();
    let relay = server(
        &r,
        &["239.1.2.0/24:5000 from eth0 to http://10.0.1.9:4022", "--http-playlist", path.to_str().unwrap()],
    );
    for (bytes, name) in lists {
        std::fs::write(&path, bytes).unwrap();
        relay.child.signal(libc::SIGHUP).unwrap();
        let expected = format!("#EXTM3U\n#EXTINF:-1,{name}\n{SERVER}/rtp/239.1.2.3:5000/\n");
        eventually(name, || fetched(&b, &[&format!("{SERVER}/playlist.m3u")]).1 == expected);
    }
    // A download that failed does not end what is being watched.
    std::fs::write(&path, "<html>Not found</html>\n").unwrap();
    relay.child.signal(libc::SIGHUP).unwrap();
    relay.stdout.wait_for(r#""event":"not-reloaded""#);
    assert!(fetched(&b, &[&format!("{SERVER}/playlist.m3u")]).1.contains("239.1.2.3:5000"));
    stop(relay);
    let without = mcast(&r, &["relay", "playlist from eth0 to http://10.0.1.9:4022"]);
    assert!(without.status == Some(2) && without.stderr.contains("--http-playlist"), "{without:?}");
}

#[test]
fn a_rule_for_any_port_joins_what_is_requested_and_nothing_else() {
    let network = Network::new(1);
    let (a, r, b) = (network.host("a", 1, &[1]), network.host("r", 9, &[1]), network.host("b", 2, &[1]));
    let relay = server(&r, &["239.0.0.0/8:* from eth0 to http://10.0.1.9:4022"]);
    assert_eq!(users(&r), 0);
    let one = curl(&b, &[&format!("{SERVER}/udp/239.1.2.3:9584/")]);
    let two = curl(&b, &[&format!("{SERVER}/udp/239.1.2.3:5146/")]);
    eventually("a join for each port", || users(&r) == 2);
    let socket = sender(&a, address(1, 1));
    socket.send_to(b"9584", "239.1.2.3:9584").unwrap();
    socket.send_to(b"5146", "239.1.2.3:5146").unwrap();
    one.stdout.wait_for("9584");
    two.stdout.wait_for("5146");
    assert_eq!(fetched(&b, &[&format!("{SERVER}/udp/224.0.0.5:5000/")]).0, "403");
    drop((one, two));
    stop(relay);
}

#[test]
fn an_encoder_that_starts_again_behind_its_last_number_is_followed_at_once() {
    let network = Network::new(1);
    let (a, r, b) = (network.host("a", 1, &[1]), network.host("r", 9, &[1]), network.host("b", 2, &[1]));
    let relay = server(&r, &["239.1.2.0/24:5000 from eth0 to http://10.0.1.9:4022"]);
    let client = curl(&b, &[&format!("{SERVER}/rtp/239.1.2.3:5000/")]);
    eventually("a join", || users(&r) == 1);
    let socket = sender(&a, address(1, 1));
    let mut sent = 0_u32;
    let mut send = |number: u16| {
        let mut packet = rtp_packet(number, &sent.to_be_bytes());
        packet[4..8].copy_from_slice(&(sent * 3_600).to_be_bytes());
        socket.send_to(&packet, "239.1.2.3:5000").unwrap();
        sent += 1;
    };
    (0..100).for_each(|number| send(30_000 + number));
    wait_for_bytes(&client, 4 * 95);
    let before = client.stdout.len();
    (0..100).for_each(|number| send(29_600 + number));
    wait_for_bytes(&client, before + 4 * 95);
    drop(client);
    stop(relay);
}

#[test]
fn a_token_may_be_a_cookie_and_behind_a_proxy_addresses_are_its() {
    let network = Network::new(1);
    let (r, b) = (network.host("r", 9, &[1]), network.host("b", 2, &[1]));
    let folder = tempfile::tempdir().unwrap();
    let (token, jar) = (folder.path().join("token"), folder.path().join("jar"));
    std::fs::write(&token, "semi;and&dollar$\n").unwrap();
    let rule = "239.1.2.3:5000 from eth0 to http://10.0.1.9:4022";
    let relay = server(&r, &[rule, "--http-token-file", token.to_str().unwrap(), "--http-proxy", "10.0.1.2"]);
    let (jar, list) = (jar.to_str().unwrap(), format!("{SERVER}/playlist.m3u"));
    let with_token = format!("{list}?token=semi%3Band%26dollar%24");
    let entry = |base: &str| {
        format!(
            "#EXTM3U\n#EXTINF:-1,239.1.2.3:5000\n{base}/udp/239.1.2.3:5000/?token=semi%3Band%26dollar%24\n"
        )
    };
    assert_eq!(fetched(&b, &[&list]).0, "401");
    assert_eq!(fetched(&b, &["-c", jar, &with_token]), ("200".into(), entry(SERVER)));
    assert_eq!(fetched(&b, &["-b", jar, &list]), ("200".into(), entry(SERVER)));
    assert_eq!(fetched(&b, &["-A", "Player/1.0 token/semi;and&dollar$", &list]).0, "200");
    let forwarded = [
        "-H",
        "X-Forwarded-Proto: https",
        "-H",
        "X-Forwarded-Host: tv.example",
        "-H",
        "X-Forwarded-Prefix: /iptv",
    ];
    let (_, text) = fetched(&b, &[&forwarded[..], &["-b", jar, &list]].concat());
    assert_eq!(text, entry("https://tv.example/iptv"));
    let (_, text) = fetched(&r, &[&forwarded[..], &[&with_token]].concat());
    assert_eq!(text, entry(SERVER), "this host is not the proxy");
    stop(relay);
    let public = server(&r, &[rule, "--http-public-url", "https://tv.example/iptv"]);
    let (status, text) = fetched(&b, &["-H", "Host: tv.example", &format!("{SERVER}/iptv/playlist.m3u")]);
    assert_eq!(
        (status.as_str(), text),
        ("200", entry("https://tv.example/iptv").replace("?token=semi%3Band%26dollar%24", ""))
    );
    let head = curl(&b, &["-I", "--max-time", "20", &format!("{SERVER}/iptv/rtp/239.1.2.3:5000/")]).end();
    assert!(head.text().starts_with("HTTP/1.1 200 "), "{head:?}");
    let ended = public.signalled(libc::SIGINT);
    assert_eq!(ended.status, Some(130));
}
