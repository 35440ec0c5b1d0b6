//! Named channels: the entries of an M3U playlist, read from an operator's and written for players.

use std::fmt::Write;

use mcast_group::Membership;

/// The largest number of channels.
const MAX_CHANNELS: usize = 4_096;
/// The longest name, in characters.
const MAX_NAME: usize = 128;

/// A group that the pages of an [`HttpServer`](super::HttpServer) list under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpChannel {
    /// Its name.
    pub name: String,
    /// The group and port, with sources.
    pub membership: Membership,
    /// Whether it carries RTP.
    pub is_rtp: bool,
}

impl HttpChannel {
    /// Returns its path.
    pub(super) fn path(&self) -> String {
        format!("/{}/{}/", if self.is_rtp { "rtp" } else { "udp" }, self.membership)
    }
}

/// Why a playlist cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
#[non_exhaustive]
pub struct PlaylistError {
    /// The number of the line, from 1 on.
    pub line: usize,
    /// What is wrong there.
    pub what: String,
}

/// Reads the channels of an M3U playlist: `udp://@GROUP:PORT`, `rtp://SOURCE@GROUP:PORT`, or the URLs of udpxy
/// (`http://HOST/udp/GROUP:PORT/`), each with its name in the line `#EXTINF` before it. Other comments are passed over.
///
/// ```
/// let channels = mcast_relay::http::parse_playlist("#EXTM3U\n#EXTINF:-1,News\nrtp://@239.1.2.3:5000\n")?;
/// assert_eq!((channels[0].name.as_str(), channels[0].is_rtp), ("News", true));
/// # Ok::<(), mcast_relay::http::PlaylistError>(())
/// ```
///
/// # Errors
/// [`PlaylistError`] for a line that names no group, and for more than 4,096 channels.
pub fn parse_playlist(text: &str) -> Result<Vec<HttpChannel>, PlaylistError> {
    let mut channels: Vec<HttpChannel> = Vec::new();
    let mut name = None;
    for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if let Some(info) = line.strip_prefix("#EXTINF:") {
            // The name follows the attributes, whose values are quoted.
            let unquoted = info.rsplit('"').next().unwrap_or(info);
            name = unquoted.split_once(',').map(|(_, name)| clean(name));
        }
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let error = |what: String| PlaylistError { line: number + 1, what };
        let (is_rtp, rest) = target(line).ok_or_else(|| {
            error(format!("{line:?} names no group: write udp://@GROUP:PORT or rtp://@GROUP:PORT"))
        })?;
        let membership: Membership =
            rest.parse().map_err(|why: mcast_group::ParseError| error(why.to_string()))?;
        if membership.interface.is_some() {
            return Err(error("the interface is that of the relay's rule: omit it".into()));
        }
        if channels.len() == MAX_CHANNELS {
            return Err(error(format!("more than {MAX_CHANNELS} channels")));
        }
        let name = name.take().filter(|name| !name.is_empty()).unwrap_or_else(|| membership.to_string());
        channels.push(HttpChannel { name, membership, is_rtp });
    }
    Ok(channels)
}

/// Returns whether an entry is RTP, and its group.
fn target(entry: &str) -> Option<(bool, &str)> {
    let (scheme, rest) = entry.split_once("://")?;
    let (is_rtp, rest) = match scheme.to_ascii_lowercase().as_str() {
        "udp" => (false, rest),
        "rtp" => (true, rest),
        "http" | "https" => {
            let (_, path) = rest.split_once('/')?;
            match path.split_once('/')? {
                ("udp", rest) => (false, rest),
                ("rtp", rest) => (true, rest),
                _ => return None,
            }
        }
        _ => return None,
    };
    let rest = rest.split(['?', '|']).next().unwrap_or(rest);
    Some((is_rtp, rest.trim_end_matches('/').trim_start_matches('@')))
}

/// Returns a name that is one line, and not too long.
fn clean(name: &str) -> String {
    name.trim().chars().filter(|sign| !sign.is_control()).take(MAX_NAME).collect()
}

/// Returns a playlist of these channels at a server, with its token if it requires one.
pub(super) fn write_playlist(channels: &[HttpChannel], host: &str, token: Option<&str>) -> String {
    let mut text = "#EXTM3U\n".to_owned();
    let query = token.map(|token| format!("?token={token}")).unwrap_or_default();
    for channel in channels {
        // Writing to a string does not fail.
        let _ = writeln!(text, "#EXTINF:-1,{}\nhttp://{host}{}{query}", channel.name, channel.path());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_those_of_players_and_of_udpxy() {
        let text = "\u{feff}#EXTM3U\r\n#EXTINF:-1 tvg-logo=\"a,b.png\" group-title=\"x\",News, at ten\r\n\
                    udp://@239.1.2.3:5000\r\n# a comment\n#EXTINF:0,\nrtp://10.0.0.7@232.1.2.3:5004?x=1\n\
                    http://192.168.1.1:4022/rtp/239.1.2.4:5000/\nUDP://[ff15::1]:5000\n";
        let channels = parse_playlist(text).unwrap();
        let texts: Vec<_> = channels.iter().map(|channel| (channel.name.as_str(), channel.path())).collect();
        let expected = [
            ("News, at ten", "/udp/239.1.2.3:5000/"),
            ("10.0.0.7@232.1.2.3:5004", "/rtp/10.0.0.7@232.1.2.3:5004/"),
            ("239.1.2.4:5000", "/rtp/239.1.2.4:5000/"),
            ("[ff15::1]:5000", "/udp/[ff15::1]:5000/"),
        ];
        assert_eq!(texts, expected.map(|(name, path)| (name, path.to_owned())));
        // What is written can be read.
        let written = write_playlist(&channels, "tv.lan:4022", None);
        assert_eq!(parse_playlist(&written).unwrap(), channels);
    }

    #[test]
    fn an_entry_without_a_group_is_an_error_with_its_line() {
        for (text, line) in [
            ("239.1.2.3:5000", 1),
            ("\nudp://@10.0.0.1:5000", 2),
            ("udp://@239.1.2.3", 1),
            ("#\n#\nhttps://tv.example/channel.m3u8", 3),
            ("http://h/ws/239.1.2.3:5000", 1),
            ("udp://@239.1.2.3%eth0:5000", 1),
        ] {
            assert_eq!(parse_playlist(text).unwrap_err().line, line, "{text}");
        }
    }
}
