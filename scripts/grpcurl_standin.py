"""Does what grpcurl does, as far as docs/grpcurl.md uses it.

The check must not depend on a program that has to be fetched, so this module
takes grpcurl's arguments, asks the node's own reflection for every type as grpcurl
does (there is no generated code of ours here), calls, and prints what grpcurl
would print, byte for byte. Flags and kinds of declarations that the page does not
use are refused, not guessed.
"""

import base64
import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import grpc
from google.protobuf import descriptor_pb2 as declared
from google.protobuf import json_format, message_factory
from google.protobuf.any_pb2 import Any
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message
from google.rpc.status_pb2 import Status
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

# Longest time for one call. The longest on the page waits 5 s for a lock.
CALL_SECONDS_MAX = 60.0

# Where a status carries its details.
DETAILS_KEY = "grpc-status-details-bin"


class Refused(Exception):
    """What grpcurl would not have taken, or the node does not have."""


@dataclass(frozen=True)
class Command:
    """One use of grpcurl."""

    address: str
    verb: str  # list, describe or call
    symbol: str
    data: str = ""
    emit_defaults: bool = False
    format_error: bool = False


def parse(arguments: Sequence[str], stdin: str) -> Command:
    """Reads grpcurl's arguments; `stdin` is what `-d @` stands for."""
    plaintext = emit_defaults = format_error = False
    data = ""
    rest = list(arguments)
    while rest and rest[0].startswith("-"):
        flag = rest.pop(0)
        match flag:
            case "-plaintext":
                plaintext = True
            case "-emit-defaults":
                emit_defaults = True
            case "-format-error":
                format_error = True
            case "-d" if rest:
                data = rest.pop(0)
                data = stdin if data == "@" else data
            case _:
                raise Refused(f"the check does not know grpcurl's flag {flag}")
    if not plaintext:
        raise Refused("-plaintext is missing, and nodes have no TLS")
    match rest:
        case [address, ("list" | "describe") as verb]:
            return Command(address, verb, "")
        case [address, ("list" | "describe") as verb, symbol]:
            return Command(address, verb, symbol)
        case [address, symbol]:
            return Command(address, "call", symbol, data, emit_defaults, format_error)
    raise Refused(f"want ADDRESS and what to do there, not {rest}")


class Reflection(ProtoReflectionDescriptorDatabase):
    """A node's reflection. "There is no such thing" is a `KeyError`, as a descriptor
    pool expects it."""

    def FindFileByName(self, name: str) -> declared.FileDescriptorProto:
        """The file of that name."""
        return self._found(super().FindFileByName, name)

    def FindFileContainingSymbol(self, symbol: str) -> declared.FileDescriptorProto:
        """The file that declares a symbol."""
        return self._found(super().FindFileContainingSymbol, symbol)

    @staticmethod
    def _found(
        ask: Callable[[str], declared.FileDescriptorProto], name: str
    ) -> declared.FileDescriptorProto:
        try:
            return ask(name)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.NOT_FOUND:
                raise KeyError(name) from error
            raise


class Node:
    """A node, and what its reflection tells about it."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.insecure_channel(address)
        self.reflection = Reflection(self.channel)
        self.pool = DescriptorPool(self.reflection)

    def services(self) -> list[str]:
        """All services, sorted as grpcurl sorts them."""
        return sorted(self.reflection.get_services())

    def methods(self, service: str) -> list[str]:
        """The full names of a service's methods, sorted."""
        try:
            found = self.pool.FindServiceByName(service)
        except KeyError:
            raise Refused(f"there is no service {service}") from None
        return sorted(method.full_name for method in found.methods)

    def method(self, symbol: str) -> MethodDescriptor:
        """The method that SERVICE/METHOD or SERVICE.METHOD names."""
        service, separator, name = symbol.replace("/", ".").rpartition(".")
        full_name = f"{service}.{name}"
        if not separator or full_name not in self.methods(service):
            raise Refused(f"there is no method {symbol}")
        return self.pool.FindMethodByName(full_name)

    def knows(self, message: str) -> bool:
        """Whether reflection has a message of that name."""
        try:
            self.pool.FindMessageTypeByName(message)
        except KeyError:
            return False
        return True

    def request(self, method: MethodDescriptor, data: str) -> Message:
        """The request that JSON spells out, with the types of every
        `google.protobuf.Any` in it from reflection."""
        request: Message = message_factory.GetMessageClass(method.input_type)()
        try:
            json_format.Parse(data or "{}", request, descriptor_pool=self.pool)
        except (json_format.ParseError, KeyError) as error:
            raise Refused(f"the request is not a {method.input_type.full_name}: {error}") from error
        return request

    def start(self, command: Command) -> "Call":
        """Sends a request."""
        method = self.method(command.symbol)
        return Call(self, command, method, self.request(method, command.data))

    def json(self, message: Message, defaults: bool = False) -> str:
        """A message as grpcurl prints it."""
        tree = json_format.MessageToDict(
            message,
            always_print_fields_with_no_presence=defaults,
            descriptor_pool=self.pool,
        )
        return _json(self._ordered(tree, message.DESCRIPTOR))

    def detail(self, detail: Any) -> object:
        """A detail of a status. What reflection does not know stays bytes."""
        name = detail.TypeName()
        if not self.knows(name):
            return {
                "@error": f"{name} is not recognized; see @value for raw binary message data",
                "@type": detail.type_url,
                "@value": base64.b64encode(detail.value).decode(),
            }
        tree = json_format.MessageToDict(detail, descriptor_pool=self.pool)
        return self._ordered(tree, detail.DESCRIPTOR)

    def _ordered(self, tree: object, descriptor: Descriptor) -> object:
        """A message's fields by number, a map's entries by key, and the fields of
        what is in an `Any` by name: grpcurl prints them so."""
        if isinstance(tree, list):
            return [self._ordered(item, descriptor) for item in tree]
        if not isinstance(tree, dict):
            return tree
        if descriptor.GetOptions().map_entry:
            return dict(sorted(tree.items()))
        if "@type" in tree:
            name = tree["@type"].rpartition("/")[2]
            inner = self._fields(tree, self.pool.FindMessageTypeByName(name))
            return dict(sorted({"@type": tree["@type"], **inner}.items()))
        return self._fields(tree, descriptor)

    def _fields(self, tree: dict[str, object], descriptor: Descriptor) -> dict[str, object]:
        fields = sorted(descriptor.fields, key=lambda field: field.number)
        return {
            field.json_name: self._ordered(tree[field.json_name], field.message_type)
            if field.message_type
            else tree[field.json_name]
            for field in fields
            if field.json_name in tree
        }


class Call:
    """A call under way. A thread reads, so that a stream can be left open while
    other calls run."""

    def __init__(
        self, node: Node, command: Command, method: MethodDescriptor, request: Message
    ) -> None:
        self._node = node
        self._command = command
        self._responses: list[Message] = []
        self._error: grpc.RpcError | None = None
        # A unary answer is a stream of one, on the wire as well.
        self._stream = node.channel.unary_stream(
            f"/{method.containing_service.full_name}/{method.name}",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
        )(request, timeout=CALL_SECONDS_MAX)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if method.server_streaming:
            # The node answers with its headers when it watches, and not before.
            self._stream.initial_metadata()

    def _read(self) -> None:
        try:
            for response in self._stream:
                self._responses.append(response)
        except grpc.RpcError as error:
            self._error = error

    def ended(self) -> bool:
        """Whether nothing more will come."""
        return not self._reader.is_alive()

    def wait(self) -> None:
        """Waits for the end, which the call's own deadline bounds."""
        self._reader.join()

    def cancel(self) -> None:
        """Ends the call, as ctrl-c does."""
        self._stream.cancel()
        self._reader.join()

    def output(self) -> str:
        """What grpcurl has printed so far, on both of its outputs."""
        ended = self.ended()
        defaults = self._command.emit_defaults
        lines = [self._node.json(response, defaults) for response in list(self._responses)]
        if ended and self._error is not None:
            lines.append(self._error_text(self._error))
        return "\n".join(lines)

    def _error_text(self, error: grpc.RpcError) -> str:
        status = status_of(error)
        details = [self._node.detail(detail) for detail in status.details]
        if self._command.format_error:
            tree = {"code": status.code, "message": status.message, "details": details}
            return _json({key: value for key, value in tree.items() if value})
        lines = ["ERROR:", f"  Code: {code_name(status.code)}", f"  Message: {status.message}"]
        if details:
            lines.append("  Details:")
        for number, detail in enumerate(details, start=1):
            mark = f"  {number})"
            first, *others = _json(detail).split("\n")
            lines.append(f"{mark}\t{first}")
            lines += [f"{' ' * len(mark)}\t{line}" for line in others]
        return "\n".join(lines)


def status_of(error: grpc.RpcError) -> Status:
    """The status of a call as clients in Go read it: details that carry another
    code than the call are an error of the node."""
    code, message = error.code().value[0], error.details() or ""
    trailers: Iterable[tuple[str, bytes]] = error.trailing_metadata() or ()
    carried = [value for key, value in trailers if key == DETAILS_KEY]
    if len(carried) != 1:
        return Status(code=code, message=message)
    try:
        status = Status.FromString(carried[0])
    except DecodeError:
        return Status(code=code, message=message)
    if status.code == code:
        return status
    mismatch = (
        f"grpc-status-details-bin mismatch: grpc-status={code_name(code)}, "
        f'grpc-message="{message}", grpc-status-details-bin={status}'
    )
    return Status(code=grpc.StatusCode.INTERNAL.value[0], message=mismatch)


def code_name(code: int) -> str:
    """A code in Go's spelling: `NotFound` for NOT_FOUND."""
    names = {known.value[0]: known.name for known in grpc.StatusCode}
    words = names.get(code, f"Code({code})").split("_")
    name = "".join(word.capitalize() for word in words)
    # The one that Go writes with one l.
    return "Canceled" if name == "Cancelled" else name


def _json(tree: object) -> str:
    text = json.dumps(tree, indent=2, ensure_ascii=False)
    # Go writes a floating 2 without a point.
    return re.sub(r"(: -?\d+)\.0(?=,?$)", r"\1", text, flags=re.MULTILINE)


# ---- What describe prints ----

# Numbers of the fields of the declarations, of which paths to comments are made.
_MESSAGES, _ENUMS, _SERVICES = 4, 5, 6
_MEMBERS, _ONEOFS = 2, 8

_FIELD = declared.FieldDescriptorProto
_SCALARS = {
    number: name.removeprefix("TYPE_").lower()
    for name, number in _FIELD.Type.items()
    if name not in ("TYPE_MESSAGE", "TYPE_ENUM", "TYPE_GROUP")
}

# What can be declared and the page does not show: printed wrong would be worse
# than not at all.
_UNUSED = ("nested_type", "enum_type", "extension_range", "extension", "options")


def describe(node: Node, symbol: str) -> str:
    """What `grpcurl describe SYMBOL` prints."""
    try:
        file = node.reflection.FindFileContainingSymbol(symbol)
    except KeyError:
        raise Refused(f"there is no {symbol}") from None
    kind, lines = _Declarations(file).find(symbol)
    return "\n".join([f"{symbol} is {kind}:", *lines])


class _Declarations:
    """A file's declarations, in the form grpcurl prints: the comments that stand
    before, sorted elements, full names, no empty lines."""

    def __init__(self, file: declared.FileDescriptorProto) -> None:
        self._file = file
        self._comments = {
            tuple(location.path): location.leading_comments
            for location in file.source_code_info.location
            if location.leading_comments
        }

    def find(self, symbol: str) -> tuple[str, list[str]]:
        """What kind of thing a symbol is, and its text."""
        package = self._file.package
        for number, message in enumerate(self._file.message_type):
            if symbol == f"{package}.{message.name}":
                return "a message", self._message(message, (_MESSAGES, number))
        for number, enum in enumerate(self._file.enum_type):
            if symbol == f"{package}.{enum.name}":
                return "an enum", self._enum(enum, (_ENUMS, number))
        for number, service in enumerate(self._file.service):
            path = (_SERVICES, number)
            if symbol == f"{package}.{service.name}":
                return "a service", self._service(service, path)
            for method, lines in self._methods(service, path):
                if symbol == f"{package}.{service.name}.{method}":
                    return "a method", lines
        raise Refused(f"the check cannot describe a thing like {symbol}")

    def _comment(self, path: tuple[int, ...]) -> list[str]:
        text = self._comments.get(path, "")
        return [f"//{line}".rstrip() for line in text.removesuffix("\n").split("\n") if text]

    def _service(
        self, service: declared.ServiceDescriptorProto, path: tuple[int, ...]
    ) -> list[str]:
        methods = [line for _, lines in self._methods(service, path) for line in lines]
        return [*self._comment(path), f"service {service.name} {{", *_indented(methods), "}"]

    def _methods(
        self, service: declared.ServiceDescriptorProto, path: tuple[int, ...]
    ) -> Iterator[tuple[str, list[str]]]:
        numbered = sorted(enumerate(service.method), key=lambda pair: pair[1].name)
        for number, method in numbered:
            takes = ("stream " if method.client_streaming else "") + method.input_type
            gives = ("stream " if method.server_streaming else "") + method.output_type
            text = f"rpc {method.name} ( {takes} ) returns ( {gives} );"
            yield method.name, [*self._comment((*path, _MEMBERS, number)), text]

    def _enum(self, enum: declared.EnumDescriptorProto, path: tuple[int, ...]) -> list[str]:
        lines = []
        for number, value in sorted(enumerate(enum.value), key=lambda pair: pair[1].number):
            lines += self._comment((*path, _MEMBERS, number))
            lines.append(f"{value.name} = {value.number};")
        return [*self._comment(path), f"enum {enum.name} {{", *_indented(lines), "}"]

    def _message(self, message: declared.DescriptorProto, path: tuple[int, ...]) -> list[str]:
        unused = [field.name for field, _ in message.ListFields() if field.name in _UNUSED]
        if unused:
            raise Refused(f"the check cannot describe {unused} in {message.name}")
        lines: list[str] = []
        begun: set[int] = set()
        for number, field in sorted(enumerate(message.field), key=lambda pair: pair[1].number):
            if not field.HasField("oneof_index"):
                lines += self._field(field, (*path, _MEMBERS, number))
            elif field.oneof_index not in begun:
                begun.add(field.oneof_index)
                lines += self._oneof(message, field.oneof_index, path)
        # The end of a range is the first number after it.
        ranges = [(taken.start, taken.end - 1) for taken in message.reserved_range]
        lines += [f"reserved {_range(first, last)};" for first, last in ranges]
        begin = f"message {message.name} {{"
        return [*self._comment(path), begin, *_indented(lines), "}"]

    def _oneof(
        self, message: declared.DescriptorProto, index: int, path: tuple[int, ...]
    ) -> list[str]:
        lines = []
        for number, field in sorted(enumerate(message.field), key=lambda pair: pair[1].number):
            if field.HasField("oneof_index") and field.oneof_index == index:
                lines += self._field(field, (*path, _MEMBERS, number))
        begin = f"oneof {message.oneof_decl[index].name} {{"
        return [*self._comment((*path, _ONEOFS, index)), begin, *_indented(lines), "}"]

    def _field(self, field: declared.FieldDescriptorProto, path: tuple[int, ...]) -> list[str]:
        if field.proto3_optional or field.HasField("options"):
            raise Refused(f"the check cannot describe the field {field.name}")
        repeated = "repeated " if field.label == _FIELD.LABEL_REPEATED else ""
        name = _SCALARS.get(field.type, field.type_name)
        return [*self._comment(path), f"{repeated}{name} {field.name} = {field.number};"]


def _range(first: int, last: int) -> str:
    return str(first) if first == last else f"{first} to {last}"


def _indented(lines: list[str]) -> list[str]:
    return [f"  {line}" for line in lines]
