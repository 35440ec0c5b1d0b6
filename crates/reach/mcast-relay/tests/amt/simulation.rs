//! Several gateways behind one NAT, with loss, reordering, forged datagrams, restarts and moves, for many seeds.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mcast_group::SourceFilter;
use mcast_packet::payload::{AmtMac, AmtMessage};
use mcast_sim::{Dice, for_seeds};

use crate::world::{NAT, RELAY, World, group, new_relay, only, seconds};

const SEEDS: u64 = 60;
const SOURCE: &str = "192.0.2.7";
const OTHER_SOURCE: &str = "192.0.2.8";
const GATEWAYS: usize = 6;

/// Runs a scenario with many seeds.
fn in_networks(scenario: impl Fn(World)) {
    for_seeds(SEEDS, |seed| scenario(World::new(seed, GATEWAYS)));
}

/// Makes the network bad: a tenth of the datagrams are lost, and many overtake others.
fn make_bad(world: &mut World) {
    (world.loss, world.delay) = (100, (5, 400));
}

fn forged(dice: &mut Dice) -> SocketAddr {
    let bits = 0x0b00_0000 | (dice.next() as u32 & 0x00ff_ffff);
    SocketAddr::new(IpAddr::V4(Ipv4Addr::from_bits(bits)), 1 + (dice.next() as u16 >> 1))
}

#[test]
fn gateways_behind_one_nat_each_receive_what_they_have_joined() {
    in_networks(|mut world| {
        make_bad(&mut world);
        let (shared, own) = (group("232.1.2.3"), group("ff3e::8000:1"));
        for gateway in 0..GATEWAYS {
            world.join(gateway, shared, only(if gateway % 2 == 0 { SOURCE } else { OTHER_SOURCE }));
        }
        world.join(0, own, only("2001:db8::7"));
        world.run(seconds(70));
        let flows = [(SOURCE, shared), (OTHER_SOURCE, shared), ("2001:db8::7", own)];
        world.stream(seconds(100), &flows);
        for gateway in 0..GATEWAYS {
            let (wanted, unwanted) =
                if gateway % 2 == 0 { (SOURCE, OTHER_SOURCE) } else { (OTHER_SOURCE, SOURCE) };
            // Of 1,000, a tenth is lost, and no more than that.
            assert!((830..=960).contains(&world.count(gateway, wanted, shared)));
            assert_eq!(world.count(gateway, unwanted, shared), 0);
        }
        assert!(world.count(0, "2001:db8::7", own) > 830);
        assert_eq!(world.count(1, "2001:db8::7", own), 0);
        assert_eq!(world.relay.as_ref().unwrap().gateways().len(), GATEWAYS);
    });
}

#[test]
fn forged_datagrams_leave_the_state_unchanged() {
    in_networks(|mut world| {
        make_bad(&mut world);
        let shared = group("239.1.2.3");
        (0..GATEWAYS).for_each(|gateway| world.join(gateway, shared, SourceFilter::ANY));
        let mut dice = Dice::new(world.dice.next());
        let packet = [0x46, 0, 0, 40];
        for _ in 0..500 {
            let from = forged(&mut dice);
            let (nonce, mac) = (dice.next() as u32, AmtMac([dice.next() as u8; 6]));
            let victim = SocketAddr::new(NAT.parse().unwrap(), 10_000 + dice.below(6) as u16);
            let message = match dice.below(5) {
                0 => AmtMessage::RelayDiscovery { nonce },
                1 => AmtMessage::MembershipUpdate { mac, nonce, packet: &packet },
                2 => AmtMessage::Teardown { mac, nonce, gateway: victim },
                _ => AmtMessage::Request { nonce, wants_mld: dice.below(2) == 0 },
            };
            let mut buffer = [0; 128];
            let length = message.emit(&mut buffer).unwrap();
            world.send(from, RELAY.parse().unwrap(), buffer[..length].to_vec());
            // To the gateways as well, from any address.
            world.send(from, victim, buffer[..length].to_vec());
            world.run(std::time::Duration::from_millis(dice.below(100)));
        }
        world.run(seconds(60));
        let known: Vec<_> = world.relay.as_ref().unwrap().gateways().collect();
        assert!(known.iter().all(|gateway| gateway.ip() == NAT.parse::<IpAddr>().unwrap()), "{known:?}");
        assert_eq!(known.len(), GATEWAYS);
    });
}

#[test]
fn a_restarted_relay_serves_again_within_seconds() {
    in_networks(|mut world| {
        let shared = group("239.1.2.3");
        (0..GATEWAYS).for_each(|gateway| world.join(gateway, shared, SourceFilter::ANY));
        world.stream(seconds(3), &[(SOURCE, shared)]);
        world.relay = None;
        let pause = world.dice.below(4);
        world.stream(seconds(pause), &[(SOURCE, shared)]);
        world.relay = Some(new_relay());
        world.stream(seconds(8), &[(SOURCE, shared)]);
        world.forget();
        world.stream(seconds(1), &[(SOURCE, shared)]);
        for gateway in 0..GATEWAYS {
            assert!(world.count(gateway, SOURCE, shared) >= 9, "gateway {gateway}");
        }
    });
}

#[test]
fn a_gateway_with_another_address_tears_the_old_tunnel_down() {
    in_networks(|mut world| {
        let shared = group("239.1.2.3");
        (0..GATEWAYS).for_each(|gateway| world.join(gateway, shared, SourceFilter::ANY));
        world.stream(seconds(3), &[(SOURCE, shared)]);
        let moved = world.dice.below(GATEWAYS as u64) as usize;
        world.ports[moved] = 20_000;
        world.stream(seconds(5), &[(SOURCE, shared)]);
        world.forget();
        world.stream(seconds(1), &[(SOURCE, shared)]);
        assert!(world.count(moved, SOURCE, shared) >= 9);
        let mut ports: Vec<_> =
            world.relay.as_ref().unwrap().gateways().map(|gateway| gateway.port()).collect();
        ports.sort_unstable();
        let mut expected = world.ports.clone();
        expected.sort_unstable();
        assert_eq!(ports, expected);
    });
}

#[test]
fn memberships_last_through_a_bad_network_and_secret_rotations() {
    in_networks(|mut world| {
        make_bad(&mut world);
        let shared = group("239.1.2.3");
        (0..GATEWAYS).for_each(|gateway| world.join(gateway, shared, SourceFilter::ANY));
        world.run(seconds(30));
        // Many query intervals and secrets later. Without data, silence is not noticed.
        world.run(seconds(1_200));
        let known = world.relay.as_ref().unwrap().gateways().len();
        assert!(known >= GATEWAYS - 1, "{known}");
        world.loss = 0;
        world.run(seconds(130));
        assert_eq!(world.relay.as_ref().unwrap().gateways().len(), GATEWAYS);
    });
}

#[test]
fn nothing_remains_of_gateways_that_leave_or_vanish() {
    in_networks(|mut world| {
        make_bad(&mut world);
        let shared = group("239.1.2.3");
        (0..GATEWAYS).for_each(|gateway| world.join(gateway, shared, SourceFilter::ANY));
        world.run(seconds(30));
        (0..3).for_each(|gateway| world.leave(gateway, shared));
        // The others are switched off.
        for port in &mut world.ports[3..] {
            *port += 1_000;
        }
        for gateway in &mut world.gateways[3..] {
            *gateway = mcast_relay::amt::AmtGateway::new(|| 0);
        }
        world.run(seconds(200));
        let relay = world.relay.as_ref().unwrap();
        assert_eq!(relay.gateways().len(), 0);
        assert!(relay.wanted().is_empty());
        assert_eq!(relay.poll_timeout(), None);
    });
}
