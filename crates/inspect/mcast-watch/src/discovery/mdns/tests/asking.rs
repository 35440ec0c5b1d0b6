//! What is asked, and when.

use mcast_packet::payload::Dns;

use super::*;
use crate::discovery::{DiscoveryQuestion, DiscoveryRequest};

/// Questions to the IPv4 group, each with the milliseconds after the start.
struct Asked(Vec<(u64, DiscoveryQuestion)>);

impl Listener {
    fn ask(&mut self, name: Option<&str>) {
        let request =
            DiscoveryRequest { name: name.map(Into::into), places: vec![place(2)], ..Default::default() };
        self.table.ask_for(self.now, &request);
    }

    /// Lets time pass, and returns what was asked.
    fn questions(&mut self, milliseconds: u64) -> Asked {
        let end = self.now.after(Duration::from_millis(milliseconds));
        let mut asked = Vec::new();
        while let Some(due) = self.table.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.table.handle_timeout(self.now);
            while let Some(question) = self.table.poll_transmit(self.now) {
                if question.protocol != DiscoveryProtocol::Mdns {
                    continue;
                }
                assert_eq!((question.source_port(), question.destination.port()), (Some(5353), 5353));
                assert!(question.payload.len() <= 1_440);
                if question.destination.is_ipv4() {
                    asked.push((self.now.since(START).as_millis() as u64, question));
                }
            }
        }
        self.now = end;
        Asked(asked)
    }
}

impl Asked {
    /// Returns when this was asked.
    fn times(&self, question: &str) -> Vec<u64> {
        let asks = |payload: &[u8]| {
            Dns::parse(payload).unwrap().questions().any(|asked| asked.to_string() == question)
        };
        self.0.iter().filter(|(_, message)| asks(&message.payload)).map(|(time, _)| *time).collect()
    }

    fn all(&self) -> Vec<String> {
        let messages = self.0.iter().map(|(_, message)| Dns::parse(&message.payload).unwrap());
        let mut all: Vec<_> = messages
            .flat_map(|dns| dns.questions().map(|asked| asked.to_string()).collect::<Vec<_>>())
            .collect();
        all.sort();
        all
    }
}

const TYPES: &str = "_services._dns-sd._udp.local PTR";

#[test]
fn types_are_asked_for_after_a_delay_and_then_at_doubling_intervals() {
    let mut listener = Listener::new();
    assert_eq!(listener.questions(10_000).all(), Vec::<String>::new(), "nothing is asked unless requested");
    let start = listener.now.since(START).as_millis() as u64;
    listener.ask(None);
    let asked = listener.questions(100_000);
    let times = asked.times(TYPES);
    assert!((20..=120).contains(&(times[0] - start)), "{times:?}");
    let intervals: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (interval, expected) in intervals.iter().zip([1_000, 2_000, 4_000, 8_000, 16_000, 32_000]) {
        assert!((expected..=expected * 102 / 100 + 1).contains(interval), "{intervals:?}");
    }
    assert_eq!(intervals.len(), 6);
    assert_eq!(asked.times("_googlecast._tcp.local PTR"), times, "types that people know, too");
    let both = asked.0.iter().map(|(_, message)| message.place).collect::<Vec<_>>();
    assert!(both.iter().all(|asked| *asked == Some(place(2))));
}

#[test]
fn types_that_occur_are_asked_for_and_what_is_missing_of_instances() {
    let mut listener = Listener::new();
    listener.ask(None);
    listener.questions(500);
    listener.hear("10.0.0.7", &["_services._dns-sd._udp.local;PTR;4500;_rare._tcp.local"]);
    let asked = listener.questions(150);
    assert_eq!(asked.all(), ["_rare._tcp.local PTR"]);
    listener.hear("10.0.0.7", &["_rare._tcp.local;PTR;4500;One._rare._tcp.local"]);
    let asked = listener.questions(150).all();
    assert_eq!(asked, ["One._rare._tcp.local SRV", "One._rare._tcp.local TXT"]);
    listener.hear(
        "10.0.0.7",
        &["One._rare._tcp.local;!SRV;120;h.local:80", "One._rare._tcp.local;!TXT;4500;a=b"],
    );
    assert_eq!(listener.questions(150).all(), ["h.local A", "h.local AAAA"]);
    // The host has no IPv6, and states it.
    listener.hear("10.0.0.7", &["h.local;!A;120;10.0.0.7", "h.local;!NSEC;120;1"]);
    let asked = listener.questions(20_000);
    assert_eq!((asked.times("h.local AAAA"), asked.times("One._rare._tcp.local SRV")), (vec![], vec![]));
}

#[test]
fn missing_record_is_asked_for_three_times() {
    let mut listener = Listener::new();
    listener.ask(None);
    listener.questions(500);
    listener.hear("10.0.0.7", &PRINTER[..1]);
    assert_eq!(listener.questions(60_000).times("Office._ipp._tcp.local SRV").len(), 3);
}

#[test]
fn known_answers_are_sent_while_more_than_half_of_their_time_is_left() {
    let mut listener = Listener::new();
    listener.hear("10.0.0.7", &PRINTER);
    listener.hear("10.0.0.8", &["_ipp._tcp.local;PTR;100;Old._ipp._tcp.local"]);
    listener.wait(60_000);
    listener.ask(Some("_ipp._tcp"));
    let asked = listener.questions(200);
    let dns = Dns::parse(&asked.0[0].1.payload).unwrap();
    let answers: Vec<_> = dns.answers().map(|answer| (answer.to_string(), answer.time_to_live)).collect();
    assert_eq!(asked.all()[0], "_ipp._tcp.local PTR");
    assert_eq!(answers, [("_ipp._tcp.local PTR Office._ipp._tcp.local".to_owned(), 4_439)]);
}

#[test]
fn many_known_answers_are_several_messages() {
    let mut listener = Listener::new();
    for number in 0..130 {
        listener
            .hear("10.0.0.7", &[&format!("_ipp._tcp.local;PTR;4500;Printer {number:03}._ipp._tcp.local")]);
    }
    listener.ask(Some("_ipp._tcp.local"));
    let asked = listener.questions(200).0;
    let with_answers =
        |(_, message): &&(u64, DiscoveryQuestion)| Dns::parse(&message.payload).unwrap().answer_count > 0;
    let asked: Vec<_> = asked.iter().filter(with_answers).collect();
    let messages: Vec<_> = asked.iter().map(|(_, message)| Dns::parse(&message.payload).unwrap()).collect();
    let is_truncated: Vec<_> = asked.iter().map(|(_, message)| message.payload[2] & 2 != 0).collect();
    assert_eq!(is_truncated, [true, true, false], "all but the last continue");
    assert_eq!(messages.iter().map(|dns| dns.question_count).collect::<Vec<_>>(), [1, 0, 0]);
    assert_eq!(messages.iter().map(|dns| dns.answers().count()).sum::<usize>(), 130);
}

#[test]
fn only_what_is_requested_is_asked_for() {
    let asked = |name: &str| {
        let mut listener = Listener::new();
        listener.ask(Some(name));
        listener.hear("10.0.0.9", &["_http._tcp.local;PTR;4500;Web._http._tcp.local"]);
        listener.questions(150).all()
    };
    assert_eq!(asked("_ipp._tcp"), ["_ipp._tcp.local PTR"]);
    assert_eq!(asked("_print._sub._ipp._tcp.local."), ["_print._sub._ipp._tcp.local PTR"]);
    assert_eq!(
        asked("Office 2\\.OG._ipp._tcp.local"),
        ["Office 2\\.OG._ipp._tcp.local SRV", "Office 2\\.OG._ipp._tcp.local TXT", "_ipp._tcp.local PTR"]
    );
    assert_eq!(asked("printer.local"), ["printer.local A", "printer.local AAAA"]);
    let any = asked("Office printer");
    assert!(any.contains(&TYPES.to_owned()) && any.contains(&"Office printer.local A".to_owned()), "{any:?}");
}

#[test]
fn records_are_asked_for_before_they_lapse() {
    let mut listener = Listener::new();
    listener.ask(Some("_ipp._tcp"));
    listener.hear("10.0.0.7", &PRINTER);
    listener.questions(10_000);
    let asked = listener.questions(110_000);
    let times = asked.times("Office._ipp._tcp.local SRV");
    // At 80, 85, 90 and 95 % of 120 s, each up to 2 % later, after a delay.
    for (time, percent) in times.iter().zip([80, 85, 90, 95]) {
        assert!((percent * 1_200..=(percent + 2) * 1_200 + 120).contains(time), "{times:?}");
    }
    assert_eq!(times.len(), 4, "{times:?}");
    assert!(!asked.times("printer.local A").is_empty());
    assert_eq!(asked.times("Office._ipp._tcp.local TXT"), [] as [u64; 0], "it has 75 minutes");
}

#[test]
fn answered_services_stay_complete_for_as_long_as_is_asked() {
    let mut listener = Listener::new();
    listener.ask(Some("_ipp._tcp"));
    listener.hear("10.0.0.7", &PRINTER);
    for _ in 0..10_000 {
        let asked = listener.questions(1_000);
        let of = |kind| !asked.times(kind).is_empty();
        if of("Office._ipp._tcp.local SRV") || of("Office._ipp._tcp.local TXT") {
            listener.hear("10.0.0.7", &PRINTER[1..3]);
        }
        if of("printer.local A") || of("printer.local AAAA") {
            listener.hear("10.0.0.7", &["printer.local;!A;120;10.0.0.7", "printer.local;!AAAA;120;fe80::7"]);
        }
        if of("_ipp._tcp.local PTR")
            && asked.0.iter().all(|(_, message)| Dns::parse(&message.payload).unwrap().answer_count == 0)
        {
            listener.hear("10.0.0.7", &PRINTER[..1]);
        }
        assert_eq!(listener.services(), ["Office _ipp._tcp printer.local:631 10.0.0.7 fe80::7"]);
    }
}

#[test]
fn asking_again_asks_at_once() {
    let mut listener = Listener::new();
    listener.ask(None);
    assert_eq!(listener.questions(100_000).times(TYPES).len(), 7);
    listener.ask(None);
    assert_eq!(listener.questions(1_000).times(TYPES).len(), 1);
}

#[test]
fn only_hosts_of_requested_services_are_refreshed() {
    let mut listener = Listener::new();
    listener.ask(Some("_ipp._tcp"));
    listener.hear("10.0.0.7", &PRINTER);
    listener.hear("10.0.0.8", &["Web._http._tcp.local;!SRV;120;web.local:80", "web.local;!A;120;10.0.0.8"]);
    let asked = listener.questions(120_000);
    assert!(!asked.times("printer.local A").is_empty());
    assert!(asked.times("web.local A").is_empty() && asked.times("Web._http._tcp.local SRV").is_empty());
}

#[test]
fn flood_of_forged_types_does_not_make_us_flood() {
    let mut listener = Listener::new();
    listener.ask(None);
    let mut messages = 0;
    let mut bytes = 0;
    for number in 0..20_000_u32 {
        let name = format!("_x{number}._tcp.local");
        listener.hear(
            "10.0.0.66",
            &[
                &format!("_services._dns-sd._udp.local;PTR;4500;{name}"),
                &format!("{name};PTR;4500;I._x{number}._tcp.local"),
                &format!("I._x{number}._tcp.local;SRV;120;h{number}.local:1"),
            ],
        );
        if number % 100 == 0 {
            let asked = listener.questions(100).0;
            messages += asked.len();
            bytes += asked.iter().map(|(_, message)| message.payload.len()).sum::<usize>();
        }
    }
    // In 20 s: 10 per second, and 20 at first; the known answers of one question may add a few.
    assert!((50..=240).contains(&messages), "{messages}");
    assert!(bytes < 20_000 * 100 / 4, "{bytes}");
}
