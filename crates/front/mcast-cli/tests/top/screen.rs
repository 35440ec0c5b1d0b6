//! The screen, on a real terminal.

use std::path::PathBuf;
use std::process::Command;

use mcast_capture::CaptureFile;
use mcast_lab::{Lab, SwitchOptions};
use tempfile::TempDir;

use crate::streams::{GROUP, Television, send_query, socket};
use crate::support::{Lan, MCAST, eventually, program, recv};
use crate::terminal::{Terminal, contains};

const ENTER: &str = "\r";
const ESCAPE: &str = "\x1b";
const TAB: &str = "\t";
const DOWN: &str = "\x1b[B";
const RIGHT: &str = "\x1b[C";
const CONTROL_C: &str = "\x03";

/// A network with a stream that is joined here, and a screen that shows it.
struct Scene {
    screen: Terminal,
    folder: TempDir,
    lan: Lan,
    _stream: Television,
    _joined: crate::support::Running,
}

impl Scene {
    fn new(size: (u16, u16), arguments: &[&str]) -> Self {
        let lan = Lan::new();
        let folder = tempfile::tempdir().unwrap();
        let stream = Television::start(&lan.a, GROUP);
        let joined = recv(&lan.b, &[GROUP, "--discard"]);
        let screen = Terminal::start(&lan.b, size, folder.path(), &[&["top"], arguments].concat());
        screen.wait_for("239.1.2.3:5000");
        Self { screen, folder, lan, _stream: stream, _joined: joined }
    }
}

fn row<'a>(lines: &'a [String], text: &str) -> Vec<&'a str> {
    let line = lines.iter().find(|line| line.contains(text)).unwrap_or_else(|| panic!("{lines:#?}"));
    line.split_whitespace().collect()
}

#[test]
fn a_screen_of_80_by_24_shows_streams_and_the_selection() {
    let scene = Scene::new((80, 24), &[]);
    // A tenth of 50 datagrams per second is missing; a busy machine sends fewer.
    let is_usual = |line: &String| {
        let rate = line.split_whitespace().nth(3).and_then(|rate| rate.parse::<f64>().ok());
        rate.is_some_and(|rate| (20.0..=60.0).contains(&rate))
    };
    let lines = scene.screen.wait_until("loss and a rate", |lines| {
        lines.iter().any(|line| {
            line.contains("239.1.2.3:5000")
                && line.contains('%')
                && line.contains('▇') | line.contains('█')
                && is_usual(line)
        })
    });
    assert_eq!(lines.len(), 24);
    assert!(lines[0].starts_with("mcast top  eth0  "), "{}", lines[0]);
    assert_eq!(row(&lines, "group")[..5], ["group", "source", "iface", "dgram/s", "bit/s"]);
    let stream = row(&lines, "239.1.2.3:5000");
    assert_eq!(stream[1..3], ["10.0.0.1", "eth0"]);
    assert!(
        lines[22].contains("239.1.2.3") && lines[22].contains("RTP") && lines[22].contains("joined: mcast (")
    );
    assert!(lines[23].starts_with("q quit  ? help"), "{}", lines[23]);
    scene.screen.press("q");
    assert_eq!(scene.screen.end(), Some(0));
}

#[test]
fn names_are_shown_and_streams_filtered_sorted_and_selected() {
    let scene = Scene::new((80, 24), &["--sort", "group"]);
    let sender = socket(&scene.lan.a);
    sender.send_to(b"NOTIFY * HTTP/1.1\r\n\r\n", "239.255.255.250:1900").unwrap();
    let lines = scene.screen.wait_for("239.255.255.250:1900");
    assert!(row(&lines, "239.255.255.250:1900").contains(&"ssdp"), "{lines:#?}");
    let position =
        |lines: &[String], text: &str| lines.iter().position(|line| line.starts_with(text)).unwrap();
    assert!(position(&lines, "239.1.2.3") < position(&lines, "239.255.255.250"));

    scene.screen.press("r");
    scene.screen.wait_until("the other order", |lines| {
        position(lines, "239.1.2.3") > position(lines, "239.255.255.250")
    });
    scene.screen.press("r/SSDP");
    scene.screen.wait_for("only with: ssdp");
    scene
        .screen
        .wait_until("only one stream", |lines| !lines.iter().any(|line| line.starts_with("239.1.2.3")));
    scene.screen.press(ENTER);
    scene.screen.wait_for("Esc shows all");
    scene.screen.press(ESCAPE);
    scene
        .screen
        .wait_until("all streams", |lines| lines.iter().any(|line| line.starts_with("239.1.2.3:5000")));

    scene.screen.press("s");
    scene.screen.wait_for("sorted by name");
    scene.screen.press("S");
    scene.screen.wait_for("sorted by group");
    let selected = |lines: &[String]| lines[22].split_whitespace().next().unwrap_or_default().to_owned();
    scene.screen.press("G");
    let last = selected(&scene.screen.wait_until("the last", |lines| selected(lines) == "239.255.255.250"));
    assert_eq!(last, "239.255.255.250");
    scene.screen.press("g");
    scene.screen.wait_until("the first", |lines| selected(lines) != last);
    scene.screen.press("q");
    assert_eq!(scene.screen.end(), Some(0));
}

#[test]
fn the_detail_view_describes_one_stream() {
    let scene = Scene::new((80, 24), &[GROUP]);
    scene.screen.wait_for("joined: mcast");
    scene.screen.press(ENTER);
    let lines = scene.screen.wait_for("of payload,");
    let line = |label: &str| {
        let found = lines.iter().find(|line| line.starts_with(label));
        found.unwrap_or_else(|| panic!("{label} in {lines:#?}")).clone()
    };
    assert!(line("group").contains("239.1.2.3:5000"));
    assert!(line("kind").contains("administratively scoped"));
    assert!(line("source").contains("10.0.0.1:"));
    assert!(line("loss").contains("datagrams missing"));
    assert!(line("joined here").contains("port 5000, sources any"));
    scene.screen.press(ESCAPE);
    scene.screen.wait_for("dgram/s  ");
    scene.screen.press("q");
    assert_eq!(scene.screen.end(), Some(0));
}

#[test]
fn the_network_pane_shows_queriers_members_and_messages() {
    let scene = Scene::new((80, 24), &[]);
    scene.screen.press(TAB);
    scene.screen.wait_for("queries are normally 125 s apart");
    send_query(&scene.lan.a);
    let lines = scene.screen.wait_for("IGMPv3, every 60 s");
    assert!(
        lines.iter().any(|line| line.contains("10.0.0.254 on eth0") && line.contains("times out in")),
        "{lines:#?}"
    );
    let joined = recv(&scene.lan.c, &["239.7.7.7:7000", "--discard"]);
    scene.screen.wait_for("239.7.7.7 on eth0  10.0.0.3");
    let lines = scene.screen.wait_for("of solicited-node groups");
    assert!(!lines.iter().any(|line| line.starts_with("  ff02::1:ff")), "{lines:#?}");
    scene.screen.press(&DOWN.repeat(30));
    scene.screen.wait_for("IGMPv3 report: join 239.7.7.7");
    scene.screen.press(RIGHT);
    let is_indented = |line: &String| line.starts_with("  ") && !line.trim().is_empty();
    scene.screen.wait_until("the ends of the lines", |lines| !lines[2..10].iter().any(is_indented));
    drop(joined);
    scene.screen.press(TAB);
    scene.screen.wait_for("239.1.2.3:5000");
    scene.screen.press("q");
    assert_eq!(scene.screen.end(), Some(0));
}

#[test]
fn a_key_opens_help() {
    let scene = Scene::new((80, 24), &[]);
    scene.screen.press("?");
    let lines = scene.screen.wait_for("record the selected stream");
    assert!(lines.iter().any(|line| line.contains("jitter")), "{lines:#?}");
    scene.screen.press("?");
    scene.screen.wait_for("239.1.2.3:5000");
    scene.screen.press("q");
    assert_eq!(scene.screen.end(), Some(0));
}

#[test]
fn a_pause_freezes_the_screen_and_x_resets_the_counters() {
    let scene = Scene::new((80, 24), &[]);
    scene.screen.press("p");
    let before = scene.screen.wait_for("paused");
    // Counting continues: another stream starts, and is not shown.
    let sender = socket(&scene.lan.a);
    sender.send_to(b"x", "239.4.4.4:4444").unwrap();
    scene.screen.press("?");
    scene.screen.wait_for("quit");
    scene.screen.press("?");
    let after = scene.screen.wait_for("239.1.2.3:5000");
    assert_eq!(row(&before, "239.1.2.3:5000"), row(&after, "239.1.2.3:5000"));
    scene.screen.press("p");
    scene.screen.wait_for("239.4.4.4:4444");
    scene.screen.press("x");
    scene.screen.wait_until("an empty table again", |lines| {
        lines.iter().any(|line| line.contains("239.1.2.3:5000"))
            && !lines.iter().any(|line| line.contains("239.4.4.4"))
    });
    scene.screen.press("q");
    assert_eq!(scene.screen.end(), Some(0));
}

#[test]
fn a_stream_is_recorded_into_a_file() {
    let scene = Scene::new((80, 24), &[GROUP]);
    scene.screen.press("w");
    scene.screen.wait_until("ten frames", |lines| {
        let status = lines[1].strip_prefix("● mcast-239.1.2.3-5000-");
        let frames = status.and_then(|text| text.split_whitespace().nth(1)?.parse::<u64>().ok());
        frames.is_some_and(|frames| frames >= 10)
    });
    scene.screen.press("w");
    scene.screen.wait_until("the recording's end", |lines| !lines[1].starts_with('●'));
    scene.screen.press("q");
    assert_eq!(scene.screen.end(), Some(0));
    let files: Vec<PathBuf> =
        std::fs::read_dir(scene.folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    let mut file = CaptureFile::open(&files[0]).unwrap();
    let mut frames = 0;
    while let Some(frame) = file.next().unwrap() {
        frames += 1;
        let packet = frame.packet();
        assert_eq!(packet.ip_layer().unwrap().destination.to_string(), "239.1.2.3");
        assert_eq!(packet.udp().unwrap().destination_port, 5000);
    }
    assert!(frames >= 10, "{frames}");
    assert_eq!(file.interfaces()[0].name.as_deref(), Some("eth0"));
}

#[test]
fn the_screen_adapts_to_a_new_size() {
    let scene = Scene::new((80, 24), &[]);
    scene.screen.resize(160, 40);
    let lines = scene.screen.wait_until("more columns", |lines| {
        lines
            .iter()
            .any(|line| line.contains("jitter") && line.contains("payload") && line.contains("joined"))
    });
    assert!(lines[39].starts_with("q quit"), "{lines:#?}");
    scene.screen.resize(40, 10);
    let lines = scene.screen.wait_until("few columns", |lines| {
        lines[9].starts_with("q quit") && lines.iter().any(|line| line.contains("239.1.2.3:5000"))
    });
    // The rate and the loss stay; a tenth is missing.
    assert_eq!(row(&lines, "group")[..2], ["group", "source"]);
    assert!(["bit/s", "loss"].iter().all(|title| row(&lines, "group").contains(title)), "{lines:#?}");
    assert!(row(&lines, "239.1.2.3:5000").last().unwrap().ends_with('%'), "{lines:#?}");
    scene.screen.resize(12, 8);
    scene
        .screen
        .wait_until("a group that is cut", |lines| lines.iter().any(|line| line.starts_with("239.1.2.3:5…")));
    // A screen on which nothing fits must not end the command.
    scene.screen.resize(3, 2);
    scene.screen.resize(1, 1);
    scene.screen.resize(80, 24);
    scene.screen.wait_until("all of it again", |lines| {
        lines[23].starts_with("q quit  ? help") && lines.iter().any(|line| line.contains("239.1.2.3:5000"))
    });
    scene.screen.press("q");
    assert_eq!(scene.screen.end(), Some(0));
}

#[test]
fn chosen_columns_are_shown_in_their_order_with_the_trend_of_loss() {
    let scene = Scene::new((80, 24), &["--columns", "loss-trend,loss,group", "--bad-loss", "50%"]);
    let lines = scene.screen.wait_until("a bar of loss", |lines| {
        lines.iter().any(|line| line.contains("239.1.2.3:5000") && line.contains('█'))
    });
    assert_eq!(row(&lines, "group"), ["lost", "loss", "group"]);
    assert_eq!(row(&lines, "239.1.2.3:5000").last(), Some(&"239.1.2.3:5000"));
    // A tenth is less than half, and shown in yellow.
    let bytes = scene.screen.bytes();
    let has = |number: u8| {
        let colours = [format!("38;5;{number};"), format!("38;5;{number}m")];
        colours.iter().any(|colour| contains(&bytes, colour.as_bytes()))
    };
    assert!(has(3) && !has(1));
    scene.screen.press("s");
    scene.screen.wait_for("sorted by lost");
    scene.screen.press("q");
    assert_eq!(scene.screen.end(), Some(0));
}

#[test]
fn columns_are_shown_and_hidden_while_it_runs() {
    let scene = Scene::new((100, 24), &["--columns", "group,bits"]);
    let header =
        |lines: &[String]| lines.iter().find(|line| line.contains("group")).cloned().unwrap_or_default();
    scene.screen.wait_until("two columns", |lines| header(lines).split_whitespace().eq(["group", "bit/s"]));
    let home = "\x1b[H";
    scene.screen.press(&["c", &DOWN.repeat(5), " ", home, DOWN, DOWN, " "].concat());
    scene.screen.wait_for("[x] source");
    scene.screen.press(ESCAPE);
    scene
        .screen
        .wait_until("other columns", |lines| header(lines).split_whitespace().eq(["group", "source"]));
    // They are sorted by a column that is hidden, which the screen names, until `s` takes the first one.
    scene.screen.wait_for("by bit/s");
    scene.screen.press("s");
    scene.screen.wait_for("sorted by group");
    // The cursor is at the source still.
    scene.screen.press("c ");
    scene.screen.wait_for("[ ] source");
    scene.screen.press(&[home, " "].concat());
    scene.screen.wait_for("one column remains");
}

#[test]
fn a_narrow_screen_without_a_stream_shows_the_whole_sentence() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let screen = Terminal::start(&lan.b, (40, 12), folder.path(), &["top"]);
    let lines = screen.wait_for("No stream yet");
    let text = lines.join(" ").split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        text.contains("groups that this machine has joined: `mcast recv --discard GROUP:PORT`"),
        "{text}"
    );
    screen.press("q");
    assert_eq!(screen.end(), Some(0));
}

#[test]
fn ctrl_c_and_requests_to_terminate_restore_the_terminal() {
    let scene = Scene::new((80, 24), &[]);
    scene.screen.press(CONTROL_C);
    assert_eq!(scene.screen.end(), Some(130));

    let scene = Scene::new((80, 24), &[]);
    let id = scene.screen.command_id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    assert_eq!(scene.screen.end(), Some(143));
}

#[test]
fn a_screen_ends_when_its_terminal_closes() {
    if !mcast_lab::has_program("script", "--version", "a terminal that closes") {
        return;
    }
    let lan = Lan::new();
    let command = format!("stty rows 24 cols 80; TERM=xterm-256color exec {MCAST} top");
    let terminal = program(&lan.b, "script", &["-qfc", &command, "/dev/null"], true);
    terminal.stdout.wait_for("eth0");
    let id = terminal.child.id();
    let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
    let command = children.split_whitespace().next().unwrap();
    terminal.child.signal(libc::SIGKILL).unwrap();
    eventually("the end of the command", || {
        let status = std::fs::read_to_string(format!("/proc/{command}/stat")).unwrap_or_default();
        status.is_empty() || status.contains(") Z ")
    });
}

#[test]
fn no_color_disables_colours() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let _stream = Television::start(&lan.a, GROUP);
    let colours = |variables: &[(&str, &str)]| {
        let screen = Terminal::start_with(&lan.b, (80, 24), folder.path(), &["top"], variables);
        screen.wait_for("239.1.2.3:5000");
        let bytes = screen.bytes();
        screen.press("q");
        assert_eq!(screen.end(), Some(0));
        // Cyan, for groups: as one of eight or of 256 colours.
        [&b"\x1b[36"[..], b"38;5;6"].iter().any(|colour| contains(&bytes, colour))
    };
    assert!(colours(&[]));
    assert!(!colours(&[("NO_COLOR", "1")]));
}

#[test]
fn timeout_and_metrics_work_with_the_screen() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["top", "-W", "1.5", "--metrics", "127.0.0.1:0"];
    let screen = Terminal::start(&lan.b, (80, 24), folder.path(), &arguments);
    // The screen is cleared at the end.
    eventually("where the metrics are", || contains(&screen.bytes(), b"metrics at http://127.0.0.1:"));
    assert_eq!(screen.end(), Some(0));
}

#[test]
fn very_many_streams_are_scrolled() {
    let lab = Lab::new().unwrap();
    let switch = lab.switch_with("lan", SwitchOptions::default().snooping(false)).unwrap();
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    a.connect("eth0", &switch, &["10.0.0.1/24"]).unwrap();
    b.connect("eth0", &switch, &["10.0.0.2/24"]).unwrap();
    a.add_route("224.0.0.0/4", "eth0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let screen = Terminal::start(&b, (80, 24), folder.path(), &["top", "239.0.0.0/8", "--sort", "group"]);
    screen.wait_for("0 streams");
    let sender = socket(&a);
    eventually("a hundred streams", || {
        for last in 1..=100 {
            sender.send_to(b"x", format!("239.1.2.{last}:5000")).unwrap();
        }
        screen.wait_until("anything", |_| true)[0].contains("100 streams")
    });
    screen.press("G");
    let lines =
        screen.wait_until("the last ones", |lines| lines.iter().any(|line| line.starts_with("239.1.2.100:")));
    assert!(lines.iter().any(|line| line.starts_with("239.1.2.82:")), "{lines:#?}");
    screen.press("\x1b[5~");
    screen.wait_until("a page before", |lines| {
        lines.iter().any(|line| line.starts_with("239.1.2.81:"))
            && !lines.iter().any(|line| line.starts_with("239.1.2.100:"))
    });
    screen.press("q");
    assert_eq!(screen.end(), Some(0));
}
