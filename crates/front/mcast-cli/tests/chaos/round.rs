//! A round: a publisher that is restarted now and then, and subscribers under faults. At the end the faults stop and
//! all programs end.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use mcast_lab::{Host, Impairment, Lab, LinkDirection};
use mcast_sim::Dice;

use crate::harm::{Flood, Harm, loss};
use crate::judge;
use crate::publisher::{EndedPublisher, Publisher};
use crate::subscriber::{Finished, Post, Subscriber};
use crate::support::eventually;

const SUBSCRIBERS: usize = 4;

/// An event with its time.
#[derive(Default)]
pub(crate) struct Intervals {
    /// The publisher was not running normally.
    pub(crate) disturbed: Vec<(Instant, Instant)>,
    /// A subscriber may have kept the others waiting.
    pub(crate) blocked: Vec<(Instant, Instant)>,
}

/// A fault with its end.
struct Pending {
    from: Instant,
    until: Instant,
    harm: Harm,
    target: usize,
}

pub(crate) struct Round {
    dice: Dice,
    begun: Instant,
    // Declared before the lab, so that programs in it end first.
    posts: Vec<Post>,
    publisher: Option<Publisher>,
    flood: Option<Flood>,
    pending: Vec<Pending>,
    publishing: Host,
    stranger: Host,
    publishers: Vec<EndedPublisher>,
    finished: Vec<Finished>,
    intervals: Intervals,
    story: String,
    _lab: Lab,
}

impl Round {
    /// Post 0 is the witness, which has no faults.
    pub(crate) fn new(seed: u64) -> Self {
        let lab = Lab::new().unwrap();
        let switch = lab.switch("lan").unwrap();
        let host = |name: &str, address: &str| {
            let host = lab.host(name).unwrap();
            host.connect("eth0", &switch, &[address]).unwrap();
            host.add_route("224.0.0.0/4", "eth0").unwrap();
            host
        };
        let (publishing, stranger) = (host("publisher", "10.0.0.1/24"), host("stranger", "10.0.0.99/24"));
        let post = |number: usize| {
            let host = lab.host(&format!("subscriber{number}")).unwrap();
            let address = format!("10.0.0.{}/24", number + 10);
            let (_, link) =
                lab.connect_badly(&host, "eth0", &switch, &[&address], Impairment::default()).unwrap();
            host.add_route("224.0.0.0/4", "eth0").unwrap();
            Post { host, link, subscriber: None }
        };
        Self {
            dice: Dice::new(seed),
            begun: Instant::now(),
            posts: (0..SUBSCRIBERS).map(post).collect(),
            publisher: None,
            flood: None,
            pending: Vec::new(),
            publishing,
            stranger,
            publishers: Vec::new(),
            finished: Vec::new(),
            intervals: Intervals::default(),
            story: String::new(),
            _lab: lab,
        }
    }

    pub(crate) fn run(&mut self, time: Duration) {
        for post in &mut self.posts {
            post.subscriber = Some(Subscriber::start(&post.host));
        }
        self.publisher = Some(Publisher::start(&self.publishing, 0));
        for post in &self.posts {
            let subscriber = post.subscriber.as_ref().unwrap();
            eventually("a subscriber to join", || subscriber.ledger(|ledger| !ledger.accounts.is_empty()));
        }
        let end = Instant::now() + time;
        let mut next = Instant::now();
        while Instant::now() < end {
            let due = self.pending.iter().map(|pending| pending.until).min();
            let at = due.map_or(next, |due| due.min(next)).min(end);
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            self.heal(Instant::now());
            if Instant::now() >= next {
                self.harm();
                next = Instant::now() + Duration::from_millis(self.dice.between(100, 900));
            }
        }
        self.finish();
    }

    /// Ends all faults, then the publisher, then the subscribers that do not end with it.
    fn finish(&mut self) {
        self.note(format_args!("all harm ends"));
        let last = self.pending.iter().map(|pending| pending.until).max();
        self.heal(last.unwrap_or_else(Instant::now));
        let closed = Instant::now();
        self.note(format_args!("the publisher's input ends"));
        if let Some(publisher) = self.publisher.take() {
            self.publishers.push(publisher.close());
        }
        self.note(format_args!("the publisher has ended"));
        for (number, post) in self.posts.iter_mut().enumerate() {
            if let Some(subscriber) = post.subscriber.take() {
                self.finished.push(subscriber.end(number));
            }
        }
        self.intervals.disturbed.push((closed, Instant::now()));
        self.note(format_args!("the subscribers have ended"));
    }

    fn harm(&mut self) {
        let harm = Harm::by_chance(&mut self.dice);
        let target = self.dice.between(1, SUBSCRIBERS as u64 - 1) as usize;
        let until = Instant::now() + harm.lasts(&mut self.dice);
        let is_busy = self.pending.iter().any(|pending| match harm {
            _ if harm.is_of_publisher() => pending.harm.is_of_publisher(),
            Harm::Garbage => pending.harm == Harm::Garbage,
            _ => !pending.harm.is_of_publisher() && pending.harm != Harm::Garbage && pending.target == target,
        });
        if is_busy {
            return;
        }
        self.note(format_args!("{harm:?} of {target} for {:?}", until - Instant::now()));
        self.begin(harm, target);
        self.pending.push(Pending { from: Instant::now(), until, harm, target });
    }

    fn begin(&mut self, harm: Harm, target: usize) {
        let seed = self.dice.next();
        let post = &mut self.posts[target];
        match harm {
            Harm::KillSubscriber => {
                let killed = post.subscriber.take().map(|subscriber| subscriber.kill(target));
                self.finished.extend(killed);
            }
            Harm::StopSubscriber => self.signal(target, libc::SIGSTOP),
            Harm::SlowReader => self.stop_reading(target, true),
            Harm::Partition => post.link.cut().unwrap(),
            Harm::BlockFeedback => post.link.set_direction(LinkDirection::Forward, loss(1.0, seed)).unwrap(),
            Harm::Loss => post.link.set(loss(0.1, seed)).unwrap(),
            Harm::KillPublisher => {
                let killed = self.publisher.take().map(Publisher::kill);
                self.publishers.extend(killed);
            }
            Harm::StopPublisher => {
                if let Some(publisher) = &self.publisher {
                    publisher.signal(libc::SIGSTOP);
                }
            }
            Harm::Garbage => {
                let sender = self.posts[0].subscriber.as_ref();
                let sender = sender.and_then(|witness| witness.ledger(|ledger| ledger.sender.clone()));
                let sender = sender.and_then(|sender| sender.parse().ok());
                self.flood = Some(Flood::start(&self.stranger, sender, seed));
            }
        }
    }

    /// Ends the faults whose time is over.
    fn heal(&mut self, now: Instant) {
        let (over, pending) =
            std::mem::take(&mut self.pending).into_iter().partition(|each| each.until <= now);
        self.pending = pending;
        for Pending { from, harm, target, .. } in over {
            self.note(format_args!("{harm:?} of {target} is over"));
            self.end(harm, target);
            if harm.blocks() {
                self.intervals.blocked.push((from, Instant::now()));
            }
            if harm.is_of_publisher() {
                // It needs some time to start, and to be found.
                self.intervals.disturbed.push((from, Instant::now() + Duration::from_secs(2)));
            }
        }
    }

    fn end(&mut self, harm: Harm, target: usize) {
        let post = &mut self.posts[target];
        match harm {
            Harm::KillSubscriber => post.subscriber = Some(Subscriber::start(&post.host)),
            Harm::StopSubscriber => self.signal(target, libc::SIGCONT),
            Harm::SlowReader => self.stop_reading(target, false),
            Harm::Partition => post.link.restore().unwrap(),
            Harm::BlockFeedback | Harm::Loss => post.link.set(Impairment::default()).unwrap(),
            Harm::KillPublisher => {
                self.publisher = Some(Publisher::start(&self.publishing, self.publishers.len()));
            }
            Harm::StopPublisher => {
                if let Some(publisher) = &self.publisher {
                    publisher.signal(libc::SIGCONT);
                }
            }
            Harm::Garbage => {
                if let Some(flood) = self.flood.take() {
                    flood.stop();
                }
            }
        }
    }

    fn signal(&self, target: usize, signal: i32) {
        if let Some(subscriber) = &self.posts[target].subscriber {
            subscriber.signal(signal);
        }
    }

    fn stop_reading(&self, target: usize, stop: bool) {
        if let Some(subscriber) = &self.posts[target].subscriber {
            subscriber.stop_reading(stop);
        }
    }

    fn note(&mut self, what: std::fmt::Arguments<'_>) {
        writeln!(self.story, "{:8.3} {what}", self.begun.elapsed().as_secs_f64()).unwrap();
    }

    /// Returns the violations.
    pub(crate) fn judge(&self) -> Vec<String> {
        judge::judge(&self.publishers, &self.finished, &self.intervals, self.begun)
    }

    /// Returns the events, and the output of the programs.
    pub(crate) fn story(&self) -> String {
        let mut story = self.story.clone();
        for (number, publisher) in self.publishers.iter().enumerate() {
            writeln!(
                story,
                "publisher {number}: given {}, {:?}\n{}",
                publisher.given,
                publisher.end,
                shortened(&publisher.stderr)
            )
            .unwrap();
        }
        for each in &self.finished {
            let Finished { host, status, ledger, stderr, .. } = each;
            writeln!(story, "subscriber on {host}: status {status:?}").unwrap();
            ledger.accounts.iter().for_each(|account| writeln!(story, "  {account:?}").unwrap());
            writeln!(story, "{}", shortened(stderr)).unwrap();
        }
        story
    }
}

/// Returns the beginning and the end of a program's output.
fn shortened(stderr: &str) -> String {
    let lines: Vec<&str> = stderr.lines().collect();
    match lines.len() {
        0..30 => lines.join("\n"),
        all => format!("{}\n[{} lines]\n{}", lines[..15].join("\n"), all - 25, lines[all - 10..].join("\n")),
    }
}
