"""Several hosts: the one that worked last first, those that failed rest."""

from __future__ import annotations

from tycostream.databases.hosts import Address, Hosts

A, B, C = (Address(name, 6875) for name in "abc")


def test_hosts_that_fail_rest_longer_each_time() -> None:
    now = 100.0
    hosts = Hosts([A, B, C], clock=lambda: now)
    assert hosts.to_try() == [A, B, C]
    hosts.failed(A)
    assert hosts.to_try() == [B, C]
    hosts.succeeded(B)
    assert hosts.to_try() == [B, C]
    now = 101.0
    assert hosts.to_try() == [B, A, C], "the one that works stays, though the first is back"
    hosts.failed(A)
    now = 102.5
    assert hosts.to_try() == [B, C]
    now = 103.0
    assert hosts.to_try() == [B, A, C]


def test_where_all_rest_one_is_asked_all_the_same() -> None:
    now = 100.0
    hosts = Hosts([A, B], clock=lambda: now)
    hosts.failed(B)
    now = 100.5
    hosts.failed(A)
    assert hosts.to_try() == [B]


def test_the_rest_is_bounded() -> None:
    now = 0.0
    hosts = Hosts([A, B], clock=lambda: now)
    for _ in range(2000):
        hosts.failed(B)
    now = 30.0
    assert B in hosts.to_try()


def test_they_are_written_as_the_setting_takes_them() -> None:
    assert str(Hosts([A, Address("::1", 1)])) == "a:6875,[::1]:1"
