//! Named channels: the entries of an M3U playlist, read from an operator's and written for players, and the channels that pages
//! list.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::str::FromStr;

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
    /// Returns a channel that has no name but its group.
    pub(super) fn unnamed(membership: Membership) -> Self {
        Self { name: membership.to_string(), membership, is_rtp: false }
    }

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

/// An M3U playlist of an operator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Playlist {
    /// Its channels that are groups, in order.
    pub channels: Vec<HttpChannel>,
    /// The number of its other entries, such as films on a server.
    pub passed_over: usize,
}

/// Reads `udp://@GROUP:PORT`, `rtp://SOURCE@GROUP:PORT`, and the URLs of udpxy (`http://HOST/udp/GROUP:PORT/`), each with its name
/// in the line `#EXTINF` before it. Other comments are passed over.
///
/// ```
/// let playlist: mcast_relay::http::Playlist = "#EXTM3U\n#EXTINF:-1,News\nrtp://@239.1.2.3:5000\n".parse()?;
/// assert_eq!((playlist.channels[0].name.as_str(), playlist.channels[0].is_rtp), ("News", true));
/// # Ok::<(), mcast_relay::http::PlaylistError>(())
/// ```
///
/// # Errors
/// [`PlaylistError`] for a line that has neither a group nor another URL, and for more than 4,096 channels.
impl FromStr for Playlist {
    type Err = PlaylistError;

    fn from_str(text: &str) -> Result<Self, PlaylistError> {
        let (mut playlist, mut name) = (Self::default(), None);
        for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let line = line.trim();
            if let Some(info) = line.strip_prefix("#EXTINF:") {
                name = name_in(info);
            }
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let name = name.take();
            let error = |what: String| PlaylistError { line: number + 1, what };
            let (is_rtp, group) = match target(line) {
                Target::Group { is_rtp, group } => (is_rtp, group),
                Target::Other => {
                    playlist.passed_over += 1;
                    continue;
                }
                Target::None => {
                    let text = "names no group: write udp://@GROUP:PORT or rtp://@GROUP:PORT";
                    return Err(error(format!("{line:?} {text}")));
                }
            };
            let membership: Membership =
                group.parse().map_err(|why: mcast_group::ParseError| error(why.to_string()))?;
            if membership.interface.is_some() {
                return Err(error("the interface is that of the relay's rule: omit it".into()));
            }
            if playlist.channels.len() == MAX_CHANNELS {
                return Err(error(format!("more than {MAX_CHANNELS} channels")));
            }
            let unnamed = HttpChannel::unnamed(membership);
            let name = name.unwrap_or_else(|| unnamed.name.clone());
            playlist.channels.push(HttpChannel { name, is_rtp, ..unnamed });
        }
        Ok(playlist)
    }
}

/// What an entry names.
enum Target<'a> {
    Group {
        is_rtp: bool,
        group: &'a str,
    },
    /// Something on a server.
    Other,
    /// Nothing that is known.
    None,
}

fn target(entry: &str) -> Target<'_> {
    let Some((scheme, rest)) = entry.split_once("://") else { return Target::None };
    let scheme = scheme.to_ascii_lowercase();
    let (form, rest) = match scheme.as_str() {
        "udp" | "rtp" => (scheme.as_str(), rest),
        "http" | "https" => {
            let path = rest.split_once('/').map_or("", |(_, path)| path);
            path.split_once('/').unwrap_or((path, ""))
        }
        _ => return Target::Other,
    };
    if !["udp", "rtp"].contains(&form) {
        return Target::Other;
    }
    let group = rest.split(['?', '|']).next().unwrap_or(rest);
    Target::Group { is_rtp: form == "rtp", group: group.trim_end_matches('/').trim_start_matches('@') }
}

/// Returns the name in a line `#EXTINF`, which follows its attributes; their values may have commas in quotation marks.
fn name_in(info: &str) -> Option<String> {
    let mut is_quoted = false;
    let comma = info.find(|sign| {
        is_quoted ^= sign == '"';
        sign == ',' && !is_quoted
    })?;
    Some(clean(&info[comma + 1..])).filter(|name| !name.is_empty())
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

/// The channels of each listener that follow from the rules and the playlist: pages are requested more often than these change.
pub(super) type Listings = BTreeMap<SocketAddr, Vec<HttpChannel>>;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Playlist, PlaylistError> {
        text.parse()
    }

    #[test]
    fn entries_are_those_of_players_and_of_udpxy() {
        let text = "\u{feff}#EXTM3U\r\n#EXTINF:-1 tvg-logo=\"a,b.png\" group-title=\"x\",News, at \"ten\"\r\n\
                    udp://@239.1.2.3:5000\r\n# a comment\n#EXTINF:0,\nrtp://10.0.0.7@232.1.2.3:5004?x=1\n\
                    #EXTINF:0,A film\nhttps://tv.example/film.mp4\n\
                    http://192.168.1.1:4022/rtp/239.1.2.4:5000/\nUDP://[ff15::1]:5000\nrtsp://camera/1\n";
        let playlist = parse(text).unwrap();
        let channels = &playlist.channels;
        let texts: Vec<_> = channels.iter().map(|channel| (channel.name.as_str(), channel.path())).collect();
        let expected = [
            ("News, at \"ten\"", "/udp/239.1.2.3:5000/"),
            ("10.0.0.7@232.1.2.3:5004", "/rtp/10.0.0.7@232.1.2.3:5004/"),
            ("239.1.2.4:5000", "/rtp/239.1.2.4:5000/"),
            ("[ff15::1]:5000", "/udp/[ff15::1]:5000/"),
        ];
        assert_eq!(texts, expected.map(|(name, path)| (name, path.to_owned())));
        assert_eq!(playlist.passed_over, 2);
        // What is written can be read.
        let written = write_playlist(channels, "tv.lan:4022", None);
        assert_eq!(parse(&written).unwrap().channels, *channels);
    }

    #[test]
    fn an_entry_without_a_group_is_an_error_with_its_line() {
        for (text, line) in [
            ("239.1.2.3:5000", 1),
            ("\nudp://@10.0.0.1:5000", 2),
            ("udp://@239.1.2.3", 1),
            ("#\n#\nhttp://h/udp/", 3),
            ("udp://@239.1.2.3%eth0:5000", 1),
        ] {
            assert_eq!(parse(text).unwrap_err().line, line, "{text}");
        }
        assert_eq!(
            parse(&"udp://@239.1.2.3:5000\n".repeat(MAX_CHANNELS + 1)).unwrap_err().line,
            MAX_CHANNELS + 1
        );
    }
}
