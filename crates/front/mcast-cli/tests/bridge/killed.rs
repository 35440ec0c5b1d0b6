//! Publisher, bridges, engine and network are killed at random moments.

use std::time::{Duration, Instant};

use mcast_sim::Dice;

use crate::audit::{Entry, audit};
use crate::engine::{Engine, Setup, scenarios};
use crate::network::{Network, text, write};
use crate::support::Running;

scenarios! {
    the_engine_is_complete_after_kills_at_random_moments
}

/// An engine of which the server that bridges use is killed.
pub(crate) trait Victim {
    fn url(&self) -> String;
    /// Returns what bridges are started with besides the URL.
    fn options(&self) -> Vec<String> {
        Vec::new()
    }
    /// Kills the server without notice.
    fn kill(&mut self);
    /// Starts the server again, and waits until the engine could lose a server again.
    fn restart(&mut self);
    fn entries(&self) -> Vec<Entry>;
    /// Returns the text of the last message.
    fn last_text(&self) -> String;
}

/// An engine of one server.
struct Single<T>(T);

impl<T: Engine> Victim for Single<T> {
    fn url(&self) -> String {
        self.0.url()
    }

    fn kill(&mut self) {
        self.0.kill();
    }

    fn restart(&mut self) {
        self.0.restart();
    }

    fn entries(&self) -> Vec<Entry> {
        self.0.entries()
    }

    fn last_text(&self) -> String {
        self.0.last_text()
    }
}

/// What is killed in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kill {
    Publisher,
    Engine,
    Bridge(usize),
    /// The link between the publisher and a bridge.
    Link(usize),
    /// The link between a bridge and the engine.
    EngineLink(usize),
    /// The engine, and a bridge before the engine is back.
    EngineAndBridge(usize),
    /// The engine, and the publisher before the engine is back.
    EngineAndPublisher,
}

/// Longer than it takes to store what is left, and clients of others to read hundreds of thousands of messages.
const END: Duration = Duration::from_secs(300);
const CONNECTED: &str = r#""event":"connected""#;
const KILLS: [Kill; 10] = [
    Kill::Engine,
    Kill::Publisher,
    Kill::Bridge(0),
    Kill::Bridge(1),
    Kill::EngineLink(0),
    Kill::Link(1),
    Kill::EngineAndBridge(1),
    Kill::EngineAndPublisher,
    Kill::EngineLink(1),
    Kill::Link(0),
];

/// 100 with `MCAST_BRIDGE_ROUNDS=100`.
fn rounds() -> u64 {
    mcast_sim::number("MCAST_BRIDGE_ROUNDS").unwrap_or(10)
}

fn seed() -> u64 {
    let time = || std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    mcast_sim::number("MCAST_SEED").unwrap_or_else(time)
}

/// Writes messages for this time, at about 10,000 per second.
fn write_for(publisher: &mut Running, next: &mut u64, time: Duration) {
    let until = Instant::now() + time;
    while Instant::now() < until {
        write(publisher, *next..*next + 100);
        *next += 100;
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether the first of these records is a gap for which no killed publisher accounts.
fn is_avoidable(entries: &[Entry]) -> bool {
    let is_gap = |entry: &Entry| entry.field("kind") == Some("gap");
    let is_open = |entry: &Entry| is_gap(entry) && entry.field("end").is_none();
    let [gap, behind @ ..] = entries else { return false };
    // A bridge that was killed has named its end, and nothing behind it is known: with the open gap, it is one gap.
    let is_part_of_open =
        || behind.first().is_some_and(|next| is_open(next) && next.incarnation == gap.incarnation);
    is_gap(gap) && !is_open(gap) && gap.field("cause") != Some("restart") && !is_part_of_open()
}

fn the_engine_is_complete_after_kills_at_random_moments<T: Engine>() {
    let network = Network::new([0.01, 0.01]);
    let Some(engine) = T::start(&network, Setup::Durable) else { return };
    is_complete_after_kills(&network, &mut Single(engine));
}

/// Checks that the engine has everything in order, and no gap but for what a killed publisher took with it.
pub(crate) fn is_complete_after_kills(network: &Network, engine: &mut dyn Victim) {
    let seed = seed();
    eprintln!("MCAST_SEED={seed} repeats the moments");
    let mut storm = Storm::new(network, engine, seed);
    let mut deck = Vec::new();
    for _ in 0..rounds() {
        if deck.is_empty() {
            deck = KILLS.to_vec();
        }
        let which = storm.dice.below(deck.len() as u64) as usize;
        storm.write_up_to(400);
        storm.kill(deck.swap_remove(which));
    }
    storm.end();
}

struct Storm<'a> {
    network: &'a Network,
    engine: &'a mut dyn Victim,
    dice: Dice,
    state: tempfile::TempDir,
    publisher: Running,
    bridges: [Running; 2],
    /// The number of the next message.
    next: u64,
    log: Vec<String>,
}

impl<'a> Storm<'a> {
    fn new(network: &'a Network, engine: &'a mut dyn Victim, seed: u64) -> Self {
        let state = tempfile::tempdir().unwrap();
        let bridges = [0, 1].map(|index| start_bridge(network, engine, index));
        bridges.iter().for_each(|bridge| bridge.stdout.wait_for(CONNECTED));
        let publisher = start_publisher(network, &state);
        Self { network, engine, dice: Dice::new(seed), state, publisher, bridges, next: 0, log: Vec::new() }
    }

    /// Writes messages for 100 ms, and at most this many milliseconds more.
    fn write_up_to(&mut self, most: u64) {
        let time = Duration::from_millis(100 + self.dice.below(most));
        write_for(&mut self.publisher, &mut self.next, time);
    }

    fn note(&mut self, what: &str) {
        let now = std::time::UNIX_EPOCH.elapsed().unwrap();
        self.log.push(format!("{now:?} {what} after {} messages", self.next));
    }

    fn kill(&mut self, kill: Kill) {
        self.note(&format!("{kill:?} is killed"));
        match kill {
            Kill::Publisher => self.kill_publisher(),
            Kill::Engine => {
                self.engine.kill();
                self.write_up_to(300);
                self.engine.restart();
            }
            Kill::Bridge(index) => {
                self.kill_bridge(index);
                self.write_up_to(300);
                self.connect(index);
            }
            Kill::Link(index) => {
                self.network.links[index].cut().unwrap();
                self.write_up_to(300);
                self.network.links[index].restore().unwrap();
            }
            Kill::EngineLink(index) => {
                self.network.bridges[index].set_down("engine").unwrap();
                self.write_up_to(300);
                self.network.bridges[index].set_up("engine").unwrap();
            }
            Kill::EngineAndBridge(index) => {
                self.engine.kill();
                self.write_up_to(300);
                self.kill_bridge(index);
                self.write_up_to(300);
                self.engine.restart();
                self.connect(index);
            }
            Kill::EngineAndPublisher => {
                self.engine.kill();
                self.write_up_to(300);
                self.kill_publisher();
                self.write_up_to(300);
                self.engine.restart();
            }
        }
        if matches!(kill, Kill::Publisher | Kill::EngineAndPublisher) {
            self.wait_until_stored();
        }
        self.note(&format!("{kill:?} is over"));
    }

    /// Waits until everything is stored. What was lost with a publisher has then been recorded, before a bridge that alone has
    /// the rest of it is killed as well.
    fn wait_until_stored(&mut self) {
        self.write_up_to(100);
        let (last, until) = (text(self.next - 1), Instant::now() + END);
        loop {
            let stored = self.engine.last_text();
            if stored == last {
                return;
            }
            if Instant::now() > until {
                let printed = self.bridges.each_ref().map(|bridge| bridge.stdout.text());
                panic!("{stored:?} is the last one, not {last:?}\n{printed:?}\n{}", self.log.join("\n"));
            }
        }
    }

    /// Kills the publisher, and starts it again.
    fn kill_publisher(&mut self) {
        self.publisher.child.kill().unwrap();
        let started = start_publisher(self.network, &self.state);
        let ended = std::mem::replace(&mut self.publisher, started).end();
        self.note(&format!("the publisher had printed: {}", ended.stderr));
        self.next = 0;
    }

    /// Kills a bridge, in whose place another one has to be started.
    fn kill_bridge(&mut self, index: usize) {
        self.bridges[index].child.kill().unwrap();
        self.bridges[index].child.wait().unwrap();
        let printed = self.bridges[index].stdout.text();
        self.note(&format!("the killed bridge {index} had printed:\n{printed}"));
    }

    /// Starts a bridge as a service manager does: again, if it ends because the engine is not there yet.
    fn connect(&mut self, index: usize) {
        let until = Instant::now() + END;
        let mut ends = Vec::new();
        self.bridges[index] = start_bridge(self.network, self.engine, index);
        while !self.bridges[index].stdout.text().contains(CONNECTED) {
            assert!(Instant::now() < until, "{ends:?}\n{}", self.log.join("\n"));
            if self.bridges[index].child.try_wait().unwrap().is_some() {
                let started = start_bridge(self.network, self.engine, index);
                ends.push(std::mem::replace(&mut self.bridges[index], started).end());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn end(mut self) {
        self.wait_until_stored();
        for bridge in self.bridges {
            let ended = bridge.signalled(libc::SIGINT);
            self.log.push(format!("a bridge had printed:\n{}", String::from_utf8_lossy(&ended.stdout)));
            assert_eq!(ended.status, Some(130), "{ended:?}");
        }
        let entries = self.engine.entries();
        let stored = audit(&entries, |_, number| Some(text(number)));
        assert!(stored.messages > 0);
        // What a killed publisher could no longer repair or had not sent is lost; all else was retained by it or by a bridge.
        let known: Vec<&Entry> =
            (0..entries.len()).filter(|at| is_avoidable(&entries[*at..])).map(|at| &entries[at]).collect();
        assert!(known.is_empty(), "{known:?}\n{}", self.log.join("\n"));
    }
}

fn start_bridge(network: &Network, engine: &dyn Victim, index: usize) -> Running {
    let options = engine.options();
    let own: Vec<&str> = options.iter().map(String::as_str).collect();
    network.start_bridge(index, &engine.url(), &[&["--stay", "--hole-wait", "500ms"], &own[..]].concat())
}

fn start_publisher(network: &Network, state: &tempfile::TempDir) -> Running {
    network.publish(&["--state", state.path().join("state").to_str().unwrap()])
}
