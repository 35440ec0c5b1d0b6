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
            ("Python in ten minutes", "python/ten-minutes.md"),
        ],
    ),
    (
        "Do",
        &[
            ("Choose an address", "how-to/choose-an-address.md"),
            ("Choose a policy", "how-to/choose-a-policy.md"),
            ("Find out why it does not arrive", "how-to/find-out-why.md"),
            ("Use a switch with snooping", "how-to/snooping-switch.md"),
            ("Cross routers", "how-to/across-routers.md"),
            ("In containers and Kubernetes", "how-to/containers.md"),
            ("Over Wi-Fi", "how-to/wireless.md"),
            ("Through the Windows firewall", "how-to/windows-firewall.md"),
            ("Change the key of a stream", "how-to/rotate-keys.md"),
            ("Run it as a service", "how-to/services.md"),
            ("Come from multicast_expert", "python/coming-from-multicast-expert.md"),
        ],
    ),
    (
        "Understand",
        &[
            ("How boxes treat multicast", "explanation/boxes.md"),
            ("Interfaces, and what INADDR_ANY means", "explanation/interfaces.md"),
            ("What a socket receives", "explanation/sockets.md"),
            ("Loopback", "explanation/loopback.md"),
            ("Reverse-path filtering", "explanation/reverse-path-filtering.md"),
            ("Queriers and snooping", "explanation/queriers.md"),
            ("Loss, and where it happens", "explanation/loss.md"),
            ("How the message layer works", "explanation/message-layer.md"),
        ],
    ),
];

/// The pages after the reference.
const FIGURES: &[(&str, &str)] = &[
    ("Injected causes, and what was found", "doctor-table.md"),
    ("What each system does", "platforms.md"),
    ("How each claim is checked", "assurance.md"),
    ("The stream protocol", "protocol.md"),
    ("Glossary", "design/glossary.md"),
    ("Capturing without loss", "capture.md"),
    ("Benchmarks", "benchmarks.md"),
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
    text + &list(FIGURES)
}

fn list(pages: &[(&str, &str)]) -> String {
    pages.iter().map(|(title, file)| format!("- [{title}]({file})\n")).collect()
}
