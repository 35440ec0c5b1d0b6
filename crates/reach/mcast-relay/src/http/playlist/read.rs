//! Reads a list line by line.

use std::sync::Arc;

use mcast_group::SafeText;

use super::line::{self, Info};
use super::target::{self, Target};
use super::{EntryLines, HttpChannel, MAX_BYTES, MAX_ENTRIES, Playlist, PlaylistEntry, encoding};

/// The longest line, in bytes. Logos are sometimes part of it.
const MAX_LINE: usize = 64 << 10;
/// The largest number of lines with options for one entry.
const MAX_OPTIONS: usize = 32;
/// The most bytes of a line that the reason shows.
const MAX_SHOWN: usize = 80;

pub(super) fn read(bytes: &[u8]) -> Playlist {
    let (text, encoding) = encoding::decode(bytes.get(..MAX_BYTES).unwrap_or(bytes));
    let mut reader = Reader { playlist: Playlist { encoding, ..Playlist::default() }, ..Reader::default() };
    let mut last = 0;
    for (number, line) in (1..).zip(text.split('\n').flat_map(split_at_returns)) {
        reader.take(
            number,
            line.trim_matches(|sign: char| sign.is_whitespace() || "\u{feff}\0".contains(sign)),
        );
        last = number;
    }
    reader.pass_over_unused();
    if bytes.len() > MAX_BYTES {
        reader.playlist.passed_over.add(last, || format!("what follows {} MiB is not read", MAX_BYTES >> 20));
    }
    reader.playlist
}

/// Lines of old systems end with a carriage return alone.
fn split_at_returns(line: &str) -> impl Iterator<Item = &str> {
    line.strip_suffix('\r').unwrap_or(line).split('\r')
}

#[derive(Default)]
struct Reader {
    playlist: Playlist,
    /// What the present line `#EXTINF` says, with its number.
    info: Option<(usize, Info)>,
    lines: Arc<EntryLines>,
    /// Whether an address has followed them.
    is_used: bool,
}

impl Reader {
    fn take(&mut self, number: usize, line: &str) {
        if line.is_empty() {
            return;
        }
        if line.len() > MAX_LINE {
            self.is_used |= !line.starts_with('#');
            return self
                .playlist
                .passed_over
                .add(number, || format!("it is longer than {} KiB", MAX_LINE >> 10));
        }
        if !line.starts_with('#') {
            return self.take_address(number, line);
        }
        if let Some(attributes) = line::after(line, "#EXTM3U") {
            let known = &mut self.playlist.attributes;
            let attributes = line::printable(attributes);
            if !known.is_empty() && !attributes.is_empty() {
                known.push(' ');
            }
            known.push_str(&attributes);
        } else if let Some(info) = line::after(line, "#EXTINF:") {
            self.pass_over_unused();
            let info = Info::parse(info);
            self.begin().attributes.clone_from(&info.attributes);
            self.info = Some((number, info));
        } else if let Some(group) = line::after(line, "#EXTGRP:") {
            let lines = self.begin();
            (lines.group, lines.has_group) = (Some(line::clean(group).into()), true);
        } else if is_option(line) {
            let lines = self.begin();
            match lines.options.len() < MAX_OPTIONS {
                true => lines.options.push(line::printable(line)),
                false => {
                    let reason = || format!("more than {MAX_OPTIONS} options for one entry");
                    self.playlist.passed_over.add(number, reason);
                }
            }
        }
    }

    fn take_address(&mut self, number: usize, line: &str) {
        self.is_used = true;
        let name = self.info.as_ref().and_then(|(_, info)| info.name.clone());
        let target = match target::parse(line) {
            Ok(_) if self.playlist.entries.len() == MAX_ENTRIES => {
                Err(format!("more than {MAX_ENTRIES} entries"))
            }
            target => target,
        };
        let lines = Arc::clone(&self.lines);
        let entry = match target {
            Ok(Target::Group { is_rtp, membership, label }) => {
                let unnamed = HttpChannel::unnamed(membership);
                let name = name.unwrap_or_else(|| unnamed.name.clone());
                PlaylistEntry::Channel(HttpChannel { name, is_rtp, label, lines, ..unnamed })
            }
            Ok(Target::Other) => {
                let url = line::printable(line);
                PlaylistEntry::Other { name: name.unwrap_or_else(|| url.clone()), url, lines }
            }
            Err(reason) => {
                let shown = SafeText::new(line.as_bytes()).at_most(MAX_SHOWN).to_string();
                let reason = SafeText::new(reason.as_bytes()).at_most(3 * MAX_SHOWN).to_string();
                return self.playlist.passed_over.add(number, || format!("\"{shown}\": {reason}"));
            }
        };
        self.playlist.entries.push(entry);
    }

    /// Returns the lines of the entry that follows: after an address, those of another one. Several addresses in a row are of one.
    fn begin(&mut self) -> &mut EntryLines {
        if self.is_used {
            let group = self.lines.group.clone();
            (self.lines, self.info) = (Arc::new(EntryLines { group, ..EntryLines::default() }), None);
            self.is_used = false;
        }
        Arc::make_mut(&mut self.lines)
    }

    fn pass_over_unused(&mut self) {
        if let Some((number, _)) = self.info.take().filter(|_| !self.is_used) {
            self.playlist.passed_over.add(number, || "no address follows it".into());
        }
    }
}

/// Returns whether players evaluate this line for the entry after it. Those of HLS would make them take the list for a stream.
fn is_option(line: &str) -> bool {
    let is_extension = line::after(line, "#EXT").is_some_and(|rest| {
        rest.contains(':') && !rest.starts_with('-') && line::after(rest, "ENC:").is_none()
    });
    is_extension || line::after(line, "#KODIPROP:").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channels(text: &str) -> Vec<(String, String)> {
        let playlist = read(text.as_bytes());
        playlist.channels().map(|channel| (channel.name.clone(), channel.path())).collect()
    }

    fn odd(text: &str) -> Vec<usize> {
        let playlist = read(text.as_bytes());
        let passed_over = playlist.passed_over();
        assert!(
            passed_over.first().iter().all(|odd| !odd.reason.contains(char::is_control)),
            "{passed_over:?}"
        );
        assert!(passed_over.count() >= passed_over.first().len() as u64);
        passed_over.first().iter().map(|odd| odd.line).collect()
    }

    #[test]
    fn entries_are_those_of_players_and_of_udpxy() {
        let text = "\u{feff}#EXTM3U\r\n#EXTINF:-1 tvg-logo=\"a,b.png\" group-title=\"x\",News, at \"ten\"\r\n\
                    udp://@239.1.2.3:5000\r\n# a comment\n#EXTINF:0,\nrtp://10.0.0.7@232.1.2.3:5004?x=1\n\
                    #EXTINF:0,A film\nhttps://tv.example/film.mp4\n\
                    #EXTINF:0,\nhttp://192.168.1.1:4022/rtp/239.1.2.4:5000/\n#extinf:1,Six\nUDP://[ff15::1]:5000\nrtsp://camera/1\n";
        let expected = [
            ("News, at \"ten\"", "/udp/239.1.2.3:5000/"),
            ("10.0.0.7@232.1.2.3:5004", "/rtp/10.0.0.7@232.1.2.3:5004/"),
            ("239.1.2.4:5000", "/rtp/239.1.2.4:5000/"),
            ("Six", "/udp/[ff15::1]:5000/"),
        ];
        assert_eq!(channels(text), expected.map(|(name, path)| (name.to_owned(), path.to_owned())));
        assert_eq!((odd(text), read(text.as_bytes()).entries().len()), (vec![], 6));
        assert_eq!(channels(&text.replace("\r\n", "\n").replace('\n', "\r")), channels(text));
    }

    #[test]
    fn an_odd_line_is_passed_over_with_its_number_and_everything_else_is_served() {
        let good = "#EXTINF:-1,Good\nrtp://239.1.2.3:5000\n";
        for line in [
            "rtp://239.1.2.4",
            "rtp://tv.example:5000",
            "rtp://239.1.2.4:70000",
            "rtp://10.0.0.1:5000",
            "239.1.2.4:5000",
            "udp://@239.1.2.4%eth0:5000",
            "<html><body>Not found</body></html>",
            "rtp://239.1.2.4:5000\u{1b}[2J",
            &"x".repeat(200_000),
        ] {
            let text = format!("{good}#EXTINF:-1,Odd\n{line}\n{good}");
            assert_eq!(channels(&text).len(), 2, "{line:.80}");
            assert_eq!(odd(&text), [4], "{line:.80}");
        }
        assert_eq!(odd("#EXTINF:-1,A\n#EXTINF:-1,B\nrtp://239.1.2.3:5000\n#EXTINF:-1,C"), [1, 4]);
    }

    #[test]
    fn what_is_kept_and_named_is_bounded() {
        let text = "#EXTINF:-1,A\nrtp://239.1.2.3:5000\n".repeat(MAX_ENTRIES + 5);
        let playlist = read(text.as_bytes());
        assert_eq!((playlist.entries().len(), playlist.passed_over().count()), (MAX_ENTRIES, 5));
        let playlist = read("x\n".repeat(100_000).as_bytes());
        assert_eq!((playlist.passed_over().count(), playlist.passed_over().first().len()), (100_000, 8));
        let playlist = read(&vec![b'\n'; MAX_BYTES + 1]);
        assert_eq!(playlist.passed_over().first()[0].reason, "what follows 16 MiB is not read");
        let options = "#EXTVLCOPT:x=1\n".repeat(100) + "rtp://239.1.2.3:5000\n";
        assert_eq!(read(options.as_bytes()).passed_over().count(), 100 - MAX_OPTIONS as u64);
    }
}
