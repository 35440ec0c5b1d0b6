//! The screen, on a real terminal.

use crate::notify;
use crate::support::Lan;
use crate::terminal::Terminal;

#[test]
fn a_screen_shows_what_appears_and_its_details() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let screen = Terminal::start(&lan.b, (80, 24), folder.path(), &["discover", "device"]);
    screen.wait_for("Nothing has announced itself yet");
    notify(&lan.a, "lamp", "alive");
    let lines =
        screen.wait_until("the lamp", |lines| lines.iter().any(|line| line.contains("10.0.0.1:8080")));
    assert!(lines[0].starts_with("mcast discover  eth0  1 of 1"), "{}", lines[0]);
    screen.press("\r");
    screen.wait_for("lamp.xml");
    screen.press("\x1b");
    // Escape and a key at once would be another key.
    screen.wait_for("10.0.0.1:8080");
    screen.press("/");
    screen.press("nothing like it");
    screen.wait_for("No entry is selected by this text");
    screen.press("\x1b");
    screen.wait_for("10.0.0.1:8080");
    screen.press("q");
    screen.end();
}
