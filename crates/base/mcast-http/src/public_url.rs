//! Where clients reach the server, which is not where it listens if a proxy is in front of it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// The address that clients use. Text form: `https://tv.example`, `http://192.168.1.1:8080/iptv`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    is_secure: bool,
    /// Host and port, as in the header `Host`.
    authority: String,
    /// Empty, or a path that does not end with a slash.
    prefix: String,
}

/// Why a text is not the address of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write http:// or https://, a host and possibly a path, without a query: https://tv.example/iptv")]
pub struct InvalidPublicUrl;

impl PublicUrl {
    /// Returns the address of a host without a proxy.
    #[must_use]
    pub fn of_host(authority: &str) -> Self {
        Self { is_secure: false, authority: authority.to_owned(), prefix: String::new() }
    }

    /// Returns the address with what a proxy says about it. What is not valid is ignored.
    #[must_use]
    pub fn forwarded(self, proto: Option<&str>, host: Option<&str>, prefix: Option<&str>) -> Self {
        let is_secure = match proto {
            Some(proto) if proto.eq_ignore_ascii_case("https") => true,
            Some(proto) if proto.eq_ignore_ascii_case("http") => false,
            Some(_) | None => self.is_secure,
        };
        let authority = host.filter(|host| is_authority(host)).map_or(self.authority, str::to_owned);
        let prefix = prefix.map(|prefix| prefix.trim_end_matches('/')).filter(|prefix| is_prefix(prefix));
        Self { is_secure, authority, prefix: prefix.map_or(self.prefix, str::to_owned) }
    }

    /// Returns the origin of pages that are there.
    #[must_use]
    pub fn origin(&self) -> String {
        let scheme = if self.is_secure { "https" } else { "http" };
        format!("{scheme}://{}", self.authority)
    }

    /// Returns the host with its port.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Returns the path under which the server is, without a slash at its end; empty if there is none.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns whether clients use TLS.
    #[must_use]
    pub const fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// Returns a path below the prefix. Proxies pass it with or without the prefix.
    #[must_use]
    pub fn within<'a>(&self, path: &'a str) -> &'a str {
        let rest = path.strip_prefix(&self.prefix).filter(|_| !self.prefix.is_empty());
        rest.filter(|rest| rest.is_empty() || rest.starts_with('/')).unwrap_or(path)
    }
}

impl FromStr for PublicUrl {
    type Err = InvalidPublicUrl;

    fn from_str(text: &str) -> Result<Self, InvalidPublicUrl> {
        let (scheme, rest) = text.split_once("://").ok_or(InvalidPublicUrl)?;
        let is_secure = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(InvalidPublicUrl),
        };
        let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        let prefix = path.trim_end_matches('/');
        if !is_authority(authority) || !is_prefix(prefix) {
            return Err(InvalidPublicUrl);
        }
        Ok(Self { is_secure, authority: authority.to_ascii_lowercase(), prefix: prefix.to_owned() })
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin(), self.prefix)
    }
}

/// Returns whether this may be a host with a port. It becomes a part of lines and of scripts.
fn is_authority(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:[]".contains(&byte);
    !text.is_empty() && text.len() <= 255 && text.bytes().all(is_part)
}

fn is_prefix(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte);
    text.is_empty()
        || text.len() <= 255 && text.starts_with('/') && !text.contains("//") && text.bytes().all(is_part)
}

/// Addresses of proxies. Text form: `10.0.0.7`, `10.0.0.0/24`, `fd00::/64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyNetwork {
    first: IpAddr,
    length: u8,
}

/// Why a text does not name proxies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write the address of the proxy, or a network: 127.0.0.1, 10.0.0.0/24")]
pub struct InvalidProxyNetwork;

impl ProxyNetwork {
    /// Returns whether an address is in the network.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let (first, width) = bits(self.first);
        let (bits, other) = bits(address.to_canonical());
        // A shift by the whole width is that of a network with all addresses.
        width == other && (first ^ bits).checked_shr(u32::from(width - self.length)).unwrap_or(0) == 0
    }
}

impl FromStr for ProxyNetwork {
    type Err = InvalidProxyNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidProxyNetwork> {
        let (address, length) =
            text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
        let first: IpAddr = address.parse().map_err(|_| InvalidProxyNetwork)?;
        let (_, width) = bits(first);
        let length = length.map_or(Ok(width), str::parse).map_err(|_| InvalidProxyNetwork)?;
        if length <= width { Ok(Self { first, length }) } else { Err(InvalidProxyNetwork) }
    }
}

/// Returns an address as a number, and its width in bits.
fn bits(address: IpAddr) -> (u128, u8) {
    match address {
        IpAddr::V4(address) => (address.to_bits().into(), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_scheme_a_host_and_maybe_a_path() {
        for (text, shown, origin) in [
            ("https://tv.example", "https://tv.example", "https://tv.example"),
            ("HTTP://TV.example:8080/", "http://tv.example:8080", "http://tv.example:8080"),
            ("https://[fd00::1]:8443/iptv/a/", "https://[fd00::1]:8443/iptv/a", "https://[fd00::1]:8443"),
        ] {
            let url: PublicUrl = text.parse().unwrap();
            assert_eq!((url.to_string().as_str(), url.origin().as_str()), (shown, origin));
        }
        for text in [
            "tv.example",
            "ftp://a",
            "http://",
            "http:///a",
            "http://a?b",
            "http://a/b c",
            "http://a/\"",
            "http://a//b",
            "http://u@a",
        ] {
            assert!(text.parse::<PublicUrl>().is_err(), "{text}");
        }
        let url: PublicUrl = "http://a/tv".parse().unwrap();
        let within = ["/tv/udp/x", "/udp/x", "/tv", "/tvs/x"].map(|path| url.within(path));
        assert_eq!(within, ["/udp/x", "/udp/x", "", "/tvs/x"]);
    }

    #[test]
    fn what_a_proxy_says_is_taken_if_it_is_valid() {
        let forwarded = |proto, host, prefix| {
            PublicUrl::of_host("10.0.0.9:4022").forwarded(proto, host, prefix).to_string()
        };
        assert_eq!(forwarded(Some("HTTPS"), Some("tv.example"), Some("/iptv/")), "https://tv.example/iptv");
        assert_eq!(forwarded(None, None, None), "http://10.0.0.9:4022");
        assert_eq!(
            forwarded(Some("javascript"), Some("a b\r\nX: y"), Some("//evil.example")),
            "http://10.0.0.9:4022"
        );
        assert_eq!(forwarded(Some("https"), Some(""), Some("</script>")), "https://10.0.0.9:4022");
    }

    #[test]
    fn proxies_are_addresses_and_networks() {
        let contains = |network: &str, address: &str| {
            network.parse::<ProxyNetwork>().unwrap().contains(address.parse().unwrap())
        };
        for (network, address, is_in) in [
            ("10.0.0.7", "10.0.0.7", true),
            ("10.0.0.7", "10.0.0.8", false),
            ("10.0.0.7", "::ffff:10.0.0.7", true),
            ("10.0.0.0/24", "10.0.0.255", true),
            ("10.0.0.0/24", "10.0.1.0", false),
            ("0.0.0.0/0", "203.0.113.1", true),
            ("0.0.0.0/0", "fd00::1", false),
            ("fd00::/64", "fd00::2:1", true),
            ("::/0", "fd00::2:1", true),
        ] {
            assert_eq!(contains(network, address), is_in, "{network} {address}");
        }
        for text in ["", "proxy", "10.0.0.0/33", "::/129", "10.0.0.0/x", "10.0.0.0/"] {
            assert!(text.parse::<ProxyNetwork>().is_err(), "{text}");
        }
    }
}
