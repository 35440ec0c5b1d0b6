//! Long runs of tests of bridges with every engine, of which `cargo verify` runs short ones.

use anyhow::Result;

use crate::command::{cargo, finish};
use crate::step::{Outcome, RunOptions, Step, Verdict};
use crate::verify::{engines, tests};

const MESSAGES: u32 = 1_000_000;
const ROUNDS: u32 = 100;
const SECONDS: u32 = 30;
/// The tests, with each engine.
const TESTS: [&str; 12] = [
    "every_message_is_stored_once_and_in_order_over_a_network_that_loses_a_twentieth",
    "the_engine_is_complete_after_kills_at_random_moments",
    "while_the_engine_stands_still_memory_is_bounded_and_nothing_is_lost",
    "the_command_stores_everything_by_tls_and_scram_although_the_broker_and_the_bridge_are_killed",
    "everything_is_stored_by_tls_although_the_bridge_is_killed_and_connections_are_cut",
    "a_bridge_follows_the_primary_that_sentinels_name_and_stores_what_the_old_one_took_with_it",
    "everything_is_stored_although_slots_move_and_primaries_are_killed",
    "two_bridges_store_everything_in_three_copies_although_leaders_are_killed",
    "redis_by_tls_with_a_sentinel_is_complete_after_kills_of_everything",
    "a_cluster_of_redis_by_tls_is_complete_after_kills_of_everything",
    "three_copies_in_nats_by_tls_are_complete_after_kills_of_everything",
    "kafka_by_tls_and_scram_is_complete_after_kills_of_everything",
];

pub(super) fn step(seed: u32) -> Step {
    let about = format!(
        "engines hold {MESSAGES} messages over a network that loses 5 %, and all of them after {ROUNDS} kills of bridges, \
         publishers, engines and networks (by TLS, with sentinels, clusters and three copies), and a standstill of {SECONDS} s; \
         seed {seed}"
    );
    Step::new("bridge:long", about, move |options| run(seed, options))
}

fn run(seed: u32, options: &RunOptions) -> Result<Outcome> {
    let installed = engines::install(options)?;
    if installed.verdict != Verdict::Passed {
        return Ok(installed);
    }
    // One at a time: a bridge records a gap if another one does not get to run for too long.
    let head = ["test", "--quiet", "--package", "mcast-cli", "--all-features", "--test", "bridge", "--"];
    let mut command = cargo(head.iter().chain(&TESTS).chain(&["--nocapture", "--test-threads", "1"]));
    command.env("MCAST_SEED", seed.to_string()).env("MCAST_BRIDGE_MESSAGES", MESSAGES.to_string());
    command.env("MCAST_BRIDGE_ROUNDS", ROUNDS.to_string()).env("MCAST_BRIDGE_STILL", SECONDS.to_string());
    command.env("MCAST_REQUIRE_ALL", "1");
    let finished = finish(command, options.verbose)?;
    let memory: Vec<&str> =
        finished.output.lines().filter(|line| line.contains("memory of the bridge")).collect();
    Ok(match finished.success {
        true => Outcome::passed(memory.join("; ")),
        false => Outcome::failed(finished.status, finished.output),
    })
}

/// The tests with an engine that takes long to start.
pub(super) fn rabbitmq(seed: u32) -> Step {
    let about = format!(
        "bridges, RabbitMQ and leaders of three copies are killed {ROUNDS} times, stand still and lose records; seed {seed}"
    );
    Step::new("bridge:rabbitmq", about, move |options| {
        let installed = engines::install(options)?;
        if installed.verdict != Verdict::Passed {
            return Ok(installed);
        }
        let head = ["test", "--quiet", "--package", "mcast-cli", "--test", "bridge", "--", "--nocapture"];
        // One at a time: each starts a server, and take-over is measured in seconds.
        let which = ["--ignored", "--test-threads", "1", "rabbitmq"];
        let mut command = cargo(head.iter().chain(&which));
        command.env("MCAST_SEED", seed.to_string()).env("MCAST_BRIDGE_ROUNDS", ROUNDS.to_string());
        tests::outcome(command, "cargo test", options)
    })
}

/// The tests with a broker of Kafka that is there already.
pub(super) fn kafka() -> Step {
    const BROKER: &str = "MCAST_TEST_KAFKA";
    Step::new("bridge:kafka", format!("the tests of bridges with the broker at {BROKER}"), |options| {
        if std::env::var_os(BROKER).is_none() {
            let why = format!("name a broker of Kafka: {BROKER}=HOST:PORT (docs/how-to/keep-in-kafka.md)");
            return Ok(Outcome::skipped(why));
        }
        let installed = engines::install(options)?;
        if installed.verdict != Verdict::Passed {
            return Ok(installed);
        }
        for (package, test) in [("mcast-bridge", "engines"), ("mcast-cli", "bridge")] {
            let head = ["test", "--quiet", "--package", package, "--all-features", "--test", test, "--"];
            let rest = ["--nocapture", "--test-threads", "2", "kafka::"];
            let outcome = tests::outcome(cargo(head.iter().chain(&rest)), "cargo test", options)?;
            if outcome.verdict != Verdict::Passed {
                return Ok(outcome);
            }
        }
        Ok(Outcome::passed("with mcast-bridge and mcast-cli"))
    })
}

/// What is stored before a subscriber joins, in a release build.
pub(super) fn joining() -> Step {
    Step::new(
        "bridge:joining",
        "a subscriber that joins after 10,000,000 messages gets 200,000 per second, and then the live stream",
        |options| {
            let installed = engines::install(options)?;
            if installed.verdict != Verdict::Passed {
                return Ok(installed);
            }
            let head = ["test", "--quiet", "--release", "--package", "mcast-cli", "--test", "bridge", "--"];
            let which = ["--nocapture", "--ignored", "--test-threads", "1", "joining::"];
            let mut command = cargo(head.iter().chain(&which));
            command.env("MCAST_REQUIRE_ALL", "1");
            let finished = finish(command, options.verbose)?;
            let rates = finished.output.lines().filter(|line| line.contains("messages per second"));
            let rates: Vec<&str> = rates.collect();
            Ok(match finished.success {
                true => Outcome::passed(rates.join("; ")),
                false => Outcome::failed(finished.status, finished.output),
            })
        },
    )
}
