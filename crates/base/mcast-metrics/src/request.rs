//! A parser for the part of HTTP requests that the metrics server needs.

use std::io::{self, Read};

/// An HTTP request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// `GET` of a page.
    Get(Page),
    /// `HEAD` of a page.
    Head(Page),
    /// Another path.
    Elsewhere,
    /// Another method.
    OtherMethod,
    /// Not HTTP, or too long.
    Malformed,
}

/// What can be requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    /// `/metrics`
    Metrics,
    /// `/live`
    Liveness,
    /// `/ready`
    Readiness,
}

impl Page {
    fn of_path(path: &str) -> Option<Self> {
        match path {
            "/metrics" => Some(Self::Metrics),
            "/live" => Some(Self::Liveness),
            "/ready" => Some(Self::Readiness),
            _ => None,
        }
    }
}

impl Request {
    /// The maximum length of the head; no real client sends more.
    const LONGEST: u64 = 8 << 10;

    /// Reads up to the empty line after the head.
    pub(super) fn read(stream: impl Read) -> io::Result<Self> {
        let mut stream = stream.take(Self::LONGEST);
        let mut head = Vec::new();
        let mut chunk = [0; 1024];
        loop {
            match stream.read(&mut chunk)? {
                0 => return Ok(Self::Malformed),
                count => head.extend_from_slice(&chunk[..count]),
            }
            if has_end(&head) {
                return Ok(Self::of_head(&head));
            }
        }
    }

    fn of_head(head: &[u8]) -> Self {
        let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let Ok(line) = std::str::from_utf8(line) else { return Self::Malformed };
        let words: Vec<&str> = line.trim_end().split(' ').collect();
        let [method, target, version] = words[..] else { return Self::Malformed };
        if target.is_empty() || !version.starts_with("HTTP/1.") {
            return Self::Malformed;
        }
        let path = target.split('?').next().unwrap_or_default();
        match (method, Page::of_path(path)) {
            ("GET", Some(page)) => Self::Get(page),
            ("HEAD", Some(page)) => Self::Head(page),
            ("GET" | "HEAD", None) => Self::Elsewhere,
            _ => Self::OtherMethod,
        }
    }
}

/// Lines end in `\r\n`; a bare `\n` is accepted, too (RFC 9112 section 2.2).
fn has_end(head: &[u8]) -> bool {
    head.windows(2).any(|pair| pair == b"\n\n") || head.windows(4).any(|four| four == b"\r\n\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Request {
        Request::read(text.as_bytes()).unwrap()
    }

    #[test]
    fn three_paths_exist() {
        assert_eq!(read("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"), Request::Get(Page::Metrics));
        assert_eq!(read("GET /metrics?name[]=a HTTP/1.0\n\n"), Request::Get(Page::Metrics));
        assert_eq!(read("HEAD /metrics HTTP/1.1\r\n\r\n"), Request::Head(Page::Metrics));
        assert_eq!(read("GET /live HTTP/1.1\r\n\r\n"), Request::Get(Page::Liveness));
        assert_eq!(read("GET /ready HTTP/1.1\r\n\r\n"), Request::Get(Page::Readiness));
        assert_eq!(read("GET / HTTP/1.1\r\n\r\n"), Request::Elsewhere);
        assert_eq!(read("GET /metrics/../../etc/passwd HTTP/1.1\r\n\r\n"), Request::Elsewhere);
        assert_eq!(read("POST /metrics HTTP/1.1\r\n\r\n"), Request::OtherMethod);
    }

    #[test]
    fn an_invalid_request_is_nonsense() {
        for text in [
            "",
            "GET /metrics HTTP/1.1\r\n",
            "hello\r\n\r\n",
            "GET  HTTP/1.1\r\n\r\n",
            "GET /metrics\r\n\r\n",
        ] {
            assert_eq!(read(text), Request::Malformed, "{text:?}");
        }
        assert_eq!(Request::read(&[0xff, b'\n', b'\n'][..]).unwrap(), Request::Malformed);
        let endless = format!("GET /metrics HTTP/1.1\r\n{}", "X: y\r\n".repeat(10_000));
        assert_eq!(read(&endless), Request::Malformed);
    }
}
