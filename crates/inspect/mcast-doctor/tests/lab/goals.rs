//! The goals of the doctor, and the page that shows how far they are met (`results.md`, which the guide as a site has).
//!
//! With `MCAST_BLESS=1`, a test measures all goals and writes the page. Otherwise tests assert that the page is complete,
//! and that it meets the goals; each injection and each network is a test of its own besides.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::panic::catch_unwind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mcast_doctor::{Evidence, Finding, Report, Severity};

use crate::net::is_blessing;
use crate::table::{self, Case, NOT_IN_A_LAB};
use crate::{
    boxes, dds, drawn, filters, healthy, pairs, programs, services, sockets, streams, treatment, unusual,
    wire,
};

/// The smallest share of injections whose cause is named, in percent.
const NAMED_PERCENT: f64 = 97.0;
/// The longest median time to the verdict.
const MEDIAN: Duration = Duration::from_secs(4);

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lab/results.md");
/// The tests of the second kernel.
const LINKS: &str = include_str!("../links/healthy.rs");

/// A healthy network: a test that fails if the doctor names a fault or a warning.
struct Network {
    name: &'static str,
    assert_healthy: fn(),
}

macro_rules! networks {
    ($($name:path,)+) => {
        const NETWORKS: &[Network] = &[$(Network { name: stringify!($name), assert_healthy: $name }),+];
    };
}

networks! {
    healthy::a_plain_switch,
    healthy::a_snooping_switch_with_a_querier,
    healthy::program_that_relies_on_the_membership_of_another,
    healthy::program_that_receives_what_its_own_machine_sends,
    healthy::program_on_a_host_that_forwards_unicast_between_two_networks,
    healthy::a_snooping_switch_that_never_had_a_querier_floods,
    healthy::ipv6_on_a_snooping_switch,
    healthy::a_source_specific_group_among_others,
    healthy::two_feeds_on_two_networks,
    healthy::a_routed_network,
    healthy::a_firewall_that_admits_the_group,
    healthy::correct_programs,
    healthy::a_host_that_receives_its_own_stream,
    healthy::a_network_that_delays_and_reorders,
    healthy::fragmented_datagrams_that_all_arrive,
    healthy::a_sender_that_repeats_the_same_payload,
    healthy::a_fast_sender_that_uses_segmentation_offload,
    dds::nodes_of_one_domain_whose_topics_match,
    dds::writers_that_offer_more_than_readers_request,
    dds::nodes_of_cyclone_dds_with_unusual_settings,
    services::a_printer_that_is_announced_and_accepts_connections,
    services::a_node_of_matter_behind_a_border_router,
    services::a_computer_that_is_announced_with_the_port_of_discard,
    services::a_printer_of_avahi_beside_a_tunnel_and_a_copier,
    services::a_gateway_whose_relay_announces_a_printer,
    services::a_gateway_with_a_relay_that_has_a_socket_for_each_interface,
    services::a_gateway_with_the_reflector_of_avahi,
    services::a_gateway_that_routes_the_announcements_of_a_media_server,
    streams::sender_that_ends_after_a_burst,
    streams::one_transport_stream_on_two_paths,
    streams::several_participants_that_send_rtp,
    unusual::three_senders_of_one_group,
    unusual::ipv6_groups_of_every_scope,
    unusual::link_local_group_of_ipv4,
    unusual::source_specific_group_of_ipv6,
    unusual::hop_limits_of_255_and_1,
    unusual::unicast_and_broadcast_to_the_same_port,
    unusual::jumbo_frames_on_both_sides,
    unusual::other_groups_with_vlan_tags,
    unusual::priority_tags,
    unusual::policy_routing_that_knows_the_source,
    unusual::address_translation_of_another_port,
    unusual::firewall_with_a_drop_policy_that_admits_groups,
    unusual::rules_for_other_sources_and_interfaces,
    unusual::traffic_control_of_other_traffic,
    unusual::shaped_sender_within_its_rate,
    unusual::programs_of_every_binding,
    unusual::idle_program_without_the_group,
    unusual::many_groups_on_many_sockets,
    unusual::old_querier_without_source_specific_groups,
    unusual::bridge_on_the_receiver,
    unusual::source_behind_two_routers,
    unusual::one_group_on_two_networks,
    unusual::xdp_program_that_passes_everything,
    unusual::stopped_program_of_another_group,
    unusual::fragments_of_ipv6,
    unusual::small_mtu_on_both_sides,
    unusual::ipv4_group_on_a_host_without_ipv6,
    unusual::unused_interface_that_is_down,
    unusual::a_router_that_masquerades,
    unusual::a_mirror_of_tagged_frames,
    programs::healthy::ipv6_socket_that_has_joined_an_ipv4_group_itself,
    programs::healthy::sockets_that_share_a_port,
    programs::healthy::one_socket_for_each_interface,
    programs::healthy::socket_with_a_filter_that_admits_the_group,
    programs::healthy::program_that_reads_in_bursts,
    programs::healthy::sender_with_two_interfaces_that_has_chosen_one,
    programs::healthy::program_that_does_not_want_to_receive_what_it_sends,
    boxes::switches_and_routers_that_forward_are_healthy,
    wire::queriers_of_all_versions_are_healthy,
    wire::interfaces_of_one_network_that_only_the_doctor_joined_are_healthy,
    wire::rtp_that_is_reordered_repeated_and_restarted_has_lost_nothing,
    sockets::socket_that_only_joins_is_fine_if_another_receives,
    filters::rules_that_admit_the_group_are_healthy,
}

/// Returns the names of the tests in a source file.
fn tests(source: &str) -> Vec<&str> {
    let after = source.split("#[test]").skip(1);
    after.filter_map(|test| Some(test.split_once("fn ")?.1.split_once('(')?.0)).collect()
}

#[test]
fn every_healthy_network_is_listed() {
    for (module, source) in [("healthy", include_str!("healthy.rs")), ("unusual", include_str!("unusual.rs"))]
    {
        for test in tests(source).iter().filter(|test| !test.starts_with("examination_of_")) {
            let name = format!("{module}::{test}");
            assert!(NETWORKS.iter().any(|network| network.name == name), "{name} is not in `networks!`");
        }
    }
}

#[test]
fn table_has_every_injection_and_meets_the_goals() {
    if is_blessing() {
        std::fs::write(DOCUMENT, Results::measure().page()).unwrap();
    }
    let page = std::fs::read_to_string(DOCUMENT).unwrap();
    let is_named = |case: &&&Case| page.contains(&format!("| {} | `{}` | `{}`", case.how, case.id, case.id));
    let cases = table::all();
    let missing: Vec<_> = cases.iter().filter(|case| !is_named(case)).map(|case| case.how).collect();
    let named = (cases.len() - missing.len()) as f64 / cases.len() as f64;
    assert!(named * 100.0 >= NAMED_PERCENT, "run with MCAST_BLESS=1: no row has {missing:#?}");
    assert_eq!(number_before(&page, " accused |"), 0.0);
    assert_eq!(number_before(&page, " called healthy |"), 0.0);
    for row in [pairs::row(), drawn::row()] {
        assert!(page.contains(&row), "run with MCAST_BLESS=1: {row}");
    }
    let median = number_before(&page, " s in the median");
    assert!(!is_blessing() || median < MEDIAN.as_secs_f64(), "the median is {median} s");
    for network in NETWORKS {
        assert!(page.contains(&spoken(network.name)), "run with MCAST_BLESS=1: {} is missing", network.name);
    }
}

#[test]
fn faults_of_dds_and_of_mdns_are_many_and_different_and_named() {
    let page = std::fs::read_to_string(DOCUMENT).unwrap();
    for (cases, least) in [(dds::CASES, 40), (services::CASES, 30)] {
        let kinds: BTreeSet<_> = cases.iter().map(|case| case.how).collect();
        assert_eq!(kinds.len(), cases.len());
        assert!(kinds.len() >= least, "{} injections, at least {least} expected", kinds.len());
        let is_named =
            |case: &&Case| page.contains(&format!("| {} | `{}` | `{}`", case.how, case.id, case.id));
        let named = cases.iter().filter(is_named).count();
        assert!(named * 100 >= cases.len() * 95, "{named} of {} are named", cases.len());
    }
}

/// Returns the number in front of a text of the page.
fn number_before(page: &str, text: &str) -> f64 {
    let (before, _) = page.rsplit_once(text).unwrap_or_else(|| panic!("the page has no `{text}`"));
    before.rsplit(' ').next().unwrap().parse().unwrap()
}

/// Returns the name of a test as words.
fn spoken(name: &str) -> String {
    name.rsplit("::").next().unwrap_or(name).replace('_', " ")
}

/// What an injection led to.
struct Injected {
    row: String,
    is_named: bool,
    /// How long the examination took.
    time: Option<Duration>,
}

/// The results of all injections and networks.
struct Results {
    injected: Vec<Injected>,
    /// The networks in which the doctor named a fault or a warning.
    accused: Vec<&'static str>,
    /// The injections and networks in which lost datagrams were called healthy, or that failed otherwise.
    failed: Vec<&'static str>,
}

impl Results {
    fn measure() -> Self {
        let cases = table::all();
        let injected = each(&cases, |case| {
            let report = catch_unwind(case.inject).ok();
            report.map(|report| Injected::new(case, &report, treatment::time()))
        });
        let failed = cases.iter().zip(&injected).filter(|(_, injected)| injected.is_none());
        let failed = failed.map(|(case, _)| case.how).collect();
        let accused = each(NETWORKS, |network| catch_unwind(network.assert_healthy).is_err());
        let accused = NETWORKS.iter().zip(accused).filter(|(_, accused)| *accused);
        let accused = accused.map(|(network, _)| network.name).collect();
        Self { injected: injected.into_iter().flatten().collect(), accused, failed }
    }

    /// Returns the time within which this share of the examinations ended.
    fn time(&self, share: f64) -> f64 {
        let mut times: Vec<_> = self.injected.iter().filter_map(|injected| injected.time).collect();
        times.sort();
        println!("times: {times:.1?}");
        times[(times.len() as f64 * share) as usize].as_secs_f64()
    }

    fn page(&self) -> String {
        let mut page = String::from("# What the doctor finds\n\n");
        page += &self.goals();
        page += "\n## Injected causes\n\nEach cause was injected into a lab network of its own. The evidence is what supports the finding. Remedies are\n`applied` if `--apply` can. The last column lists other warnings, which also apply to that network.\n\n| injected | cause | found | evidence | remedies | other warnings |\n|---|---|---|---|---|---|\n";
        page.extend(self.injected.iter().map(|injected| injected.row.as_str()));
        page += "\nA lab cannot create these causes; unit tests cover them:";
        for id in NOT_IN_A_LAB {
            let _ = write!(page, " `{id}`");
        }
        page += ".\n\n## Healthy networks\n\nIn these networks and with these programs, nothing may be called a fault or a warning:\n\n";
        page.extend(NETWORKS.iter().map(|network| format!("- {}\n", spoken(network.name))));
        page += "\nOn a kernel with more kinds of interfaces:\n\n";
        page.extend(tests(LINKS).iter().map(|test| format!("- {}\n", spoken(test))));
        page
    }

    fn goals(&self) -> String {
        let (count, networks) = (table::all().len(), NETWORKS.len());
        let named = self.injected.iter().filter(|injected| injected.is_named).count();
        let (accused, failed) = (self.accused.len(), self.failed.len());
        let (median, most) = (self.time(0.5), self.time(0.9));
        let lab = "cargo nextest run -p mcast-doctor -E 'binary(lab)'";
        format!(
            "`MCAST_BLESS=1 cargo test -p mcast-doctor --test lab goals` measures the goals in the first table, and writes this page.\nThe doctor then listens as long as the command does: 3 s if 50 datagrams have arrived by then, otherwise 5 s. The time to\nthe verdict is without the time for which the doctor waits for a processor.\n\n| goal | result | also shown by |\n|---|---|---|\n\
             | at least {NAMED_PERCENT} % of the injected causes are named | {named} of {count} | `{lab}`, with one test for each |\n\
             | nothing is called a fault or a warning in a healthy network | in {networks} networks, {accused} accused | the same; with more kinds of interfaces, `cargo verify --only kernel` |\n\
             | lost datagrams are never called healthy | in {count} examinations, {failed} called healthy | the same, which asserts it in every examination; for random machines, `cargo nextest run -p mcast-doctor -E 'test(depth::)'` |\n\
             | every fault of two or three at once is named | | a sample by `{lab}`, every pair by `cargo soak --only doctor` |\n\
             {}\n\
             {}\n\
             | the median time to the verdict is less than {} s | {median:.1} s in the median, {most:.1} s for 90 % | |\n",
            pairs::row(),
            drawn::row(),
            MEDIAN.as_secs()
        )
    }
}

impl Injected {
    fn new(case: &Case, report: &Report, time: Option<Duration>) -> Self {
        let findings = &report.findings;
        let own = findings.iter().find(|finding| finding.id == case.id);
        let found = own.map_or_else(
            || "nothing".to_owned(),
            |finding| format!("`{}` ({})", finding.id, finding.severity),
        );
        let kinds: BTreeSet<_> = own.into_iter().flat_map(|finding| &finding.evidence).map(kind).collect();
        let kinds = kinds.into_iter().collect::<Vec<_>>().join(", ");
        let is_other = |finding: &&Finding| finding.id != case.id && finding.severity >= Severity::Warning;
        let others: Vec<_> = findings.iter().filter(is_other).collect();
        let others: Vec<_> =
            others.iter().map(|finding| format!("`{}` ({})", finding.id, finding.severity)).collect();
        let row = format!(
            "| {} | `{}` | {found} | {kinds} | {} | {} |\n",
            case.how,
            case.id,
            own.map_or("", remedies),
            others.join(", ")
        );
        Self { row, is_named: own.is_some(), time }
    }
}

/// Returns what kind of remedies a finding has: one that `--apply` applies, another command, or advice.
fn remedies(finding: &Finding) -> &'static str {
    match &finding.remedies[..] {
        [] => "none",
        _ if finding.applicable_remedy().is_some() => "applied",
        remedies if remedies.iter().any(|remedy| remedy.command().is_some()) => "command",
        _ => "advice",
    }
}

/// Asserts that a finding has the remedies that the page says: one that can be applied no longer would not be missed otherwise.
pub(crate) fn assert_remedies(case: &Case, report: &Report) {
    let page = std::fs::read_to_string(DOCUMENT).unwrap();
    let begin = format!("| {} | `{}` | ", case.how, case.id);
    let found = report.findings.iter().find(|finding| finding.id == case.id).map(remedies);
    // Cases of several modules may be described alike.
    let mut rows = page.lines().filter(|line| line.starts_with(&begin));
    let is_listed = rows.any(|row| row.rsplit(" | ").nth(1) == found);
    let row = Injected::new(case, report, None).row;
    assert!(is_listed, "run with MCAST_BLESS=1 if that is right, or add this row: {row}");
}

/// Returns the kind of a piece of evidence, as in JSON.
fn kind(evidence: &Evidence) -> String {
    format!("{:?}", evidence.kind).to_lowercase()
}

/// How many networks exist at a time.
const AT_A_TIME: usize = 4;

/// Examines all, several at a time.
fn each<T: Sync, R: Send>(all: &[T], examine: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some((index, one)) = {
            let index = next.fetch_add(1, Ordering::Relaxed);
            all.get(index).map(|one| (index, one))
        } {
            let result = examine(one);
            results.lock().unwrap().push((index, result));
        }
    };
    std::thread::scope(|scope| (0..AT_A_TIME).for_each(|_| drop(scope.spawn(work))));
    let mut results = results.into_inner().unwrap();
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}
