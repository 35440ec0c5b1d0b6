//! The engines that bridges store records in, and their servers.

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context, Result};
use mcast_lab::Host;

use super::Bench;
use crate::run::{Cpu, Running, start};
use crate::tools::Need;

/// An engine, or a setting of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Engine {
    Redis,
    Nats,
    /// With a copy on each of three servers.
    NatsCopies,
    Rabbitmq,
}

impl Engine {
    pub(super) const ALL: [Self; 4] = [Self::Redis, Self::Nats, Self::NatsCopies, Self::Rabbitmq];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Nats => "nats",
            Self::NatsCopies => "nats-copies",
            Self::Rabbitmq => "rabbitmq",
        }
    }

    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Redis => "Messages of 100 bytes into Redis Streams",
            Self::Nats => "Messages of 100 bytes into NATS JetStream",
            Self::NatsCopies => "Messages of 100 bytes into NATS JetStream with three copies",
            Self::Rabbitmq => "Messages of 100 bytes into RabbitMQ Streams",
        }
    }

    pub(super) fn needs(self) -> Vec<Need> {
        match self {
            Self::Redis => vec![Need::Mcast, Need::NatsServer, Need::Redis],
            Self::Nats | Self::NatsCopies => vec![Need::Mcast, Need::NatsServer],
            Self::Rabbitmq => vec![Need::Mcast, Need::NatsServer, Need::Rabbitmq],
        }
    }

    /// Records of a run without a pace, which takes some seconds, so that starting and ending count for little.
    pub(super) const fn records(self) -> u32 {
        match self {
            Self::Redis => 2_000_000,
            Self::Nats => 200_000,
            Self::NatsCopies => 100_000,
            Self::Rabbitmq => 1_000_000,
        }
    }

    /// The engine's own client.
    pub(super) const fn client(self) -> &'static str {
        match self {
            Self::Redis => "redis-cli --pipe",
            Self::Nats | Self::NatsCopies => "nats-py publish_async",
            Self::Rabbitmq => "rstream send_batch",
        }
    }

    /// Returns the command of the program in Python that does this with the engine.
    pub(super) fn command(self, what: &str) -> String {
        let prefix = match self {
            Self::NatsCopies if what != "create" => "nats",
            engine => engine.name(),
        };
        format!("{prefix}-{what}")
    }

    /// Whether the streams must be created.
    pub(super) const fn creates(self) -> bool {
        !matches!(self, Self::Redis)
    }

    /// Whether it notes when it has stored each record, in nanoseconds. Otherwise they are read as they are stored.
    pub(super) const fn notes_times(self) -> bool {
        matches!(self, Self::Nats | Self::NatsCopies)
    }
}

/// The servers of an engine without records.
pub(super) struct Server {
    /// The address for the engine's own client.
    pub(super) address: String,
    /// The URL of the stream for a bridge.
    pub(super) target: String,
    _running: Vec<Running>,
}

impl Server {
    pub(super) fn start(bench: &Bench, engine: Engine, host: &Host, folder: &Path) -> Result<Self> {
        match engine {
            Engine::Redis => redis(host, folder),
            Engine::Nats => nats(bench, host, folder),
            Engine::NatsCopies => nats_cluster(bench, host, folder),
            Engine::Rabbitmq => rabbitmq(host, folder),
        }
    }
}

fn redis(host: &Host, folder: &Path) -> Result<Server> {
    let socket = folder.join("redis.sock").to_string_lossy().into_owned();
    let program = words(&["redis-server", "--port", "0", "--save", "", "--unixsocket", &socket]);
    let mut server = start(host, Cpu::Receiver, &program)?;
    server.wait_for_text("eady to accept connections")?;
    let target = format!("redis+unix://{socket}?key=prices");
    Ok(Server { address: socket, target, _running: vec![server] })
}

fn nats(bench: &Bench, host: &Host, folder: &Path) -> Result<Server> {
    let server = nats_server(bench, host, folder, &[])?;
    let address = "nats://127.0.0.1".to_owned();
    Ok(Server { target: format!("{address}?stream=prices"), address, _running: vec![server] })
}

fn nats_server(bench: &Bench, host: &Host, folder: &Path, options: &[&str]) -> Result<Running> {
    let mut program = vec![bench.tools.engines().join("nats-server").into()];
    program.extend(words(&["--jetstream", "--store_dir"]));
    program.push(folder.into());
    program.extend(words(options));
    let mut server = start(host, Cpu::Receiver, &program)?;
    server.wait_for_text("Server is ready")?;
    Ok(server)
}

fn nats_cluster(bench: &Bench, host: &Host, folder: &Path) -> Result<Server> {
    let routes = [6222, 6223, 6224].map(|port| format!("nats://127.0.0.1:{port}"));
    let servers = (0..).zip(&routes).map(|(index, own)| {
        let (name, port) = (format!("server{index}"), (4222 + index).to_string());
        let options = ["--cluster_name", "bench", "--name", &name, "--port", &port];
        let cluster = ["--cluster", own, "--routes", &routes.join(",")];
        nats_server(bench, host, &folder.join(name.as_str()), &[&options[..], &cluster].concat())
    });
    let running = servers.collect::<Result<_>>()?;
    let address = "nats://127.0.0.1:4222,127.0.0.1:4223,127.0.0.1:4224".to_owned();
    Ok(Server { target: format!("{address}?stream=prices"), address, _running: running })
}

/// The programs of the package, which do not change to another user.
const RABBITMQ: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

fn rabbitmq(host: &Host, folder: &Path) -> Result<Server> {
    let write = |name: &str, text: &str| {
        std::fs::write(folder.join(name), text).context("writing the settings of RabbitMQ")
    };
    write(
        "rabbitmq.conf",
        "listeners.tcp = none\nstream.listeners.tcp.1 = 127.0.0.1:5552\nlog.console = false\n",
    )?;
    write("plugins", "[rabbitmq_stream].")?;
    let places = [
        ("HOME", ""),
        ("RABBITMQ_MNESIA_BASE", "mnesia"),
        ("RABBITMQ_LOG_BASE", "log"),
        ("RABBITMQ_PID_FILE", "pid"),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", "plugins"),
        ("RABBITMQ_CONFIG_FILE", "rabbitmq.conf"),
    ];
    let mut program =
        words(&["env", "RABBITMQ_CONF_ENV_FILE=/dev/null", "RABBITMQ_NODENAME=rabbit@localhost"]);
    program.extend(places.map(|(name, place)| format!("{name}={}", folder.join(place).display()).into()));
    program.push(RABBITMQ.into());
    let mut server = start(host, Cpu::Receiver, &program)?;
    server.wait_for_text("completed with")?;
    Ok(Server {
        address: "127.0.0.1".to_owned(),
        target: "rabbitmq-stream://127.0.0.1?stream=prices".to_owned(),
        _running: vec![server],
    })
}

pub(super) fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}
