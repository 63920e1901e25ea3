"""The rules of docs/protocol.md, one by one, on a participant without a network.

Each check of RULES is a rule that wrong_participant.py has somebody break: the participant has to
keep it, and the one that breaks it has to be caught.
"""

import threading
from concurrent.futures import Future, TimeoutError
from pathlib import Path
from typing import Any, Callable, Optional
from collections.abc import Iterator

import grpc
import pytest
from google.protobuf.any import pack
from grpc_status import rpc_status

import kv_pb2 as kv
from nemcon.v1 import outcome_pb2, participant_pb2, participant_pb2_grpc, transaction_pb2, types_pb2

import client
import doubt
import shell
from conftest import NOBODY, SOON_S, Cluster, until
from participant import Participant
from wrong_participant import WRONG

YES, NO, READ_ONLY = (
    transaction_pb2.VOTE_YES,
    transaction_pb2.VOTE_NO,
    transaction_pb2.VOTE_READ_ONLY,
)
HASH = b"#" * 32


class Bench:
    """A participant, and a coordinator that says what a test wants said."""

    def __init__(self, directory: Path, kind: type[Participant]) -> None:
        self.path, self.kind = directory / "log", kind
        self.coordinator, self.epoch, self.floor = client.new_id(), 1, (1, 1)
        self.participant = kind("kv", shell.Log(self.path))

    def restart(self) -> None:
        """It dies, and comes back with what is in its log."""
        self.participant.log.file.close()
        self.participant = self.kind("kv", shell.Log(self.path))

    def header(self) -> participant_pb2.Header:
        floor = types_pb2.Position(epoch=self.floor[0], sequence=self.floor[1])
        return participant_pb2.Header(
            coordinator=self.coordinator,
            epoch=self.epoch,
            floor=floor,
            participant_id=self.participant.id,
        )

    def attempt(self, sequence: int, epoch: Optional[int] = None) -> types_pb2.Attempt:
        epoch = epoch or self.epoch
        return types_pb2.Attempt(coordinator=self.coordinator, epoch=epoch, sequence=sequence)

    def task(
        self, attempt: types_pb2.Attempt, wait_ms: int, transaction_id: str
    ) -> participant_pb2.Task:
        return participant_pb2.Task(
            attempt=attempt,
            transaction_id=transaction_id or client.new_id(),
            remaining_ms=60_000,
            lock_wait_ms=wait_ms,
            coordinator_address=NOBODY,
        )

    def prepare(
        self,
        attempt: types_pb2.Attempt,
        action: Any = kv.Append(key="x", text="a"),
        read_only: bool = False,
        wait_ms: int = 50,
        header: Any = None,
        transaction_id: str = "",
    ) -> participant_pb2.PrepareResponse:
        operation = types_pb2.Operation(action=pack(action), read_only=read_only)
        return self.participant.Prepare(
            participant_pb2.PrepareRequest(
                header=header or self.header(),
                task=self.task(attempt, wait_ms, transaction_id),
                one_shot=participant_pb2.OneShotWork(operations=[operation]),
                read_only=read_only,
                participants=[types_pb2.Peer(name="other", address=NOBODY)],
            )
        )

    def commit(
        self, attempt: types_pb2.Attempt, header: Any = None
    ) -> participant_pb2.CommitResponse:
        request = participant_pb2.CommitRequest(header=header or self.header(), attempt=attempt)
        return self.participant.Commit(request)

    def abort(self, attempt: types_pb2.Attempt) -> participant_pb2.AbortResponse:
        return self.participant.Abort(
            participant_pb2.AbortRequest(header=self.header(), attempt=attempt)
        )

    def release(self, attempt: types_pb2.Attempt) -> int:
        request = participant_pb2.ReleaseRequest(header=self.header(), attempt=attempt)
        return self.participant.Release(request).boot

    def decide(
        self,
        attempt: types_pb2.Attempt,
        transaction_id: str,
        hash: bytes = HASH,
        wait_ms: int = 50,
        action: Any = kv.Append(key="x", text="a"),
    ) -> participant_pb2.CommitOnePhaseResponse:
        operation = types_pb2.Operation(action=pack(action))
        return self.participant.CommitOnePhase(
            participant_pb2.CommitOnePhaseRequest(
                header=self.header(),
                task=self.task(attempt, wait_ms, transaction_id),
                operations_hash=hash,
                one_shot=participant_pb2.OneShotWork(operations=[operation]),
            )
        )

    def hello(self) -> participant_pb2.GetStatusResponse:
        request = participant_pb2.GetStatusRequest(header=self.header(), coordinator_address=NOBODY)
        return self.participant.GetStatus(request)

    def told(self, attempt: types_pb2.Attempt) -> str:
        """What a peer is told of an attempt."""
        request = outcome_pb2.GetOutcomeRequest(attempt=attempt, asker="other")
        return outcome_pb2.Verdict.Name(self.participant.GetOutcome(request).verdict)[8:]

    def inquire(self, transaction_id: str) -> outcome_pb2.GetOutcomeResponse:
        inquiry = outcome_pb2.Inquiry(header=self.header(), transaction_id=transaction_id)
        return self.participant.GetOutcome(outcome_pb2.GetOutcomeRequest(inquiry=inquiry))

    def value(self) -> str:
        return self.participant.data.get("x", "")

    def logged(self) -> list:
        """The kinds of the records that are on disk."""
        lines = self.path.read_bytes().splitlines()
        return [shell.json.loads(line.partition(b" ")[2])["kind"] for line in lines]


def refused(call: Callable[[], Any]) -> str:
    """The reason for which a call is refused; empty if it is answered."""
    try:
        call()
    except shell.Refused as no:
        return no.refusal.reason
    return ""


def beside(call: Callable[[], Any]) -> Future:
    """Makes a call that waits for something."""
    answer: Future = Future()

    def run() -> None:
        try:
            answer.set_result(call())
        except Exception as error:
            answer.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return answer


def waiting(bench: Bench, attempt: types_pb2.Attempt) -> None:
    key = (attempt.coordinator, attempt.epoch, attempt.sequence)
    until("it waits", lambda: key in bench.participant.attempts)


# ---- Rules that wrong participants break


def promises_are_logged(bench: Bench) -> None:
    assert bench.prepare(bench.attempt(1)).vote == YES
    assert bench.logged()[-1] == "Prepared"
    bench.restart()
    again = bench.prepare(bench.attempt(1))
    assert (again.vote, again.results_lost, again.boot) == (YES, True, 2)
    bench.commit(bench.attempt(1))
    assert bench.value() == "a"


def unknown_commits_are_damage(bench: Bench) -> None:
    for _ in range(2):
        assert refused(lambda: bench.commit(bench.attempt(1))) == "LOST_PREPARE"
        assert bench.logged().count("Damaged") == 1, "it is on record before it is said"
        assert bench.told(bench.attempt(1)) == "COMMITTED", "the decision has been heard"
        assert refused(lambda: bench.prepare(bench.attempt(1))) == "ATTEMPT_ENDED"
        bench.restart()


def repeats_do_nothing(bench: Bench) -> None:
    first = bench.prepare(bench.attempt(1))
    assert bench.prepare(bench.attempt(1)) == first
    for _ in range(3):
        bench.commit(bench.attempt(1))
        assert bench.value() == "a"
    name = client.new_id()
    decided = bench.decide(bench.attempt(2), name)
    for sequence in (2, 2, 3):
        again = bench.decide(bench.attempt(sequence), name)
        assert again.attempt.sequence == sequence
        assert (again.outcome, again.results) == (decided.outcome, decided.results)
        assert bench.value() == "aa"
    assert (
        refused(lambda: bench.decide(bench.attempt(4), name, b"?" * 32)) == "TRANSACTION_ID_REUSED"
    )


def an_abort_ends_a_prepare_that_comes_later(bench: Bench) -> None:
    bench.abort(bench.attempt(1))
    assert refused(lambda: bench.prepare(bench.attempt(1))) == "ATTEMPT_ENDED"
    bench.prepare(bench.attempt(2))
    for _ in range(2):
        bench.abort(bench.attempt(2))
    assert refused(lambda: bench.prepare(bench.attempt(2))) == "ATTEMPT_ENDED"
    assert not bench.participant.locks


def the_highest_floor_counts(bench: Bench) -> None:
    old = bench.header()
    bench.floor = (1, 5)
    bench.hello()
    assert refused(lambda: bench.prepare(bench.attempt(4), header=old)) == "BELOW_FLOOR"
    assert refused(lambda: bench.decide(bench.attempt(4), client.new_id())) == "BELOW_FLOOR"
    bench.commit(bench.attempt(4), header=old)
    assert "Damaged" not in bench.logged()
    assert refused(lambda: bench.commit(bench.attempt(5))) == "LOST_PREPARE"


def a_newer_epoch_ends_the_older(bench: Bench) -> None:
    holder = bench.attempt(1)
    bench.prepare(holder)
    waits = beside(lambda: bench.prepare(bench.attempt(2, epoch=1), wait_ms=30_000))
    waiting(bench, bench.attempt(2, epoch=1))
    old = bench.header()
    bench.epoch = 2
    bench.hello()
    assert bench.logged()[-1] == "EpochSeen"
    no = waits.result(1)
    assert (no.vote, no.refusal.reason, no.refusal.retryable) == (NO, "COORDINATOR_RESTARTED", True)
    assert refused(lambda: bench.commit(holder, header=old)) == "STALE_EPOCH"
    bench.restart()
    assert refused(lambda: bench.commit(holder, header=old)) == "STALE_EPOCH", "it is in the log"
    bench.commit(holder)
    assert bench.value() == "a", "what it has promised is not ended by an epoch"


def others_are_not_answered_for(bench: Bench) -> None:
    header = bench.header()
    header.participant_id = client.new_id()
    header.floor.sequence = 9
    assert refused(lambda: bench.commit(bench.attempt(1), header=header)) == "WRONG_PARTICIPANT"
    assert refused(lambda: bench.prepare(bench.attempt(1), header=header)) == "WRONG_PARTICIPANT"
    assert not bench.participant.coordinators


def promises_keep_their_locks(bench: Bench) -> None:
    bench.prepare(bench.attempt(1))
    for _ in range(2):
        no = bench.prepare(bench.attempt(2))
        assert (no.vote, no.refusal.reason, no.refusal.retryable) == (NO, "LOCK_TIMEOUT", True)
        assert bench.prepare(bench.attempt(2)) == no
        bench.restart()
    bench.commit(bench.attempt(1))
    assert bench.prepare(bench.attempt(3)).vote == YES


def peers_hear_only_what_is_known(bench: Bench) -> None:
    assert bench.told(bench.attempt(9)) == "UNKNOWN"
    bench.prepare(bench.attempt(1))
    assert bench.told(bench.attempt(1)) == "UNKNOWN"
    bench.commit(bench.attempt(1))
    assert bench.told(bench.attempt(1)) == "COMMITTED"
    bench.prepare(bench.attempt(2))
    bench.abort(bench.attempt(2))
    assert bench.told(bench.attempt(2)) == "ABORTED"
    # Its own no is on record before it is told, and then it is so for ever.
    bench.prepare(bench.attempt(3), kv.Put(key=""))
    assert bench.told(bench.attempt(3)) == "ABORTED"
    assert bench.logged()[-1] == "Refused"
    bench.restart()
    assert bench.told(bench.attempt(3)) == "ABORTED"
    assert refused(lambda: bench.prepare(bench.attempt(3))) == "ATTEMPT_ENDED"
    # A reader may have voted in an earlier life.
    bench.prepare(bench.attempt(4), kv.Get(key=""), read_only=True)
    assert bench.told(bench.attempt(4)) == "UNKNOWN"
    bench.decide(bench.attempt(5), client.new_id())
    assert bench.told(bench.attempt(5)) == "UNKNOWN"


RULES = {
    "forgets-promises": promises_are_logged,
    "acknowledges-unknown-commits": unknown_commits_are_damage,
    "runs-twice": repeats_do_nothing,
    "prepares-after-abort": an_abort_ends_a_prepare_that_comes_later,
    "ignores-floor": the_highest_floor_counts,
    "ignores-epoch": a_newer_epoch_ends_the_older,
    "answers-for-others": others_are_not_answered_for,
    "lets-go-early": promises_keep_their_locks,
    "says-aborted-without-knowing": peers_hear_only_what_is_known,
}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path, Participant)
    yield made
    made.participant.log.file.close()


@pytest.mark.parametrize("wrong", RULES)
def test_the_participant_keeps_the_rule_that_is_broken_by(bench: Bench, wrong: str) -> None:
    RULES[wrong](bench)


@pytest.mark.parametrize("wrong", WRONG)
def test_whoever_breaks_a_rule_is_caught(tmp_path: Path, wrong: str) -> None:
    bench = Bench(tmp_path, WRONG[wrong])
    with pytest.raises((AssertionError, shell.Refused, TimeoutError)):
        RULES[wrong](bench)
    bench.participant.log.file.close()


# ---- Rules that nobody breaks yet


def test_the_boot_is_counted_in_the_log_before_anything_is_said(bench: Bench) -> None:
    identity = bench.participant.id
    for boot in (1, 2, 3):
        assert bench.logged() == ["Started"] * boot
        assert bench.participant.boot == boot
        bench.restart()
    assert bench.participant.id == identity
    assert bench.hello() == participant_pb2.GetStatusResponse(name="kv", boot=4)


def test_a_repeated_prepare_joins_the_one_that_waits(bench: Bench) -> None:
    bench.prepare(bench.attempt(1))
    calls = [beside(lambda: bench.prepare(bench.attempt(2), wait_ms=30_000)) for _ in range(3)]
    waiting(bench, bench.attempt(2))
    bench.commit(bench.attempt(1))
    first, *others = [call.result(SOON_S) for call in calls]
    assert first.vote == YES and others == [first, first]
    bench.commit(bench.attempt(2))
    assert bench.value() == "aa"


def test_an_abort_ends_what_waits(bench: Bench) -> None:
    bench.prepare(bench.attempt(1))
    waits = beside(lambda: bench.prepare(bench.attempt(2), wait_ms=30_000))
    waiting(bench, bench.attempt(2))
    bench.abort(bench.attempt(2))
    assert refused(lambda: waits.result(SOON_S)) == "ATTEMPT_ENDED"


def test_a_peer_that_asks_ends_what_has_not_voted(bench: Bench) -> None:
    bench.prepare(bench.attempt(1))
    waits = beside(lambda: bench.prepare(bench.attempt(2), wait_ms=30_000))
    waiting(bench, bench.attempt(2))
    assert bench.told(bench.attempt(2)) == "ABORTED"
    assert refused(lambda: waits.result(SOON_S)) == "ATTEMPT_ENDED"
    assert bench.logged()[-1] == "Refused"


def test_only_its_own_answer_ends_what_it_decides_alone(bench: Bench) -> None:
    bench.prepare(bench.attempt(1))
    name = client.new_id()
    decides = beside(lambda: bench.decide(bench.attempt(2), name, wait_ms=30_000))
    waiting(bench, bench.attempt(2))
    assert refused(lambda: bench.abort(bench.attempt(2))) == "ATTEMPT_ENDED"
    assert bench.told(bench.attempt(2)) == "UNKNOWN"
    bench.commit(bench.attempt(1))
    assert decides.result(SOON_S).outcome == types_pb2.OUTCOME_COMMITTED
    assert bench.value() == "aa"


def test_two_attempts_at_one_transaction_decide_it_once(bench: Bench) -> None:
    bench.prepare(bench.attempt(1))
    name = client.new_id()
    both = [
        beside(lambda at=at: bench.decide(bench.attempt(at), name, wait_ms=30_000)) for at in (2, 3)
    ]
    for at in (2, 3):
        waiting(bench, bench.attempt(at))
    bench.commit(bench.attempt(1))
    first, second = [one.result(SOON_S) for one in both]
    assert first.results == second.results
    assert bench.value() == "aa" and bench.logged().count("DecidedAlone") == 1
    no = bench.prepare(bench.attempt(4), transaction_id=name)
    assert (no.vote, no.refusal.reason) == (NO, "TRANSACTION_ID_REUSED")


def test_inquiries_are_answered_from_what_was_decided(bench: Bench) -> None:
    names = [client.new_id() for _ in range(3)]
    committed = bench.decide(bench.attempt(1), names[0])
    aborted = bench.decide(bench.attempt(2), names[1], action=kv.Put(key="x", only_if_absent=True))
    assert aborted.refusal.reason == "KEY_EXISTS"
    for _ in range(2):
        told = bench.inquire(names[0])
        assert (told.verdict, told.operations_hash) == (outcome_pb2.VERDICT_COMMITTED, HASH)
        assert told.results == committed.results
        told = bench.inquire(names[1])
        assert (told.verdict, told.refusal) == (outcome_pb2.VERDICT_ABORTED, aborted.refusal)
        assert bench.inquire(names[2]).verdict == outcome_pb2.VERDICT_UNKNOWN
        bench.restart()


def test_an_inquiry_in_a_newer_epoch_ends_what_may_yet_decide(bench: Bench) -> None:
    bench.prepare(bench.attempt(1))
    name = client.new_id()
    late = bench.attempt(2)
    decides = beside(lambda: bench.decide(late, name, wait_ms=30_000))
    waiting(bench, late)
    bench.epoch = 2
    assert bench.inquire(name).verdict == outcome_pb2.VERDICT_UNKNOWN
    assert refused(lambda: decides.result(SOON_S)) == "ATTEMPT_ENDED"
    assert refused(lambda: bench.decide(bench.attempt(7, epoch=1), name)) == "BELOW_FLOOR"
    assert bench.inquire(name).verdict == outcome_pb2.VERDICT_UNKNOWN


def test_a_reader_holds_its_locks_until_release_and_says_so(bench: Bench) -> None:
    vote = bench.prepare(bench.attempt(1), kv.Get(key="x"), read_only=True)
    assert (vote.vote, vote.boot) == (READ_ONLY, 1)
    assert bench.prepare(bench.attempt(2)).refusal.reason == "LOCK_TIMEOUT"
    for _ in range(2):
        assert bench.release(bench.attempt(1)) == 1
    assert bench.prepare(bench.attempt(3)).vote == YES
    bench.abort(bench.attempt(3))
    bench.prepare(bench.attempt(4), kv.Get(key="x"), read_only=True)
    bench.restart()
    assert bench.release(bench.attempt(4)) == 0, "a crash has let its locks go"
    assert "Prepared" not in bench.logged()[-2:]


def test_a_write_that_is_not_marked_is_promised_whatever_the_whole_is_said_to_be(
    bench: Bench,
) -> None:
    operation = types_pb2.Operation(action=pack(kv.Append(key="x", text="a")))
    request = participant_pb2.PrepareRequest(
        header=bench.header(),
        task=bench.task(bench.attempt(1), 50, ""),
        one_shot=participant_pb2.OneShotWork(operations=[operation]),
        read_only=True,
    )
    assert bench.participant.Prepare(request).vote == YES
    assert bench.logged()[-1] == "Prepared"
    marked = bench.prepare(bench.attempt(2), read_only=True)
    assert (marked.vote, marked.refusal.reason) == (NO, "READ_ONLY_VIOLATED")


def test_a_reader_that_nobody_releases_lets_go_after_its_lease(
    bench: Bench, monkeypatch: Any
) -> None:
    monkeypatch.setattr(doubt, "LEASE_GRACE_S", -59.9)
    bench.prepare(bench.attempt(1), kv.Get(key="x"), read_only=True)
    until("its lease is over", lambda: not bench.participant.locks)
    assert bench.release(bench.attempt(1)) == 0
    assert bench.prepare(bench.attempt(1)).refusal.reason == "LOCKS_LOST"


def test_attempts_of_other_coordinators_and_later_epochs_are_refused(bench: Bench) -> None:
    other = types_pb2.Attempt(coordinator=client.new_id(), epoch=1, sequence=1)
    assert refused(lambda: bench.commit(other)) == "PEER_REFUSED"
    assert refused(lambda: bench.commit(bench.attempt(1, epoch=2))) == "PEER_REFUSED"
    assert refused(lambda: bench.commit(types_pb2.Attempt())) == "PEER_REFUSED"


def test_an_abort_of_what_has_committed_is_refused(bench: Bench) -> None:
    bench.prepare(bench.attempt(1))
    bench.commit(bench.attempt(1))
    assert refused(lambda: bench.abort(bench.attempt(1))) == "ATTEMPT_ENDED"
    assert bench.value() == "a"


def test_refusals_travel_with_their_reason(cluster: Cluster) -> None:
    with shell.dial(cluster.kv.url) as channel:
        service = participant_pb2_grpc.ParticipantServiceStub(channel)
        with pytest.raises(grpc.RpcError) as error:
            service.GetStatus(participant_pb2.GetStatusRequest(), timeout=5)
    assert error.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    (detail,) = rpc_status.from_call(error.value).details
    info = shell.error_details_pb2.ErrorInfo()
    assert detail.Unpack(info)
    assert (info.domain, info.reason, info.metadata["retryable"]) == (
        "nemcon",
        "WRONG_PARTICIPANT",
        "true",
    )
