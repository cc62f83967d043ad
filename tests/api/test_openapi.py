"""Whatever is sent to what the OpenAPI documents name, right or wrong: no failure of the server, a Status for every refusal, and else what is documented."""

from __future__ import annotations

import json
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.config import GenerationConfig

from aim import aim
from caller import Caller
from documents import DOCUMENTS, EXAMPLES, SEED, SHORT, documents
from world import World

MODES = list(GenerationMode)
# Of the requests at the bounds of what is documented a short look takes one in so many, for each operation others.
STRIDE = 1 if EXAMPLES else 15


def test_the_index_names_each_document_and_each_describes_paths(administrator: Caller) -> None:
    found = documents(administrator)
    assert sorted(found) == DOCUMENTS, "a document without a test"
    assert all(document["paths"] for document in found.values())


@pytest.mark.timeout(0 if EXAMPLES else 300)
@pytest.mark.parametrize("name", DOCUMENTS)
def test_whatever_is_sent_is_answered(
    name: str, administrator: Caller, world: World, subtests: pytest.Subtests
) -> None:
    schema = schemathesis.openapi.from_dict(aim(documents(administrator)[name]))
    for turn, found in enumerate(schema.get_all_operations()):
        operation = found.ok()
        with subtests.test(operation.label):
            before = world.sent
            for case in boundaries(schema, operation, turn):
                world.send(case)
            # A short look sends bodies by chance too.
            if EXAMPLES or operation.method in ("post", "put", "patch"):
                chance(operation, world)
            assert world.sent > before, "nothing was sent"


def boundaries(schema: schemathesis.BaseSchema, operation: Any, turn: int) -> list[schemathesis.Case]:
    """Requests in which one thing each is at a bound, beyond it, missing, twice there, or of another type, method or media type."""
    if not EXAMPLES and (operation.method == "put" or (operation.method, operation.path[-7:]) == ("patch", "/status")):
        # Has the bounds of what makes an object, and of what changes one; by chance it is sent all the same.
        return []
    cases = schema.iter_coverage_cases(operation, generation_modes=MODES, generation_config=GenerationConfig())
    every = list(cases)
    return every[turn % min(STRIDE, len(every)) :: STRIDE]


def chance(operation: Any, world: World) -> None:
    """Requests, right and wrong, that depend on the seed alone."""

    @seeded(SEED)
    @settings(
        max_examples=EXAMPLES or SHORT,
        database=None,
        deadline=None,
        phases=[Phase.generate, *([Phase.shrink] if EXAMPLES else [])],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.one_of([operation.as_strategy(generation_mode=mode) for mode in MODES]))
    def sends(case: schemathesis.Case) -> None:
        world.send(case)

    sends()


def test_much_of_what_is_sent_succeeds(world: World) -> None:
    """The aim is good enough to reach beyond the checks at the door. Needs the tests above."""
    codes = world.codes
    if not codes:
        pytest.skip("nothing was sent")
    assert codes.get(200, 0) + codes.get(201, 0) > sum(codes.values()) // 8, json.dumps(codes)
    assert {200, 201, 400, 404, 409, 422} <= codes.keys(), json.dumps(codes)
