//! Joined while somebody downstream has joined.

use std::net::Ipv4Addr;
use std::time::Duration;

use mcast_group::Group;
use mcast_packet::gmp::{IgmpMessage, Record, RecordKind};
use mcast_relay::{LegId, RefusalReason, RelayEvent};

use crate::subject::Subject;

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);

fn report(subject: &mut Subject, leg: u8, message: &IgmpMessage<'_>) {
    let host = [10, 0, leg, 7].into();
    subject.relay.handle_membership(subject.now, LegId(leg), host, message);
    subject.outputs(&[]);
}

fn send(subject: &mut Subject, number: u8) -> usize {
    subject.receive(0, "10.0.0.1:4000", "239.1.2.3:5000", &[number]).len()
}

#[test]
fn a_group_is_joined_and_forwarded_only_while_it_is_wanted() {
    let mut subject = Subject::new("239.0.0.0/8:5000 from s0 to s1,s2");
    assert_eq!((send(&mut subject, 0), subject.joins.len()), (0, 0));
    assert_eq!(subject.refused(RefusalReason::NotWanted), 1);
    report(&mut subject, 2, &IgmpMessage::Report { group: GROUP });
    assert_eq!(subject.joins.len(), 1);
    assert!(subject.joins[0].0 == LegId(0) && subject.joins[0].2.is_any());
    assert_eq!(send(&mut subject, 1), 1, "only on the leg that wants it");
    report(&mut subject, 1, &IgmpMessage::Report { group: GROUP });
    assert_eq!((send(&mut subject, 2), subject.joins.len()), (2, 1));
    report(&mut subject, 2, &IgmpMessage::Leave { group: GROUP });
    report(&mut subject, 1, &IgmpMessage::Leave { group: GROUP });
    subject.wait(Duration::from_millis(1_999));
    assert_eq!(subject.joins.len(), 1, "the others have two seconds to report");
    subject.wait(Duration::from_millis(1));
    assert!(subject.joins.len() == 2 && subject.joins[1].2.is_none());
    assert_eq!(send(&mut subject, 3), 0);
}

#[test]
fn a_rewritten_group_is_wanted_by_its_new_name() {
    let mut subject = Subject::new("239.7.0.0/24:5000 from s0 to s1 as 239.1.2.0/24:5000");
    report(&mut subject, 1, &IgmpMessage::Report { group: GROUP });
    let (leg, group, _) = &subject.joins[0];
    assert_eq!((*leg, group.to_string()), (LegId(0), "239.7.0.3".to_owned()));
}

#[test]
fn members_of_another_source_are_reported_because_they_would_not_receive_copies() {
    let mut subject = Subject::new("239.1.2.3:5000 from s0 to s1");
    let sources = |source: Ipv4Addr| [source];
    let include = |subject: &mut Subject, source| {
        let sources = sources(source);
        let records = [Record { kind: RecordKind::ModeIsInclude, group: GROUP, sources: (&sources).into() }];
        report(subject, 1, &IgmpMessage::V3Report((&records).into()));
    };
    include(&mut subject, Ipv4Addr::new(10, 0, 0, 1));
    include(&mut subject, Ipv4Addr::new(10, 0, 0, 1));
    let reported = subject.events.iter().filter(|event| matches!(event, RelayEvent::OtherSources { .. }));
    assert_eq!((reported.count(), send(&mut subject, 0)), (1, 0));
    // The relay's own address on that leg.
    include(&mut subject, Ipv4Addr::new(10, 0, 1, 200));
    assert_eq!(send(&mut subject, 1), 1);
}

#[test]
fn a_leg_without_reports_is_reported_if_a_rule_waits_for_them() {
    let mut subject = Subject::new("239.1.2.3:5000 from s0 to s1\n239.1.2.4:5000 from s0 to s2 always");
    subject.wait(Duration::from_secs(600));
    let silent: Vec<_> = subject
        .events
        .iter()
        .filter_map(|event| match event {
            RelayEvent::NoReports { leg } => Some(*leg),
            _ => None,
        })
        .collect();
    assert_eq!(silent, [LegId(1)]);
}

#[test]
fn groups_of_local_programs_are_wanted_while_they_are_joined() {
    let mut subject = Subject::new("239.0.0.0/8:5000 from s0 to s1");
    let set = |subject: &mut Subject, groups: &[Ipv4Addr]| {
        let groups = groups.iter().map(|group| Group::new((*group).into()).unwrap()).collect();
        subject.relay.set_local_members(subject.now, LegId(1), &groups);
        subject.outputs(&[]);
    };
    set(&mut subject, &[GROUP]);
    assert_eq!((subject.joins.len(), send(&mut subject, 0)), (1, 1));
    set(&mut subject, &[GROUP]);
    assert_eq!(subject.joins.len(), 1);
    set(&mut subject, &[]);
    assert_eq!((subject.joins.len(), send(&mut subject, 1)), (2, 0));
}

#[test]
fn a_host_that_reports_too_many_groups_is_named_and_others_still_join() {
    let mut subject = Subject::new("239.0.0.0/8:5000 from s0 to s1");
    for number in 0..2_000 {
        let group = Ipv4Addr::from_bits(0xef20_0000 + number);
        report(&mut subject, 1, &IgmpMessage::Report { group });
    }
    assert_eq!(subject.joins.len(), 1_024, "a quarter of all");
    let refused = subject.events.iter().filter_map(|event| match event {
        RelayEvent::TooManyGroups { leg, host, groups, .. } => Some((*leg, *host, *groups)),
        _ => None,
    });
    assert_eq!(refused.collect::<Vec<_>>(), [(LegId(1), [10, 0, 1, 7].into(), 1_024)]);
    let host = [10, 0, 1, 8].into();
    subject.relay.handle_membership(subject.now, LegId(1), host, &IgmpMessage::Report { group: GROUP });
    subject.outputs(&[]);
    assert_eq!(send(&mut subject, 1), 1);
}
