//! Behaviour that must not depend on how calls are interleaved: threads with buffers of different
//! sizes, refused datagrams in between, wake-ups with several waiting threads, and many interface
//! changes at once.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use mcast::{Batch, ErrorKind, GroupAddr, InterfaceSelector, Outgoing, Receiver};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use rustix::time::{ClockId, clock_gettime};
use socket2::SockFilter;

use crate::net::{Net, TIMEOUT, both_families, next, texts_until};

both_families!(
    single_receives_between_batches_get_each_datagram_whole,
    a_flood_of_refused_datagrams_delays_neither_a_deadline_nor_a_join,
    a_sender_of_batches_follows_its_interface,
    a_failing_interface_does_not_affect_the_others,
    a_returning_interface_causes_no_duplicates_on_the_others,
    refused_sends_leave_no_error_behind,
    more_changes_than_the_kernel_reports_lose_nothing;
    by_the_sockets:
    threads_with_large_and_small_buffers_get_each_datagram_whole,
    an_admitted_datagram_is_found_behind_refused_ones,
    after_leaving_the_rest_of_a_coalesced_buffer_is_not_delivered,
);

fn by_eth0(net: &Net, payloads: &[Vec<u8>], group: GroupAddr) {
    net.send_with(
        |builder| builder.interface(InterfaceSelector::Name("eth0".into())).to(group.into()),
        |sender| {
            let outgoing: Vec<_> = payloads.iter().map(|payload| Outgoing::new(payload)).collect();
            assert_eq!(sender.send_batch(&outgoing).unwrap(), payloads.len());
        },
    );
}

fn numbered(count: u32) -> Vec<Vec<u8>> {
    (0..count).map(|number| [&number.to_be_bytes()[..], &[7; 96]].concat()).collect()
}

fn threads_with_large_and_small_buffers_get_each_datagram_whole(net: &Net) {
    const ROUNDS: usize = 100;
    const COUNT: usize = 200;
    let receiver = net.joined(&[net.on("eth0", net.group(1))]);
    let (numbers, done) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    let record = |datagram: &mcast::Datagram<'_>| {
        let whole = (datagram.payload().len(), datagram.length, datagram.truncated);
        assert_eq!(whole, (100, 100, false));
        numbers.lock().unwrap().push(u32::from_be_bytes(*datagram.payload().first_chunk().unwrap()));
    };
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut batch = Batch::new(2, 65_536);
                while !done.load(Ordering::Relaxed) {
                    receiver.recv_batch(&mut batch, Some(Duration::ZERO)).unwrap();
                    batch.iter().for_each(|datagram| record(&datagram));
                }
            });
        }
        scope.spawn(|| {
            let mut buffer = [0; 2_000];
            while !done.load(Ordering::Relaxed) {
                receiver.recv_timeout(&mut buffer, Duration::ZERO).unwrap().iter().for_each(record);
            }
        });
        let sent = numbered((ROUNDS * COUNT) as u32);
        for (round, some) in sent.chunks(COUNT).enumerate() {
            by_eth0(net, some, net.group(1));
            let deadline = Instant::now() + TIMEOUT;
            while numbers.lock().unwrap().len() < (round + 1) * COUNT && Instant::now() < deadline {
                thread::yield_now();
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    let numbers = numbers.into_inner().unwrap();
    let distinct: HashSet<_> = numbers.iter().collect();
    let all = ROUNDS * COUNT;
    assert_eq!((numbers.len(), distinct.len()), (all, all), "{:?}", receiver.statistics());
    assert!(receiver.statistics().merged > 0);
}

/// The kernel checks a socket's `UDP_GRO` before it runs the socket's filter, and queues the
/// datagrams afterwards. With a slow filter, a coalesced buffer from a sender on the same host is
/// therefore queued after a later change of the option.
fn single_receives_between_batches_get_each_datagram_whole(net: &Net) {
    const ENOUGH: u64 = 200_000;
    const BYTES: usize = 6;
    let receiver = net.joined(&[net.on("eth0", net.group(1))]);
    slow_down_sockets_of_port(crate::net::PORT);
    let done = AtomicBool::new(false);
    let check = |datagram: &mcast::Datagram<'_>| {
        let whole = (datagram.payload().len(), datagram.length, datagram.truncated);
        assert_eq!(whole, (BYTES, BYTES, false), "{:?}", receiver.statistics());
    };
    let send = || {
        let eth0 = InterfaceSelector::Name("eth0".into());
        let sender = mcast::Sender::builder().interface(eth0).to(net.group(1).into()).build().unwrap();
        while !done.load(Ordering::Relaxed) {
            sender.send_batch(&[Outgoing::new(&[7; BYTES]); 100]).unwrap();
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| net.receiver.run(send).unwrap());
        let _stop = SetOnDrop(&done);
        let (mut batch, mut buffer) = (Batch::new(64, 65_536), [0; 2_000]);
        let deadline = Instant::now() + TIMEOUT;
        while receiver.statistics().received < ENOUGH {
            receiver.recv_batch(&mut batch, Some(Duration::ZERO)).unwrap();
            batch.iter().for_each(|datagram| check(&datagram));
            for _ in 0..4 {
                receiver.recv_timeout(&mut buffer, Duration::ZERO).unwrap().iter().for_each(check);
            }
            assert!(Instant::now() < deadline, "{:?}", receiver.statistics());
        }
    });
    assert!(receiver.statistics().merged > 0, "no buffer was coalesced");
}

/// Makes the kernel spend some microseconds on each datagram for this process's sockets on this
/// port.
fn slow_down_sockets_of_port(port: u16) {
    // `ld poff`, which dissects the headers, many times, then `ret` with the whole packet
    // (linux/filter.h).
    let payload_offset = (libc::SKF_AD_OFF + libc::SKF_AD_PAY_OFFSET).cast_unsigned();
    let mut filter: Vec<_> = (0..500).map(|_| SockFilter::new(0x20, 0, 0, payload_offset)).collect();
    filter.push(SockFilter::new(0x06, 0, 0, u32::MAX));
    let own = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
    let mut slowed = 0;
    for entry in std::fs::read_dir("/proc/self/fd").unwrap() {
        let descriptor: i32 = entry.unwrap().file_name().to_str().unwrap().parse().unwrap();
        // Fails for descriptors that another thread has closed meanwhile.
        let Ok(socket) = pidfd_getfd(&own, descriptor, PidfdGetfdFlags::empty()) else { continue };
        let socket = socket2::SockRef::from(&socket);
        let address = socket.local_addr().ok().and_then(|address| address.as_socket());
        if address.is_some_and(|address| address.port() == port) {
            socket.attach_filter(&filter).unwrap();
            slowed += 1;
        }
    }
    assert!(slowed > 0, "no socket of port {port} found");
}

/// Sets a flag when dropped, so that threads end even if the test fails.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Returns a receiver whose socket also receives what another one has joined, that other receiver,
/// and an interface and group that the first one must refuse.
pub(crate) fn beside_another(net: &Net) -> (Receiver, Receiver, (&'static str, GroupAddr)) {
    match net.family {
        mcast::Family::V4 => {
            let memberships: Vec<_> = (0..100).map(|number| net.on("eth0", net.group(number))).collect();
            let other = net.joined(&[net.on("eth0", net.group(200))]);
            (net.joined(&memberships), other, ("eth0", net.group(200)))
        }
        mcast::Family::V6 => {
            let other = net.joined(&[net.on("eth1", net.group(1))]);
            (net.joined(&[net.on("eth0", net.group(1))]), other, ("eth1", net.group(1)))
        }
    }
}

fn an_admitted_datagram_is_found_behind_refused_ones(net: &Net) {
    let (receiver, _other, (interface, others)) = beside_another(net);
    let send = || {
        net.until_arrived(31, || {
            (0..30).for_each(|_| net.send(interface, others, b"not yours"));
            net.send("eth0", net.group(1), b"yours");
        });
    };
    let mut batch = Batch::new(2, 64);

    send();
    assert_eq!(receiver.recv_batch(&mut batch, Some(Duration::ZERO)).unwrap(), 1);

    send();
    assert_eq!(receiver.recv_timeout(&mut [0; 64], Duration::ZERO).unwrap().unwrap().payload(), b"yours");

    send();
    assert_eq!(receiver.recv_batch(&mut Batch::new(2, 65_536), Some(Duration::ZERO)).unwrap(), 1);
    assert_eq!(receiver.statistics().refused, 90);
}

fn a_flood_of_refused_datagrams_delays_neither_a_deadline_nor_a_join(net: &Net) {
    let (receiver, _other, (interface, others)) = beside_another(net);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let name = InterfaceSelector::Name(interface.into());
            net.send_with(
                |builder| builder.interface(name).to(others.into()),
                |sender| {
                    let outgoing = [Outgoing::new(b"x"); 1_000];
                    while !done.load(Ordering::Relaxed) {
                        sender.send_batch(&outgoing).unwrap();
                    }
                },
            );
        });
        let start = Instant::now();
        while receiver.statistics().refused == 0 {
            assert!(receiver.recv_timeout(&mut [0; 8], Duration::from_millis(20)).unwrap().is_none());
            assert!(start.elapsed() < TIMEOUT);
        }
        let (done_sender, waited) = mpsc::channel();
        let waiting = scope.spawn(|| {
            let done_sender = done_sender;
            let start = Instant::now();
            let result =
                receiver.recv_timeout(&mut [0; 8], Duration::from_millis(200)).map(|one| one.is_some());
            done_sender.send((result.unwrap(), start.elapsed())).unwrap();
        });
        let changed = Instant::now();
        net.receiver.run(|| receiver.join(net.on("eth1", net.group(300)))).unwrap().unwrap();
        let changed = changed.elapsed();
        let received = waited.recv_timeout(TIMEOUT);
        done.store(true, Ordering::Relaxed);
        waiting.join().unwrap();
        let (something, took) = received.unwrap();
        assert!(!something && took < TIMEOUT / 3, "{took:?}");
        assert!(changed < TIMEOUT / 3, "{changed:?}");
    });
}

fn after_leaving_the_rest_of_a_coalesced_buffer_is_not_delivered(net: &Net) {
    let (one, other) = (net.on("eth0", net.group(1)), net.on("eth0", net.group(2)));
    let receiver = net.joined(&[one.clone(), other]);
    by_eth0(net, &numbered(50), net.group(1));
    assert_eq!(next(&receiver).arrival.group(), Some(net.group(1)));
    assert!(receiver.statistics().merged > 0, "no buffer was coalesced");

    net.receiver.run(|| receiver.leave(&one)).unwrap().unwrap();
    net.send("eth0", net.group(2), b"end");
    assert_eq!(texts_until(&receiver, "end"), ["end"]);
}

fn a_sender_of_batches_follows_its_interface(net: &Net) {
    let receiver = net.joined(&[net.on("eth0", net.group(1))]);
    net.send_with(
        |builder| {
            builder.interface(InterfaceSelector::Name("eth0".into())).to(net.group(1).into()).follow(true)
        },
        |sender| {
            let batch = |text: &'static str| sender.send_batch(&[Outgoing::new(text.as_bytes()); 2]);
            assert_eq!(batch("before").unwrap(), 2);
            net.disconnect(&net.sender, 0);
            let error = batch("gone").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NoSuchInterface, "{error}");
            net.connect(&net.sender, 0);
            assert_eq!(batch("after").unwrap(), 2);
            sender.send(b"end").unwrap();
        },
    );
    assert_eq!(texts_until(&receiver, "end"), ["before", "before", "after", "after", "end"]);
}

fn a_failing_interface_does_not_affect_the_others(net: &Net) {
    let receiver = net.joined(&[net.on("eth1", net.group(1))]);
    net.send_with(
        |builder| {
            ["eth0", "eth1"].iter().fold(builder.to(net.group(1).into()), |builder, name| {
                builder.interface(InterfaceSelector::Name((*name).into()))
            })
        },
        |sender| {
            net.sender.set_down("eth0").unwrap();
            assert_eq!(sender.send(b"one").unwrap_err().kind(), ErrorKind::InterfaceDown);
            assert_eq!(
                sender.send_batch(&[Outgoing::new(b"end")]).unwrap_err().kind(),
                ErrorKind::InterfaceDown
            );
        },
    );
    assert_eq!(texts_until(&receiver, "end"), ["one", "end"]);
}

fn a_returning_interface_causes_no_duplicates_on_the_others(net: &Net) {
    let receiver = net.joined(&[net.on("eth0", net.group(1)), net.on("eth1", net.group(1))]);
    net.send_with(
        |builder| {
            ["eth0", "eth1"].iter().fold(builder.to(net.group(1).into()).follow(true), |builder, name| {
                builder.interface(InterfaceSelector::Name((*name).into()))
            })
        },
        |sender| {
            net.disconnect(&net.sender, 1);
            net.connect(&net.sender, 1);
            sender.send(b"both").unwrap();
        },
    );
    net.send("eth0", net.group(1), b"end");
    let mut received = texts_until(&receiver, "end");
    if received.len() < 3 {
        received.push(next(&receiver).text);
    }
    received.sort();
    assert_eq!(received, ["both", "both", "end"]);
    assert!(receiver.recv_timeout(&mut [0; 8], Duration::ZERO).unwrap().is_none());
}

/// Linux keeps errors about refused datagrams in the socket's receive buffer until they are read.
/// They must not fill it, nor keep waits for replies from sleeping.
fn refused_sends_leave_no_error_behind(net: &Net) {
    let receiver = net.joined(&[net.on("eth0", net.group(1))]);
    net.send_with(
        |builder| {
            let eth0 = InterfaceSelector::Name("eth0".into());
            builder.interface(eth0).to(net.group(1).into()).dont_fragment(true)
        },
        |sender| {
            for _ in 0..2_000 {
                assert_eq!(sender.send(&[0; 2_000]).unwrap_err().kind(), ErrorKind::TooLarge);
            }
            let mut buffer = [0; 64];
            let before = processor_time();
            let wait = Duration::from_millis(500);
            assert!(sender.recv_answer(net.family, &mut buffer, wait).unwrap().is_none());
            // An error that is left behind wakes the thread all the time; an emulated processor takes 20 ms for one wait.
            let worked = processor_time() - before;
            assert!(worked < wait / 5, "worked for {worked:?} while waiting");

            for _ in 0..2_000 {
                assert_eq!(sender.send(&[0; 2_000]).unwrap_err().kind(), ErrorKind::TooLarge);
            }
            sender.send(b"who?").unwrap();
            let question = receiver.recv_timeout(&mut buffer, TIMEOUT).unwrap().unwrap();
            let arrival = *question.arrival();
            for number in 0..20 {
                receiver.reply(&arrival, &[number]).unwrap();
            }
            for number in 0..20 {
                let reply = sender.recv_answer(net.family, &mut buffer, TIMEOUT).unwrap().unwrap();
                assert_eq!(reply.payload, [number]);
            }
        },
    );
}

/// Any host can claim that a datagram was not delivered.
#[test]
fn an_icmp_error_about_one_datagram_stops_no_other() {
    let net = Net::new(mcast::Family::V4);
    let receiver = net.joined(&[net.on("eth0", net.group(1))]);
    net.send_with(
        |builder| builder.interface(InterfaceSelector::Name("eth0".into())).to(net.group(1).into()),
        |sender| {
            let claim = || {
                let port = sender.local_address(net.family).unwrap().port();
                net.receiver.run(|| claim_unreachable(port)).unwrap();
            };
            let mut buffer = [0; 64];
            sender.send(b"before").unwrap();
            claim();
            sender.send(b"single").unwrap();
            claim();
            assert_eq!(sender.send_batch(&[Outgoing::new(b"batch")]).unwrap(), 1);
            claim();
            let nothing = sender.recv_answer(net.family, &mut buffer, Duration::from_millis(20));
            assert!(nothing.unwrap().is_none());
            sender.send(b"end").unwrap();
        },
    );
    assert_eq!(texts_until(&receiver, "end"), ["before", "single", "batch", "end"]);
}

/// Sends an ICMP "port unreachable" (RFC 792) to 10.0.0.1 about a datagram from its `port` to
/// 239.1.0.1:7000.
fn claim_unreachable(port: u16) {
    let quoted_ip = [0x45, 0, 0, 36, 0, 0, 0, 0, 1, 17, 0, 0, 10, 0, 0, 1, 239, 1, 0, 1];
    let [high, low] = port.to_be_bytes();
    let quoted_udp = [high, low, 0x1b, 0x58, 0, 16, 0, 0];
    let mut message = [&[3, 3, 0, 0, 0, 0, 0, 0][..], &quoted_ip, &quoted_udp].concat();
    let words = message.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let sum: u32 = words.sum();
    let checksum = !((sum & 0xffff) + (sum >> 16)) as u16;
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    let (raw, icmp) = (socket2::Type::RAW, socket2::Protocol::ICMPV4);
    let socket = socket2::Socket::new(socket2::Domain::IPV4, raw, Some(icmp)).unwrap();
    let to: std::net::SocketAddr = "10.0.0.1:0".parse().unwrap();
    socket.send_to(&message, &to.into()).unwrap();
}

fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap()
}

fn more_changes_than_the_kernel_reports_lose_nothing(net: &Net) {
    let (one, other) = (net.on("eth0", net.group(1)), net.on("eth1", net.group(2)));
    let receiver = net.receiver(|builder| builder.join(one).join(other).follow(true));
    net.send("eth0", net.group(1), b"before");
    net.receiver.connect("eth2", &net.switches[1], &[]).unwrap();
    for _ in 0..1_000 {
        net.receiver.add_address("eth2", "10.9.9.9/24").unwrap();
        net.receiver.remove_address("eth2", "10.9.9.9/24").unwrap();
    }
    net.send("eth0", net.group(1), b"then");
    net.send("eth1", net.group(2), b"x");
    let mut texts: Vec<_> = (0..3).map(|_| next(&receiver).text).collect();
    texts.sort();
    assert_eq!(texts, ["before", "then", "x"]);
    assert!(receiver.memberships().iter().all(mcast::MembershipStatus::is_joined));
    net.send("eth0", net.group(1), b"end");
    assert_eq!(texts_until(&receiver, "end"), ["end"]);
}
