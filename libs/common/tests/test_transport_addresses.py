"""Which addresses count as public, how hosts are read, and what an allow-list lets through."""

import ipaddress

import pytest

from signalbox.common.transport import AllowList, refusal
from signalbox.common.transport.addresses import literal

REFUSED = [
    ("0.0.0.0", "unspecified"),
    ("0.1.2.3", "unspecified"),
    ("10.0.0.1", "private"),
    ("10.255.255.255", "private"),
    ("100.64.0.1", "carrier-grade"),
    ("100.100.100.200", "carrier-grade"),
    ("127.0.0.1", "loopback"),
    ("127.255.255.254", "loopback"),
    ("168.63.129.16", "metadata"),
    ("169.254.169.254", "metadata"),
    ("169.254.0.1", "link-local"),
    ("172.16.0.1", "private"),
    ("172.31.255.255", "private"),
    ("192.0.0.192", "reserved"),
    ("192.0.2.1", "documentation"),
    ("192.88.99.1", "reserved"),
    ("192.168.1.1", "private"),
    ("198.18.0.1", "benchmarks"),
    ("198.51.100.7", "documentation"),
    ("203.0.113.9", "documentation"),
    ("224.0.0.1", "multicast"),
    ("239.255.255.250", "multicast"),
    ("240.0.0.1", "reserved"),
    ("255.255.255.255", "broadcast"),
    ("::", "unspecified"),
    ("::1", "loopback"),
    ("::127.0.0.1", "reserved"),
    ("::ffff:127.0.0.1", "loopback"),
    ("::ffff:a9fe:a9fe", "metadata"),
    ("::ffff:10.0.0.1", "private"),
    ("64:ff9b::7f00:1", "loopback"),
    ("64:ff9b::10.1.2.3", "private"),
    ("64:ff9b:1::8.8.8.8", "reserved"),
    ("100::1", "reserved"),
    ("2001::1", "Teredo"),
    ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "Teredo"),
    ("2001:10::1", "reserved"),
    ("2001:db8::1", "documentation"),
    ("2002:7f00:1::1", "loopback"),
    ("2002:c0a8:101::", "private"),
    ("3fff::1", "documentation"),
    ("5f00::1", "reserved"),
    ("fc00::1", "private"),
    ("fd00:ec2::254", "private"),
    ("fe80::1", "link-local"),
    ("fe80::1%eth0", "link-local"),
    ("fec0::1", "private"),
    ("ff02::1", "multicast"),
]
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.1",
    "100.63.255.255",
    "100.128.0.1",
    "126.255.255.255",
    "128.0.0.1",
    "172.15.255.255",
    "172.32.0.1",
    "192.167.255.255",
    "192.169.0.1",
    "223.255.255.255",
    "2001:4860:4860::8888",
    "2606:4700:4700::1111",
    "2a00:1450::1",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "2002:808:808::1",
]


@pytest.mark.parametrize(("text", "why"), REFUSED)
def test_refused(text: str, why: str) -> None:
    assert why in (refusal(ipaddress.ip_address(text)) or "")


@pytest.mark.parametrize("text", PUBLIC)
def test_public(text: str) -> None:
    assert refusal(ipaddress.ip_address(text)) is None


@pytest.mark.parametrize(
    "host", ["example.com", "a-b.example.com.", "localhost", "xn--bcher-kva.example", "1.example", "_dmarc.x"]
)
def test_names_are_names(host: str) -> None:
    assert literal(host) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "fe80::1%eth0", "8.8.8.8"])
def test_addresses_are_addresses(host: str) -> None:
    assert literal(host) == ipaddress.ip_address(host)


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "0x7f000001",
        "0x7F.0.0.1",
        "0177.0.0.1",
        "0177.0.0.01",
        "127.1",
        "127.0.1",
        "127.0.0.1.",
        "0",
        "0x",
        "1.2.3.4.5",
        "256.256.256.256",
        "example.0x7f",
        "",
        ".",
        "a..b",
        "-a.example",
        "a b",
        "a/b",
        "a%2fb",
        "a\nb",
        "x" * 64 + ".example",
    ],
)
def test_neither(host: str) -> None:
    with pytest.raises(ValueError, match=r"four decimal numbers|not a host name"):
        literal(host)


ALLOW = AllowList.parse(
    ["crm.internal", "Billing.Internal:8443", "127.0.0.1:8900", "10.1.0.0/16", "[::1]:8900", "fd00::/8", " "]
)


@pytest.mark.parametrize(
    ("host", "address", "port", "permitted"),
    [
        ("crm.internal", "10.9.9.9", 80, True),
        ("CRM.internal.", "10.9.9.9", 443, True),
        ("evil.crm.internal", "10.9.9.9", 80, False),
        ("billing.internal", "192.168.0.9", 8443, True),
        ("billing.internal", "192.168.0.9", 443, False),
        ("127.0.0.1", "127.0.0.1", 8900, True),
        ("localhost", "127.0.0.1", 8900, True),
        ("127.0.0.1", "127.0.0.1", 8901, False),
        ("127.0.0.2", "127.0.0.2", 8900, False),
        ("::ffff:127.0.0.1", "::ffff:127.0.0.1", 8900, True),
        ("anything.example", "10.1.255.1", 1234, True),
        ("anything.example", "10.2.0.1", 1234, False),
        ("::1", "::1", 8900, True),
        ("::1", "::1", 80, False),
        ("fd12::1", "fd12::1", 80, True),
    ],
)
def test_what_operators_allow(host: str, address: str, port: int, *, permitted: bool) -> None:
    assert ALLOW.permits(host, ipaddress.ip_address(address), port) is permitted


@pytest.mark.parametrize(
    "entry", ["http://a", "a:0", "a:70000", "a:b", "10.0.0.0/33", "10.0.0.1/8", "0x7f.1", "a b"]
)
def test_entries_that_cannot_be_read(entry: str) -> None:
    with pytest.raises(ValueError, match="is not a host, host:port, address, address:port or CIDR network"):
        AllowList.parse([entry])
