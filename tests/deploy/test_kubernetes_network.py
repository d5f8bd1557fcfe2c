"""Who reaches whom, by the manifests' network policies."""

import ipaddress

from tests.deploy.kubernetes_manifests import (
    Rendering,
    deployments,
    gateway_settings,
    objects_of,
    of_kind,
    selects,
)

PROMETHEUS = {"namespace": "monitoring"}
INGRESS = {"namespace": "ingress-nginx"}
ANYBODY = {"namespace": "default"}


def may_enter(objects, source, target, port):
    """Whether the policies let ``source`` (a component's name, or a namespace) in to ``port`` of the component."""
    labels = {"app.kubernetes.io/name": "insta-depth", "app.kubernetes.io/component": target}
    policies = [
        each["spec"]
        for each in of_kind(objects, "NetworkPolicy")
        if selects(each["spec"]["podSelector"], labels) and "Ingress" in each["spec"]["policyTypes"]
    ]
    assert policies, f"{target} is open to everybody"
    return any(
        port in {each["port"] for each in rule["ports"]} and any(is_peer(peer, source) for peer in rule["from"])
        for policy in policies
        for rule in policy.get("ingress", [])
    )


def is_peer(peer, source):
    if isinstance(source, dict):
        labels = {"kubernetes.io/metadata.name": source["namespace"]}
        return "namespaceSelector" in peer and selects(peer["namespaceSelector"], labels)
    labels = {"app.kubernetes.io/name": "insta-depth", "app.kubernetes.io/component": source}
    return "namespaceSelector" not in peer and selects(peer["podSelector"], labels)


def test_only_gateways_and_prometheus_reach_triton_and_nobody_its_http_api(largest):
    assert may_enter(largest, "gateway", "triton", 8001)
    assert may_enter(largest, PROMETHEUS, "triton", 8002)
    for source in ("gateway", "engines", PROMETHEUS, INGRESS, ANYBODY):
        assert not may_enter(largest, source, "triton", 8000)
    for source in ("engines", PROMETHEUS, INGRESS, ANYBODY):
        assert not may_enter(largest, source, "triton", 8001)
    assert may_enter(largest, INGRESS, "gateway", 8080)
    assert may_enter(largest, PROMETHEUS, "gateway", 8080)
    assert not may_enter(largest, ANYBODY, "gateway", 8080)


def ways_out(objects, of):
    """Where the policies let the component ``of`` go: port → rules."""
    labels = {"app.kubernetes.io/name": "insta-depth", "app.kubernetes.io/component": of}
    found = {}
    for policy in of_kind(objects, "NetworkPolicy"):
        if selects(policy["spec"]["podSelector"], labels):
            assert "Egress" in policy["spec"]["policyTypes"]
            for rule in policy["spec"].get("egress", []):
                for port in rule["ports"]:
                    found.setdefault(port["port"], []).append(rule)
    return found


def test_nothing_goes_out_but_where_it_has_to(overlay):
    assert not ways_out(overlay, "triton")
    assert not ways_out(overlay, "engines")
    assert set(ways_out(overlay, "gateway")) == {53, 5432, 8001}


def test_fetching_urls_is_off_in_gateway_and_network_or_on_in_both(tmp_path_factory):
    for components, is_on in (((), False), (("fetch-urls",), True)):
        found = objects_of(Rendering("overlays/small", components), tmp_path_factory)
        (gateway,) = deployments(found, "gateway")
        assert gateway_settings(gateway).fetch_urls is is_on
        assert (443 in ways_out(found, "gateway")) is is_on


def test_fetching_reaches_no_address_that_is_not_public(tmp_path_factory):
    found = objects_of(Rendering("overlays/small", ("fetch-urls",)), tmp_path_factory)
    (rule,) = ways_out(found, "gateway")[443]

    def may_fetch(address):
        address = ipaddress.ip_address(address)
        for block in (each["ipBlock"] for each in rule["to"]):
            inside, *others = map(ipaddress.ip_network, (block["cidr"], *block["except"]))
            if address in inside and not any(address in other for other in others):
                return True
        return False

    private = (
        "10.1.2.3 172.31.0.1 192.168.1.1 169.254.169.254 127.0.0.1 100.100.100.200 0.0.0.1 ::1 fd00:ec2::254 fe80::1"
    )
    assert [address for address in private.split() if may_fetch(address)] == []
    assert [
        address for address in ["::ffff:10.0.0.1", "2002:a00:1::", "2001:0:a00:1::", "224.0.0.1"] if may_fetch(address)
    ] == []
    assert may_fetch("93.184.216.34")
    assert may_fetch("2606:4700::1111")
