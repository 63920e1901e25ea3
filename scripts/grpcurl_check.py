"""Runs every command of docs/grpcurl.md and compares its answer with the page.

bash itself reads the commands, with a `grpcurl` in its path that writes down how
it was called; `grpcurl_standin` then does what grpcurl would have done. So the page
is read as a person's shell reads it: quotes, variables, here-documents and all.

How the page is read:

- A block marked `sh` is one command. The block after it, marked `json` or `text`,
  is its answer.
- A command without an answer right after it is left running, as in a second
  terminal. The next answer that follows no command is its.
- In an answer, a line with nothing but … stands for lines left out.
- Ids, times and addresses differ from run to run, and are compared by their shape;
  but the same id on the page has to be the same id in the answers. Counters and
  measured numbers are only looked at for being numbers. Everything else is exact.

Then the check turns on itself: it alters every answer, misspells every field,
method and type, and fails unless it notices each.
"""

import argparse
import base64
import difflib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status
from grpcurl_standin import Call, Command, Node, Refused, code_name, describe, parse

# Where the page expects the nodes: a coordinator and three banks.
PAGE_ADDRESSES = ("127.0.0.1:7100", "127.0.0.1:7110", "127.0.0.1:7120", "127.0.0.1:7130")

# How long a node may take until it is reached.
CONNECT_SECONDS_MAX = 10.0

# How long an answer may take to become what the page shows: acknowledgements are
# on their way for milliseconds.
SETTLE_SECONDS_MAX = 10.0
SETTLE_PAUSE_SECONDS = 0.02

# A block of the page only calls the stand-in and makes ids.
SHELL_SECONDS_MAX = 20.0

LEFT_OUT = "…"


class PageError(Exception):
    """The page is not written as this module reads it."""


# ---- The page ----


@dataclass(frozen=True)
class Block:
    """A fenced block: what it is marked with, its text, and where its text begins."""

    line: int
    mark: str
    text: str

    def calls_grpcurl(self) -> bool:
        """Whether grpcurl is mentioned."""
        return "grpcurl" in self.text


@dataclass(frozen=True)
class Step:
    """A command and its answer, or, without a command, the answer of the one that
    was left running."""

    command: Block | None
    answer: Block | None


def blocks(page: str) -> Iterator[Block]:
    """The fenced blocks of a page."""
    lines = page.split("\n")
    begin, mark = 0, ""
    for number, line in enumerate(lines, start=1):
        if not line.startswith("```"):
            continue
        if not begin:
            begin, mark = number, line.removeprefix("```")
        else:
            yield Block(begin + 1, mark, "\n".join(lines[begin : number - 1]))
            begin = 0
    if begin:
        raise PageError(f"line {begin}: the block is not closed")


def prose(page: str) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL)


def steps(page: str) -> list[Step]:
    """The steps of a page, in order. Nothing is skipped: what is no command and no
    answer is an error."""
    stray = re.search(r"^.*\bgrpcurl +-.*$", prose(page), re.MULTILINE)
    if stray:
        raise PageError(f"a command outside of a block marked sh: {stray[0].strip()}")
    found: list[Step] = []
    running: Block | None = None
    for block in blocks(page):
        last = found[-1] if found else None
        match block.mark:
            case "sh":
                running = _left_running(last, running)
                found.append(Step(block, None))
            case "json" | "text" if block.calls_grpcurl():
                raise PageError(f"line {block.line}: a command in a block marked {block.mark}")
            case "json" | "text" if last and last.command and not last.answer:
                found[-1] = Step(last.command, block)
            case "json" | "text" if running:
                found.append(Step(None, block))
                running = None
            case "json" | "text":
                raise PageError(f"line {block.line}: the answer to which command?")
            case _:
                raise PageError(f"line {block.line}: a block marked {block.mark or 'nothing'}")
    running = _left_running(found[-1] if found else None, running)
    if running:
        raise PageError(f"line {running.line}: a command without an answer")
    return found


def _left_running(last: Step | None, running: Block | None) -> Block | None:
    """The command that runs on once the step after `last` begins."""
    if not last or not last.command or last.answer or not last.command.calls_grpcurl():
        return running
    if running:
        raise PageError(f"line {last.command.line}: a second command without an answer")
    return last.command


# ---- The shell ----


STAND_IN = """#!/usr/bin/env bash
# In place of grpcurl: writes down how it was called.
set -euo pipefail
call=$(mktemp "$GRPCURL_CALLS/XXXXXXXX")
for argument; do
    [[ $argument != @ ]] || cat >"$call.stdin"
done
printf '%s\\0' "$@" >"$call.arguments"
rm "$call"
"""


class Shell:
    """bash, with what one block has set kept for the next."""

    def __init__(self, directory: Path) -> None:
        self._state = directory / "state"
        self._state.touch()
        self._calls = directory / "calls"
        self._calls.mkdir()
        programs = directory / "bin"
        programs.mkdir()
        stand_in = programs / "grpcurl"
        stand_in.write_text(STAND_IN)
        stand_in.chmod(0o755)
        self._environment = {
            **os.environ,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "LC_ALL": "C",
            "GRPCURL_CALLS": str(self._calls),
        }

    def run(self, block: Block) -> tuple[list[Command], str]:
        """Runs a block: how it called grpcurl, and what it printed."""
        script = (
            f"set -euo pipefail\n. '{self._state}'\nset -o allexport\n{block.text}\nwait\n"
            f"{{ export -p; declare -f; }} >'{self._state}'\n"
        )
        ran = subprocess.run(
            ["bash", "-c", script],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SHELL_SECONDS_MAX,
        )
        if ran.returncode != 0 or ran.stderr:
            raise PageError(f"bash ended with {ran.returncode} and said: {ran.stderr.strip()}")
        return list(self._taken()), ran.stdout.removesuffix("\n")

    def _taken(self) -> Iterator[Command]:
        for file in sorted(self._calls.glob("*.arguments")):
            stdin = file.with_suffix(".stdin")
            given = stdin.read_text() if stdin.exists() else ""
            arguments = file.read_text().split("\0")[:-1]
            file.unlink()
            stdin.unlink(missing_ok=True)
            yield parse(arguments, given)


# ---- Comparing ----

UUID = re.compile(r"(?<!\w)[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?!\w)")

# What differs from run to run, and what is written instead of it.
MASKS = (
    (UUID, "<id>"),
    (re.compile(r"(?<!\w)\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}){0,3}Z(?!\w)"), "<time>"),
    (re.compile(r"http://[\w.-]+:\d+(?!\w)"), "<address>"),
    # An attempt, as messages name it: coordinator, epoch and sequence.
    (re.compile(r"(?<!\w)[0-9a-f]{8}/\d+\.\d+(?!\w)"), "<attempt>"),
    (re.compile(r'^( *"(?:epoch|sequence|boot)": )"\d+"$'), r"\1<counter>"),
    (re.compile(r'^( *"(?:committed|aborted|remembered)": )"\d+"$'), r"\1<count>"),
    (re.compile(r'^( *"(?:transactions|committed)": )\d+$'), r"\1<count>"),
)

# What is measured may be zero, and then it is not printed.
MEASURED = re.compile(
    r'^ *"(?:average|p50|p90|p95|p99|max|questions)": \d+(?:\.\d+)?(?:e[+-]\d+)?$'
)

# A detail of an error that grpcurl prints as bytes.
BYTES = re.compile(
    r'("@type": "type\.googleapis\.com/google\.rpc\.(\w+)",\s*"@value": )"([\w+/=]*)"'
)


@dataclass(frozen=True)
class Line:
    """A line of an answer: as it stands, and as it is compared."""

    raw: str
    plain: str
    masked: str


def _decoded(match: re.Match[str]) -> str:
    """The bytes of a detail as JSON: a map has its entries in any order on the
    wire."""
    kind = getattr(error_details_pb2, match[2], None)
    if kind is None:
        return match[0]
    try:
        detail = kind.FromString(base64.b64decode(match[3], validate=True))
    except (ValueError, DecodeError):
        return match[0]
    return match[1] + json.dumps(json_format.MessageToDict(detail), sort_keys=True)


def lines(text: str) -> list[Line]:
    """The lines of an answer that are compared. Commas do not count: whether one
    stands depends on what is measured after it."""
    # What is decoded stays one line, so the lines keep their places.
    raws, plains = text.split("\n"), BYTES.sub(_decoded, text).split("\n")
    found: list[Line] = []
    for raw, decoded in zip(raws, plains, strict=True):
        plain = decoded.removesuffix(",")
        if MEASURED.match(plain):
            continue
        if plain.strip() == "}" and found and found[-1].plain.endswith("{"):
            # Nothing was left between the two.
            opened = found.pop()
            plain, raw = opened.plain + "}", f"{opened.raw}\n{raw}"
        masked = plain
        for pattern, mask in MASKS:
            masked = pattern.sub(mask, masked)
        found.append(Line(raw, plain, masked))
    return found


def align(page: list[Line], answer: list[Line]) -> list[tuple[Line, Line]] | None:
    """The lines of the page beside those of the answer, or nothing if they differ.
    Of what is left out the shortest that fits is."""
    left_out = [number for number, line in enumerate(page) if line.raw.strip() == LEFT_OUT]
    begins, ends = [0, *(number + 1 for number in left_out)], [*left_out, len(page)]
    pairs: list[tuple[Line, Line]] = []
    at = 0
    for begin, end in zip(begins, ends, strict=True):
        part = page[begin:end]
        wanted = [line.masked for line in part]
        last = len(answer) - len(part)
        tries = range(at, last + 1)
        if not begin:
            tries = range(0, min(last + 1, 1))
        if end == len(page):
            # The last part has to reach the end.
            tries = range(last, last + 1) if last in tries else range(0)
        for start in tries:
            found = answer[start : start + len(part)]
            if wanted == [line.masked for line in found]:
                break
        else:
            return None
        pairs += zip(part, found, strict=True)
        at = start + len(part)
    return pairs


class Ids:
    """Which id of the page is which one in the answers."""

    def __init__(self) -> None:
        self._answers: dict[str, str] = {}
        self._pages: dict[str, str] = {}

    def agree(self, pairs: list[tuple[Line, Line]]) -> str | None:
        """Takes in the ids of an answer; says what is wrong, and then takes in
        nothing."""
        answers, pages = dict(self._answers), dict(self._pages)
        for page, answer in pairs:
            shown, given = UUID.findall(page.plain), UUID.findall(answer.plain)
            for left, right in zip(shown, given, strict=True):
                if answers.setdefault(left, right) != right:
                    return f"{left} on the page was {answers[left]} before and is {right} now"
                if pages.setdefault(right, left) != left:
                    return f"{left} on the page is the same as {pages[right]}"
        self._answers, self._pages = answers, pages
        return None


def difference(page: str, answer: str, ids: Ids) -> str | None:
    """What is different between page and answer; nothing if nothing is."""
    shown, given = lines(page), lines(answer)
    pairs = align(shown, given)
    if pairs is not None:
        return ids.agree(pairs)
    return "\n".join(
        difflib.unified_diff(
            [line.masked for line in shown],
            [line.masked for line in given],
            "page",
            "answer",
            lineterm="",
        )
    )


def abridged(page: str, answer: str) -> str:
    """The answer with the same lines left out as on the page."""
    shown = lines(page)
    if all(line.raw.strip() != LEFT_OUT for line in shown):
        return answer
    pairs = align(shown, lines(answer))
    if pairs is None:
        return page
    given = iter(pairs)
    return "\n".join(
        line.raw if line.raw.strip() == LEFT_OUT else next(given)[1].raw for line in shown
    )


# ---- Running the page ----


class Run:
    """One run of a page against a cluster."""

    def __init__(self, nodes: dict[str, Node], directory: Path) -> None:
        self._nodes = nodes
        self._shell = Shell(directory)
        self._ids = Ids()
        self._running: Call | None = None
        # What was answered, by the line of the answer on the page.
        self.answers: dict[int, str] = {}
        # How grpcurl was called, in order.
        self.commands: list[Command] = []

    def step(self, step: Step) -> str | None:
        """Runs one step; says what is wrong with it."""
        if step.command is None:
            return self._late(step.answer)
        called, printed = self._shell.run(step.command)
        if not step.command.calls_grpcurl():
            return self._compare(step.answer, lambda: printed, patient=False)
        if len(called) != 1:
            raise PageError(f"grpcurl was called {len(called)} times, want once")
        [command] = called
        self.commands.append(command)
        if step.answer is None:
            if printed:
                raise PageError(f"a command that is left running printed {printed!r}")
            self._settle()
            self._running = self._node(command).start(command)
            return None
        return self._compare(step.answer, lambda: self._answer(command), _only_asks(command))

    def _late(self, answer: Block | None) -> str | None:
        """Compares what the command that was left running has printed by now."""
        call = self._running
        if call is None or answer is None:
            raise PageError("nothing was left running")
        wrong = self._compare(answer, call.output, patient=True)
        self._running = None
        call.cancel()
        return wrong

    def _compare(self, answer: Block | None, ask: Callable[[], str], patient: bool) -> str | None:
        """Compares an answer with the page. What only asks is asked again until the
        page is right, for acknowledgements and watchers come a little later."""
        deadline = time.monotonic() + SETTLE_SECONDS_MAX
        while True:
            given = ask()
            if answer is None:
                return f"the page has no answer, and this came:\n{given}" if given else None
            self.answers[answer.line] = given
            wrong = difference(answer.text, given, self._ids)
            if wrong is None or not patient or time.monotonic() > deadline:
                return wrong
            time.sleep(SETTLE_PAUSE_SECONDS)

    def _node(self, command: Command) -> Node:
        try:
            return self._nodes[command.address]
        except KeyError:
            raise Refused(f"no node of the page has the address {command.address}") from None

    def _answer(self, command: Command) -> str:
        node = self._node(command)
        match command.verb:
            case "list":
                found = node.methods(command.symbol) if command.symbol else node.services()
                return "\n".join(found)
            case "describe":
                return describe(node, command.symbol)
        call = node.start(command)
        call.wait()
        return call.output()

    def _settle(self) -> None:
        """Waits until all that was decided is acknowledged: what is started next
        must not see changes of before."""
        asked = Command(PAGE_ADDRESSES[0], "call", "nemcon.v1.AdminService/ListInDoubt")
        deadline = time.monotonic() + SETTLE_SECONDS_MAX
        while self._answer(asked) != "{}":
            if time.monotonic() > deadline:
                raise PageError("what was decided is not acknowledged")
            time.sleep(SETTLE_PAUSE_SECONDS)


def _only_asks(command: Command) -> bool:
    _, _, method = command.symbol.replace("/", ".").rpartition(".")
    return command.verb == "call" and method.startswith(("Get", "List"))


# ---- The page's words ----


class Words:
    """The names that a page may use: those of the protos, of errors.md, of gRPC and
    of the few types of Google that a status carries."""

    SERVICE_METHOD = re.compile(r"(?<![\w.])((?:[\w.]+\.)?(?:\w+Service|Health))[./](\w+)")
    TYPE = re.compile(r"(?<![\w.])(?:nemcon\.(?:bank\.)?v1|google\.(?:rpc|protobuf))\.[\w.]*\w")
    CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")

    def __init__(self, nodes: list[Node], errors: str) -> None:
        self._full: set[str] = set()
        self._short: set[str] = set(re.findall(r"^### (\w+)$", errors, re.MULTILINE))
        for node in nodes:
            for service in node.services():
                self._learn(node, service)
        googles = error_details_pb2.DESCRIPTOR.message_types_by_name
        for name, detail in {**googles, "Status": Status.DESCRIPTOR}.items():
            self._full.add(f"google.rpc.{name}")
            self._short |= {name, *(field.name for field in detail.fields)}
        for code in range(17):
            words = code_name(code)
            self._short |= {words, re.sub(r"(?<!^)(?=[A-Z])", "_", words).upper()}

    def _learn(self, node: Node, service: str) -> None:
        found = node.pool.FindServiceByName(service)
        file = node.pool.FindFileByName(found.file.name)
        self._full |= {service, *node.methods(service)}
        for kind in file.message_types_by_name.values():
            self._take(kind)
        for method in found.methods:
            self._take(method.input_type)
            self._take(method.output_type)
        for other in (file, *file.dependencies):
            for enum in other.enum_types_by_name.values():
                self._full.add(enum.full_name)
                self._short |= set(enum.values_by_name)

    def _take(self, kind: Descriptor) -> None:
        if kind.full_name in self._full:
            return
        self._full.add(kind.full_name)
        for field in kind.fields:
            self._short |= {field.name, field.json_name}
            if field.message_type:
                self._take(field.message_type)

    def unknown(self, page: str) -> list[str]:
        """The names on a page that nobody has."""
        ends = {name.rpartition(".")[2] for name in self._full} | self._short
        services = {name for name in self._full if name.endswith(("Service", ".Health"))}
        wrong = []
        for service, method in self.SERVICE_METHOD.findall(page):
            known = [name for name in services if f".{name}".endswith(f".{service}")]
            if not any(f"{name}.{method}" in self._full for name in known):
                wrong.append(f"{service}/{method}")
        wrong += [name for name in self.TYPE.findall(page) if not self._has(name)]
        wrong += [
            word
            for word in self.CODE.findall(prose(page))
            if re.fullmatch(r"\w+", word) and _is_name(word) and word not in ends
        ]
        return sorted(set(wrong))

    def _has(self, name: str) -> bool:
        return any(f"{known}.".startswith(f"{name}.") for known in self._full)


def _is_name(word: str) -> bool:
    """Whether a word is spelt as names of protos are: camelCase, snake_case,
    CAPITALS."""
    return bool(re.search(r"[a-z][A-Z]|[a-z]_[a-z]|^[A-Z_]{4,}$", word))


# ---- The check of the check ----


def altered_answers(page: list[Step], answers: dict[int, str]) -> Iterator[tuple[str, bool]]:
    """Alters every answer of the page in every line, one at a time; says where, and
    whether it was noticed."""
    for step in page:
        answer = step.answer
        if answer is None or answer.line not in answers:
            continue
        text = answer.text.split("\n")
        for number, line in enumerate(text):
            if not re.search(r"\w", line):
                continue
            # One letter more in the line's last word or number.
            wrong = re.sub(r"(\w)(\W*)$", r"\1x\2", line)
            page_text = "\n".join([*text[:number], wrong, *text[number + 1 :]])
            noticed = difference(page_text, answers[answer.line], Ids()) is not None
            yield f"line {answer.line + number}, altered to {wrong.strip()!r}", noticed


def misspelt_requests(
    commands: list[Command], nodes: dict[str, Node]
) -> Iterator[tuple[str, bool]]:
    """Misspells every field, method and type of every request, one at a time."""
    for command in commands:
        if command.verb != "call":
            continue
        node = nodes[command.address]
        method = node.method(command.symbol)
        wrong = f"{command.symbol}x"
        yield f"method {wrong}", _refused(node.method, wrong)
        names = re.finditer(r'"(\w+)"\s*:|"type\.googleapis\.com/([\w.]+)"', command.data)
        for name in names:
            end = name.end(1 if name[1] else 2)
            data = f"{command.data[:end]}x{command.data[end:]}"
            what = f"field or type {name[1] or name[2]}x in {command.symbol}"
            yield what, _refused(node.request, method, data)


def misspelt_words(page: str, words: Words) -> Iterator[tuple[str, bool]]:
    """Misspells every method and every type that the page names."""
    known = set(words.unknown(page))
    for pattern in (Words.SERVICE_METHOD, Words.TYPE):
        for name in pattern.finditer(page):
            wrong = f"{page[: name.end()]}x{page[name.end() :]}"
            yield f"{name[0]}x in the text", set(words.unknown(wrong)) > known


def unread_commands(page: str) -> Iterator[tuple[str, bool]]:
    """Adds commands that the check cannot read."""
    for text in (
        "```\ngrpcurl -plaintext 127.0.0.1:7100 list\n```\n",
        "```text\ngrpcurl -plaintext 127.0.0.1:7100 list\n```\n",
        "    grpcurl -plaintext 127.0.0.1:7100 list\n",
        "~~~sh\ngrpcurl -plaintext 127.0.0.1:7100 list\n~~~\n",
        "- one:\n  ```sh\n  grpcurl -plaintext 127.0.0.1:7100 list\n  ```\n",
        "```sh\ngrpcurl -plaintext 127.0.0.1:7100 list\n```\n",
    ):
        try:
            steps(f"{page}\n{text}")
        except PageError:
            yield f"added {text!r}", True
        else:
            yield f"added {text!r}", False


def _refused(act: Callable[..., object], *arguments: object) -> bool:
    try:
        act(*arguments)
    except Refused:
        return True
    return False


# ---- The whole ----


def title(step: Step) -> str:
    """A step in a line of the output."""
    if step.command is None:
        return f"line {step.answer.line if step.answer else 0}: what was left running"
    joined = step.command.text.replace("\\\n   ", "")
    return f"line {step.command.line}: {joined.splitlines()[0]}"


def check(
    page: str, errors: str, nodes: dict[str, Node], write: Callable[[str], object] | None
) -> tuple[int, int]:
    """Runs and compares everything; how much of it passed, and how much failed."""
    passed = failed = 0
    with tempfile.TemporaryDirectory() as directory:
        run = Run(nodes, Path(directory))
        read = steps(page)
        for step in read:
            try:
                wrong = run.step(step)
            except (PageError, Refused, grpc.RpcError, subprocess.TimeoutExpired) as error:
                wrong = str(error)
            if wrong:
                failed += 1
                print(f"FAILED: {title(step)}\n{wrong}", flush=True)
            elif step.command:
                # What was left running has counted when it was started.
                passed += 1
                print(f"ok: {title(step)}", flush=True)
    if write:
        write(rewritten(page, read, run.answers))
    words = Words(list(nodes.values()), errors)
    for word in words.unknown(page):
        failed += 1
        print(f"FAILED: nothing is called {word}")
    tries = [
        *altered_answers(read, run.answers),
        *misspelt_requests(run.commands, nodes),
        *misspelt_words(page, words),
        *unread_commands(page),
    ]
    unnoticed = [what for what, noticed in tries if not noticed]
    for what in unnoticed:
        print(f"FAILED: the check does not notice: {what}")
    print(f"== {len(tries)} mistakes made on purpose, {len(tries) - len(unnoticed)} noticed")
    return passed, failed + len(unnoticed)


def rewritten(page: str, read: list[Step], answers: dict[int, str]) -> str:
    """The page with the answers of this run."""
    text = page.split("\n")
    for step in reversed(read):
        if step.answer and step.answer.line in answers:
            begin = step.answer.line - 1
            count = step.answer.text.count("\n") + 1 if step.answer.text else 0
            new = abridged(step.answer.text, answers[step.answer.line])
            text[begin : begin + count] = new.split("\n")
    return "\n".join(text)


def reach(node: Node, address: str) -> None:
    """Connects to a node."""
    try:
        grpc.channel_ready_future(node.channel).result(timeout=CONNECT_SECONDS_MAX)
    except grpc.FutureTimeoutError:
        raise PageError(f"nobody answers at {address}") from None


def main() -> int:
    """Reads the arguments, and checks."""
    parser = argparse.ArgumentParser(description="Checks docs/grpcurl.md against a fresh cluster.")
    parser.add_argument("page", type=Path)
    parser.add_argument("--write", action="store_true", help="put this run's answers on the page")
    for name in ("coordinator", "bank_a", "bank_b", "bank_c"):
        parser.add_argument(name, metavar="HOST:PORT")
    given = parser.parse_args()
    addresses = (given.coordinator, given.bank_a, given.bank_b, given.bank_c)
    nodes = {shown: Node(real) for shown, real in zip(PAGE_ADDRESSES, addresses, strict=True)}
    page: Path = given.page
    try:
        for shown, real in zip(PAGE_ADDRESSES, addresses, strict=True):
            reach(nodes[shown], real)
        passed, failed = check(
            page.read_text(),
            page.with_name("errors.md").read_text(),
            nodes,
            page.write_text if given.write else None,
        )
    except (PageError, grpc.RpcError) as error:
        print(f"FAILED: {page}: {error}")
        passed, failed = 0, 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
