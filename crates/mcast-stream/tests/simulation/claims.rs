//! What a sender makes of what is said to it: that losses are great, and where one is.

use std::net::SocketAddr;

use mcast_stream::sender::{Breaker, SenderConfig, SenderEvent, Transmit};
use mcast_stream::wire::{
    Header, Incarnation, Kind, NakWriter, Packet, PacketWriter, Probe, ReceiverId, Status, StreamId,
    WriteError,
};
use mcast_stream::{Sender, Target};

use crate::plan::{MILLISECOND, SECOND};

const STREAM: StreamId = StreamId(7);
const WHO: ReceiverId = ReceiverId(0xaabb);

fn sender(config: SenderConfig) -> Sender {
    Sender::new(config, SECOND).unwrap()
}

fn settings() -> SenderConfig {
    SenderConfig { history: 1 << 20, ..SenderConfig::new(STREAM, Incarnation(1)) }
}

/// A receiver's datagram, its count-th.
fn said(
    kind: Kind,
    count: u64,
    write: impl FnOnce(&mut PacketWriter<'_>) -> Result<(), WriteError>,
) -> Vec<u8> {
    let mut bytes = vec![0; 1_500];
    let mut writer =
        PacketWriter::new(&mut bytes, &Header::new(kind, STREAM, Incarnation(1), count)).unwrap();
    writer.receiver(WHO).unwrap();
    write(&mut writer).unwrap();
    let length = writer.finish();
    bytes.truncate(length);
    bytes
}

fn nak(count: u64, token: u64, missing: u64) -> Vec<u8> {
    let mut list = NakWriter::new();
    assert!(list.add(missing, 1));
    said(Kind::Nak, count, |writer| list.write_nak(token, writer))
}

/// Where the sender repairs to, when it was told this from there.
fn repaired_to(sender: &mut Sender, now: u64, from: SocketAddr, told: &[u8]) -> Option<Target> {
    sender.handle(now, from, told);
    let mut to = None;
    while let Some(transmit) = sender.poll(now) {
        if let Transmit::Repair { to: target, .. } = transmit {
            to = Some(target);
        }
    }
    to
}

/// Whoever forges where it is aims nothing there.
#[test]
fn repairs_go_only_where_somebody_has_proven_to_be() {
    let (mine, another) = (SocketAddr::from(([10, 0, 0, 2], 7000)), SocketAddr::from(([10, 0, 0, 3], 7000)));
    let (mut sender, now) = (sender(settings()), 2 * SECOND);
    for _ in 0..20 {
        sender.publish(now, &[7; 1000]).unwrap();
        sender.flush(now);
    }
    while sender.poll(now).is_some() {}
    assert_eq!(repaired_to(&mut sender, now, mine, &nak(1, 0, 3)), Some(Target::Group));
    assert_eq!(repaired_to(&mut sender, now, mine, &nak(2, 12_345, 4)), Some(Target::Group));

    let probe = said(Kind::Probe, 3, |writer| Probe { clock: 1, token: 0, receiver: WHO.0 }.write(writer));
    sender.handle(now, mine, &probe);
    let Some(Transmit::Control(echo)) = sender.poll(now) else { panic!("no echo") };
    assert_eq!(echo.to, Target::Address(mine));
    assert!(echo.bytes().len() <= probe.len(), "an echo is longer than its probe");
    let head = Packet::parse(echo.bytes()).unwrap().head.len();
    let token = Probe::read(&echo.bytes()[head..]).unwrap().token;

    assert_eq!(repaired_to(&mut sender, now, another, &nak(4, token, 5)), Some(Target::Group));
    assert_eq!(repaired_to(&mut sender, now, mine, &nak(5, token, 6)), Some(Target::Address(mine)));
    assert_eq!(repaired_to(&mut sender, now, another, &nak(6, 0, 7)), Some(Target::Group));
    let later = now + 200 * SECOND;
    assert_eq!(repaired_to(&mut sender, later, mine, &nak(7, token, 8)), Some(Target::Group));
}

/// Publishes for so long while all tell of this loss: bytes a second in each half second, and the rates it was slowed to.
fn under_loss(loss: u32, time: u64) -> (Vec<u64>, Vec<(u64, u64)>) {
    let breaker = Some(Breaker { loss: 250_000, time: 3 * SECOND });
    let mut sender = sender(SenderConfig { breaker, rate: Some(4_000_000), ..settings() });
    let (mut sent, mut slowed, mut count) = (vec![], vec![], 0);
    let mut before = 0;
    for now in (0..time / MILLISECOND).map(|step| SECOND + step * MILLISECOND) {
        while sender.publish(now, &[7; 1000]).is_ok() {}
        while sender.poll(now).is_some() {}
        while let Some(event) = sender.poll_event() {
            if let SenderEvent::Slowed { rate, .. } = event {
                slowed.push((now - SECOND, rate));
            }
        }
        let next = sender.statistics().datagrams + 1;
        count += 1;
        let status = Status { next, highest: next, window: 1_000, loss, ..Status::default() };
        sender.handle(
            now,
            ([10, 0, 0, 2], 7000).into(),
            &said(Kind::Status, count, |writer| status.write(writer)),
        );
        if count % 500 == 0 {
            let bytes = sender.statistics().datagram_bytes;
            sent.push(2 * (bytes - before));
            before = bytes;
        }
    }
    (sent, slowed)
}

#[test]
fn a_loss_of_more_than_a_quarter_for_three_seconds_halves_the_rate() {
    let (sent, slowed) = under_loss(300_000, 6 * SECOND);
    let (at, rate) = slowed[0];
    assert!((3 * SECOND..4 * SECOND).contains(&at) && rate == 2_000_000, "{slowed:?}");
    assert!(sent[2] > 3_500_000 && sent[9] < 2_300_000 && sent[9] > 1_700_000, "{sent:?}");
}

#[test]
fn a_loss_of_less_than_a_quarter_slows_nobody() {
    let (sent, slowed) = under_loss(240_000, 6 * SECOND);
    assert!(slowed.is_empty() && sent[9] > 3_500_000, "{slowed:?} {sent:?}");
}
