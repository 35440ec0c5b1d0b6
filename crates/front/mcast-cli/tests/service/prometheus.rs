//! A real Prometheus that scrapes every kind of process: each query of the board has an answer, and an alert names what it is about.

use std::fs::{read_to_string, write};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use mcast_lab::Host;
use serde_json::Value;

use crate::running::redis;
use crate::support::{Lan, Running, eventually_within, mcast, program, start};

/// The processes, where each serves its metrics, and the words of its command.
const PROCESSES: [(&str, &str); 7] = [
    ("10.0.0.2:9001", "subscribe 239.255.1.2:7000 -i eth0 --stay --as one --json"),
    ("10.0.0.2:9002", "bridge 239.255.1.2%eth0:7000 to redis://127.0.0.1?key=prices --stay"),
    ("10.0.0.2:9003", "bridge redis://127.0.0.1?key=prices to 239.255.1.3%eth0:7000 --name again --stay"),
    ("10.0.0.2:9004", "top -i eth0"),
    ("10.0.0.2:9005", "doctor 239.9.9.9:5000 -i eth0 -W 1s --watch=1s"),
    (
        "10.0.0.2:9006",
        "relay --config FOLDER/rules --tunnel site=10.0.0.3:5700 --tunnel-key FOLDER/tunnels.key",
    ),
    (
        "10.0.0.1:9007",
        "publish 239.255.1.2:7000 -i eth0 --name prices --log FOLDER/log --ack one --flow slowest",
    ),
];

/// Until when all of them have been scraped and the alerts evaluated, on a busy machine too.
const LIMIT: Duration = Duration::from_secs(90);

const RULES: &str = "\
    239.1.2.3:5000 from eth0 to udp://10.0.0.3:6000\n\
    239.1.2.3:5000 from eth0 to tunnel:site\n\
    239.1.2.0/24:5000 from eth0 to http://10.0.0.2:4022\n";

fn address(port: u16) -> String {
    format!("10.0.0.2:{port}")
}

/// Requests a path by HTTP; returns the body.
fn fetched(host: &Host, address: &str, path: &str) -> Option<String> {
    let mut client = host.run(|| TcpStream::connect(address)).unwrap().ok()?;
    write!(client, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").ok()?;
    let mut text = String::new();
    client.read_to_string(&mut text).ok()?;
    text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
}

/// Asks Prometheus; returns what is below `data`.
fn asked(host: &Host, path: &str) -> Option<Value> {
    let answer: Value = serde_json::from_str(&fetched(host, "127.0.0.1:9090", path)?).ok()?;
    (answer["status"] == "success").then(|| answer["data"].clone())
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Returns a query as Grafana sends it, with everything selected.
fn with_everything_selected(expression: &str) -> String {
    let names = ["$instance", "$stream", "$group"];
    let all = names.into_iter().fold(expression.to_owned(), |text, name| text.replace(name, ".*"));
    all.replace("$__rate_interval", "30s").replace("$__range", "1h")
}

fn prometheus(host: &Host, folder: &Path) -> Running {
    let jobs = PROCESSES.map(|(address, words)| {
        let command = words.split(' ').next().unwrap();
        format!(
            "  - job_name: mcast-{command}-{}\n    static_configs: [{{ targets: ['{address}'] }}]\n",
            &address[9..]
        )
    });
    let packaged =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../packaging/prometheus/mcast.rules.yml");
    write(folder.join("mcast.rules.yml"), read_to_string(packaged).unwrap()).unwrap();
    let config = format!(
        "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [mcast.rules.yml]\nscrape_configs:\n{}",
        jobs.concat()
    );
    let path = folder.join("prometheus.yml");
    write(&path, config).unwrap();
    let options = [
        format!("--config.file={}", path.display()),
        format!("--storage.tsdb.path={}", folder.join("data").display()),
        "--web.listen-address=127.0.0.1:9090".to_owned(),
    ];
    program(host, "prometheus", &options.each_ref().map(String::as_str), false)
}

#[test]
fn each_query_of_the_board_has_an_answer_and_an_alert_names_the_finding() {
    if !mcast_lab::has_program("prometheus", "--version", "the queries of the board")
        || !mcast_lab::has_program("redis-server", "--version", "the queries of the board")
    {
        return;
    }
    let board = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../packaging/grafana/mcast.json");
    let board: Value = serde_json::from_str(&read_to_string(board).unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let lan = Lan::new();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let made = mcast(&lan.b, &["keys", "make", "--tunnel", &path("tunnels.key")]).succeeded();
    let key = read_to_string(path("tunnels.key")).unwrap() + &format!("peer site {}\n", made.text().trim());
    write(path("tunnels.key"), key).unwrap();
    write(path("rules"), RULES).unwrap();
    let _engine = redis(&lan.b);
    let mut processes: Vec<Running> = PROCESSES
        .iter()
        .map(|(address, words)| {
            let host = if address.starts_with("10.0.0.1:") { &lan.a } else { &lan.b };
            let words = words.replace("FOLDER", folder.path().to_str().unwrap());
            let words: Vec<&str> = words.split(' ').chain(["--metrics", address]).collect();
            program(host, crate::support::MCAST, &words, true)
        })
        .collect();
    let mut messages = processes[6].child.stdin.take().unwrap();
    thread::spawn(move || {
        while writeln!(messages, "a price").is_ok() {
            thread::sleep(Duration::from_millis(100));
        }
    });
    // A relay refuses what may not leave the segment, and requests for groups of no rule.
    processes
        .push(start(&lan.a, &["send", "-q", "-i", "eth0", "239.1.2.3:5000", "--every", "100ms", "hello"]));
    processes.push(prometheus(&lan.b, folder.path()));
    let queries = board["panels"].as_array().unwrap().iter().flat_map(|panel| {
        let targets = panel["targets"].as_array().into_iter().flatten();
        targets.map(move |target| (panel["title"].as_str().unwrap(), target["expr"].as_str().unwrap()))
    });
    let mut unanswered: Vec<_> = queries.collect();
    assert!(unanswered.len() > 30);
    let deadline = Instant::now() + LIMIT;
    while !unanswered.is_empty() {
        assert!(Instant::now() < deadline, "without an answer: {unanswered:#?}");
        drop(fetched(&lan.b, &address(4022), "/udp/239.9.9.9:5000/"));
        unanswered.retain(|(_, expression)| {
            let query = format!("/api/v1/query?query={}", escaped(&with_everything_selected(expression)));
            let data = asked(&lan.b, &query);
            data.is_none_or(|data| data["result"].as_array().unwrap().is_empty())
        });
        thread::sleep(Duration::from_millis(200));
    }
    let summary = "The doctor on 10.0.0.2:9005 found nothing-arrives of 239.9.9.9:5000 on eth0";
    eventually_within(LIMIT, "an alert that names the finding", || {
        let alerts = asked(&lan.b, "/api/v1/alerts").unwrap_or_default();
        let mut alerts = alerts["alerts"].as_array().into_iter().flatten();
        alerts.any(|alert| alert["annotations"]["summary"] == summary)
    });
    for process in processes {
        process.child.kill().unwrap();
    }
}
