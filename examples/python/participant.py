"""A participant of nemcon: it votes, and keeps its word through any crash.

Each call here is some rows of the table in docs/protocol.md, "The participant". Around it:
memory.py remembers, doubt.py asks for outcomes, store.py has the data, shell.py disk and network.
Every lock is exclusive, for readers too; every record is forced before anything else goes on.
"""

from typing import Any, Optional

from google.protobuf.json_format import MessageToDict, ParseDict

import doubt
import shell
import store
from memory import Attempt, Key, Memory, key_of
from shell import Refused, answered
from nemcon.v1 import outcome_pb2, participant_pb2 as wire


class Participant(Memory, shell.Services):
    """ACTIVE → PREPARED → COMMITTED | ABORTED, for every attempt."""

    def hear(self, header: wire.Header, attempt: Any = None) -> Optional[Key]:
        """Comes before every answer to a coordinator: whom does it mean, and from when is it?"""
        if header.participant_id != self.id:
            raise Refused("WRONG_PARTICIPANT", f"{self.name} has data directory {self.id}", True)
        key = key_of(attempt) if attempt else None
        if key and (key[0] != header.coordinator or key[1] > header.epoch):
            raise Refused("PEER_REFUSED", f"{Attempt(key)} is not of {header.coordinator}")
        if self.coordinators[header.coordinator].see(header):
            self.record("EpochSeen", coordinator=header.coordinator, epoch=header.epoch)
            no = Refused("COORDINATOR_RESTARTED", f"epoch {header.epoch} has begun", True)
            for other in self.attempts.values():
                if other.key[0] == header.coordinator and other.state in ("ACTIVE", "HOLDING"):
                    self.end(other, "DECLINED", no.vote)
        return key

    def begin(self, key: Key) -> Attempt:
        """Takes in an attempt that is not known here, if it is not an old one."""
        if self.coordinators[key[0]].is_past(key):
            raise Refused("BELOW_FLOOR", f"attempt {Attempt(key)} is unknown and too old", True)
        return self.attempts.setdefault(key, Attempt(key))

    def work(self, attempt: Attempt, request: Any) -> tuple[list, list, dict]:
        """Takes all locks and runs the operations: locks, results, changes. What fails is a no."""
        task = request.task
        if request.WhichOneof("work") != "one_shot":
            raise Refused("WORK_LOST", "there is no interactive work here", True)
        if task.transaction_id in self.alone:
            raise Refused("TRANSACTION_ID_REUSED", f"{task.transaction_id} was decided alone here")
        actions = store.actions(request.one_shot.operations)
        keys = {action.key for action in actions}
        if not self.changed.wait_for(
            lambda: attempt.state != "ACTIVE" or self.locks.keys().isdisjoint(keys),
            min(task.lock_wait_ms, task.remaining_ms) / 1000,
        ):
            held = min(keys & self.locks.keys())
            why = f"waited too long for the lock on {held} held by attempt {self.locks[held]}"
            raise Refused("LOCK_TIMEOUT", why, True)
        if attempt.state != "ACTIVE":  # while it waited
            raise attempt.ended()
        self.lock(attempt, keys)
        return (sorted(keys), *store.run(self.data, actions))

    @answered
    def GetStatus(self, request: wire.GetStatusRequest) -> wire.GetStatusResponse:
        """Hello: what is in doubt asks at once."""
        self.hear(request.header)
        self.coordinators[request.header.coordinator].greet(request.coordinator_address)
        return wire.GetStatusResponse(name=self.name, boot=self.boot)

    @answered
    def Prepare(self, request: wire.PrepareRequest) -> wire.PrepareResponse:
        """The vote. A repeat joins the first, and hears the same."""
        key = self.hear(request.header, request.task.attempt)
        if key not in self.attempts:
            self.vote(self.begin(key), request)
        attempt = self.attempts[key]
        self.changed.wait_for(lambda: attempt.state != "ACTIVE")
        if attempt.vote is None:
            raise attempt.ended()
        return wire.PrepareResponse(attempt=request.task.attempt, boot=self.boot, **attempt.vote)

    def vote(self, attempt: Attempt, request: wire.PrepareRequest) -> None:
        """A record with all that the promise needs, and yes; or read-only, and locks; or no."""
        task, attempt.unvoted = request.task, not request.read_only
        try:
            locks, results, changes = self.work(attempt, request)
        except Refused as no:
            if attempt.state == "ACTIVE":
                self.end(attempt, "DECLINED", no.vote)
            return
        if request.read_only and not changes:
            attempt.state, attempt.vote = "HOLDING", {"vote": "VOTE_READ_ONLY", "results": results}
            shell.start(doubt.lease, self, attempt, task.remaining_ms)
            return
        peers = [[peer.name, peer.address] for peer in request.participants]
        self.record(
            "Prepared", attempt=attempt.key, transaction=task.transaction_id, locks=locks,
            changes=changes, coordinator_address=task.coordinator_address, peers=peers,
        )
        attempt.vote = {"vote": "VOTE_YES", "results": results}
        shell.start(doubt.ask, self, attempt)

    @answered
    def Commit(self, request: wire.CommitRequest) -> wire.CommitResponse:
        """The decision. It is never acknowledged for a promise that is not there."""
        key = self.hear(request.header, request.attempt)
        state = self.attempts[key].state if key in self.attempts else "UNKNOWN"
        if state == "PREPARED":
            self.record("Committed", attempt=key)
        elif state == "UNKNOWN" and self.coordinators[key[0]].is_below_floor(key):
            pass  # it was acknowledged once, or the floor would not lie above it
        elif state != "COMMITTED":
            if state != "LOST":
                self.record("Damaged", attempt=key)
            raise Refused("LOST_PREPARE", f"attempt {Attempt(key)} is not prepared here")
        return wire.CommitResponse(attempt=request.attempt)

    @answered
    def Abort(self, request: wire.AbortRequest) -> wire.AbortResponse:
        """An abort that overtakes its Prepare is remembered, so that the Prepare comes too late."""
        key = self.hear(request.header, request.attempt)
        if key not in self.attempts and not self.coordinators[key[0]].is_past(key):
            self.begin(key)
        attempt = self.attempts.get(key, Attempt(key))
        if attempt.state == "COMMITTED" or (attempt.state == "ACTIVE" and attempt.alone):
            raise attempt.ended()
        if attempt.state == "PREPARED":
            self.record("Aborted", attempt=key)
        elif attempt.state in ("ACTIVE", "HOLDING", "DECLINED"):
            self.end(attempt, "ABORTED")
        return wire.AbortResponse(attempt=request.attempt)

    @answered
    def Release(self, request: wire.ReleaseRequest) -> wire.ReleaseResponse:
        """All votes of a read-only transaction are in. Were the locks held until now?"""
        attempt = self.attempts.get(self.hear(request.header, request.attempt))
        if attempt is None or attempt.state not in ("HOLDING", "RELEASED"):
            return wire.ReleaseResponse(attempt=request.attempt, boot=0)
        self.end(attempt, "RELEASED", attempt.vote)
        return wire.ReleaseResponse(attempt=request.attempt, boot=self.boot)

    @answered
    def CommitOnePhase(self, request: wire.CommitOnePhaseRequest) -> wire.CommitOnePhaseResponse:
        """Decides alone, once for each transaction id. The record answers every repeat."""
        key, name = self.hear(request.header, request.task.attempt), request.task.transaction_id
        if name not in self.alone and key not in self.attempts:
            self.decide(self.begin(key), request)
        self.changed.wait_for(lambda: name in self.alone or self.attempts[key].state != "ACTIVE")
        if name not in self.alone:
            raise self.attempts[key].ended()
        decided = self.alone[name]
        if decided["hash"] != request.operations_hash.hex():
            raise Refused("TRANSACTION_ID_REUSED", f"{name} was used for other operations")
        answer = wire.CommitOnePhaseResponse(outcome="OUTCOME_" + decided["outcome"])
        answer.attempt.CopyFrom(request.task.attempt)
        return ParseDict(decided["answer"], answer)

    def decide(self, attempt: Attempt, request: wire.CommitOnePhaseRequest) -> None:
        """The record is the decision, so it is made even if nothing was written."""
        task, attempt.alone = request.task, True
        try:
            _, results, changes = self.work(attempt, request)
            outcome, answer = "COMMITTED", wire.CommitOnePhaseResponse(results=results)
        except Refused as no:
            outcome, changes = "ABORTED", {}
            answer = wire.CommitOnePhaseResponse(refusal=no.refusal)
        if attempt.state == "ACTIVE" and task.transaction_id in self.alone:
            self.end(attempt, "DECIDED")  # by another attempt, while this one waited
        elif attempt.state == "ACTIVE":
            self.record(
                "DecidedAlone", attempt=attempt.key, transaction=task.transaction_id,
                hash=request.operations_hash.hex(), outcome=outcome, changes=changes,
                answer=MessageToDict(answer),
            )

    @answered
    def GetOutcome(self, request: outcome_pb2.GetOutcomeRequest) -> outcome_pb2.GetOutcomeResponse:
        """To a coordinator: was this decided alone? To a peer in doubt: what has been heard."""
        if request.HasField("inquiry"):
            self.hear(request.inquiry.header)
            decided = self.alone.get(request.inquiry.transaction_id)
            if decided is None:
                return outcome_pb2.GetOutcomeResponse(verdict="VERDICT_UNKNOWN")
            answer = outcome_pb2.GetOutcomeResponse(verdict="VERDICT_" + decided["outcome"])
            answer.operations_hash = bytes.fromhex(decided["hash"])
            return ParseDict(decided["answer"], answer)
        attempt = self.attempts.get(key_of(request.attempt), Attempt(()))
        if attempt.unvoted and attempt.state in ("ACTIVE", "DECLINED"):
            self.record("Refused", attempt=attempt.key)  # from now on it is never prepared here
        heard = {"COMMITTED": "COMMITTED", "LOST": "COMMITTED", "ABORTED": "ABORTED"}
        verdict = heard.get(attempt.state, "UNKNOWN")
        return outcome_pb2.GetOutcomeResponse(verdict="VERDICT_" + verdict)


if __name__ == "__main__":
    shell.run(Participant, doubt.begin)
