//! The address of an entry.

use mcast_group::Membership;
use mcast_http::split_label;

use super::super::address;

/// What an entry names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Group {
        is_rtp: bool,
        membership: Membership,
        label: Option<String>,
    },
    /// Something on a server, which players open themselves.
    Other,
}

/// Schemes of what players open themselves.
const OTHERS: [&str; 13] =
    ["http", "https", "rtsp", "rtsps", "rtspt", "rtmp", "rtmps", "mms", "mmsh", "mmst", "srt", "rist", "ftp"];

/// Returns what an entry names.
///
/// # Errors
/// Why it is passed over.
pub(super) fn parse(entry: &str) -> Result<Target, String> {
    let (scheme, rest) =
        split_scheme(entry).ok_or("names no group: write udp://@GROUP:PORT or rtp://@GROUP:PORT")?;
    let scheme = scheme.to_ascii_lowercase();
    match scheme.as_str() {
        "udp" => group(false, rest),
        // A box that is given igmp:// looks whether there is RTP, and so does the form for RTP.
        "rtp" | "igmp" => group(true, rest),
        "http" | "https" => Ok(of_server(rest).unwrap_or(Target::Other)),
        other if OTHERS.contains(&other) => Ok(Target::Other),
        _ => Err(format!("{scheme}:// is not an address of a group, nor of a server that is known")),
    }
}

/// Splits `SCHEME://REST`, and `udp:@REST`, which is an older form.
fn split_scheme(entry: &str) -> Option<(&str, &str)> {
    let is_scheme =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let split = entry.split_once("://").or_else(|| entry.split_once(":@"));
    split.filter(|(scheme, _)| !scheme.is_empty() && is_scheme(scheme))
}

/// Returns the group in an address of udpxy or of a program like it: `HOST/udp/GROUP:PORT/`, also below a path.
fn of_server(rest: &str) -> Option<Target> {
    let (_, mut path) = rest.split_once('/')?;
    while let Some((form, after)) = path.split_once('/') {
        if let "udp" | "rtp" = form {
            return group(form == "rtp", after).ok();
        }
        path = after;
    }
    None
}

fn group(is_rtp: bool, rest: &str) -> Result<Target, String> {
    let (rest, label) = split_label(rest);
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let place = place.split(['/', '|', '#']).next().unwrap_or_default().trim();
    // As ffmpeg writes the sources of a group.
    let sources = query.split('&').find_map(|part| part.strip_prefix("sources=")).unwrap_or_default();
    let place = place.strip_prefix('@').unwrap_or(place);
    let membership = match sources.is_empty() || place.contains('@') {
        true => address::parse(place)?,
        false => address::parse(&format!("{sources}@{place}"))?,
    };
    let label = label.map(super::line::clean).filter(|label| !label.is_empty());
    Ok(Target::Group { is_rtp, membership, label })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_named_as_players_and_servers_do() {
        for (entry, expected) in [
            ("udp://@239.1.2.3:5000", "udp 239.1.2.3:5000"),
            ("UDP://239.1.2.3:5000", "udp 239.1.2.3:5000"),
            ("udp:@239.1.2.3:5000", "udp 239.1.2.3:5000"),
            ("rtp://10.0.0.7@232.1.2.3:5004?x=1", "rtp 10.0.0.7@232.1.2.3:5004"),
            (
                "udp://232.1.2.3:5004?pkt_size=1316&sources=10.0.0.7,10.0.0.8",
                "udp 10.0.0.7,10.0.0.8@232.1.2.3:5004",
            ),
            ("igmp://239.1.2.7:5000", "rtp 239.1.2.7:5000"),
            ("rtp://239.1.2.4:5000$HD", "rtp 239.1.2.4:5000 HD"),
            ("rtp://239.1.2.4:5000/?fcc=10.2.3.4:15970$超 清", "rtp 239.1.2.4:5000 超 清"),
            ("rtp://239.1.2.4:5000?play=${start}", "rtp 239.1.2.4:5000"),
            ("rtp://239.1.2.4:5000|User-Agent=x", "rtp 239.1.2.4:5000"),
            ("http://192.168.1.1:4022/rtp/239.1.2.4:5000/", "rtp 239.1.2.4:5000"),
            ("http://192.168.1.1:4022/udp/239.1.2.4~5000", "udp 239.1.2.4:5000"),
            ("http://192.168.1.1:4022/udp/@239.1.2.4:5000/", "udp 239.1.2.4:5000"),
            ("https://tv.example/iptv/rtp/239.1.2.4:5000?token=x", "rtp 239.1.2.4:5000"),
            ("udp://[ff15::1]:5000", "udp [ff15::1]:5000"),
        ] {
            let Ok(Target::Group { is_rtp, membership, label }) = parse(entry) else { panic!("{entry}") };
            let form = if is_rtp { "rtp" } else { "udp" };
            let label = label.map(|label| format!(" {label}")).unwrap_or_default();
            assert_eq!(format!("{form} {membership}{label}"), expected, "{entry}");
        }
        for other in ["https://tv.example/film.mp4", "http://a/rtp/film.ts", "rtsp://10.0.0.1/x", "http://a"]
        {
            assert_eq!(parse(other), Ok(Target::Other), "{other}");
        }
    }

    #[test]
    fn what_is_not_a_group_has_a_reason_of_one_line() {
        for (entry, expected) in [
            ("239.1.2.3:5000", "names no group"),
            ("CCTV1,rtp://239.1.2.3:5000", "names no group"),
            ("rtp://tv.example:5000", "tv.example"),
            ("rtp://239.1.2.3", "port"),
            ("rtp://239.1.2.3$HD", "port"),
            ("rtp://239.1.2.3:0", "port"),
            ("rtp://239.1.2.3:70000", "70000"),
            ("rtp://239.1.2.3:5000 x", "5000 x"),
            ("udp://@10.0.0.1:5000", "10.0.0.1"),
            ("udp://@239.1.2.3%eth0:5000", "interface"),
            ("udp://!10.0.0.7@239.1.2.3:5000", "excluded"),
            ("plugin://video/1", "plugin://"),
            ("javascript:alert(1)", "names no group"),
            ("://", "names no group"),
            ("", "names no group"),
        ] {
            let reason = parse(entry).unwrap_err();
            assert!(reason.contains(expected) && !reason.contains(char::is_control), "{entry}: {reason}");
        }
    }
}
