import pytest

from beamlit_controller.api import addresses
from beamlit_controller.api.addresses import Address


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("api.example.com", Address("api.example.com", 443)),
        ("API.Example.com:8443", Address("api.example.com", 8443)),
        ("10.0.0.1:1", Address("10.0.0.1", 1)),
        ("[2001:DB8::1]:65535", Address("2001:db8::1", 65535)),
        ("[::1]", Address("::1", 443)),
        ("my_service", Address("my_service", 443)),
    ],
)
def test_reads_hosts_with_and_without_a_port(text: str, expected: Address) -> None:
    assert addresses.parse(text, default_port=443) == expected


@pytest.mark.parametrize("text", ["api.example.com:8443", "[2001:db8::1]:1", "127.0.0.1:0"])
def test_prints_what_it_read(text: str) -> None:
    assert str(addresses.parse(text, lowest_port=0)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":80",
        "a:",
        "a:0",
        "a:65536",
        "a:-1",
        "a:+1",
        "a:\u0661",
        "a:1:2",
        "::1",
        "[::1",
        "[::1]x",
        "[1.2.3.4]",
        "[fe80::1%eth0]:1",
        "a b",
        "a/b",
        "a@b",
        "-a",
        "a-",
        "a..b",
        "a.",
        ".a",
        "ü.de",
        "a\n",
        "1.2.3",
        "1.2.3.4.5",
        "256.1.1.1",
        "x" * 64,
        ".".join(["x" * 60] * 5),
    ],
)
def test_refuses_what_is_no_host_and_port(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|can't have a zone"):
        addresses.parse(text, default_port=443)


@pytest.mark.parametrize(
    "text", ["2130706433", "0x7f000001", "0x7f.1", "127.1", "0177.0.0.1", "127.0.0.01", "017700000001"]
)
def test_refuses_other_ways_of_writing_an_address_than_four_decimal_numbers(text: str) -> None:
    with pytest.raises(ValueError, match="four decimal numbers"):
        addresses.parse(text, default_port=443)


def test_says_that_the_port_is_missing_where_there_is_no_default() -> None:
    with pytest.raises(ValueError, match="the port is missing"):
        addresses.parse("my-local-prom")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.255.255.254",
        "0.0.0.0",
        "169.254.169.254",
        "::1",
        "::",
        "fe80::1",
        "::ffff:127.0.0.1",
        "::ffff:7f00:1",
        "::ffff:169.254.169.254",
        "::127.0.0.1",
        "2002:7f00:1::",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "localhost",
        "LOCALHOST",
        "a.localhost",
        "localhost.localdomain",
        "ip6-localhost",
        "localhost6",
        "llama",
        "metadata.google.internal",
        "llama.other.svc",
        "llama.other.svc.cluster.local",
        "a.b.cluster.local",
        "fd00:ec2::254",
        "fd00:ec2::1",
        "fd20:ce::fe",
        "169.254.169.254.nip.io",
        "a9fea9fe.nip.io",
        "x--1.sslip.io",
        "lvh.me",
        "169-254-169-254.example.com",
        "app.127.0.0.1.example.com",
        "x-100-100-100-200-y.example.com",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "64:ff9b:1::a9fe:a9fe",
        "64:ff9b:1:a9fe:a9:fe00::",
        "64:ff9b:1:7f:0:1::",
        "64:ff9b:1::a9:fea9:fe00:0",
        "::ffff:0:127.0.0.1",
        "2001:0:a9fe:a9fe::1",
        "2001:0:102:304::5601:5601",
        "2001:db8::5efe:169.254.169.254",
        "2001:db8::200:5efe:127.0.0.1",
        "::ffff:100.100.100.200",
        "2002:6464:64c8::1",
        "0.0.0.1",
        "0.1.2.3",
        "224.0.0.1",
        "255.255.255.255",
        "240.0.0.1",
        "ff02::1",
        "fec0::1",
        "fd00:c1::a9fe:a9fe",
        "fd00:42::42",
        "localhost6.localdomain6",
        "host.localdomain",
        "router.home.arpa",
        "pod.llama.other.svc",
        "_http._tcp.llama.other.svc",
        "metadata.tencentyun.com",
        "a.rbndr.us",
        "metadata.goog",
        "METADATA.GOOG",
        "a.metadata.goog",
        "metadata.vultr.com",
        "instance-data.example.com",
        "gpu-box.local",
        "router.lan",
        "a.b.home",
        "llm.corp",
        "llm.intranet",
        "llm.service.consul",
        "1.0.0.127.in-addr.arpa",
        "x.ip6.arpa",
        "llm.private",
        "fuf.me",
        "a.fuf.me",
        "yoogle.com",
        "localhost.direct",
        "a.localhost.direct",
        "loopback.jp",
        "my-localhost.dev",
        "lacolhost.com",
        "readme.localtest.me",
        "a.backname.io",
        "7f000001.example.com",
        "app-a9fea9fe.example.com",
        "0x7f000001.example.com",
    ],
)
@pytest.mark.parametrize("allowed", [("*",), ("*.localhost", "127.*", "*:*", "local*"), ("example.com",)])
def test_refuses_this_machine_and_its_link_unless_an_entry_names_it(host: str, allowed: tuple[str, ...]) -> None:
    read = addresses.parse_host(host)

    assert addresses.refusal(read, allowed)
    assert addresses.refusal(read, (*allowed, host)) is None


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("api.example.com", ("*",)),
        ("api.example.com", ("*.example.com",)),
        ("api.example.com", ("API.*",)),
        ("api.example.com", ("other.com", "api.example.com")),
        ("10.1.2.3", ("10.*",)),
        ("2001:db8::1", ("[2001:db8::1]",)),
        ("2001:db8::1", ("2001:0db8:0::1",)),
        ("localhost.example.com", ("*",)),
        ("ec2-3-120-7-9.compute.example.com", ("*",)),
        ("v1.127.0.0.example.com", ("*",)),
        ("1127-0-0-1.example.com", ("*",)),
        ("nip.io.example.com", ("*",)),
        ("svc.example.com", ("*",)),
        # Words of such names where they mean something else.
        ("local.example.com", ("*",)),
        ("home.example.com", ("*",)),
        ("lan.party.example.com", ("*",)),
        ("metadata-api.example.com", ("*",)),
        ("corporate.com", ("*",)),
        ("api.homes", ("*",)),
        ("fuf.me.example.com", ("*",)),
        ("notfuf.me", ("*",)),
        ("api.localdevices.com", ("*",)),
        ("localai.io", ("*",)),
        ("f3a91b2c.apps.example.com", ("*",)),
        ("7f91b2c0.apps.example.com", ("*",)),
        ("a7f000001.example.com", ("*",)),
        ("2001:db8::5eff:a9fe:a9fe", ("*",)),
        ("2001:db8:ffff:0:127:0:0:1", ("*",)),
    ],
)
def test_allows_hosts_that_are_listed(host: str, allowed: tuple[str, ...]) -> None:
    assert addresses.refusal(host, allowed) is None


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("example.com", ("*.example.com",)),
        ("evilexample.com", ("*.example.com",)),
        ("api.example.com.evil.net", ("*.example.com", "api.example.com")),
        ("apixexample.com", ("api.example.com",)),
        ("a", ()),
        ("abc", ("[a-c]*", "a?c")),
    ],
)
def test_refuses_hosts_that_are_not_listed_and_names_the_list(host: str, allowed: tuple[str, ...]) -> None:
    refusal = addresses.refusal(host, allowed)

    assert refusal is not None
    assert "config.allowedRemoteHosts" in refusal
