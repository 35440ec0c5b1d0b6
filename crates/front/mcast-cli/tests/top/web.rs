//! `mcast top --web`: the page, its state and events, who may read them, and how it looks in a browser.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mcast_lab::Host;
use serde_json::Value;

use crate::browser::{browser, opened, picture_folder};
use crate::streams::{GROUP, Television, rtp, send_query, socket, top};
use crate::support::{Lan, Running, TIMEOUT, eventually, start};

/// A name that would be a script, would end the script that contains the state of a snapshot, and would turn the text around it.
const HOSTILE: &str =
    "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=1>\u{202e}\u{1b}[31m";

/// Returns the URL that the running command reports.
fn url(running: &Running) -> String {
    running.stderr.wait_for("page at http://");
    let text = running.stderr.text();
    let start = text.find("http://").unwrap();
    text[start..].split_whitespace().next().unwrap().to_owned()
}

/// A URL in parts: the address, the token.
fn parts(url: &str) -> (String, Option<String>) {
    let rest = url.strip_prefix("http://").unwrap();
    let (address, path) = rest.split_once('/').unwrap();
    (address.to_owned(), path.strip_prefix("?token=").map(str::to_owned))
}

/// Requests a path, and returns the connection after the request.
fn request(host: &Host, address: &str, path: &str, headers: &str) -> TcpStream {
    let head = format!("GET {path} HTTP/1.1\r\n{headers}\r\n");
    host.run(|| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream
    })
    .unwrap()
}

/// Returns the head and the body of a response.
fn get(host: &Host, address: &str, path: &str, headers: &str) -> (String, String) {
    let mut response = String::new();
    request(host, address, path, headers).read_to_string(&mut response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

fn state(host: &Host, address: &str) -> Value {
    let (head, body) = get(host, address, "/state.json", &format!("Host: {address}\r\n"));
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    serde_json::from_str(&body).unwrap()
}

/// Announces a service with this name by SSDP, as a device does.
fn announce(host: &Host, name: &str) {
    let message = format!(
        "NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nCACHE-CONTROL: max-age=1800\r\nNTS: ssdp:alive\r\n\
         NT: upnp:rootdevice\r\nUSN: uuid:{name}::upnp:rootdevice\r\nSERVER: {name}\r\nLOCATION: http://10.0.0.1:80/d.xml\r\n\r\n"
    );
    socket(host).send_to(message.as_bytes(), "239.255.255.250:1900").unwrap();
}

#[test]
fn a_page_has_streams_with_loss_services_and_findings_and_continues_after_an_event() {
    let lan = Lan::new();
    let running = top(&lan.b, &["--web=127.0.0.1:0"]);
    let (address, token) = parts(&url(&running));
    assert_eq!(token, None, "only this machine can connect");
    let _television = Television::start(&lan.a, GROUP);
    announce(&lan.a, "printer");
    send_query(&lan.a);
    let mut now = Value::Null;
    eventually("a stream with loss, a service, a querier and an examination", || {
        now = state(&lan.b, &address);
        let has_loss = |numbers: &Value| numbers[4].as_u64().is_some_and(|lost| lost > 0);
        now["n"].as_object().is_some_and(|numbers| numbers.values().any(has_loss))
            && now["services"].to_string().contains("printer")
            && now["services"].to_string().contains("\"querier\"")
            && now["examined"]["verdict"].is_string()
    });
    let stream = now["streams"].as_object().unwrap().values().find(|stream| stream["group"] == "239.1.2.3");
    assert_eq!((&stream.unwrap()["source"], &stream.unwrap()["if"]), (&"10.0.0.1".into(), &"eth0".into()));
    let changes = now["changes"].to_string();
    assert!(
        changes.contains("239.1.2.3:5000 from 10.0.0.1 on eth0") && changes.contains("lost"),
        "{changes}"
    );

    let (head, page) = get(&lan.b, &address, "/", &format!("Host: {address}\r\n"));
    assert!(head.contains("Content-Security-Policy: default-src 'none'; script-src 'self'"), "{head}");
    assert!(
        !page.contains("https://") && !page.contains("<script>"),
        "nothing from elsewhere, nothing inline"
    );
    let last = now["last"].as_str().unwrap();
    let events =
        request(&lan.b, &address, "/events", &format!("Host: {address}\r\nLast-Event-ID: {last}\r\n"));
    let mut lines = BufReader::new(events).lines().map(Result::unwrap);
    let data = lines.find_map(|line| line.strip_prefix("data: ").map(str::to_owned)).unwrap();
    let event: Value = serde_json::from_str(&data).unwrap();
    let numbers = |value: &Value| value["time"].as_u64().unwrap();
    assert!((1..5_000).contains(&(numbers(&event) - numbers(&now))), "the event after the state: {event}");
    assert!(event["n"].as_object().is_some_and(|numbers| !numbers.is_empty()), "{event}");
    let ended = running.signalled(libc::SIGINT);
    assert_eq!(ended.status, Some(130), "{ended:?}");
}

#[test]
fn services_of_an_interface_that_vanishes_leave_the_page() {
    let lan = Lan::new();
    lan.b.connect("eth1", &lan.switch, &["10.0.1.2/24"]).unwrap();
    let running = top(&lan.b, &["--web=127.0.0.1:0"]);
    let (address, _) = parts(&url(&running));
    let services = || {
        let now = state(&lan.b, &address);
        let services = now["services"].as_object().unwrap().values().filter(|it| it["name"] == "printer");
        services.map(|it| it["if"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    eventually("the printer on both interfaces", || {
        announce(&lan.a, "printer");
        services().len() == 2
    });
    lan.b.delete_interface("eth1").unwrap();
    eventually("one that is left", || services() == ["eth0"]);
}

/// The doctor in the background listens for the programs of the machine, and not for the page itself, which joins to watch.
#[test]
fn a_page_states_why_a_group_does_not_arrive_at_a_program() {
    let lan = Lan::new();
    let _television = Television::start(&lan.a, GROUP);
    let program = start(&lan.b, &["recv", "10.0.0.9@239.1.2.3:5000"]);
    program.stderr.wait_for("joined");
    let silent = start(&lan.b, &["recv", "239.1.9.9:5000"]);
    silent.stderr.wait_for("joined");
    let running = top(&lan.b, &["--web=127.0.0.1:0", "--join", GROUP]);
    let (address, _) = parts(&url(&running));
    let mut now = Value::Null;
    eventually("an examination", || {
        now = state(&lan.b, &address);
        now["examined"]["verdict"].is_string()
    });
    // The television leaves out every tenth datagram, too.
    let findings = now["findings"].as_object().unwrap().values();
    let mut findings: Vec<_> = findings.filter(|each| each["id"] != "lost-before-this-machine").collect();
    let refused = findings.pop().unwrap();
    assert!(refused["id"] == "source-not-admitted" && findings.is_empty(), "{now}");
    assert!(refused["evidence"].to_string().contains("from 10.0.0.1 to 239.1.2.3:5000"), "{now}");
}

#[test]
fn other_machines_need_the_token_and_a_name_of_this_one() {
    let lan = Lan::new();
    let running = top(&lan.b, &["--web=10.0.0.2:0"]);
    let (address, token) = parts(&url(&running));
    let token = token.unwrap();
    assert_eq!(token.len(), 32);
    let host = format!("Host: {address}\r\n");
    for (path, headers, status) in [
        ("/".to_owned(), host.clone(), "401"),
        ("/state.json".into(), host.clone(), "401"),
        ("/events".into(), host.clone(), "401"),
        ("/snapshot.html".into(), host.clone(), "401"),
        (format!("/?token={token}x"), host.clone(), "401"),
        (format!("/?token={token}"), host.clone(), "200"),
        ("/state.json".into(), format!("{host}Cookie: token={token}\r\n"), "200"),
        ("/state.json".into(), format!("{host}Authorization: Bearer {token}\r\n"), "200"),
        (format!("/state.json?token={token}"), "Host: evil.example\r\n".into(), "403"),
        (format!("/state.json?token={token}"), format!("{host}Origin: http://evil.example\r\n"), "403"),
    ] {
        let (head, _) = get(&lan.c, &address, &path, &headers);
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{path} {headers}: {head}");
        assert_eq!(head.contains("Set-Cookie: token="), path.starts_with("/?") && status == "200", "{head}");
    }
    drop(running);
}

/// Holds of a page that fits the width of the screen and has the colours of the screen.
const FITS: &str = "(() => {
    const root = document.documentElement;
    const light = getComputedStyle(root).backgroundColor.match(/\\d+/g).slice(0, 3).every(part => part > 128);
    return root.scrollWidth <= innerWidth && light !== matchMedia('(prefers-color-scheme: dark)').matches;
})()";

#[test]
fn a_reverse_proxy_serves_the_page_under_its_name_to_those_with_the_token() {
    let lan = Lan::new();
    let running = top(&lan.b, &["--web=127.0.0.1:0", "--web-host", "wall.example", "--web-host", "wall.lan"]);
    let (address, token) = parts(&url(&running));
    let token = token.unwrap();
    for (headers, status) in [
        (format!("Host: wall.example\r\nCookie: token={token}\r\n"), "200"),
        (format!("Host: WALL.lan:8443\r\nCookie: token={token}\r\n"), "200"),
        (format!("Host: wall.lan\r\nOrigin: https://wall.lan\r\nCookie: token={token}\r\n"), "200"),
        (format!("Host: wall.lan\r\nOrigin: https://evil.example\r\nCookie: token={token}\r\n"), "403"),
        ("Host: wall.example\r\n".into(), "401"),
        (format!("Host: evil.example\r\nCookie: token={token}\r\n"), "403"),
    ] {
        let (head, body) = get(&lan.b, &address, "/state.json", &headers);
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{headers}: {head}");
        assert_eq!(body.contains("--web-host"), headers.contains("Host: evil"), "{body}");
    }
}

#[test]
fn the_page_fits_every_screen_and_hostile_names_stay_text_there_and_in_a_snapshot() {
    let Some(browser) = browser() else { return };
    let lan = Lan::new();
    let running = top(&lan.b, &["--web=127.0.0.1:0", "--join", GROUP]);
    let url = url(&running);
    let (address, _) = parts(&url);
    let _television = Television::start(&lan.a, GROUP);
    announce(&lan.a, HOSTILE);
    announce(&lan.c, "An office printer with a name that is longer than a line of a phone");
    send_query(&lan.a);
    let (temporary, pictures) = picture_folder("top-web");
    let holds = format!(
        "document.body.innerText.includes('{GROUP}') && document.querySelector('td.spark svg path')
        && document.querySelectorAll('.segment svg .node').length >= 2
        && document.querySelector('#services').textContent.includes('window.hacked=1')
        && document.querySelector('#services').textContent.includes('office printer')
        && !document.querySelector('main img') && window.hacked === undefined && {FITS}"
    );
    opened(&lan.b, browser, &url, &holds, Some(&pictures));
    assert_eq!(std::fs::read_dir(&pictures).unwrap().count(), 6);

    let plot = "(() => { const row = document.querySelector('tr.stream'); if (row && !window.clicked) { window.clicked = 1; row.click(); }
        return document.querySelector('dialog[open] svg path') !== null; })()";
    opened(&lan.b, browser, &url, plot, None);

    let (head, file) = get(&lan.b, &address, "/snapshot.html", &format!("Host: {address}\r\n"));
    assert!(head.contains("Content-Disposition: attachment; filename=\"multicast-"), "{head}");
    let path = temporary.path().join("snapshot.html");
    std::fs::write(&path, file).unwrap();
    running.signalled(libc::SIGINT);
    // It needs neither the command nor the network.
    let saved = format!("file://{}", path.display());
    let text = opened(&lan.c, browser, &saved, &holds, None);
    assert!(text.contains("snapshot of"), "{text}");
}

/// What a process has cost so far: its processor time, and its peak memory in bytes.
fn cost(running: &Running) -> (Duration, u64) {
    let of = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", running.child.id())).unwrap();
    let stat = of("stat");
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    // The user and the system time, in hundredths of a second.
    let ticks: u64 = [11, 12].iter().map(|at| fields[*at].parse::<u64>().unwrap()).sum();
    let status = of("status");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kilobytes: u64 = peak.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    (Duration::from_millis(ticks * 10), kilobytes * 1_024)
}

/// Ends a thread, also if the test fails.
struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// 200 streams that 50 browsers follow. Built for release, it takes less than a tenth of a core; a build for tests takes several
/// times as much.
#[test]
fn many_streams_and_browsers_cost_little() {
    const STREAMS: u16 = 200;
    const BROWSERS: usize = 50;
    /// One per second.
    const EVENTS: usize = 10;
    let lan = Lan::new();
    let running = top(&lan.b, &["--web=127.0.0.1:0"]);
    let (address, _) = parts(&url(&running));
    let (is_over, sender) = (AtomicBool::new(false), socket(&lan.a));
    std::thread::scope(|scope| {
        let end = SetAtEnd(&is_over);
        scope.spawn(|| {
            // Each stream sends ten datagrams per second.
            let mut due = Instant::now();
            for number in 0_u32.. {
                let (stream, sequence) = (number % u32::from(STREAMS), number / u32::from(STREAMS));
                let _ = sender.send_to(&rtp(sequence as u16), ("239.1.2.3", 5_000 + stream as u16));
                due += Duration::from_secs(1) / 10 / u32::from(STREAMS);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                if is_over.load(Ordering::Acquire) {
                    return;
                }
            }
        });
        eventually("all streams", || state(&lan.b, &address)["streams"].as_object().unwrap().len() >= 200);
        let follow = || {
            let events = request(&lan.b, &address, "/events", &format!("Host: {address}\r\n"));
            let lines = BufReader::new(events).lines().map(Result::unwrap);
            lines.filter(|line| line.starts_with("data: "))
        };
        let mut browsers: Vec<_> = (0..BROWSERS).map(|_| follow()).collect();
        browsers.iter_mut().for_each(|browser| drop(browser.next().unwrap()));
        let (before, start) = (cost(&running), Instant::now());
        for _ in 0..EVENTS {
            for browser in &mut browsers {
                let event: Value = serde_json::from_str(&browser.next().unwrap()["data: ".len()..]).unwrap();
                assert!(event["n"].is_object(), "{event}");
            }
        }
        let (after, elapsed) = (cost(&running), start.elapsed());
        drop(end);
        let share = (after.0 - before.0).as_secs_f64() / elapsed.as_secs_f64();
        eprintln!("{:.1} % of a core, {} KiB at most", share * 100.0, after.1 / 1_024);
        assert!(elapsed >= Duration::from_secs(EVENTS as u64 - 2), "{elapsed:?}");
        let most = if cfg!(debug_assertions) { 0.6 } else { 0.1 };
        assert!(share <= most, "{:.1} % of a core", share * 100.0);
        let most = if cfg!(debug_assertions) { 96 << 20 } else { 64 << 20 };
        assert!(after.1 <= most, "{} bytes", after.1);
    });
}
