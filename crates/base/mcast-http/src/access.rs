//! Who may read what is served: the host that a request names, its token, and the page that it comes from.

use std::net::IpAddr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::request::TOKEN;
use crate::{HttpMethod, HttpRefusal, HttpRefused, HttpRequest, ProxyNetwork, PublicUrl};

/// What is escaped of a token in an address and in a cookie.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Who may read what a server serves.
#[derive(Clone, Debug, Default)]
pub struct AccessRules {
    /// Names of this host, beside its addresses and `localhost`. Requests for others are refused.
    pub hosts: Vec<String>,
    /// Origins (`https://tv.example`) whose pages may read what is served, or `*` for all. Pages of this server may.
    pub origins: Vec<String>,
    /// What a request must have as `?token=TOKEN`, as `Authorization: Bearer TOKEN`, as the cookie `token`, or as `token/TOKEN` in
    /// `User-Agent`. `None`: nothing.
    pub token: Option<String>,
    /// Where clients reach the server, if not at the host of the request.
    pub public_url: Option<PublicUrl>,
    /// Proxies of which the headers `X-Forwarded-…` count.
    pub proxies: Vec<ProxyNetwork>,
    /// What allows another name, beside the use of the address: it follows that in the refusal.
    pub host_advice: &'static str,
    /// What allows another origin, likewise.
    pub origin_advice: &'static str,
}

impl AccessRules {
    /// Returns the address of this server for a client. `listener` is used if the request names no host.
    #[must_use]
    pub fn base(&self, request: &HttpRequest, peer: IpAddr, listener: &str) -> PublicUrl {
        if let Some(url) = &self.public_url {
            return url.clone();
        }
        let direct = PublicUrl::of_host(request.host.as_deref().unwrap_or(listener));
        match self.is_proxy(peer) {
            false => direct,
            true => {
                let forwarded = &request.forwarded;
                direct.forwarded(
                    forwarded.proto.as_deref(),
                    forwarded.host().as_deref(),
                    forwarded.prefix.as_deref(),
                )
            }
        }
    }

    /// Returns whether what is forwarded from this address counts.
    fn is_proxy(&self, peer: IpAddr) -> bool {
        self.proxies.iter().any(|network| network.contains(peer))
    }

    /// Returns the address of the client of a trusted proxy: the latest that is not a proxy itself.
    #[must_use]
    pub fn client(&self, request: &HttpRequest, peer: IpAddr) -> Option<IpAddr> {
        let mut clients = request.forwarded.clients.iter().rev().copied();
        self.is_proxy(peer).then(|| clients.find(|client| !self.is_proxy(*client)))?
    }

    /// Returns how a request may read what is served.
    ///
    /// # Errors
    /// If it names a host or comes from an origin that is not allowed, or lacks the token.
    pub fn check(
        &self,
        request: &HttpRequest,
        peer: IpAddr,
        base: PublicUrl,
    ) -> Result<HttpAccess, HttpRefused> {
        self.check_host(request, peer)?;
        // A browser asks without the token.
        if request.method != HttpMethod::Options {
            self.check_token(request)?;
        }
        let origin = self.check_origin(request, &base)?;
        let token = self.token.as_deref().filter(|_| request.parameter(TOKEN).is_some()).map(escaped_token);
        Ok(HttpAccess { origin, base, token })
    }

    /// Returns whether pages of this host, as a request names it, have this origin. Under one of its other names, this server may be
    /// behind a reverse proxy that adds TLS.
    fn is_page_of(&self, host: &str, origin: &str) -> bool {
        let name = host.split(':').next().unwrap_or(host);
        let by_tls = || self.hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(name));
        match origin.split_once("://") {
            Some(("http", authority)) => authority == host,
            Some(("https", authority)) => authority.eq_ignore_ascii_case(host) && by_tls(),
            _ => false,
        }
    }

    /// A trusted proxy decides itself for which names it is there.
    fn check_host(&self, request: &HttpRequest, peer: IpAddr) -> Result<(), HttpRefused> {
        // Programs with HTTP/1.0 may omit it. Browsers do not.
        let Some(host) = request.host.as_deref().filter(|_| !self.is_proxy(peer)) else { return Ok(()) };
        let public = self.public_url.as_ref().map(PublicUrl::authority);
        if is_own(host, &self.hosts) || public.is_some_and(|public| public.eq_ignore_ascii_case(host)) {
            return Ok(());
        }
        let text = format!("the name {host:?} is not allowed: use the address{}", self.host_advice);
        Err(HttpRefused::new(HttpRefusal::Host, text))
    }

    fn check_token(&self, request: &HttpRequest) -> Result<(), HttpRefused> {
        let Some(token) = &self.token else { return Ok(()) };
        let in_query = request.parameter(TOKEN);
        let mut given = request.tokens.iter().map(String::as_str).chain(in_query.as_deref());
        if given.any(|given| is_equal(given, token)) {
            return Ok(());
        }
        let text = "this server requires a token: add ?token=TOKEN to the address, or the header `Authorization: Bearer TOKEN`";
        Err(HttpRefused::new(HttpRefusal::Token, text))
    }

    /// Returns the origin to which the response may be shown, if the request names one that is allowed.
    fn check_origin(&self, request: &HttpRequest, base: &PublicUrl) -> Result<Option<String>, HttpRefused> {
        let foreign = |text: String| Err(HttpRefused::new(HttpRefusal::Origin, text));
        match request.origin.as_deref() {
            Some(origin) if self.origins.iter().any(|allowed| allowed == origin || allowed == "*") => {
                Ok(Some(origin.to_owned()))
            }
            Some(origin) if request.host.as_deref().is_some_and(|host| self.is_page_of(host, origin)) => {
                Ok(None)
            }
            Some(origin) if origin == base.origin() => Ok(None),
            Some(origin) => foreign(format!("pages of {origin:?} may not read this{}", self.origin_advice)),
            // A picture or a script has no origin, but what it requests may have effects, such as that a group is joined.
            None if request.is_cross_site && !self.origins.iter().any(|allowed| allowed == "*") => {
                foreign("pages of other sites may not use this: open it in a tab of its own".into())
            }
            None => Ok(None),
        }
    }
}

/// What a request may read, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpAccess {
    /// The origin of another site to which the response may be shown.
    pub origin: Option<String>,
    /// The address of this server for the client.
    pub base: PublicUrl,
    /// The token for the following requests of a browser, if the address had it.
    token: Option<String>,
}

impl HttpAccess {
    /// Returns the access of a server that everybody may read, at this address.
    #[must_use]
    pub const fn open(base: PublicUrl) -> Self {
        Self { origin: None, base, token: None }
    }

    /// Returns the header with which a browser keeps the token, as a line; empty if the address had none.
    #[must_use]
    pub fn cookie(&self) -> String {
        let secure = if self.base.is_secure() { "; Secure" } else { "" };
        self.token.as_deref().map_or_else(String::new, |token| {
            let path = self.base.prefix();
            format!("Set-Cookie: {TOKEN}={token}; Path={path}/; HttpOnly; SameSite=Strict{secure}\r\n")
        })
    }
}

/// Returns a token as it is in addresses.
#[must_use]
pub fn escaped_token(token: &str) -> String {
    utf8_percent_encode(token, ESCAPED).to_string()
}

/// Compares tokens. The time does not show how much of one is right.
fn is_equal(given: &str, token: &str) -> bool {
    let differences = given.bytes().zip(token.bytes()).fold(0, |all, (given, wanted)| all | (given ^ wanted));
    given.len() == token.len() && differences == 0
}

/// Returns whether the host of a request is an address, `localhost`, or one of these names. An address is the one that
/// the client connected to, while a name can be made to point anywhere.
fn is_own(host: &str, names: &[String]) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        // The colons of an IPv6 address are in brackets.
        Some((name, port)) if !port.contains(']') => (name, port),
        _ => (host, "0"),
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let is_address = bare.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6() == (bare != name));
    let is_known = |known: &str| known.eq_ignore_ascii_case(name);
    port.parse::<u16>().is_ok()
        && (is_address || is_known("localhost") || names.iter().any(|name| is_known(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTENER: &str = "10.0.0.9:4022";

    fn peer() -> IpAddr {
        "10.0.0.5".parse().unwrap()
    }

    fn checked(request: &HttpRequest, rules: &AccessRules) -> Result<HttpAccess, HttpRefusal> {
        let base = rules.base(request, peer(), LISTENER);
        rules.check(request, peer(), base).map_err(|refusal| refusal.reason)
    }

    fn requested(head: &str) -> HttpRequest {
        HttpRequest::parse(format!("{head}\r\n\r\n").as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn hosts_are_addresses_localhost_and_names_that_are_allowed() {
        let names = ["tv.lan".to_owned()];
        for own in ["10.0.0.1", "10.0.0.1:4022", "[fd00::1]:4022", "[::1]", "localhost:4022", "TV.lan:80"] {
            assert!(is_own(own, &names), "{own}");
        }
        for other in [
            "",
            "evil.example",
            "evil.example:4022",
            "10.0.0.1.evil.example",
            "tv.lan.",
            "10.0.0.1:x",
            "fd00::1",
        ] {
            assert!(!is_own(other, &names), "{other}");
        }
    }

    #[test]
    fn a_token_is_required_in_a_header_or_in_the_address() {
        let rules = AccessRules { token: Some("s3cret".into()), ..AccessRules::default() };
        let is_refused = |token: Option<&str>, query: &str| {
            let (tokens, query) = (token.map(Into::into).into_iter().collect(), query.to_owned());
            let request = HttpRequest { tokens, query, ..HttpRequest::default() };
            checked(&request, &rules) == Err(HttpRefusal::Token)
        };
        assert!(!is_refused(Some("s3cret"), "") && !is_refused(None, "raw&token=s3cret"));
        assert!(!is_refused(Some("old"), "token=s3cret"), "a cookie of before does not keep out");
        for wrong in ["", "s3cre", "s3cret ", "S3cret", "s3cretx"] {
            assert!(is_refused(Some(wrong), "") && is_refused(None, &format!("token={wrong}x")), "{wrong}");
        }
        assert!(is_refused(None, ""));
    }

    #[test]
    fn a_browser_keeps_the_token_of_the_address() {
        let rules = AccessRules { token: Some("semi;and&dollar$".into()), ..AccessRules::default() };
        let access = checked(&requested("GET /?token=semi%3Band%26dollar%24 HTTP/1.0"), &rules).unwrap();
        let cookie = "Set-Cookie: token=semi%3Band%26dollar%24; Path=/; HttpOnly; SameSite=Strict\r\n";
        assert_eq!(access.cookie(), cookie);
        let again = requested("GET / HTTP/1.0\r\nCookie: token=semi%3Band%26dollar%24");
        assert_eq!(checked(&again, &rules).unwrap().cookie(), "");
        let rules = AccessRules { public_url: "https://tv.example/iptv".parse().ok(), ..rules };
        let access = checked(&requested("GET /?token=semi%3Band%26dollar%24 HTTP/1.0"), &rules).unwrap();
        assert!(access.cookie().ends_with("; Path=/iptv/; HttpOnly; SameSite=Strict; Secure\r\n"));
    }

    #[test]
    fn pages_of_other_origins_may_not_read_unless_allowed() {
        let request = |origin: Option<&str>, is_cross_site| HttpRequest {
            host: Some("10.0.0.1:4022".into()),
            origin: origin.map(Into::into),
            is_cross_site,
            ..HttpRequest::default()
        };
        let mut rules = AccessRules::default();
        rules.origins.push("https://tv.example".into());
        let origin =
            |request: &HttpRequest, rules: &AccessRules| checked(request, rules).map(|access| access.origin);
        assert_eq!(origin(&request(None, false), &rules), Ok(None));
        assert_eq!(origin(&request(Some("http://10.0.0.1:4022"), false), &rules), Ok(None));
        let allowed = origin(&request(Some("https://tv.example"), true), &rules);
        assert_eq!(allowed, Ok(Some("https://tv.example".into())));
        for (foreign, is_cross_site) in [
            (Some("https://evil.example"), false),
            (Some("null"), false),
            (Some("https://10.0.0.1:4022"), false),
            (Some("http://10.0.0.1:80"), false),
            (None, true),
        ] {
            let refused = origin(&request(foreign, is_cross_site), &rules);
            assert_eq!(refused, Err(HttpRefusal::Origin), "{foreign:?}");
        }
        rules.hosts.push("tv.lan".into());
        let by_tls =
            |host: &str| HttpRequest { host: Some(host.into()), ..request(Some("https://tv.lan"), false) };
        assert_eq!(origin(&by_tls("tv.lan"), &rules), Ok(None));
        assert_eq!(origin(&by_tls("10.0.0.1"), &rules), Err(HttpRefusal::Origin));
        let without_host = HttpRequest { host: None, ..request(Some("ftp://x"), false) };
        assert_eq!(origin(&without_host, &rules), Err(HttpRefusal::Origin));
        rules.origins = vec!["*".into()];
        assert_eq!(origin(&request(Some("null"), true), &rules), Ok(Some("null".into())));
        assert_eq!(origin(&request(None, true), &rules), Ok(None));
    }

    #[test]
    fn what_is_forwarded_counts_from_a_trusted_proxy_only() {
        let head = "GET / HTTP/1.1\r\nHost: 10.0.0.9:4022\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: tv.example\r\n\
            X-Forwarded-Prefix: /iptv\r\nX-Forwarded-For: 203.0.113.7, 10.0.0.6";
        let request = requested(head);
        let mut rules = AccessRules::default();
        let base = |rules: &AccessRules| rules.base(&request, peer(), LISTENER).to_string();
        assert_eq!((base(&rules).as_str(), rules.client(&request, peer())), ("http://10.0.0.9:4022", None));
        rules.proxies = vec!["10.0.0.4/30".parse().unwrap()];
        assert_eq!(base(&rules), "https://tv.example/iptv");
        assert_eq!(rules.client(&request, peer()), "203.0.113.7".parse().ok());
        // Pages there are our own, and the proxy knows its names.
        let own = requested(&format!("{head}\r\nOrigin: https://tv.example"));
        assert_eq!(checked(&own, &rules).map(|access| access.origin), Ok(None));
        let named = requested("GET / HTTP/1.1\r\nHost: tv.example");
        assert!(checked(&named, &rules).is_ok());
        rules.proxies.clear();
        assert_eq!(checked(&named, &rules), Err(HttpRefusal::Host));
        rules.public_url = "https://tv.example/iptv".parse().ok();
        assert_eq!(checked(&named, &rules).unwrap().base.to_string(), "https://tv.example/iptv");
    }
}
