"""Groups, memberships, interfaces, explain and pick."""

from __future__ import annotations

import copy
import pickle
from ipaddress import IPv4Interface, ip_address, ip_interface

import lab
import pymcast
import pytest


def test_a_group_is_made_from_text_ipaddress_objects_and_groups() -> None:
    group = pymcast.Group("239.255.255.250")
    assert group == pymcast.Group(ip_address("239.255.255.250")) == pymcast.Group(group)
    assert (str(group), repr(group)) == ("239.255.255.250", "Group('239.255.255.250')")
    assert (group.family, group.scope, group.name, group.is_source_specific) == (4, "local", "SSDP", False)
    assert (group.address, group.ethernet_address) == (ip_address("239.255.255.250"), "01:00:5e:7f:ff:fa")
    assert len(group.ethernet_aliases) == 31
    assert group.customary_hop_limit == 32
    assert {group, pymcast.Group("239.255.255.250")} == {group}
    assert pymcast.Group("224.0.0.1") < group
    assert pickle.loads(pickle.dumps(group)) == copy.deepcopy(group) == group


@pytest.mark.parametrize("wrong", ["10.0.0.1", "no address", "", "ff", ip_address("10.0.0.1")])
def test_other_addresses_are_value_errors(wrong: str) -> None:
    with pytest.raises(ValueError):
        pymcast.Group(wrong)


def test_a_parse_error_has_a_remedy() -> None:
    with pytest.raises(pymcast.ParseError) as caught:
        pymcast.Group("10.0.0.1")
    assert caught.value.remedy is not None
    assert caught.value.remedy in str(caught.value)


def test_a_membership_is_made_from_text_or_arguments() -> None:
    membership = pymcast.Membership("232.1.2.3", 7000, interface="eth1", sources=["10.0.0.7"])
    assert str(membership) == "10.0.0.7@232.1.2.3%eth1:7000"
    assert membership == pymcast.Membership("10.0.0.7@232.1.2.3%eth1:7000")
    assert (membership.group, membership.port) == (pymcast.Group("232.1.2.3"), 7000)
    assert (membership.interface, membership.sources) == ("eth1", [ip_address("10.0.0.7")])
    assert membership.exclude is None
    assert pickle.loads(pickle.dumps(membership)) == membership
    excluding = pymcast.Membership("ff15::1", 7000, exclude=["fd00::1"])
    assert (str(excluding), excluding.sources) == ("!fd00::1@[ff15::1]:7000", None)
    with pytest.raises(ValueError, match="not both"):
        pymcast.Membership("239.255.1.3", 1, sources=["10.0.0.1"], exclude=["10.0.0.2"])


def test_explanations_have_references() -> None:
    explanation = pymcast.explain("233.8.9.1")
    assert "2057" in explanation.kind.value
    assert explanation.kind.reference.startswith("RFC 3180")
    assert (explanation.family, explanation.scope.value) == (4, "global")
    assert explanation.group == pymcast.Group("233.8.9.1")
    assert "RFC 3180" in str(explanation)
    ssdp = pymcast.explain("239.255.255.250")
    assert [name.name for name in ssdp.names if name.registered] == ["SSDP"]
    assert ssdp.names[0].ports == [1900]
    assert {advice.severity for advice in ssdp.advice} <= {"note", "caution", "avoid"}
    assert ssdp == pymcast.Group("239.255.255.250").explain()
    assert any(name.name == "mdns" and name.ports == [5353] for name in pymcast.explain("ff02::fb").short_names)


def test_picks_the_same_group_for_the_same_name() -> None:
    weather = pymcast.pick("weather")
    assert weather == pymcast.pick("weather")
    assert (weather.family, weather.scope) == (4, "local")
    assert pymcast.pick("weather", in_use=[weather]) != weather
    assert pymcast.pick("weather", scope="site", family=6).scope == "site-local"
    assert pymcast.pick("weather", source_specific=True).is_source_specific
    for wrong in ({"scope": "galaxy"}, {"family": 5}, {"scope": "site"}):
        with pytest.raises(ValueError):
            pymcast.pick("weather", **wrong)  # type: ignore[arg-type, unused-ignore]


def test_interfaces_are_listed_and_found(other: lab.Host) -> None:
    names = [interface.name for interface in pymcast.interfaces()]
    assert names[0] == "lo"
    assert set(lab.LINKS) < set(names)
    one = pymcast.find_interface("one")
    assert one == pymcast.find_interface(one.index) == pymcast.find_interface(lab.address("one", 1))
    assert one == pymcast.find_interface(ip_address(lab.address("one", 1, 6)))
    assert (one.up, one.multicast, one.loopback, one.is_joined_by_default) == (True, True, False, True)
    assert one.mtu == 1500
    assert one.hardware_address is not None
    assert IPv4Interface(f"{lab.address('one', 1)}/24") in one.addresses
    assert ip_interface(f"{lab.address('one', 1, 6)}/64") in one.addresses
    assert any(str(each).startswith("fe80:") and "%one/" in str(each) for each in one.addresses)
    assert one.warnings == []
    loopback = pymcast.find_interface("lo")
    assert loopback.loopback
    assert loopback.warnings
    with pytest.raises(pymcast.NoSuchInterfaceError) as caught:
        pymcast.find_interface("nowhere")
    assert ": this machine has lo (1), one (2)" in str(caught.value)


def test_the_default_interface_comes_from_the_routing_table(other: lab.Host) -> None:
    assert pymcast.default_interface("239.255.1.3") is None
    lab.ip("route add 239.255.1.0/24 dev two")
    try:
        found = pymcast.default_interface("239.255.1.3")
        assert found is not None
        assert found.name == "two"
    finally:
        lab.ip("route del 239.255.1.0/24 dev two")
    towards = pymcast.interface_towards(lab.address("one", 2))
    assert towards is not None
    assert towards.name == "one"
    with pytest.raises(ValueError, match="family"):
        pymcast.default_interface(5)  # type: ignore[arg-type]
