"""One trace, from the SDK's call to the agent's bind."""

from __future__ import annotations

import re

from stack import Stack, eventually


def test_the_trace_of_a_lease_call_is_the_one_in_which_its_agent_binds(stack: Stack) -> None:
    client = stack.client(
        """
from torch_remote import _api
create = _api.Api.create

def told(self, *rest, **more):
    print("sent", self.traceparent)
    return create(self, *rest, **more)

_api.Api.create = told
with torch_remote.lease(gpu="CPU", machine="shared", quiet=True) as lease:
    print("lease", lease.name)
    sys.stdin.readline()
"""
    )
    _, version, trace, span, _ = re.split("[ -]", client.line("sent"))
    name = client.line("lease").split()[1]
    said = (stack.get("devicelease", name) or {})["metadata"]["annotations"]["torchremote.dev/traceparent"]
    assert said.split("-")[:2] == [version, trace]
    assert said.split("-")[2] != span, "below the span of the call"
    client.tell()
    client.finish()
    bind = eventually(lambda: stack.binds(name), 10, "the agent says that it bound the lease")
    assert len(bind) == 1, bind
    found = re.search(r'trace="?([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-', bind[0])
    assert found, bind
    assert found.group(2) == trace
    assert found.group(3) not in (span, said.split("-")[2]), "below the span of the control plane's bind"
