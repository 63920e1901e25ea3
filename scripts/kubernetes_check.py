"""What must be true of the Kubernetes manifests.

    kubernetes_check.py DIRECTORY RULE [ARGUMENT]

A rule is a function below. It yields one line for each thing that is wrong; any
line makes the exit code 3. Used by kubernetes-check.sh, which also plants mistakes
to see that each rule finds them.
"""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import kubernetes_validate
import yaml

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = {"coordinator": "nemcon-coordinator", "bank": "nemcon-bank", "cli": "nemcon"}
# Where each program's settings are written down.
CRATES = {
    "coordinator": ("nemcon-node", "nemcon-coordinator"),
    "bank": ("nemcon-node", "nemcon-participant", "nemcon-bank"),
    "cli": ("nemcon-cli",),
}


class Manifests:
    """All that lies below a directory."""

    def __init__(self, directory):
        self.files = sorted(path for path in Path(directory).rglob("*") if path.is_file())
        self.objects = []
        for path in self.files:
            if path.suffix == ".yaml":
                documents = yaml.safe_load_all(path.read_text())
                self.objects += [(path.name, it) for it in documents if it]

    def of_kind(self, kind):
        return [it for _, it in self.objects if it["kind"] == kind]

    def with_pods(self):
        return [it for _, it in self.objects if "template" in it.get("spec", {})]


def name_of(it):
    metadata = it["metadata"]
    return f"{it['kind']} {metadata.get('name') or metadata.get('generateName')}"


def pod_of(it):
    return it["spec"]["template"]["spec"]


def pod_labels(it):
    return it["spec"]["template"]["metadata"]["labels"]


def containers(it):
    return [*pod_of(it).get("initContainers", []), *pod_of(it)["containers"]]


def container_ports(it):
    return {port["name"]: port["containerPort"]
            for container in containers(it) for port in container.get("ports", [])}


def program_of(container):
    return re.fullmatch(r"nemcon/([a-z]+):.*", container["image"])[1]


def chosen(labels, selector):
    """Whether a selector of plain labels takes something with these labels."""
    return bool(selector) and selector.items() <= labels.items()


def environment(it, container):
    """The container's variables as the kubelet would set them: `$(NAME)` stands for
    one that was set before, and stays as it is where there is none."""
    known = {}
    for entry in container.get("env", []):
        field = entry.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
        value = entry.get("value", "")
        if field == "metadata.name":
            value = f"{it['metadata']['name']}-0"
        known[entry["name"]] = re.sub(
            r"\$\((\w+)\)", lambda found: known.get(found[1], found[0]), value)
    return known


def help_of(program):
    """What a program of NEMCON_BIN_DIR says about itself, on one line."""
    command = [Path(os.environ["NEMCON_BIN_DIR"]) / PROGRAMS[program], "--help"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return " ".join(said.split())


def sources_of(program):
    """The sources of a program's settings, without their tests."""
    paths = [path for crate in CRATES[program]
             for path in sorted((ROOT / "crates" / crate / "src").rglob("*.rs"))]
    return " ".join(path.read_text().split("#[cfg(test)]")[0] for path in paths)


def settings_of(program):
    """The names of a program's variables: from the program, if one is built."""
    if "NEMCON_BIN_DIR" in os.environ:
        return set(re.findall(r"\[env: (NEMCON_\w+)", help_of(program)))
    field = r'Field::\w+\(\s*"[a-z-]+",\s*"(NEMCON_\w+)"|env = "(NEMCON_\w+)"'
    return {first or second for first, second in re.findall(field, sources_of(program))}


def drain_seconds():
    """How long a stop waits when nothing else is set."""
    if "NEMCON_BIN_DIR" in os.environ:
        return int(re.search(r"--drain-seconds.*?\[default: (\d+)\]", help_of("bank"))[1])
    return int(re.search(r'"drain-seconds".*?\.default\("(\d+)"\)', sources_of("bank"), re.S)[1])


def schema(manifests, version):
    """Known kinds only, known fields only, of the right types."""
    if version == "newest":
        version = kubernetes_validate.latest_version()
    for file, it in manifests.objects:
        try:
            used = kubernetes_validate.validate(it, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            where = ".".join(str(step) for step in error.absolute_path)
            yield f"{file}: {name_of(it)}: {where}: {error.message}"
        except kubernetes_validate.SchemaNotFoundError as error:
            yield f"{file}: {error.message}"
        else:
            # The validator takes an older version's schemas where it lacks one.
            if not f"{version}.".startswith(f"{used}."):
                yield f"there are no schemas for Kubernetes {version}"


def namespace(manifests):
    """Everything is in the namespace that is made here, and that comes first."""
    first = manifests.objects[0][1]
    if first["kind"] != "Namespace":
        yield f"{name_of(first)} is applied before the namespace"
    made = {it["metadata"]["name"] for it in manifests.of_kind("Namespace")}
    for _, it in manifests.objects:
        if it["kind"] != "Namespace" and it["metadata"].get("namespace") not in made:
            yield f"{name_of(it)} is not in the namespace {', '.join(made)}"


def headless(manifests):
    """A StatefulSet's Service gives its pod a name, in recovery too."""
    services = {it["metadata"]["name"]: it for it in manifests.of_kind("Service")}
    for it in manifests.of_kind("StatefulSet"):
        service = services.get(it["spec"]["serviceName"])
        if service is None:
            yield f"{name_of(it)}: there is no Service {it['spec']['serviceName']}"
            continue
        spec = service["spec"]
        if spec.get("clusterIP") != "None":
            yield f"{name_of(service)} is not headless"
        if not spec.get("publishNotReadyAddresses"):
            yield f"{name_of(service)} hides a node that is not ready"
        if not chosen(pod_labels(it), spec["selector"]):
            yield f"{name_of(service)} does not select the pod of {name_of(it)}"


def addresses(manifests):
    """Every URL leads to a pod that listens there."""
    listening = set()
    for it in manifests.of_kind("StatefulSet"):
        host = f"{it['metadata']['name']}-0.{it['spec']['serviceName']}"
        service = next((service for service in manifests.of_kind("Service")
                        if service["metadata"]["name"] == it["spec"]["serviceName"]), None)
        open_ports = container_ports(it)
        for port in service["spec"]["ports"] if service else []:
            target = port.get("targetPort", port["port"])
            if port["port"] != open_ports.get(target, target):
                yield f"{name_of(service)}: port {port['port']} is not that of the pod"
        listening |= {f"http://{host}:{port}" for port in open_ports.values()}
        listens = environment(it, containers(it)[0]).get("NEMCON_LISTEN", "")
        if listens not in {f"0.0.0.0:{port}" for port in open_ports.values()}:
            yield f"{name_of(it)} listens on {listens!r}, not on its container's port"
        own = environment(it, containers(it)[0]).get("NEMCON_ADVERTISE", "")
        if not own.startswith(f"http://{host}:"):
            yield f"{name_of(it)} says it is at {own!r}"
    for it in manifests.with_pods():
        for container in containers(it):
            for name, value in environment(it, container).items():
                if value.startswith("http") and value not in listening:
                    yield f"{name_of(it)}: nobody listens at {name}={value}"
    for path in manifests.files:
        if path.suffix == ".sh":
            for url in re.findall(r"=(http://\S+)", path.read_text()):
                if url not in listening:
                    yield f"{path.name}: nobody listens at {url}"


def probes(manifests):
    """Probes ask the port that is served. Only a startup probe lets the others wait,
    and it must not end a recovery."""
    for it in manifests.of_kind("StatefulSet"):
        container = containers(it)[0]
        for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
            port = container.get(kind, {}).get("grpc", {}).get("port")
            if port not in container_ports(it).values():
                yield f"{name_of(it)}: {kind} asks port {port}"
        probe = container.get("startupProbe", {})
        patience = probe.get("periodSeconds", 10) * probe.get("failureThreshold", 3)
        if patience < 3600:
            yield f"{name_of(it)}: a recovery of {patience} s would be killed"


def selectors(manifests):
    """What selects pods selects some, and each set exactly its own."""
    pods = {name_of(it): pod_labels(it) for it in manifests.with_pods()}
    for it in manifests.of_kind("StatefulSet"):
        labels = it["spec"]["selector"]["matchLabels"]
        found = [name for name, has in pods.items() if chosen(has, labels)]
        if found != [name_of(it)]:
            yield f"{name_of(it)} selects the pods of {found}"
    wanted = [(it, it["spec"]["selector"]) for it in manifests.of_kind("PodDisruptionBudget")]
    for it in manifests.of_kind("NetworkPolicy"):
        spec = it["spec"]
        wanted.append((it, spec["podSelector"]))
        for rule in spec.get("ingress", []):
            wanted += [(it, peer["podSelector"]) for peer in rule.get("from", [])]
        for rule in spec.get("egress", []):
            wanted += [(it, peer["podSelector"]) for peer in rule.get("to", [])]
    for it, selector in wanted:
        labels = selector.get("matchLabels", {})
        if not any(chosen(has, labels) for has in pods.values()):
            yield f"{name_of(it)}: {labels} selects nothing"


def fence(manifests):
    """Policies and budgets cover every node, and let its port through."""
    for it in manifests.of_kind("StatefulSet"):
        labels = pod_labels(it)
        budgets = [budget for budget in manifests.of_kind("PodDisruptionBudget")
                   if chosen(labels, budget["spec"]["selector"]["matchLabels"])]
        if len(budgets) != 1:
            yield f"{name_of(it)} has {len(budgets)} disruption budgets, which must be 1"
        policies = [policy["spec"] for policy in manifests.of_kind("NetworkPolicy")
                    if chosen(labels, policy["spec"]["podSelector"].get("matchLabels", {}))]
        if not policies:
            yield f"{name_of(it)} is open to everybody"
        for spec in policies:
            for side in ("ingress", "egress"):
                allowed = {port["port"] for rule in spec[side] for port in rule.get("ports", [])}
                if not set(container_ports(it).values()) <= allowed:
                    yield f"{name_of(it)}: its port is shut for {side}"
                if side == "ingress" and not all(rule.get("from") for rule in spec[side]):
                    yield f"{name_of(it)} is open to everybody"


def images(manifests):
    """Images are ours, and of the version that Cargo.toml has."""
    cargo = tomllib.loads((ROOT / "Cargo.toml").read_text())
    version = cargo["workspace"]["package"]["version"]
    for path in manifests.files:
        for image, tag in re.findall(r"\b(nemcon/[a-z]+):(\S+)", path.read_text()):
            if tag != version:
                yield f"{path.name}: {image}:{tag} is not of version {version}"
    for it in manifests.with_pods():
        for container in containers(it):
            if not re.fullmatch(rf"nemcon/({'|'.join(PROGRAMS)}):.*", container["image"]):
                yield f"{name_of(it)}: {container['image']} is no image of ours"


def grace(manifests):
    """A stop is given the time that it takes: the drain, and some for the flush."""
    for it in manifests.of_kind("StatefulSet"):
        drain = environment(it, containers(it)[0]).get("NEMCON_DRAIN_SECONDS", drain_seconds())
        given = pod_of(it).get("terminationGracePeriodSeconds", 30)
        if given < 2 * int(drain):
            yield f"{name_of(it)}: {given} s are not enough to drain for {drain} s"


def settings(manifests):
    """Every NEMCON_ variable is a setting of the program that gets it."""
    for it in manifests.with_pods():
        for container in containers(it):
            known = settings_of(program_of(container))
            for name in environment(it, container):
                if name.startswith("NEMCON_") and name not in known:
                    yield f"{name_of(it)}: {name} is no setting of {container['image']}"


def accepted(manifests):
    """The programs themselves take the values: `--check-config` with each set's
    environment. Needs NEMCON_BIN_DIR."""
    for it in manifests.of_kind("StatefulSet"):
        container = containers(it)[0]
        program = Path(os.environ["NEMCON_BIN_DIR"]) / PROGRAMS[program_of(container)]
        said = subprocess.run([program, "--check-config"], env=environment(it, container),
                              capture_output=True, text=True, check=False)
        if said.returncode != 0:
            yield f"{name_of(it)}: {said.stderr.strip()}"


def durable(manifests):
    """No controller deletes a data directory, shares one, or runs a node twice."""
    for it in manifests.of_kind("StatefulSet"):
        spec = it["spec"]
        policy = spec.get("persistentVolumeClaimRetentionPolicy", {})
        if policy != {"whenDeleted": "Retain", "whenScaled": "Retain"}:
            yield f"{name_of(it)} does not keep its volume"
        if spec.get("replicas") not in (0, 1):
            yield f"{name_of(it)} has {spec.get('replicas')} replicas"
        claims = {claim["metadata"]["name"]: claim["spec"]["accessModes"]
                  for claim in spec.get("volumeClaimTemplates", [])}
        if any(modes not in (["ReadWriteOncePod"], ["ReadWriteOnce"]) for modes in claims.values()):
            yield f"{name_of(it)}: its volume can be shared"
        container = containers(it)[0]
        mounted = {mount["mountPath"] for mount in container["volumeMounts"]
                   if mount["name"] in claims}
        if environment(it, container).get("NEMCON_DATA_DIR") not in mounted:
            yield f"{name_of(it)}: its data directory is on no claimed volume"


def confined(manifests):
    """What the restricted pod security standard asks for, and some more."""
    for it in manifests.with_pods():
        pod = pod_of(it)
        security = pod.get("securityContext", {})
        wanted = [
            (pod.get("automountServiceAccountToken") is False, "gets a service account's token"),
            (pod.get("enableServiceLinks") is False, "gets variables made of Services' names"),
            (security.get("runAsNonRoot") is True, "may run as root"),
            (security.get("runAsUser") == security.get("runAsGroup") == 10001,
             "is not user and group 10001"),
            (security.get("seccompProfile") == {"type": "RuntimeDefault"}, "has no seccomp profile"),
            (it["kind"] != "StatefulSet" or security.get("fsGroup") == 10001,
             "cannot write to its volume"),
        ]
        for container in containers(it):
            security = container.get("securityContext", {})
            resources = container.get("resources", {})
            wanted += [
                (security.get("allowPrivilegeEscalation") is False, "may gain privileges"),
                (security.get("readOnlyRootFilesystem") is True, "may write to its image"),
                (security.get("capabilities") == {"drop": ["ALL"]}, "keeps capabilities"),
                ({"cpu", "memory"} <= resources.get("requests", {}).keys()
                 & resources.get("limits", {}).keys(), "has no requests or limits"),
            ]
        for holds, what in wanted:
            if not holds:
                yield f"{name_of(it)} {what}"


def alike(manifests):
    """The banks' files differ in the name alone."""
    texts = {path: path.read_text() for path in manifests.files if "-bank-" in path.name}
    if not texts:
        yield "there is no bank"
    shapes = {}
    for path, text in texts.items():
        name = path.stem.partition("-")[2]
        shapes.setdefault(re.sub(rf"\b{name}\b", "NAME", text), []).append(path.name)
    if len(shapes) > 1:
        yield f"they differ: {' | '.join(', '.join(files) for files in shapes.values())}"


RULES = {rule.__name__: rule for rule in (
    schema, namespace, headless, addresses, probes, selectors, fence, images, grace,
    settings, accepted, durable, confined, alike)}


def main():
    directory, rule, *arguments = sys.argv[1:]
    complaints = list(RULES[rule](Manifests(directory), *arguments))
    for complaint in complaints:
        print(f"  {complaint}")
    # Not 1, which an exception gives: planted mistakes are to be found, not to be
    # stumbled over.
    sys.exit(3 if complaints else 0)


if __name__ == "__main__":
    main()
