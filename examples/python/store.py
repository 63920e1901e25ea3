"""The data that the participant guards: keys with values, in memory.

Nothing here knows the protocol. Whoever copies the example puts something else in its place: what
can be asked, which locks that takes, what it answers and changes.
"""

from typing import Any

from google.protobuf import message
from google.protobuf.any import pack

from shell import Refused

import kv_pb2 as kv

# Results hold what changes, and more: so twice as much is within the 2 MiB of TOO_LARGE.
RESULTS_BYTES_MAX = 1 << 20

ACTIONS = {action.DESCRIPTOR.full_name: action for action in (kv.Put, kv.Append, kv.Get)}


def actions(operations: Any) -> list[Any]:
    """What the operations ask for. The keys of the actions are what has to be locked."""
    read = []
    for operation in operations:
        name = operation.action.TypeName()
        if name not in ACTIONS:
            raise Refused("INVALID_ACTION", f"type {name!r}: want one of {', '.join(ACTIONS)}")
        if operation.inputs:
            count = len(operation.inputs)
            raise Refused("INVALID_ACTION", f"{count} inputs of {name}: want none, it uses none")
        action = ACTIONS[name]()
        try:
            operation.action.Unpack(action)
        except message.DecodeError as error:
            raise Refused("INVALID_ACTION", f"{name}: {error}")
        if not action.key:
            raise Refused("INVALID_ACTION", f"{name}: key is empty; want one or more characters")
        if operation.read_only and not isinstance(action, kv.Get):
            raise Refused("READ_ONLY_VIOLATED", f"an operation is marked read_only: {name} writes")
        read.append(action)
    return read


def run(data: dict[str, str], todo: list[Any]) -> tuple[list[Any], dict[str, str]]:
    """Results and changes of actions whose keys are locked. They see what those before them did."""
    results, changes = [], {}
    for action in todo:
        value = changes.get(action.key, data.get(action.key))
        if isinstance(action, kv.Put):
            if action.only_if_absent and value is not None:
                raise Refused("KEY_EXISTS", f"key {action.key} has a value")
            value = changes[action.key] = action.value
        elif isinstance(action, kv.Append):
            value = changes[action.key] = (value or "") + action.text
        entry = kv.Entry(key=action.key, value=value or "", found=value is not None)
        results.append(pack(entry))
    bytes_ = sum(result.ByteSize() for result in results)
    if bytes_ > RESULTS_BYTES_MAX:
        why = f"results take {bytes_} bytes; want at most {RESULTS_BYTES_MAX}: ask for less"
        raise Refused("TOO_LARGE", why)
    return results, changes
