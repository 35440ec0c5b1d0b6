//! The contents of the guide.

use mcast_doctor::Id;

use super::reference;

/// The parts of the guide written by hand, with their pages in order.
const PARTS: &[(&str, &[(&str, &str)])] = &[
    (
        "Learn",
        &[
            ("Your first group", "tutorial.md"),
            ("A price feed", "price-feed.md"),
            ("Rust in ten minutes", "rust/ten-minutes.md"),
            ("Python in ten minutes", "python/ten-minutes.md"),
            ("Teach with the lab", "how-to/teach-with-the-lab.md"),
        ],
    ),
    (
        "Do",
        &[
            ("Choose an address", "how-to/choose-an-address.md"),
            ("Choose a policy", "how-to/choose-a-policy.md"),
            ("Wait for acknowledgements", "how-to/acknowledge.md"),
            ("Send over lossy or one-way links", "how-to/send-over-lossy-links.md"),
            ("Choose a rate", "how-to/choose-a-rate.md"),
            ("Repair near the subscribers", "how-to/repair-locally.md"),
            ("Find out why it does not arrive", "how-to/find-out-why.md"),
            ("tshark sees it, my program does not", "how-to/tshark-sees-it.md"),
            ("Test many machines", "how-to/test-many-machines.md"),
            ("Use a switch with snooping", "how-to/snooping-switch.md"),
            ("Cross routers", "how-to/across-routers.md"),
            ("Across VLANs", "how-to/across-vlans.md"),
            ("Chromecast, AirPlay, Sonos and printers across VLANs", "how-to/devices-across-vlans.md"),
            ("Into containers", "how-to/into-containers.md"),
            ("Between sites", "how-to/between-sites.md"),
            ("IPTV in a browser", "how-to/iptv-in-a-browser.md"),
            ("From networks without multicast", "how-to/amt.md"),
            ("In containers and Kubernetes", "how-to/containers.md"),
            ("A network without multicast", "how-to/without-multicast.md"),
            ("Over a VPN", "how-to/over-a-vpn.md"),
            ("Over Wi-Fi", "how-to/wireless.md"),
            ("Through the Windows firewall", "how-to/windows-firewall.md"),
            ("Keep a stream in a log", "how-to/keep-in-a-log.md"),
            ("Keep a stream in Redis", "how-to/keep-in-redis.md"),
            ("Keep a stream in NATS", "how-to/keep-in-nats.md"),
            ("Keep a stream in RabbitMQ", "how-to/keep-in-rabbitmq.md"),
            ("Keep the datagrams of a group", "how-to/keep-datagrams.md"),
            ("Keep a stream in Kafka", "how-to/keep-in-kafka.md"),
            ("Replay yesterday", "how-to/replay-yesterday.md"),
            ("Reach a broker safely", "how-to/reach-an-engine.md"),
            ("Two bridges", "how-to/two-bridges.md"),
            ("Sign a stream", "how-to/sign-a-stream.md"),
            ("Change the key of a stream", "how-to/rotate-keys.md"),
            ("Run it as a service", "how-to/services.md"),
            ("Operate a feed", "how-to/operate-a-feed.md"),
            ("Come from socat, iperf, Aeron or udpxy", "how-to/coming-from.md"),
            ("Come from multicast_expert", "python/coming-from-multicast-expert.md"),
        ],
    ),
    (
        "Understand",
        &[
            ("Multicast, broadcast, anycast, or a broker?", "explanation/which-kind.md"),
            ("How switches, routers and access points treat multicast", "explanation/boxes.md"),
            ("Interfaces, and what INADDR_ANY means", "explanation/interfaces.md"),
            ("What a socket receives", "explanation/sockets.md"),
            ("Loopback", "explanation/loopback.md"),
            ("Reverse-path filtering", "explanation/reverse-path-filtering.md"),
            ("Queriers and snooping", "explanation/queriers.md"),
            ("Loss, and where it happens", "explanation/loss.md"),
            ("How the message layer works", "explanation/message-layer.md"),
            ("How a stream scales", "scale.md"),
            ("Where the bounds of a stream bind", "explanation/bounds.md"),
            ("Relays and loops", "explanation/relays.md"),
        ],
    ),
];

/// The pages after the reference.
const FIGURES: &[(&str, &str)] = &[
    ("Injected causes, and what was found", "doctor-table.md"),
    ("What each system does", "platforms.md"),
    ("How each claim is checked", "assurance.md"),
    ("The stream protocol", "protocol.md"),
    ("The tunnel protocol", "tunnel.md"),
    ("The log of a stream", "log-format.md"),
    ("Glossary", "design/glossary.md"),
    ("Dependencies", "design/dependencies.md"),
    ("Capturing without loss", "capture.md"),
    ("Benchmarks", "benchmarks.md"),
];

/// What is behind the page of benchmarks.
const BENCHMARKS: &[(&str, &str)] = &[
    ("Datagrams", "benchmarks/datagrams.md"),
    ("Messages", "benchmarks/messages.md"),
    ("Forwarding", "benchmarks/forwarding.md"),
    ("Python", "benchmarks/python.md"),
    ("Goals", "benchmarks/goals.md"),
    ("How they are measured", "benchmarks/method.md"),
];

/// The design decisions, in the order of `docs/design/index.md`.
const DECISIONS: &[(&str, &str)] = &[
    ("How groups are spread over sockets", "design/001-sockets-per-port.md"),
    ("The membership table filters what the kernel lets through", "design/002-membership-table.md"),
    ("GRO is a property of the receiver", "design/003-segmentation-offload.md"),
    ("Which counter a loss report comes from", "design/004-loss-counters.md"),
    ("One socket is polled directly", "design/005-waiting.md"),
    ("A sender refuses interfaces without an address", "design/006-sending-needs-an-address.md"),
    ("Live captures and capture files are one thing", "design/007-captures.md"),
    ("The querier uses raw sockets", "design/008-querier.md"),
    ("A table that a hostile network cannot fill", "design/009-bounded-table.md"),
    ("The doctor judges one observation", "design/010-doctor-observations.md"),
    ("Privileges are dropped before threads start", "design/011-privileges.md"),
    ("The message layer is two machines without sockets", "design/012-stream-machines.md"),
    ("Congestion is tried, not assumed", "design/013-congestion.md"),
    ("The Python package has no runtime of its own", "design/014-python.md"),
    ("Packages are reproducible", "design/015-packages.md"),
    ("Constants of other systems are written down twice", "design/016-foreign-headers.md"),
    ("Drop reasons are counted in the kernel", "design/017-drop-reasons.md"),
    ("What exactly-once means for a bridge", "design/018-exactly-once.md"),
    ("The log is append-only files of its own", "design/019-log.md"),
    ("A subscriber acknowledges one range of messages", "design/020-acknowledgements.md"),
    ("Parity is a small Cauchy code over sealed datagrams", "design/021-forward-error-correction.md"),
    (
        "A manifest verifies the datagrams before it, and nothing unverified moves state",
        "design/022-signed-streams.md",
    ),
    ("The automatic rate models the path", "design/023-automatic-rate.md"),
    ("Subscribers repair for each other, and the publisher introduces them", "design/024-local-repair.md"),
    ("Engines are reached by one kind of connection", "design/025-engine-connections.md"),
    ("Receivers can take frames off the interface, beside their sockets", "design/026-past-the-socket.md"),
    ("Every measurement has one replier and one driver per end", "design/027-one-measurement.md"),
    ("Events in Python are classes, reports are the records of --json", "design/028-values-of-python.md"),
    (
        "The guard of a relay remembers each datagram, and decides for buffers",
        "design/029-guard-of-coalesced-buffers.md",
    ),
];

/// Returns the text of `SUMMARY.md` in mdBook's format.
pub(super) fn text() -> String {
    let mut text = String::from("# Summary\n\n[mcast](index.md)\n");
    for (part, pages) in PARTS {
        text += &format!("\n# {part}\n\n");
        text += &list(pages);
    }
    text += "\n# Look up\n\n- [The command](reference/index.md)\n";
    for named in reference::subcommands() {
        text += &format!("  - [mcast {}](reference/{})\n", named.words, named.file());
    }
    text += "- [Findings](findings/index.md)\n";
    for id in Id::ALL {
        text += &format!("  - [{id}](findings/{id}.md)\n");
    }
    text += &list(FIGURES);
    text += &list_below(BENCHMARKS);
    text += "- [Design decisions](design/index.md)\n";
    text += &list_below(DECISIONS);
    text
}

fn list_below(pages: &[(&str, &str)]) -> String {
    pages.iter().map(|(title, file)| format!("  - [{title}]({file})\n")).collect()
}

fn list(pages: &[(&str, &str)]) -> String {
    pages.iter().map(|(title, file)| format!("- [{title}]({file})\n")).collect()
}
