"""What goes on beside the calls: a promise asks for its outcome, a reader's lease runs out."""

import shell
from memory import Attempt, Memory
from nemcon.v1 import outcome_pb2, types_pb2

# Pauses between questions.
ASK_FIRST_S, ASK_MAX_S = 0.1, 5.0
# After so many failures of the coordinator in a row the peers are asked as well.
FAILURES_BEFORE_PEERS = 2
# How long past its deadline a reader waits for a silent coordinator.
LEASE_GRACE_S = 5.0

OUTCOMES = {outcome_pb2.VERDICT_COMMITTED: "Committed", outcome_pb2.VERDICT_ABORTED: "Aborted"}


def begin(memory: Memory) -> None:
    """Asks about everything that a crash has left in doubt."""
    with memory.changed:
        for attempt in memory.attempts.values():
            if attempt.state == "PREPARED":
                shell.start(ask, memory, attempt)


def ask(memory: Memory, attempt: Attempt) -> None:
    """Asks the coordinator, and when that fails the peers, until the outcome is known, whoever
    brings it. Nothing else ends a promise."""
    coordinator, promise = memory.coordinators[attempt.key[0]], attempt.promise
    pause_s, failures, hellos = ASK_FIRST_S, 0, coordinator.hellos
    while True:
        with memory.changed:
            memory.changed.wait_for(
                lambda: attempt.state != "PREPARED" or coordinator.hellos > hellos,
                shell.jittered(pause_s),
            )
            if attempt.state != "PREPARED":
                return
            pause_s = min(2 * pause_s, ASK_MAX_S)
            if coordinator.hellos > hellos:  # it is back: ask at once, and soon again
                pause_s, failures, hellos = ASK_FIRST_S, 0, coordinator.hellos
            address = coordinator.address or promise["coordinator_address"]

        # Outside the lock: whoever is asked may ask us.
        verdict = shell.ask(address, question(memory.name, attempt))
        failures = 0 if verdict == outcome_pb2.VERDICT_PENDING else failures + 1
        if failures >= FAILURES_BEFORE_PEERS:
            for name, address in promise["peers"]:
                # Anything but an outcome proves nothing.
                if name != memory.name and verdict not in OUTCOMES:
                    verdict = shell.ask(address, question(memory.name, attempt))
        if verdict in OUTCOMES:
            with memory.changed:
                if attempt.state == "PREPARED":
                    memory.record(OUTCOMES[verdict], attempt=attempt.key)


def question(asker: str, attempt: Attempt) -> outcome_pb2.GetOutcomeRequest:
    """What became of the attempt?"""
    coordinator, epoch, sequence = attempt.key
    told = types_pb2.Attempt(coordinator=coordinator, epoch=epoch, sequence=sequence)
    return outcome_pb2.GetOutcomeRequest(attempt=told, asker=asker)


def lease(memory: Memory, attempt: Attempt, remaining_ms: int) -> None:
    """Ends a reader that nobody releases: it promised nothing, and others wait for its locks."""
    with memory.changed:
        over_s = remaining_ms / 1000 + LEASE_GRACE_S
        if not memory.changed.wait_for(lambda: attempt.state != "HOLDING", over_s):
            why = f"the coordinator of attempt {attempt} was silent past its deadline"
            no = shell.Refused("LOCKS_LOST", why, retryable=True)
            memory.end(attempt, "DECLINED", no.vote)
