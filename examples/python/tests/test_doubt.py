"""A participant that dies between its vote and the outcome, and what becomes of its promise.

The moment is made, not hoped for: the transaction waits for a lock that the test holds, or its
coordinator is frozen, while the log of the participant shows the promise.
"""

from concurrent.futures import Future

import grpc
import pytest

import kv_pb2 as kv
from nemcon.bank.v1 import bank_pb2
from nemcon.v1 import transaction_pb2, transaction_pb2_grpc, types_pb2

import client
import shell
from conftest import SOON_S, Cluster, Hold, until

COMMITTED, ABORTED = types_pb2.OUTCOME_COMMITTED, types_pb2.OUTCOME_ABORTED


class Undecided:
    """A transaction that cannot be decided: the store has promised, and the bank waits for a lock
    that the test holds. With `waits="kv"` it is the other way round."""

    def __init__(self, cluster: Cluster, waits: str = "bank-a") -> None:
        self.cluster = cluster
        opening = bank_pb2.Open(account="alice", currency="CZK", opening_balance_minor=1000)
        assert cluster.run(client.operation("bank-a", opening)).outcome == COMMITTED
        self.withdraw = bank_pb2.Withdraw(account="alice", amount_minor=100, currency="CZK")
        self.append = kv.Append(key="x", text="a")
        self.hold = Hold(cluster, waits, self.withdraw if waits == "bank-a" else self.append)
        self.id = client.new_id()
        self.request = transaction_pb2.RunTransactionRequest(
            transaction_id=self.id,
            operations=[
                client.operation("kv", self.append),
                client.operation("bank-a", self.withdraw),
            ],
        )
        self.answer: Future = cluster.send(self.request)
        promised = "kv" if waits == "bank-a" else "bank-a"
        until(f"{promised} has promised", lambda: self.has_promised(promised))
        if promised == "kv":
            until(
                "the vote has been heard",
                lambda: any(
                    branch.participant == "kv" and branch.vote == transaction_pb2.VOTE_YES
                    for branch in cluster.view(self.id).participants
                ),
            )

    def has_promised(self, name: str) -> bool:
        if name == "kv":
            return self.cluster.has_promised(self.id)
        return self.id in self.cluster.in_doubt_at(name)

    def ends(self) -> list[str]:
        """How the store's attempts at it have ended, by its log."""
        records = self.cluster.records()
        mine = [tuple(one["attempt"]) for one in records if one.get("transaction") == self.id]
        about = [one for one in records if tuple(one.get("attempt", ())) in mine]
        return [one["kind"] for one in about if one["kind"] in ("Committed", "Aborted")]


def kv_refuses(cluster: Cluster) -> str:
    """Why the store does not give the lock on the key to another; empty if it does."""
    hold = Hold(cluster, "kv", kv.Get(key="x"))
    hold.let_go()
    return hold.vote.refusal.reason


def settled(cluster: Cluster, value: str, balance_minor: int) -> None:
    """Everything is done everywhere, and all books and stores say the same."""
    until(
        "all is acknowledged",
        lambda: all(known.unfinished == 0 and known.reachable for known in cluster.participants()),
    )
    until("nothing is in doubt", lambda: not cluster.in_doubt_at("bank-a"))
    read = cluster.run(client.operation("kv", kv.Get(key="x"), read_only=True))
    assert kv.Entry.FromString(read.results[0].value).value == value
    assert cluster.peek("bank-a/alice") == balance_minor


def abort(cluster: Cluster, transaction_id: str) -> None:
    with shell.dial(cluster.coordinator.url) as channel:
        request = transaction_pb2.AbortTransactionRequest(
            transaction_id=transaction_id, reason="why not"
        )
        service = transaction_pb2_grpc.TransactionServiceStub(channel)
        assert service.AbortTransaction(request, timeout=SOON_S).outcome == ABORTED


def test_killed_after_its_vote_it_keeps_its_word_and_commits(patient: Cluster) -> None:
    undecided = Undecided(patient)
    patient.kv.kill()
    undecided.hold.let_go()
    assert undecided.answer.result(SOON_S).outcome == COMMITTED
    assert undecided.ends() == []
    patient.kv.start()
    settled(patient, "a", 900)
    assert undecided.ends() == ["Committed"]


def test_killed_after_its_vote_it_learns_of_the_abort(patient: Cluster) -> None:
    undecided = Undecided(patient)
    patient.kv.kill()
    abort(patient, undecided.id)
    assert undecided.answer.result(SOON_S).refusal.reason == "ABORT_REQUESTED"
    undecided.hold.let_go()
    patient.kv.start()
    until("it has learned of it", lambda: undecided.ends() == ["Aborted"])
    settled(patient, "", 1000)


@pytest.mark.parametrize("commits", [True, False])
def test_its_locks_hold_through_restarts_until_the_outcome(patient: Cluster, commits: bool) -> None:
    undecided = Undecided(patient)
    # All vote, and who has to decide stands still.
    patient.coordinator.freeze()
    undecided.hold.let_go()
    until("the bank has voted", lambda: undecided.has_promised("bank-a"))
    for _ in range(2):
        patient.kv.kill()
        patient.kv.start()
        assert kv_refuses(patient) == "LOCK_TIMEOUT"
        assert undecided.ends() == []
    if commits:
        patient.coordinator.wake()
        assert undecided.answer.result(SOON_S).outcome == COMMITTED
        settled(patient, "a", 900)
    else:
        # It dies before it decides, and what it has not decided has aborted.
        patient.coordinator.kill()
        patient.coordinator.start()
        until("it has learned of it", lambda: undecided.ends() == ["Aborted"])
        settled(patient, "", 1000)
    assert kv_refuses(patient) == ""


def test_a_peer_that_has_heard_tells_while_the_coordinator_is_gone(patient: Cluster) -> None:
    undecided = Undecided(patient)
    patient.kv.kill()
    undecided.hold.let_go()
    assert undecided.answer.result(SOON_S).outcome == COMMITTED
    until("the bank has heard", lambda: patient.peek("bank-a/alice") == 900)
    patient.coordinator.kill()
    patient.kv.start()
    until("the store was told", lambda: undecided.ends() == ["Committed"])
    patient.coordinator.start()
    settled(patient, "a", 900)


def test_a_peer_that_has_not_voted_settles_it_while_the_coordinator_is_gone(
    patient: Cluster,
) -> None:
    undecided = Undecided(patient)
    patient.coordinator.kill()
    patient.kv.kill()
    patient.kv.start()
    until("the store was told", lambda: undecided.ends() == ["Aborted"])
    with pytest.raises(grpc.RpcError):
        undecided.answer.result(SOON_S)
    undecided.hold.let_go()
    patient.coordinator.start()
    settled(patient, "", 1000)

    # The client only knows that its connection broke. Under the same id it is a new attempt.
    again = patient.send(undecided.request).result(SOON_S)
    assert again.outcome == COMMITTED, again
    settled(patient, "a", 900)


def test_it_settles_it_for_a_bank_in_doubt_and_never_promises_after_that(patient: Cluster) -> None:
    undecided = Undecided(patient, waits="kv")
    patient.coordinator.kill()
    until("the bank was told", lambda: not patient.in_doubt_at("bank-a"))
    assert patient.records()[-1]["kind"] == "Refused"
    undecided.hold.let_go()
    patient.coordinator.start()
    settled(patient, "", 1000)


def test_a_coordinator_that_has_decided_is_believed_when_it_is_back(patient: Cluster) -> None:
    undecided = Undecided(patient)
    patient.kv.kill()
    undecided.hold.let_go()
    assert undecided.answer.result(SOON_S).outcome == COMMITTED
    # Nobody who knows is there: it asks, and does not guess.
    patient.coordinator.kill()
    patient.nodes["bank-a"].kill()
    patient.kv.start()
    assert kv_refuses(patient) == "LOCK_TIMEOUT"
    assert undecided.ends() == []
    patient.start()
    settled(patient, "a", 900)


def test_what_it_forgot_by_dying_before_its_vote_is_asked_for_again(patient: Cluster) -> None:
    undecided = Undecided(patient, waits="kv")
    patient.kv.kill()
    patient.kv.start()
    # The test's own promise holds the lock still: it is in the log.
    assert kv_refuses(patient) == "LOCK_TIMEOUT"
    undecided.hold.let_go()
    assert undecided.answer.result(2 * SOON_S).outcome == COMMITTED
    settled(patient, "a", 900)
