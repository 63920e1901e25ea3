"""What a participant remembers, and how it comes by it again after a crash.

Everything that must survive is a record in the log, and `Memory.enter` does what a record says:
when it is new, and again at every start. What has no record is forgotten by a crash, and may be.
"""

import threading
import uuid
from collections import defaultdict
from typing import Any, Optional

from shell import Log, Refused

# An attempt: coordinator, epoch, sequence.
Key = tuple[str, int, int]


def key_of(attempt: Any) -> Key:
    """The key of an attempt as it travels."""
    return attempt.coordinator, attempt.epoch, attempt.sequence


class Coordinator:
    """A coordinator. Epoch and floor give order without memory for ever: work that is unknown and
    lies behind them is old, however late it comes."""

    def __init__(self) -> None:
        self.epoch = 0
        # The highest seen. That of the message in hand may be an old one.
        self.floor = (0, 0)
        # Where it said its last Hello from, and how many there were.
        self.address, self.hellos = "", 0

    def see(self, header: Any) -> bool:
        """Takes in a header. Whether its epoch is a new one; one that has ended is refused."""
        if header.epoch < self.epoch:
            why = f"epoch {header.epoch} has ended; {self.epoch} is the newest seen"
            raise Refused("STALE_EPOCH", why, retryable=True)
        if header.floor.epoch <= header.epoch:  # a floor can lie in no epoch that has not begun
            self.floor = max(self.floor, (header.floor.epoch, header.floor.sequence))
        return header.epoch > self.epoch

    def greet(self, address: str) -> None:
        """It says Hello from there: it is back, or we are."""
        self.address, self.hellos = address, self.hellos + 1

    def is_below_floor(self, key: Key) -> bool:
        """Whether it has said that it has no business there any more."""
        return key[1:] < self.floor

    def is_past(self, key: Key) -> bool:
        """Whether work on this attempt comes too late."""
        return self.is_below_floor(key) or key[1] < self.epoch


class Attempt:
    """A coordinator's try to carry out a transaction. Its states are finer than the protocol's:

    - ACTIVE: it waits for locks. HOLDING: it voted read-only, and keeps them until Release.
    - PREPARED: the promise is in the log, and only the outcome ends it.
    - COMMITTED, ABORTED: ended, as was heard or is on record.
    - DECLINED: ended by itself, and not on record.
    - DECIDED: ended, alone. RELEASED: ended, and only read.
    - LOST: a Commit was heard, and there was no promise to keep.
    """

    def __init__(self, key: Key) -> None:
        self.key, self.state = key, "ACTIVE"
        # It decides alone.
        self.alone = False
        # No earlier boot can have voted in its favour: see docs/decisions/0005.
        self.unvoted = False
        # What a repeated Prepare hears. Without one it hears that the attempt has ended.
        self.vote: Optional[dict] = None
        # Its record Prepared: all that is needed to keep the promise.
        self.promise: dict = {}

    def __str__(self) -> str:
        coordinator, epoch, sequence = self.key
        return f"{coordinator[:8]}/{epoch}.{sequence}"

    def ended(self) -> Refused:
        """What is said to those who come too late."""
        return Refused("ATTEMPT_ENDED", f"attempt {self} has ended here", retryable=True)


class Memory:
    """What one participant remembers. It never forgets: who does has to have the floor in the log
    first, and the time of the newest id that is forgotten."""

    def __init__(self, name: str, log: Log) -> None:
        # The identity is minted with the log, and then read from it.
        self.name, self.log, self.id, self.boot = name, log, str(uuid.uuid4()), 0
        self.coordinators: dict[str, Coordinator] = defaultdict(Coordinator)
        self.attempts: dict[Key, Attempt] = {}
        # Which attempt has locked a key.
        self.locks: dict[str, Attempt] = {}
        self.data: dict[str, str] = {}
        # By transaction id: the record DecidedAlone, which answers every repeat.
        self.alone: dict[str, dict] = {}
        # Held by whoever reads or changes any of this.
        self.changed = threading.Condition()
        with self.changed:
            for record in log.records:
                self.enter(**record)
            self.record("Started", id=self.id, boot=self.boot + 1)

    def record(self, kind: str, **fact: Any) -> None:
        """Forces a record to the log, and does what it says. Nothing is answered before."""
        self.log.append({"kind": kind, **fact})
        self.enter(kind, **fact)

    def enter(self, kind: str, attempt: Optional[Key] = None, **fact: Any) -> None:
        """Does what a record says."""
        if kind == "Started":
            self.id, self.boot = fact["id"], fact["boot"]
            return
        if kind == "EpochSeen":
            self.coordinators[fact["coordinator"]].epoch = fact["epoch"]
            return
        known = self.attempts.setdefault(tuple(attempt), Attempt(tuple(attempt)))
        if kind == "Prepared":
            known.state, known.promise = "PREPARED", fact
            known.vote = {"vote": "VOTE_YES", "results_lost": True}
            self.lock(known, fact["locks"])
        elif kind == "Committed":
            self.data.update(known.promise["changes"])
            self.end(known, "COMMITTED")
        elif kind == "DecidedAlone":
            self.data.update(fact["changes"])
            self.alone[fact["transaction"]] = fact
            self.end(known, "DECIDED")
        elif kind == "Damaged":
            self.end(known, "LOST")
        else:  # Aborted, or Refused: a peer has been told that it aborts
            self.end(known, "ABORTED")

    def lock(self, attempt: Attempt, keys: Any) -> None:
        """Gives the locks on some keys to an attempt, for as long as it lives."""
        self.locks.update(dict.fromkeys(keys, attempt))

    def end(self, attempt: Attempt, state: str, vote: Optional[dict] = None) -> None:
        """Ends an attempt. All its locks go at once, and whoever waits looks again."""
        attempt.state, attempt.vote = state, vote
        self.locks = {key: holder for key, holder in self.locks.items() if holder is not attempt}
        self.changed.notify_all()
