"""Hosts and broadcasts instead of groups, for networks without multicast."""

from __future__ import annotations

import pickle

import lab
import pymcast
import pytest


def test_unicast_reaches_a_receiver_that_listens(other: lab.Host, port: int) -> None:
    with other.run(lambda: pymcast.Receiver(listen=f"0.0.0.0:{port}")) as receiver:
        with pymcast.Sender(hosts=[(lab.address("one", 2), port), f"{lab.address('two', 2)}:{port}"]) as sender:
            sender.send(b"hello")
        got = {datagram.interface: datagram for datagram in (receiver.recv(timeout=30) for _ in range(2))}
    assert sorted(got) == ["one", "two"]
    datagram = got["one"]
    assert (datagram.payload, datagram.group, datagram.port) == (b"hello", None, port)
    assert datagram.destination == (lab.address("one", 2), port)
    assert datagram.hop_limit is not None and datagram.hop_limit > 1
    copy = pickle.loads(pickle.dumps(datagram))
    assert (copy.payload, copy.destination, copy.group) == (b"hello", datagram.destination, None)


def test_broadcasts_must_be_allowed_and_are_received_apart(other: lab.Host, port: int) -> None:
    to = f"255.255.255.255%one:{port}"
    with other.run(lambda: pymcast.Receiver(listen_broadcast=port, interface="one")) as receiver:
        with pymcast.Sender(hosts=to) as sender, pytest.raises(pymcast.Error, match="broadcast"):
            sender.send(b"refused")
        with pymcast.Sender(hosts=to, broadcast=True) as sender:
            sender.send(b"all")
        assert receiver.recv(timeout=30).payload == b"all"


def test_a_stream_is_published_to_hosts(other: lab.Host, port: int) -> None:
    with other.run(lambda: pymcast.Subscriber(listen=("0.0.0.0", port))) as subscriber:
        publisher = pymcast.Publisher(hosts=(lab.address("one", 2), port))
        publisher.publish(b"hello")
        while True:
            item = subscriber.next(timeout=30)
            if isinstance(item, pymcast.Message):
                assert item.payload == b"hello"
                break
            assert item is not None
        publisher.close(timeout=0)


def test_a_group_is_not_a_host() -> None:
    with pytest.raises(pymcast.ParseError, match="is a multicast address"):
        pymcast.Sender(hosts="239.255.1.3:7000")
    with pytest.raises(ValueError, match="is a multicast address"):
        pymcast.Receiver(listen=("239.255.1.3", 7000))
