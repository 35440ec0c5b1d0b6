//! Checks a topology file and orders its programs by their dependencies: names exist, addresses parse, and programs do
//! not wait for each other in a cycle.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::ops::Range;
use std::str::FromStr;

use toml::Spanned;

use super::file::{
    EndTable, File, GroupTable, HostTable, ImpairmentTable, InterfaceTable, LinkTable, Named, ProgramEntry,
    ProgramTable, RouteTable, RouterTable, ScopeName, SwitchTable, Text,
};
use super::{
    HostKind, NextHop, PlannedEnd, PlannedGroup, PlannedHost, PlannedInterface, PlannedLink, PlannedRoute,
    Program, ReadyWhen, Topology,
};
use crate::{Impairment, ImpairmentScope, LabError, LabErrorKind, SwitchOptions};

type Result<T> = std::result::Result<T, LabError>;

pub(super) fn topology(text: &str) -> Result<Topology> {
    let checker = Checker { text };
    let file: File = toml::from_str(text)
        .map_err(|error| checker.problem(error.span().unwrap_or_default(), error.message()))?;
    checker.file(file)
}

/// Checks the parts of a file. It has the text, so that errors can give the line number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Checker<'a> {
    text: &'a str,
}

impl Checker<'_> {
    pub(super) fn problem(&self, span: Range<usize>, problem: impl Into<String>) -> LabError {
        let before = self.text.as_bytes().get(..span.start).unwrap_or_default();
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        LabError::new("read a topology", LabErrorKind::Topology { line, problem: problem.into() })
    }

    fn file(self, file: File) -> Result<Topology> {
        let switches = in_order(file.switches);
        let hosts = merge(file.hosts, file.routers);
        self.check_unique(switches.iter().map(|(name, _)| name).chain(hosts.iter().map(|host| &host.name)))?;
        let switch_names: HashSet<_> = switches.iter().map(|(name, _)| name.get_ref().clone()).collect();
        let host_names: HashSet<_> = hosts.iter().map(|host| host.name.get_ref().clone()).collect();
        let listed = hosts.iter().map(|host| (host.name.get_ref().as_str(), host.table.run.as_slice()));
        let programs = check(self, listed)?;
        let switches = switches.into_iter().map(|(name, table)| Ok((name.into_inner(), self.switch(table)?)));
        let hosts = hosts.into_iter().map(|host| self.host(host, &switch_names));
        let links = file.links.into_iter().map(|link| self.link(link, &host_names));
        let trunks = file.trunks.into_iter().map(|ends| self.trunk(ends, &switch_names));
        Ok(Topology {
            description: file.description,
            time_limit: file.time_limit.map(|limit| limit.0),
            switches: switches.collect::<Result<_>>()?,
            hosts: hosts.collect::<Result<_>>()?,
            links: links.collect::<Result<_>>()?,
            trunks: trunks.collect::<Result<_>>()?,
            programs,
        })
    }

    fn check_unique<'b>(self, names: impl Iterator<Item = &'b Text>) -> Result<()> {
        let mut unique = HashSet::new();
        for name in names {
            if !unique.insert(name.get_ref()) {
                return Err(self.problem(name.span(), format!("the name '{}' is taken", name.get_ref())));
            }
        }
        Ok(())
    }

    fn switch(self, table: SwitchTable) -> Result<SwitchOptions> {
        let mut options = SwitchOptions::default().snooping(table.snooping).querier(table.querier);
        if let Some(version) = table.igmp_version {
            options = options.igmp_version(self.version(&version, 2..=3, "IGMP")?);
        }
        if let Some(version) = table.mld_version {
            options = options.mld_version(self.version(&version, 1..=2, "MLD")?);
        }
        if let Some(groups) = table.hash_max {
            options = options.hash_max(groups);
        }
        if let Some(interval) = table.query_interval {
            options = options.query_interval(interval.0);
        }
        if let Some(interval) = table.query_response_interval {
            options = options.query_response_interval(interval.0);
        }
        if let Some(interval) = table.membership_interval {
            options = options.membership_interval(interval.0);
        }
        match table.querier_address {
            Some(address) => Ok(options.querier_address(self.parse(&address)?)),
            None => Ok(options),
        }
    }

    fn version(
        self,
        version: &Spanned<u8>,
        supported: std::ops::RangeInclusive<u8>,
        protocol: &str,
    ) -> Result<u8> {
        let number = *version.get_ref();
        if supported.contains(&number) {
            return Ok(number);
        }
        let (first, last) = (supported.start(), supported.end());
        let problem = format!("the {protocol} version of a querier must be {first} or {last}");
        Err(self.problem(version.span(), problem))
    }

    fn host(self, host: HostOrRouter, switches: &HashSet<String>) -> Result<PlannedHost> {
        let HostOrRouter { name, table, groups } = host;
        let interfaces = in_order(table.interfaces).into_iter();
        let interfaces = interfaces.map(|(name, table)| self.interface(name, table, switches));
        let routes = table.routes.into_iter().map(|route| self.route(route));
        let kind = match groups {
            None => HostKind::Host,
            Some(groups) => {
                let groups = groups.into_iter().map(|group| self.group(group));
                HostKind::Router { groups: groups.collect::<Result<_>>()? }
            }
        };
        let mut sysctls: Vec<_> = table.sysctls.into_iter().collect();
        sysctls.sort_by_key(|(path, _)| path.span().start);
        Ok(PlannedHost {
            name: name.into_inner(),
            kind,
            interfaces: interfaces.collect::<Result<_>>()?,
            routes: routes.collect::<Result<_>>()?,
            sysctls: sysctls.into_iter().map(|(path, value)| (path.into_inner(), value.0)).collect(),
        })
    }

    fn interface(
        self,
        name: Text,
        table: InterfaceTable,
        switches: &HashSet<String>,
    ) -> Result<PlannedInterface> {
        Ok(PlannedInterface {
            name: name.into_inner(),
            switch: self.existing_switch(table.switch, switches)?,
            addresses: self.parse_all(&table.addresses)?,
            mtu: table.mtu,
            impairment: table.impairment.map(|table| self.impairment(&table)).transpose()?,
        })
    }

    fn route(self, route: RouteTable) -> Result<PlannedRoute> {
        let next_hop = match (route.interface, route.via) {
            (Some(interface), None) => NextHop::Interface(interface.into_inner()),
            (None, Some(gateway)) => NextHop::Gateway(self.parse(&gateway)?),
            _ => {
                return Err(
                    self.problem(route.to.span(), "a route needs exactly one of `interface` and `via`")
                );
            }
        };
        Ok(PlannedRoute { to: self.parse(&route.to)?, next_hop })
    }

    fn group(self, table: GroupTable) -> Result<PlannedGroup> {
        let group: IpAddr = self.parse(&table.group)?;
        if !group.is_multicast() {
            return Err(self.problem(table.group.span(), format!("{group} is not a multicast group")));
        }
        Ok(PlannedGroup {
            group,
            source: table.source.map(|source| self.parse(&source)).transpose()?,
            from: table.from.into_inner(),
            to: table.to.into_iter().map(Spanned::into_inner).collect(),
            ttl_threshold: table.ttl_threshold.unwrap_or(1),
        })
    }

    fn link(self, link: LinkTable, hosts: &HashSet<String>) -> Result<PlannedLink> {
        let [a, b] = link.ends;
        Ok(PlannedLink {
            ends: [self.end(a, hosts)?, self.end(b, hosts)?],
            impairment: link.impairment.map(|table| self.impairment(&table)).transpose()?,
        })
    }

    fn trunk(self, [a, b]: [Text; 2], switches: &HashSet<String>) -> Result<[String; 2]> {
        Ok([self.existing_switch(a, switches)?, self.existing_switch(b, switches)?])
    }

    fn existing_switch(self, name: Text, switches: &HashSet<String>) -> Result<String> {
        if switches.contains(name.get_ref()) {
            return Ok(name.into_inner());
        }
        Err(self.problem(name.span(), format!("there is no switch '{}'", name.get_ref())))
    }

    fn end(self, end: EndTable, hosts: &HashSet<String>) -> Result<PlannedEnd> {
        if !hosts.contains(end.host.get_ref()) {
            return Err(self.problem(end.host.span(), format!("there is no host '{}'", end.host.get_ref())));
        }
        Ok(PlannedEnd {
            host: end.host.into_inner(),
            interface: end.interface.into_inner(),
            addresses: self.parse_all(&end.addresses)?,
        })
    }

    fn impairment(self, table: &Spanned<ImpairmentTable>) -> Result<Impairment> {
        let (span, table) = (table.span(), table.get_ref());
        let perfect = Impairment::default();
        let impairment = Impairment {
            loss: table.loss.unwrap_or(perfect.loss),
            duplicate: table.duplicate.unwrap_or(perfect.duplicate),
            reorder: table.reorder.unwrap_or(perfect.reorder),
            delay: table.delay.map_or(perfect.delay, |time| time.0),
            jitter: table.jitter.map_or(perfect.jitter, |time| time.0),
            rate: table.rate.map(|rate| rate.0),
            queue: table.queue.unwrap_or(perfect.queue),
            seed: table.seed.unwrap_or(perfect.seed),
            scope: match table.scope {
                Some(ScopeName::All) => ImpairmentScope::All,
                Some(ScopeName::Udp) | None => ImpairmentScope::Udp,
            },
        };
        impairment.validated().map_err(|error| self.problem(span, error.kind().to_string()))
    }

    pub(super) fn parse<T: FromStr<Err: ToString>>(self, text: &Text) -> Result<T> {
        let problem =
            |error: T::Err| self.problem(text.span(), format!("'{}': {}", text.get_ref(), error.to_string()));
        text.get_ref().parse().map_err(problem)
    }

    fn parse_all<T: FromStr<Err: ToString>>(self, texts: &[Text]) -> Result<Vec<T>> {
        texts.iter().map(|text| self.parse(text)).collect()
    }
}

/// A host, or a router with its groups.
struct HostOrRouter {
    name: Text,
    table: HostTable,
    groups: Option<Vec<GroupTable>>,
}

/// Hosts and routers, in the order of the file.
fn merge(hosts: Named<HostTable>, routers: Named<RouterTable>) -> Vec<HostOrRouter> {
    let hosts = hosts.into_iter().map(|(name, table)| HostOrRouter { name, table, groups: None });
    let routers = routers.into_iter().map(|(name, router)| {
        let RouterTable { interfaces, routes, sysctls, run, groups } = router;
        HostOrRouter { name, table: HostTable { interfaces, routes, sysctls, run }, groups: Some(groups) }
    });
    let mut all: Vec<_> = hosts.chain(routers).collect();
    all.sort_by_key(|host| host.name.span().start);
    all
}

fn in_order<T>(named: Named<T>) -> Vec<(Text, T)> {
    let mut all: Vec<_> = named.into_iter().collect();
    all.sort_by_key(|(name, _)| name.span().start);
    all
}

/// Returns the programs of all hosts in order, and checks that they do not wait for each other in a cycle.
pub(super) fn check<'a>(
    checker: Checker<'_>,
    hosts: impl Iterator<Item = (&'a str, &'a [Spanned<ProgramEntry>])>,
) -> Result<Vec<Program>> {
    let named: Vec<_> = hosts.flat_map(|(host, entries)| name_all(host, entries)).collect();
    let mut indexes = HashMap::new();
    for (index, NamedEntry { name, entry, .. }) in named.iter().enumerate() {
        if indexes.insert(name.as_str(), index).is_some() {
            return Err(checker.problem(entry.span(), format!("another program has the name '{name}'")));
        }
    }
    let programs = named.iter().map(|named| program(checker, named, &indexes));
    let programs = programs.collect::<Result<Vec<_>>>()?;
    match first_in_cycle(&programs) {
        Some(index) => {
            let problem = format!("'{}' waits for itself, directly or indirectly", programs[index].name);
            Err(checker.problem(named[index].entry.span(), problem))
        }
        None => Ok(programs),
    }
}

/// An entry of `run` with the name of the program, given or generated.
struct NamedEntry<'a> {
    host: &'a str,
    name: String,
    entry: &'a Spanned<ProgramEntry>,
}

fn name_all<'a>(host: &'a str, entries: &'a [Spanned<ProgramEntry>]) -> impl Iterator<Item = NamedEntry<'a>> {
    entries.iter().enumerate().map(move |(index, entry)| {
        let given = entry.get_ref().0.name.as_ref().map(|name| name.get_ref().clone());
        NamedEntry { host, name: given.unwrap_or_else(|| format!("{host}.{}", index + 1)), entry }
    })
}

fn program(checker: Checker<'_>, named: &NamedEntry<'_>, indexes: &HashMap<&str, usize>) -> Result<Program> {
    let ProgramTable { command, ready, joined, wait_for, after, background, expect, .. } =
        &named.entry.get_ref().0;
    let index = |name: &Text| {
        let unknown = || checker.problem(name.span(), format!("there is no program '{}'", name.get_ref()));
        indexes.get(name.get_ref().as_str()).copied().ok_or_else(unknown)
    };
    let ready = match (ready, joined) {
        (None, None) => ReadyWhen::Started,
        (Some(text), None) => ReadyWhen::Writes(text.clone()),
        (None, Some(group)) => ReadyWhen::Joined(checker.parse(group)?),
        (Some(_), Some(group)) => {
            return Err(checker.problem(group.span(), "a program cannot have both `ready` and `joined`"));
        }
    };
    Ok(Program {
        name: named.name.clone(),
        host: named.host.to_owned(),
        command: command.clone(),
        ready,
        wait_for: wait_for.iter().map(index).collect::<Result<_>>()?,
        after: after.iter().map(index).collect::<Result<_>>()?,
        background: *background,
        expect: *expect,
    })
}

/// Returns the index of a program that can never start, because it waits for itself directly or indirectly.
fn first_in_cycle(programs: &[Program]) -> Option<usize> {
    let mut can_start = vec![false; programs.len()];
    loop {
        let starts =
            |program: &Program| program.wait_for.iter().chain(&program.after).all(|other| can_start[*other]);
        let next =
            programs.iter().enumerate().position(|(index, program)| !can_start[index] && starts(program));
        match next {
            Some(index) => can_start[index] = true,
            None => return can_start.iter().position(|can| !can),
        }
    }
}
