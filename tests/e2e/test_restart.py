"""`torch-remote up` ended by SIGTERM and started again: its agents end with it, and its machines come back."""

from __future__ import annotations

from pathlib import Path

from stack import Stack, eventually


def test_sigterm_ends_a_ready_agent_and_after_a_start_the_machine_is_ready_again_with_a_new_one() -> None:
    with Stack() as stack:
        stack.machine("kept")
        before, agent = stack.get("remotemachine", "kept"), stack.supervisor("kept")
        assert before is not None
        stack.stop()
        assert not Path(f"/proc/{agent}").exists(), "an agent ends with the control plane that its user ends"
        stack.start()

        def again() -> bool:
            now = stack.get("remotemachine", "kept") or {}
            status = now.get("status", {})
            return status.get("phase") == "Ready" and status.get("bootID") != before["status"]["bootID"]

        eventually(again, 120, "the machine is Ready again, with another agent", 0.2)
        assert stack.supervisor("kept") != agent
        after = stack.get("remotemachine", "kept")
        assert after is not None
        assert after["metadata"]["uid"] == before["metadata"]["uid"]
        assert after["status"]["attempt"] == before["status"]["attempt"] + 1
        lost = [fact for fact in after["status"]["conditions"] if fact["type"] == "Failed" and fact["status"] == "True"]
        assert not lost, "a stop by the user is no failure"
