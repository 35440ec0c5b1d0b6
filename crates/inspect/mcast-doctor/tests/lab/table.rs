//! The injections with the cause that the doctor must find, one test each: those of a module are declared at its head.

use mcast_doctor::{Id, Report};

use crate::net::assert_only;
use crate::{
    alone, answers, boxes, dds, depth, drops, files, filters, firewall, fleet, interfaces, ipsec, ipv6,
    misaddressed, path, places, programs, protocols, relays, remedies, routers, routing, rules, senders,
    services, sockets, started, streams, switches, translation, wire,
};

/// An injection and the cause that must be found.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) id: Id,
    pub(crate) how: &'static str,
    pub(crate) inject: fn() -> Report,
}

/// Declares the injections of a module, each with the cause and with what was done, and a test for each.
macro_rules! cases {
    ($($name:ident: $id:ident, $how:literal, $inject:expr;)+) => {
        pub(crate) const CASES: &[crate::table::Case] = &[$(crate::table::Case {
            name: stringify!($name),
            id: mcast_doctor::Id::$id,
            how: $how,
            inject: $inject,
        }),+];

        mod cases {
            $(
                #[test]
                fn $name() {
                    crate::table::assert_named(super::CASES, stringify!($name));
                }
            )+
        }
    };
}
pub(crate) use cases;

/// Returns the injections of all modules.
pub(crate) fn all() -> Vec<&'static Case> {
    let modules = [
        alone::CASES,
        answers::CASES,
        boxes::CASES,
        dds::CASES,
        depth::CASES,
        drops::CASES,
        files::CASES,
        filters::CASES,
        firewall::CASES,
        fleet::CASES,
        interfaces::CASES,
        ipsec::CASES,
        ipv6::CASES,
        misaddressed::CASES,
        path::CASES,
        places::CASES,
        programs::CASES,
        protocols::CASES,
        relays::CASES,
        remedies::CASES,
        routers::CASES,
        routing::CASES,
        rules::CASES,
        senders::CASES,
        services::CASES,
        sockets::CASES,
        started::CASES,
        streams::CASES,
        switches::CASES,
        translation::CASES,
        wire::CASES,
    ];
    modules.into_iter().flatten().collect()
}

/// Makes an injection, and asserts that the doctor names its cause alone.
pub(crate) fn assert_named(cases: &[Case], name: &str) {
    let case = cases.iter().find(|case| case.name == name).expect("an injection of this module");
    let needs_tracing = NEEDS_TRACING.contains(&case.id) || TRACED_CASES.contains(&case.name);
    let has_foreign = match case.name.split_once('_') {
        Some(("avahi", _)) => services::has_avahi(),
        Some(("cyclone", _)) => dds::has_cyclone(),
        _ => true,
    };
    if has_foreign && crate::net::has_programs() && (!needs_tracing || crate::drops::can_trace()) {
        let report = crate::treatment::inject_and_treat(case.name, case.id, case.inject);
        assert_only(&report, case.id);
        crate::goals::assert_remedies(case, &report);
    }
}

/// Causes that a lab cannot create; unit tests cover them.
pub(crate) const NOT_IN_A_LAB: &[Id] =
    &[Id::CloudNetwork, Id::Wireless, Id::BacklogDrops, Id::KernelWithoutIgmp];

/// Causes that only the kernel's drop reasons show, which not every user may read.
const NEEDS_TRACING: &[Id] = &[Id::TcDrops, Id::XdpDrops, Id::MalformedPackets, Id::DroppedWhenSending];

/// Cases of other causes, the same: without experiments, and with rules that cannot be evaluated.
const TRACED_CASES: &[&str] = &[
    "dropped_in_prerouting",
    "dropped_in_prerouting_of_ipv6",
    "dropped_at_ingress",
    "dropped_at_ingress_for_a_program",
    "dropped_of_one_source",
];

#[test]
fn every_cause_is_injected_or_listed_as_impossible() {
    for id in Id::ALL {
        let injected = all().iter().any(|case| case.id == *id);
        assert_ne!(injected, NOT_IN_A_LAB.contains(id), "{id}");
    }
}
