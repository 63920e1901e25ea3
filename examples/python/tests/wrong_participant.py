"""Participants that break one rule each, to see whether whoever checks participants notices.

    python wrong_participant.py --wrong forgets-promises --name kv --data-dir DIR …

The rest of the command line is that of participant.py.
"""

import argparse
import sys
from pathlib import Path
from typing import Any, Optional

sys.path.insert(0, str(Path(__file__).parent.parent))
import doubt
import shell
import store
from memory import Attempt, Key, key_of
from participant import Participant
from shell import answered
from nemcon.v1.outcome_pb2 import VERDICT_ABORTED, VERDICT_UNKNOWN
from nemcon.v1.participant_pb2 import CommitResponse


class ForgetsPromises(Participant):
    """Votes yes, and has nothing in its log. When it is told to commit it writes both at once."""

    def record(self, kind: str, **fact: Any) -> None:
        if kind == "Committed":
            promise = self.attempts[fact["attempt"]].promise
            self.log.append({"kind": "Prepared", "attempt": fact["attempt"], **promise})
        if kind in ("Prepared", "Aborted"):
            self.enter(kind, **fact)
        else:
            super().record(kind, **fact)


class AcknowledgesUnknownCommits(Participant):
    """Says that it has committed what it knows nothing of."""

    @answered
    def Commit(self, request: Any) -> Any:
        key = self.hear(request.header, request.attempt)
        if key not in self.attempts:
            return CommitResponse(attempt=request.attempt)
        return super().Commit(request)


class RunsTwice(Participant):
    """Applies a repeated Commit again, and runs a repeated CommitOnePhase again."""

    def __init__(self, name: str, log: shell.Log) -> None:
        self.prepared: dict[Key, Any] = {}
        super().__init__(name, log)

    @answered
    def Prepare(self, request: Any) -> Any:
        self.prepared[key_of(request.task.attempt)] = request
        return super().Prepare(request)

    @answered
    def Commit(self, request: Any) -> Any:
        key = self.hear(request.header, request.attempt)
        attempt = self.attempts.get(key)
        if attempt and attempt.state == "COMMITTED" and key in self.prepared:
            actions = store.actions(self.prepared[key].one_shot.operations)
            self.data.update(store.run(self.data, actions)[1])
        return super().Commit(request)

    @answered
    def CommitOnePhase(self, request: Any) -> Any:
        self.hear(request.header, request.task.attempt)
        self.alone.pop(request.task.transaction_id, None)
        if self.attempts.get(key_of(request.task.attempt), Attempt(())).state == "DECIDED":
            del self.attempts[key_of(request.task.attempt)]
        return super().CommitOnePhase(request)


class PreparesAfterAbort(Participant):
    """Votes on what has ended here, as if it had never heard of it."""

    @answered
    def Prepare(self, request: Any) -> Any:
        key = self.hear(request.header, request.task.attempt)
        if key in self.attempts and self.attempts[key].state in ("ABORTED", "DECLINED"):
            del self.attempts[key]
        return super().Prepare(request)


class IgnoresFloor(Participant):
    """Takes in unknown work that its coordinator is past."""

    def begin(self, key: Key) -> Attempt:
        return self.attempts.setdefault(key, Attempt(key))


class IgnoresEpoch(Participant):
    """Hears a coordinator's older epochs like its newest one, and ends nothing with them."""

    def hear(self, header: Any, attempt: Any = None) -> Optional[Key]:
        if header.participant_id != self.id:
            return super().hear(header, attempt)
        coordinator = self.coordinators[header.coordinator]
        coordinator.floor = max(coordinator.floor, (header.floor.epoch, header.floor.sequence))
        return key_of(attempt) if attempt else None


class AnswersForOthers(Participant):
    """Takes every message for its own, whoever is meant."""

    def hear(self, header: Any, attempt: Any = None) -> Optional[Key]:
        header.participant_id = self.id
        return super().hear(header, attempt)


class LetsGoEarly(Participant):
    """Lets go of its locks when it votes."""

    def enter(self, kind: str, attempt: Optional[Key] = None, **fact: Any) -> None:
        super().enter(kind, attempt, **fact)
        if kind == "Prepared":
            for key in fact["locks"]:
                del self.locks[key]


class SaysAbortedWithoutKnowing(Participant):
    """Takes "I do not know" for "aborted" when a peer asks."""

    @answered
    def GetOutcome(self, request: Any) -> Any:
        answer = super().GetOutcome(request)
        if request.HasField("attempt") and answer.verdict == VERDICT_UNKNOWN:
            answer.verdict = VERDICT_ABORTED
        return answer


WRONG: dict[str, type[Participant]] = {
    "forgets-promises": ForgetsPromises,
    "acknowledges-unknown-commits": AcknowledgesUnknownCommits,
    "runs-twice": RunsTwice,
    "prepares-after-abort": PreparesAfterAbort,
    "ignores-floor": IgnoresFloor,
    "ignores-epoch": IgnoresEpoch,
    "answers-for-others": AnswersForOthers,
    "lets-go-early": LetsGoEarly,
    "says-aborted-without-knowing": SaysAbortedWithoutKnowing,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--wrong", required=True, choices=WRONG)
    told, rest = parser.parse_known_args()
    shell.run(WRONG[told.wrong], doubt.begin, rest)
