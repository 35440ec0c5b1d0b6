//! What is listed equals what a simple model of the cache of RFC 6762 section 10 lists, for any sequence of records.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const TYPES: [&str; 2] = ["_ipp._tcp.local", "_scan._tcp.local"];
const HOSTS: [&str; 2] = ["h.local", "k.local"];

/// What is received, and how long it takes until then.
#[derive(Clone, Debug)]
struct Step {
    wait: u64,
    record: KnownRecord,
    flush: bool,
    seconds: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum KnownRecord {
    Pointer { service: usize, instance: char },
    Service { service: usize, instance: char, host: usize, port: u16 },
    Address { host: usize, last: u8 },
}

impl KnownRecord {
    /// Returns the name that the record is of, for PTR the one that it points to.
    fn name(&self) -> String {
        match self {
            Self::Pointer { service, instance } | Self::Service { service, instance, .. } => {
                format!("{instance}.{}", TYPES[*service])
            }
            Self::Address { host, .. } => HOSTS[*host].into(),
        }
    }

    fn line(&self, flush: bool, seconds: u32) -> String {
        let flush = if flush { "!" } else { "" };
        let name = self.name();
        match self {
            Self::Pointer { service, .. } => format!("{};{flush}PTR;{seconds};{name}", TYPES[*service]),
            Self::Service { host, port, .. } => {
                format!("{name};{flush}SRV;{seconds};{}:{port}", HOSTS[*host])
            }
            Self::Address { last, .. } => format!("{name};{flush}A;{seconds};10.0.0.{last}"),
        }
    }

    fn is_same_set(&self, other: &Self) -> bool {
        self.name() == other.name() && std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// Records, each with when it was received and when it lapses, in milliseconds.
#[derive(Default)]
struct Model {
    now: u64,
    records: Vec<(KnownRecord, u64, u64)>,
    pointed_to: BTreeSet<String>,
}

impl Model {
    fn wait(&mut self, milliseconds: u64) {
        self.now += milliseconds;
        self.records.retain(|(.., expires)| *expires > self.now);
        let names: BTreeSet<_> = self.records.iter().map(|(record, ..)| record.name()).collect();
        self.pointed_to.retain(|name| names.contains(name));
    }

    fn receive(&mut self, step: &Step) {
        let known = self.records.iter().position(|(record, ..)| *record == step.record);
        if step.seconds == 0 {
            if let Some(position) = known {
                let expires = &mut self.records[position].2;
                *expires = (*expires).min(self.now + 1_000);
            }
            return;
        }
        if step.flush && !matches!(step.record, KnownRecord::Pointer { .. }) {
            for (record, received, expires) in &mut self.records {
                if record.is_same_set(&step.record) && *record != step.record && self.now - *received > 1_000
                {
                    *expires = (*expires).min(self.now + 1_000);
                }
            }
        }
        if let Some(position) = known {
            self.records.remove(position);
        }
        self.records.push((step.record.clone(), self.now, self.now + u64::from(step.seconds) * 1_000));
        if matches!(step.record, KnownRecord::Pointer { .. }) {
            self.pointed_to.insert(step.record.name());
        }
    }

    fn services(&self) -> BTreeSet<String> {
        let listed = self.records.iter().filter(|(record, ..)| match record {
            KnownRecord::Pointer { .. } => true,
            KnownRecord::Service { .. } => !self.pointed_to.contains(&record.name()),
            KnownRecord::Address { .. } => false,
        });
        listed.map(|(record, ..)| record.name()).collect()
    }

    fn hosts(&self) -> BTreeSet<String> {
        let addresses =
            self.records.iter().filter(|(record, ..)| matches!(record, KnownRecord::Address { .. }));
        addresses.map(|(record, ..)| record.name()).collect()
    }

    /// Returns all ports that a service may have.
    fn ports(&self, service: &str) -> BTreeSet<u16> {
        let ports = self.records.iter().filter_map(|(record, ..)| match record {
            KnownRecord::Service { port, .. } if record.name() == service => Some(*port),
            _ => None,
        });
        ports.collect()
    }

    fn addresses(&self, host: &str) -> BTreeSet<IpAddr> {
        let addresses = self.records.iter().filter_map(|(record, ..)| match record {
            KnownRecord::Address { last, .. } if record.name() == host => {
                Some(IpAddr::from([10, 0, 0, *last]))
            }
            _ => None,
        });
        addresses.collect()
    }
}

fn known() -> impl Strategy<Value = KnownRecord> {
    let instance = prop::sample::select(vec!['A', 'B']);
    prop_oneof![
        (0..2_usize, instance.clone())
            .prop_map(|(service, instance)| KnownRecord::Pointer { service, instance }),
        (0..2_usize, instance, 0..2_usize, 1..4_u16).prop_map(|(service, instance, host, port)| {
            KnownRecord::Service { service, instance, host, port }
        }),
        (0..2_usize, 1..4_u8).prop_map(|(host, last)| KnownRecord::Address { host, last }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let wait = prop::sample::select(vec![0, 1, 400, 999, 1_000, 1_001, 3_000, 20_000]);
    let seconds = prop::sample::select(vec![0, 1, 2, 10, 120]);
    (wait, known(), any::<bool>(), seconds).prop_map(|(wait, record, flush, seconds)| Step {
        wait,
        record,
        flush,
        seconds,
    })
}

proptest! {
    #[test]
    fn entries_equal_the_model(steps in prop::collection::vec(step(), 1..60)) {
        let (mut listener, mut model) = (Listener::new(), Model::default());
        for step in steps {
            listener.wait(step.wait);
            model.wait(step.wait);
            listener.hear("10.0.0.7", &[&step.record.line(step.flush, step.seconds)]);
            model.receive(&step);
            let entries = listener.entries();
            let of_kind = |kind| entries.iter().filter(move |entry| entry.kind == kind);
            let services: BTreeSet<_> = of_kind(DiscoveredKind::Service)
                .map(|entry| format!("{}.{}.local", entry.name, entry.service))
                .collect();
            prop_assert_eq!(&services, &model.services());
            let hosts: BTreeSet<_> = of_kind(DiscoveredKind::Host).map(|entry| entry.name.to_string()).collect();
            // A host whose last address was replaced is still listed by the model for a second.
            prop_assert_eq!(&hosts, &model.hosts());
            for entry in &entries {
                let name = entry.key.id.to_string();
                if entry.kind == DiscoveredKind::Host {
                    let addresses: BTreeSet<_> = entry.addresses.iter().copied().collect();
                    prop_assert!(addresses.is_subset(&model.addresses(&name)));
                } else {
                    let name = format!("{}.{}.local", entry.name, entry.service);
                    let ports = model.ports(&name);
                    prop_assert!(entry.port.map_or(ports.is_empty(), |port| ports.contains(&port)), "{:?}", entry);
                    let addresses: BTreeSet<_> = entry.addresses.iter().copied().collect();
                    prop_assert!(addresses.is_subset(&model.addresses(&entry.host.to_string())));
                }
            }
        }
    }
}
