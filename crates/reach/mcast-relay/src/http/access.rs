//! Who may read: requests that name this server, and pages of this server or of origins that are allowed.

use std::net::IpAddr;

use super::HttpConfig;
use super::refusal::{HttpRefusal, Refusal};
use super::request::Request;

/// Returns the origin to which the response may be shown, if the request names one that is allowed.
pub(super) fn check(request: &Request, config: &HttpConfig) -> Result<Option<String>, Refusal> {
    let host = request.host.as_deref().unwrap_or_default();
    // Programs with HTTP/1.0 may omit it. Browsers do not.
    if request.host.is_some() && !is_own(host, &config.hosts) {
        let text =
            format!("the name {host:?} is not allowed: use the address, or start the relay with --http-host");
        return Err(Refusal::new(HttpRefusal::Host, text));
    }
    if let Some(token) = &config.token
        && !has_token(request, token)
    {
        let text = "this server requires a token: add ?token=TOKEN to the address, or the header `Authorization: Bearer TOKEN`";
        return Err(Refusal::new(HttpRefusal::Token, text));
    }
    let foreign = |text: String| Err(Refusal::new(HttpRefusal::Origin, text));
    match request.origin.as_deref() {
        Some(origin) if config.origins.iter().any(|allowed| allowed == origin || allowed == "*") => {
            Ok(Some(origin.to_owned()))
        }
        Some(origin) if origin.strip_prefix("http://") == request.host.as_deref() => Ok(None),
        Some(origin) => foreign(format!(
            "pages of {origin:?} may not read this: start the relay with --http-origin to allow it"
        )),
        // A picture or a script has no origin, but what it requests would make this server join a group.
        None if request.is_cross_site && !config.origins.iter().any(|allowed| allowed == "*") => {
            foreign("pages of other sites may not use this: open it in a tab of its own".into())
        }
        None => Ok(None),
    }
}

/// Returns whether a request has this token.
fn has_token(request: &Request, token: &str) -> bool {
    let given = request.bearer.as_deref().map(Into::into).or_else(|| request.parameter("token"));
    // The time does not show how much of it is right.
    given.is_some_and(|given| {
        let differences =
            given.bytes().zip(token.bytes()).fold(0, |all, (given, wanted)| all | (given ^ wanted));
        given.len() == token.len() && differences == 0
    })
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
    fn a_token_is_required_in_the_header_or_in_the_address() {
        let config = HttpConfig { token: Some("s3cret".into()), ..HttpConfig::new(1) };
        let is_refused = |bearer: Option<&str>, query: &str| {
            let (bearer, query) = (bearer.map(Into::into), query.to_owned());
            let request = Request { bearer, query, ..Request::default() };
            check(&request, &config).is_err_and(|refusal| refusal.reason == HttpRefusal::Token)
        };
        assert!(!is_refused(Some("s3cret"), "") && !is_refused(None, "raw&token=s3cret"));
        for wrong in ["", "s3cre", "s3cret ", "S3cret", "s3cretx"] {
            assert!(is_refused(Some(wrong), "") && is_refused(None, &format!("token={wrong}x")), "{wrong}");
        }
        assert!(is_refused(None, ""));
    }

    #[test]
    fn pages_of_other_origins_may_not_read_unless_allowed() {
        let request = |origin: Option<&str>, is_cross_site| Request {
            host: Some("10.0.0.1:4022".into()),
            origin: origin.map(Into::into),
            is_cross_site,
            ..Request::default()
        };
        let mut config = HttpConfig::new(1);
        config.origins.push("https://tv.example".into());
        assert_eq!(check(&request(None, false), &config), Ok(None));
        assert_eq!(check(&request(Some("http://10.0.0.1:4022"), false), &config), Ok(None));
        let allowed = check(&request(Some("https://tv.example"), true), &config);
        assert_eq!(allowed, Ok(Some("https://tv.example".into())));
        for (origin, is_cross_site) in [
            (Some("https://evil.example"), false),
            (Some("null"), false),
            (Some("https://10.0.0.1:4022"), false),
            (Some("http://10.0.0.1:80"), false),
            (None, true),
        ] {
            let refused = check(&request(origin, is_cross_site), &config).unwrap_err();
            assert_eq!(refused.reason, HttpRefusal::Origin, "{origin:?}");
        }
        config.origins = vec!["*".into()];
        assert_eq!(check(&request(Some("null"), true), &config), Ok(Some("null".into())));
        assert_eq!(check(&request(None, true), &config), Ok(None));
    }
}
