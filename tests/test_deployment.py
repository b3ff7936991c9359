"""The image, docker-compose.yml, the manifests for Kubernetes, the unit for systemd, and workers that run as they say.

There is no Docker here, no Kubernetes and no systemd that runs: see support/containers.py for what stands in for them,
and docs/deployment.md for what that leaves open.
"""

import configparser
import contextlib
import http.server
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import psutil
import pytest
import yaml
from support.containers import Container, Image, Network, hindrance, instructions, ip, sweep
from support.offline_install import LOCK, PROJECT

from yasdg_app.config import ini
from yasdg_app.config.ini import SettingsError
from yasdg_app.faust_runtime.worker import EXIT_AFTER_STOP_SECONDS, MAX_SHUTDOWN_SECONDS
from yasdg_app.kafka.embedded.jars import JarCache
from yasdg_app.kafka.embedded.java import java_command, logging_option
from yasdg_app.kafka.embedded.node import cluster_id
from yasdg_app.web.access import PUBLIC_PATHS

COMPOSE = Path(__file__).with_name("compose")
KUBERNETES = PROJECT / "deploy" / "kubernetes"
UNIT = PROJECT / "deploy" / "systemd" / "yasdg.service"
pytestmark = pytest.mark.xdist_group("deployment")  # one image, one Kafka

TOKEN = "a-token-of-the-tests"
STOP = MAX_SHUTDOWN_SECONDS + EXIT_AFTER_STOP_SECONDS
"""Seconds in which a worker ends."""


# --- docker-compose.yml


@pytest.fixture(scope="module")
def go() -> None:
    """Go, of a version that go.mod allows: what is there, or what it fetches itself."""
    (needed,) = re.findall(r"^go (\d+\.\d+)", (COMPOSE / "go.mod").read_text(), re.MULTILINE)
    there = "none"
    if shutil.which("go"):
        there = subprocess.run(["go", "env", "GOVERSION"], cwd=COMPOSE, capture_output=True, text=True).stdout.strip()
    version = [int(number) for number in re.findall(r"\d+", there)[:2]]
    if version < [int(number) for number in needed.split(".")]:
        pytest.skip(
            f"docker-compose.yml is read by Go {needed} or newer, as go.dev has it; here is {there or 'an older'}."
        )


def composed(**environ: str) -> "subprocess.CompletedProcess[str]":
    """What `docker compose config` prints, by the library in Go that Docker makes it with."""
    kept = {name: value for name, value in os.environ.items() if name != "YASDG_WEB_TOKEN"}
    return subprocess.run(
        ["go", "run", ".", str(PROJECT / "docker-compose.yml")],
        cwd=COMPOSE,
        env=kept | environ,
        capture_output=True,
        text=True,
        timeout=240,  # it is compiled first
    )


@pytest.fixture(scope="module")
def compose(go: None) -> dict[str, Any]:
    """docker-compose.yml as Docker takes it."""
    done = composed(YASDG_WEB_TOKEN=TOKEN)
    assert done.returncode == 0, done.stderr
    loaded: dict[str, Any] = yaml.safe_load(done.stdout)
    return loaded


@pytest.mark.usefixtures("go")
def test_docker_says_that_the_token_is_missing() -> None:
    done = composed()
    assert done.returncode == 1
    assert "required variable YASDG_WEB_TOKEN is missing a value: write one to .env, 16 letters and" in done.stderr


def test_kafka_is_the_one_that_is_embedded(compose: dict[str, Any]) -> None:
    (kafka,) = (each.version for each in JarCache().jars if each.artifact == "kafka_2.13")
    assert compose["services"]["kafka"]["image"] == f"apache/kafka:{kafka}"


def test_images_are_of_a_version(compose: dict[str, Any]) -> None:
    bases = [rest.partition(" AS ")[0] for word, rest in instructions(PROJECT / "Dockerfile") if word == "FROM"]
    images = [service["image"] for service in compose["services"].values() if "image" in service]
    assert len(set(bases)) == 1
    assert all(re.search(r":v?\d+\.\d+\.\d+", image) for image in [*bases, *images])


def test_all_is_for_this_machine_alone(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service["ports"]]
    assert sorted(int(port["published"]) for port in ports) == [6066, 6067, 8080, 9092]
    assert {port["host_ip"] for port in ports} == {"127.0.0.1"}


def test_whoever_needs_kafka_waits_until_it_is_healthy(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert all("test" in service["healthcheck"] for service in services.values())
    waits = {"kafka": {"condition": "service_healthy", "required": True}}
    assert all(service["depends_on"] == waits for name, service in services.items() if name != "kafka")


def test_a_worker_that_is_configured_wrongly_is_not_started_for_ever(compose: dict[str, Any]) -> None:
    assert [compose["services"][name]["restart"] for name in ("worker-1", "worker-2")] == ["on-failure:5"] * 2


def test_checks_of_health_ask_at_the_port_that_is_configured(compose: dict[str, Any]) -> None:
    asked = []

    class Worker(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

    (of_the_image,) = (rest for word, rest in instructions(PROJECT / "Dockerfile") if word == "HEALTHCHECK")
    image = json.loads(of_the_image.partition(" CMD ")[2])
    _, *composed = compose["services"]["worker-1"]["healthcheck"]["test"]
    with http.server.HTTPServer(("127.0.0.1", 0), Worker) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for _, *arguments in (image, composed):
            environment = {"YASDG_WEB_PORT": str(server.server_port)}
            subprocess.run([sys.executable, *arguments], env=environment, check=True, capture_output=True, timeout=30)
        server.shutdown()
    assert asked == ["/health/", "/ready/"]


def test_workers_have_the_time_to_stop(compose: dict[str, Any]) -> None:
    periods = [compose["services"][name]["stop_grace_period"] for name in ("worker-1", "worker-2")]
    assert all(float(period.removesuffix("s")) > STOP for period in periods)


# --- Dockerfile


def test_the_image_can_be_made_on_arm_where_one_package_has_no_wheel() -> None:
    (installs,) = (rest for word, rest in instructions(PROJECT / "Dockerfile") if word == "RUN" and LOCK.name in rest)
    assert "--require-hashes" in installs
    assert "--only-binary" not in installs


# --- Kubernetes


def manifests(*names: str) -> list[dict[str, Any]]:
    return [each for name in names for each in yaml.safe_load_all((KUBERNETES / name).read_text())]


@pytest.mark.parametrize("version", ["1.34", "1.37"])
def test_manifests_are_what_kubernetes_expects(version: str) -> None:
    files = [file.name for file in KUBERNETES.iterdir()]
    assert len(files) == 4
    for manifest in manifests(*files):
        kubernetes_validate.validate(manifest, version, strict=True)
        assert "namespace" not in manifest["metadata"]


def test_what_is_named_is_there() -> None:
    workers, headless, web, configuration, secret = manifests(
        "workers.yaml", "services.yaml", "configuration.yaml", "secret.yaml.example"
    )
    labels = workers["spec"]["template"]["metadata"]["labels"]
    assert (
        workers["spec"]["selector"]["matchLabels"] == headless["spec"]["selector"] == web["spec"]["selector"] == labels
    )
    assert workers["spec"]["serviceName"] == headless["metadata"]["name"]
    pod = workers["spec"]["template"]["spec"]
    (worker,) = pod["containers"]
    assert worker["args"][-1].endswith("." + headless["metadata"]["name"])
    assert {each["targetPort"] for each in (*headless["spec"]["ports"], *web["spec"]["ports"])} == {
        worker["ports"][0]["name"]
    }
    variables = {each["name"]: each for each in worker["env"]}
    named = variables["YASDG_WEB_TOKEN"]["valueFrom"]["secretKeyRef"]
    assert named["name"] == secret["metadata"]["name"]
    assert named["key"] in secret["stringData"]
    (map_,) = (each["configMap"]["name"] for each in pod["volumes"] if "configMap" in each)
    assert map_ == configuration["metadata"]["name"]
    mounts = {each["name"]: each["mountPath"] for each in worker["volumeMounts"]}
    assert {each["name"] for each in pod["volumes"]} == mounts.keys()
    assert variables["YASDG_CONFIG"]["value"] in {f"{mounts['configuration']}/{key}" for key in configuration["data"]}
    assert headless["spec"]["publishNotReadyAddresses"]  # they ask each other before they are ready, too
    assert not pod["enableServiceLinks"]  # or there is a YASDG_WEB_PORT that is none of ours
    assert {worker[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")} == set(
        PUBLIC_PATHS
    )
    assert pod["terminationGracePeriodSeconds"] > STOP


def test_the_user_is_that_of_the_image() -> None:
    (user,) = (rest for word, rest in instructions(PROJECT / "Dockerfile") if word == "USER")
    security = manifests("workers.yaml")[0]["spec"]["template"]["spec"]["securityContext"]
    assert f"{security['runAsUser']}:{security['runAsGroup']}" == user


def test_the_configuration_can_be_read_and_the_example_of_a_token_cannot(tmp_path: Path) -> None:
    configuration, secret = manifests("configuration.yaml", "secret.yaml.example")
    file = tmp_path / "configuration.ini"
    file.write_text(configuration["data"]["configuration.ini"])
    given = {"YASDG_CONFIG": str(file)}
    assert ini.load(given | {"YASDG_WEB_TOKEN": TOKEN}, tmp_path).kafka.replication_factor == 3
    with pytest.raises(SettingsError, match=r"YASDG_WEB_TOKEN=…: expected nothing, or 16 to 256 letters"):
        ini.load(given | {"YASDG_WEB_TOKEN": secret["stringData"]["web-token"]}, tmp_path)


# --- systemd


@pytest.fixture(scope="module")
def systemd() -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("The unit is looked at by systemd-analyze, of Debian's package systemd.")


def unit() -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNIT)
    return parser


def test_a_worker_of_systemd_has_the_time_to_stop_its_kafka_too() -> None:
    assert float(unit()["Service"]["TimeoutStopSec"]) > STOP + 20


@pytest.mark.usefixtures("systemd")
def test_a_worker_of_systemd_can_do_little() -> None:
    asked = ["systemd-analyze", "security", "--offline=true", "--threshold=15", str(UNIT)]  # of 100
    assert subprocess.run(asked, capture_output=True, timeout=60).returncode == 0


# --- In containers


@pytest.fixture(scope="module")
def containers() -> None:
    if why_not := hindrance():
        pytest.skip(why_not)
    sweep()


@pytest.fixture(scope="module")
def image(containers: None) -> Iterator[Image]:
    made = Image()
    yield made
    made.remove()


@pytest.fixture(scope="module")
def network(containers: None) -> Iterator[Network]:
    made = Network("kafka", "worker-1", "worker-2", "yasdg-0 yasdg-0.yasdg", "yasdg-1 yasdg-1.yasdg", "once")
    yield made
    made.remove()


@pytest.fixture(scope="module")
def kafka(
    compose: dict[str, Any], network: Network, tmp_path_factory: pytest.TempPathFactory
) -> Iterator["subprocess.Popen[bytes]"]:
    """Apache Kafka in a container's network, configured as the service is: KAFKA_NODE_ID is node.id, and so on."""
    folder = tmp_path_factory.mktemp("kafka")
    variables = compose["services"]["kafka"]["environment"] | {"KAFKA_LOG_DIRS": str(folder / "data")}
    lines = [f"{name.removeprefix('KAFKA_').lower().replace('_', '.')}={value}" for name, value in variables.items()]
    (folder / "server.properties").write_text("\n".join(lines) + "\n")
    (folder / "hosts").write_text(network.hosts)
    options = ("-Xmx384m", logging_option("log4j2.properties"), f"-Dyasdg.log={folder / 'log'}")
    JarCache().fetch()
    made = ["format", "--ignore-formatted", "--config", str(folder / "server.properties"), "--cluster-id", cluster_id()]
    subprocess.run(java_command("kafka.tools.StorageTool", *made, options=options), check=True, capture_output=True)
    command = java_command("kafka.Kafka", str(folder / "server.properties"), options=options)
    script = f'mount --make-rprivate /; mount --bind {folder / "hosts"} /etc/hosts; exec "$@"'
    process = subprocess.Popen(
        ["ip", "netns", "exec", network.space("kafka"), "unshare", "--mount", "sh", "-euc", script, "sh", *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield process
    process.terminate()
    try:
        process.wait(60)
    finally:
        process.kill()


@pytest.fixture
def started(image: Image, network: Network, tmp_path: Path) -> Iterator[Any]:
    """Starts containers, and removes them."""
    containers = []

    def start(name: str, **options: Any) -> Container:
        containers.append(Container(image, network, name, folder=tmp_path, **options))
        return containers[-1]

    yield start
    for container in containers:
        container.remove()


def as_composed(compose: dict[str, Any], name: str) -> dict[str, Any]:
    """How Docker would start a service."""
    service = compose["services"][name]
    assert service["read_only"]
    assert service["hostname"] == name
    return {"environment": service["environment"], "tmpfs": service["tmpfs"]}


def ask(worker: Container, path: str, token: str = TOKEN) -> tuple[int, Any]:
    """Ask a worker from within its container."""
    program = (
        "import sys, urllib.request, urllib.error\n"
        "asked = urllib.request.Request(sys.argv[1], headers={'Authorization': 'Bearer ' + sys.argv[2]})\n"
        "try: answer = urllib.request.urlopen(asked, timeout=10)\n"
        "except urllib.error.HTTPError as error: answer = error\n"
        "print(answer.status, answer.read().decode())"
    )
    done = worker.execute("python", "-c", program, f"http://127.0.0.1:6066{path}", token)
    assert done.returncode == 0, done.stderr
    status, _, body = done.stdout.partition(" ")
    return int(status), json.loads(body)


def share_the_work(workers: list[Container], urls: list[str]) -> bool:
    """Whether each worker has a part, and knows the whole, from the others too."""
    for worker in workers:
        _, answer = ask(worker, "/workers/")
        known = {each["url"]: each["partitions"] for each in answer["workers"]}
        if sorted(known) != sorted(urls) or not all(known.values()):
            return False
        _, inventory = ask(worker, "/inventory/")
        if inventory["missing"] or inventory["partitions"] != list(range(8)):
            return False
    return True


@pytest.mark.usefixtures("containers")
def test_a_root_who_may_make_no_containers_is_told_so() -> None:
    program = [sys.executable, "-c", "from support.containers import hindrance; print(hindrance())"]
    within = {"PYTHONPATH": str(PROJECT / "tests"), "PATH": os.environ["PATH"]}
    done = subprocess.run(["setpriv", "--bounding-set=-all", *program], env=within, capture_output=True, text=True)
    assert done.stdout.startswith("Containers need a root who may make them: unshare: unshare failed: ")


@pytest.mark.usefixtures("containers")
def test_what_tests_that_were_killed_left_behind_is_removed() -> None:
    left = (
        "import os, signal, subprocess, tempfile\n"
        "from support.containers import ip\n"
        "name = f'yasdg-{os.getpid()}-'\n"
        "ip('netns', 'add', name + 'left')\n"
        "area = tempfile.mkdtemp(dir='/dev/shm', prefix=name)\n"
        "command = ['ip', 'netns', 'exec', name + 'left', 'sleep', '300']\n"
        "process = subprocess.Popen(command, stdout=subprocess.DEVNULL)\n"
        "while str(process.pid) not in ip('netns', 'pids', name + 'left').split(): pass\n"
        "print(name + 'left', area, process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    within = {"PYTHONPATH": str(PROJECT / "tests"), "PATH": os.environ["PATH"]}
    done = subprocess.run([sys.executable, "-c", left], env=within, stdout=subprocess.PIPE, text=True, timeout=60)
    space, area, process = done.stdout.split()
    assert psutil.pid_exists(int(process))
    sweep()
    assert space not in ip("netns", "list")
    assert not Path(area).exists()
    with contextlib.suppress(psutil.NoSuchProcess):
        while psutil.Process(int(process)).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)


def test_a_command_needs_no_network_no_root_and_no_file_to_write(started: Any) -> None:
    plan = started("once", environment={"YASDG_CONFIG": "config/scenarios/week.ini"}, command=["plan"])
    assert plan.ends() == 0
    assert "storm" in plan.said


def test_without_a_token_a_worker_says_what_is_missing(started: Any, compose: dict[str, Any]) -> None:
    how = as_composed(compose, "worker-1")
    how["environment"] = {name: value for name, value in how["environment"].items() if name != "YASDG_WEB_TOKEN"}
    worker = started("once", **how)
    assert worker.ends() == 2
    assert "set [WEB] token, or YASDG_WEB_TOKEN" in worker.said


def test_without_a_kafka_it_says_that_it_has_no_java_for_one(started: Any) -> None:
    worker = started("once", environment={"PATH": "/opt/yasdg/bin"}, tmpfs=["/tmp", "/var/lib/yasdg:uid=10001"])
    assert worker.ends() == 1
    line = worker.said.splitlines()[-1].strip()
    assert "yasdg: The embedded broker needs Java 17 or newer and found none. " in line
    assert line.endswith("or name an existing Kafka in [KAFKA] bootstrap_servers.")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_process_1_can_be_stopped_before_it_has_begun(started: Any, compose: dict[str, Any], number: int) -> None:
    worker = started("once", **as_composed(compose, "worker-1"))
    # Both are handled from the same moment on; before, Python itself does something at SIGINT.
    worker.until(lambda: handles(worker, signal.SIGTERM), "process 1 handles signals, as nobody does it for it")
    worker.signal(number)
    assert worker.ends(10) == 128 + number


def handles(worker: Container, number: int) -> bool:
    status = Path(f"/proc/{worker.first_process.pid}/status").read_text()
    caught = re.search(r"^SigCgt:\s*(\w+)", status, re.MULTILINE)
    assert caught
    return bool(int(caught[1], 16) >> (number - 1) & 1)


@pytest.mark.usefixtures("kafka")
def test_two_workers_sell_as_they_are_composed(started: Any, image: Image, compose: dict[str, Any]) -> None:
    workers = [started(name, **as_composed(compose, name)) for name in ("worker-1", "worker-2")]
    check = compose["services"]["worker-1"]["healthcheck"]["test"]
    assert check[0] == "CMD"
    for worker in workers:
        worker.until(lambda worker=worker: worker.execute(*check[1:]).returncode == 0, "it is healthy")
        assert worker.execute(*image.health).returncode == 0
        assert worker.first_process.uids().real == 10001
        with pytest.raises(OSError, match="Read-only"):
            os.close(os.open(f"/proc/{worker.first_process.pid}/root/opt/x", os.O_CREAT))
    urls = ["http://worker-1:6066", "http://worker-2:6066"]
    workers[0].until(lambda: share_the_work(workers, urls), "they share the work, and ask each other")
    assert ask(workers[0], "/inventory/", token="another-token-than-theirs")[0] == 401

    for worker in workers:
        worker.signal(signal.SIGTERM)
    assert [worker.ends() for worker in workers] == [0, 0]
    audit = started("once", **as_composed(compose, "worker-1"), command=["audit"])
    assert audit.ends() == 0
    assert "The books balance." in audit.said


@pytest.mark.usefixtures("kafka")
def test_two_pods_sell_as_the_manifests_say(started: Any, image: Image) -> None:
    workers_of, configuration = manifests("workers.yaml", "configuration.yaml")
    pod = workers_of["spec"]["template"]["spec"]
    (described,) = pod["containers"]
    pods = []
    for name in ("yasdg-0", "yasdg-1"):
        environment = {each["name"]: each.get("value", "") for each in described["env"]}
        environment |= {"POD_NAME": name, "YASDG_WEB_TOKEN": TOKEN}
        arguments = [argument.replace("$(POD_NAME)", name) for argument in described["args"]]
        assert "$" not in "".join(arguments)
        # Another Kafka than Strimzi's, and the shop of another test is on it.
        environment |= {"YASDG_KAFKA_BOOTSTRAP_SERVERS": "kafka:19092", "YASDG_KAFKA_REPLICATION_FACTOR": "1"}
        environment |= {"YASDG_KAFKA_APPLICATION_ID": "pods"}
        environment |= {
            f"YASDG_KAFKA_TOPIC_{topic}": f"pods.{topic}"
            for topic in ("PRODUCTS", "PURCHASES", "STOCKINGS", "LOST_SALES", "INCIDENTS", "DEAD_LETTERS")
        }
        mounts = {each["name"]: each["mountPath"] for each in described["volumeMounts"]}
        files = {f"{mounts['configuration']}/{file}": text for file, text in configuration["data"].items()}
        empty = [f"{mounts[each['name']]}:mode=777" for each in pod["volumes"] if "emptyDir" in each]
        pods.append(started(name, environment=environment, command=arguments, tmpfs=empty, files=files))
    for each in pods:
        each.until(lambda each=each: is_ready(each, described["readinessProbe"]), "it is ready")
        assert is_ready(each, described["livenessProbe"])
    urls = ["http://yasdg-0.yasdg:6066", "http://yasdg-1.yasdg:6066"]
    pods[0].until(lambda: share_the_work(pods, urls), "they share the work, and ask each other")


def is_ready(pod: Container, probe: dict[str, Any]) -> bool:
    """Probe a pod as Kubernetes does: by its address, and without a token."""
    address = f"http://{pod.name}:6066{probe['httpGet']['path']}"
    program = f"from urllib.request import urlopen; urlopen({address!r}, timeout={probe['timeoutSeconds']})"
    return pod.execute("python", "-c", program).returncode == 0


@pytest.mark.usefixtures("systemd")
def test_systemd_finds_nothing_wrong_where_yasdg_is_installed(image: Image) -> None:
    text = UNIT.read_text()
    with_examples = re.sub(r"^#(?=\w+=)", "", text, flags=re.MULTILINE)
    assert "\nLoadCredential=" in with_examples
    for each in (text, with_examples):
        image.layer.joinpath("yasdg.service").write_text(each)
        done = image.run("systemd-analyze", "verify", "/yasdg.service")
        assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_a_worker_of_systemd_can_read_its_configuration_and_not_its_environment(image: Image) -> None:
    told = (PROJECT / "docs" / "deployment.md").read_text()
    installs = [line for line in re.findall(r"^    (install .*)$", told, re.MULTILINE) if "/etc/yasdg" in line]
    script = "\n".join([*installs, "umask 022", "echo [KAFKA] >/etc/yasdg/configuration.ini"])
    assert image.run("sh", "-euc", script).returncode == 0
    nobody = ["setpriv", "--reuid=65000", "--regid=65000", "--clear-groups", "cat"]
    assert image.run(*nobody, "/etc/yasdg/configuration.ini").stdout == "[KAFKA]\n"
    assert image.run("cat", "/etc/yasdg/environment").returncode == 0
    assert image.run(*nobody, "/etc/yasdg/environment").returncode != 0
