//! The list that players get: the entries that the relay serves, at its own addresses, and those on servers.

use std::fmt::Write;
use std::sync::Arc;

use super::{EntryLines, PlaylistEntry};

/// Returns a list of these entries. The addresses start with `base`, and have the token if there is one.
pub(in crate::http) fn write(
    attributes: &str,
    entries: &[PlaylistEntry],
    base: &str,
    token: Option<&str>,
) -> String {
    let separator = if attributes.is_empty() { "" } else { " " };
    let mut text = format!("#EXTM3U{separator}{attributes}\n");
    let mut group = None;
    let query = token.map(|token| format!("?token={token}")).unwrap_or_default();
    for entry in entries {
        // Writing to a string does not fail.
        let _ = match entry {
            PlaylistEntry::Channel(channel) => {
                describe(&mut text, &mut group, &channel.name, &channel.lines);
                let label = channel.label.as_ref().map(|label| format!("${label}")).unwrap_or_default();
                writeln!(text, "{base}{}{query}{label}", channel.path())
            }
            PlaylistEntry::Other { name, url, lines } => {
                describe(&mut text, &mut group, name, lines);
                writeln!(text, "{url}")
            }
        };
    }
    text
}

/// Writes the lines before an address.
fn describe<'a>(text: &mut String, group: &mut Option<&'a Arc<str>>, name: &str, lines: &'a EntryLines) {
    let attributes = if lines.attributes.is_empty() { "-1" } else { &lines.attributes };
    let _ = writeln!(text, "#EXTINF:{attributes},{name}");
    // The entry before which the line was may not be here.
    if let Some(name) = lines.group.as_ref().filter(|known| lines.has_group || *group != Some(*known)) {
        let _ = writeln!(text, "#EXTGRP:{name}");
    }
    *group = lines.group.as_ref();
    for option in &lines.options {
        let _ = writeln!(text, "{option}");
    }
}

#[cfg(test)]
mod tests {
    use super::super::Playlist;
    use super::*;

    fn written(text: &str) -> String {
        let playlist = Playlist::read(text.as_bytes());
        write(playlist.attributes(), playlist.entries(), "http://tv.lan:4022", None)
    }

    #[test]
    fn attributes_groups_options_and_labels_remain() {
        let text = "#EXTM3U url-tvg=\"http://guide.example/x.xml\" catchup=\"append\"\n\
            #EXTM3U x-tvg-url=\"http://guide.example/y.xml\"\n#EXTENC: UTF-8\n#EXT-X-VERSION:3\n\n\
            #EXTINF:-1 tvg-id=\"n1\" tvg-chno=\"7\" group-title=\"General\" catchup-source=\"rtsp://10.0.0.1/?a=${start}\",News\n\
            #EXTVLCOPT:network-caching=1000\nrtp://239.1.2.3:5000$HD\nrtp://239.1.2.4:5000$Line 2\n\
            #EXTGRP:Films\n#KODIPROP:a=b\n#EXTINF:0,A film\nhttps://tv.example/film.mp4?x=$y\n\
            #EXTINF:-1,Sport\nigmp://239.1.2.5:5000\n";
        let expected = "#EXTM3U url-tvg=\"http://guide.example/x.xml\" catchup=\"append\" x-tvg-url=\"http://guide.example/y.xml\"\n\
            #EXTINF:-1 tvg-id=\"n1\" tvg-chno=\"7\" group-title=\"General\" catchup-source=\"rtsp://10.0.0.1/?a=${start}\",News\n\
            #EXTVLCOPT:network-caching=1000\nhttp://tv.lan:4022/rtp/239.1.2.3:5000/$HD\n\
            #EXTINF:-1 tvg-id=\"n1\" tvg-chno=\"7\" group-title=\"General\" catchup-source=\"rtsp://10.0.0.1/?a=${start}\",News\n\
            #EXTVLCOPT:network-caching=1000\nhttp://tv.lan:4022/rtp/239.1.2.4:5000/$Line 2\n\
            #EXTINF:0,A film\n#EXTGRP:Films\n#KODIPROP:a=b\nhttps://tv.example/film.mp4?x=$y\n\
            #EXTINF:-1,Sport\nhttp://tv.lan:4022/rtp/239.1.2.5:5000/\n";
        assert_eq!(written(text), expected);
        assert_eq!(written(&written(text)), expected, "what is written can be read");
    }

    #[test]
    fn a_group_applies_although_the_entry_after_it_is_not_served() {
        let text = "#EXTGRP:A\nrtp://nowhere:1\n#EXTINF:-1,B\nrtp://239.1.2.3:5000\n#EXTINF:-1,C\nrtp://239.1.2.4:5000\n";
        let groups: Vec<_> = written(text).lines().map(|line| line.starts_with("#EXTGRP:A")).collect();
        assert_eq!(groups, [false, false, true, false, false, false]);
    }

    #[test]
    fn a_foreign_line_stays_one_line() {
        let hostile = "#EXTM3U a=\"\u{2028}http://evil/0\"\n#EXTINF:-1 x=\"\u{85}#EXTM3U\",N\u{b}\u{c}\u{2029}http://evil/1\n\
            #EXTGRP:\u{1c}http://evil/2\n#EXTVLCOPT:\u{1d}http://evil/3\nrtp://239.1.2.3:5000$\u{1e}http://evil/4\n";
        let text = written(hostile);
        let is_end = |sign: char| sign.is_control() || matches!(sign, '\u{2028}' | '\u{2029}');
        assert_eq!(text.chars().filter(|sign| is_end(*sign)).count(), 5, "{text:?}");
        assert_eq!(text.lines().filter(|line| line.starts_with("http")).count(), 1, "{text}");
    }
}
