//! SAP with ffmpeg and VLC.

use std::time::Duration;

use mcast_sim::Dice;
use mcast_watch::discovery::{Discovered, DiscoveryProtocol};
use tempfile::TempDir;

use crate::conversation::Conversation;
use crate::drawn::{Facts, Peers, both_list_the_same};
use crate::networks::for_networks;
use crate::{Running, Segment, has_modules, has_programs, output};

/// VLC does not run as root.
const ORDINARY: [&str; 3] = ["--reuid=65534", "--regid=65534", "--clear-groups"];

/// Prints the list of VLC for each line that it reads, by the socket of its remote control.
const LIST: &str = r#"
import re, socket, sys, time
for line in sys.stdin:
    control = socket.socket(socket.AF_UNIX)
    try:
        control.connect(sys.argv[1])
        control.settimeout(5)
        control.sendall(b"playlist\n")
        text = b""
        while b"[ End of playlist" not in text:
            more = control.recv(65536)
            if not more: break
            text += more
    except OSError as error:
        text = b""
        time.sleep(0.2)
    control.close()
    names = re.findall(r"^\|\s+- (Session.*?)\s*$", text.decode(), re.M)
    print("|".join(names), flush=True)
"#;

/// A session of one stream, or of two streams, which VLC does not list. The first host has ffmpeg.
#[derive(Clone)]
struct Session {
    name: String,
    port: u64,
    is_of_ffmpeg: bool,
    has_two: bool,
}

/// Sessions of VLC, and one of ffmpeg: the origin of those is the same on all hosts, so that VLC lists only one of them.
struct Sap {
    list: Conversation,
    movie: String,
    _folder: TempDir,
    _vlc: Running,
}

impl Peers for Sap {
    type Peer = Session;
    const PROTOCOLS: &'static [DiscoveryProtocol] = &[DiscoveryProtocol::Sap];
    /// They announce when they start, and every 5 s.
    const ANNOUNCED: Option<Duration> = Some(Duration::from_secs(5));
    /// An hour.
    const LAPSES: Option<Duration> = None;
    const ANSWERS: bool = false;
    /// VLC ignores deletions, because others could forge them.
    const KEEPS: bool = true;

    fn new(segment: &Segment, _dice: &mut Dice) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(folder.path(), everybody).unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (movie, socket) = (path("movie.ts"), path("control"));
        let source = "testsrc=size=64x48:rate=5:duration=60";
        let arguments = ["-f", "lavfi", "-i", source, "-c:v", "mpeg2video", "-f", "mpegts", &movie];
        output(&segment.watcher, "ffmpeg", &arguments);
        let vlc = ["cvlc", "-q", "-I", "oldrc", "--rc-fake-tty", "--rc-unix", &socket];
        let vlc = [&ORDINARY[..], &vlc, &["--services-discovery", "sap"]].concat();
        let vlc = Running::start(&segment.watcher, "setpriv", &vlc);
        let list = Conversation::start(&segment.watcher, "python3", &["-c", LIST, &socket]);
        Self { list, movie, _folder: folder, _vlc: vlc }
    }

    fn draw(&self, dice: &mut Dice, number: usize) -> Session {
        let drawn = dice.below(1_000);
        let is_of_ffmpeg = number == 0;
        let has_two = is_of_ffmpeg && dice.chance(0.5);
        let kind = if has_two { "Pair" } else { "Session" };
        let name = format!("{kind} {number}{}{drawn}", dice.pick(&["a", " of Büro ", ".", " & "]));
        Session { name, port: 5_000 + 4 * dice.below(100), is_of_ffmpeg, has_two }
    }

    fn start(&self, segment: &Segment, number: usize, peer: &Session) -> Running {
        let Session { name, port, is_of_ffmpeg, has_two } = peer;
        let (host, group) = (&segment.hosts[number], format!("239.255.1.{}", number + 1));
        if !is_of_ffmpeg {
            let out = format!("#rtp{{dst={group},port={port},mux=ts,sap,name={name},ttl=2}}");
            let vlc = ["cvlc", "-q", "--loop", &self.movie, "--sout", &out];
            return Running::start(host, "setpriv", &[&ORDINARY[..], &vlc].concat());
        }
        let (url, title) = (format!("sap://{group}:{port}?ttl=2&same_port=0"), format!("title={name}"));
        let mut arguments = vec!["-re", "-f", "lavfi", "-i", "testsrc=size=64x48:rate=5"];
        if *has_two {
            arguments.extend([
                "-f",
                "lavfi",
                "-i",
                "sine=frequency=440",
                "-map",
                "0",
                "-map",
                "1",
                "-c:a",
                "mp2",
            ]);
        }
        arguments.extend(["-c:v", "mpeg2video", "-metadata", &title, "-f", "sap", &url]);
        Running::start(host, "ffmpeg", &arguments)
    }

    /// VLC has none.
    fn says_goodbye(peer: &Session) -> bool {
        peer.is_of_ffmpeg
    }

    fn expected(&self, _segment: &Segment, peers: &[(usize, &Session)]) -> Facts {
        let lines = peers.iter().flat_map(|(number, Session { name, port, has_two, .. })| {
            let group = number + 1;
            // Two ports for each stream: RTP and RTCP.
            let ports = [Some(*port), has_two.then_some(port + 2)].into_iter().flatten();
            ports.map(move |port| format!("{name}: 239.255.1.{group}:{port}"))
        });
        lines.collect()
    }

    fn specialist(&mut self, _segment: &Segment) -> Facts {
        self.list.ask().split('|').filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    fn shown(fact: &str) -> &str {
        fact.split(": ").next().filter(|name| name.starts_with("Session")).unwrap_or_default()
    }

    fn facts(&self, entry: &Discovered) -> Vec<String> {
        let streams = entry.fields.iter().filter(|field| field.name.as_bytes() == b"stream");
        streams.map(|stream| format!("{}: {}", entry.name, stream.value)).collect()
    }
}

#[test]
fn sessions_are_those_that_vlc_lists_in_networks_drawn_by_seed() {
    if has_programs(&["ffmpeg", "cvlc", "setpriv"]) && has_modules("python3", &["socket"]) {
        for_networks(2, both_list_the_same::<Sap>);
    }
}
