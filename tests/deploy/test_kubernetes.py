"""The manifests in deploy/kubernetes: against the schemas of Kubernetes, and against each other."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import kubernetes_validate
import pytest
import yaml
from dagster._config import process_config
from dagster_k8s import K8sRunLauncher
from dagster_k8s.client import DagsterKubernetesClient
from dagster_k8s.job import construct_dagster_k8s_job
from kubernetes.client import ApiClient

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "deploy" / "kubernetes"
BASE = MANIFESTS / "base"
SECRETS = {"PGPASSWORD", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}


def resources() -> list[dict[str, Any]]:
    """Every resource of base and components."""
    found = []
    for kustomization in sorted(MANIFESTS.glob("*/**/kustomization.yaml")):
        for name in yaml.safe_load(kustomization.read_text()).get("resources", []):
            if (path := kustomization.parent / name).is_file():
                found += [resource for resource in yaml.safe_load_all(path.read_text()) if resource]
    return found


def pods() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """The name of each workload, its pod's labels and its pod's specification."""
    for resource in resources():
        template = resource.get("spec", {}).get("template")
        if template:
            yield resource["metadata"]["name"], template["metadata"]["labels"], template["spec"]


def settings() -> dict[str, str]:
    return dict(line.split("=", 1) for line in (BASE / "settings.env").read_text().splitlines())


def test_every_resource_fits_its_schema_and_has_no_field_that_is_unknown() -> None:
    found = resources()
    for resource in found:
        kubernetes_validate.validate(resource, kubernetes_validate.latest_version(), strict=True)
    kinds = {resource["kind"] for resource in found}
    assert {"Deployment", "StatefulSet", "Job", "Service", "PersistentVolumeClaim", "Role", "NetworkPolicy"} <= kinds


def test_the_schemas_can_fail() -> None:
    deployment = next(resource for resource in resources() if resource["kind"] == "Deployment")
    deployment["spec"]["replica"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, kubernetes_validate.latest_version(), strict=True)


def test_no_pod_is_root_or_may_become_it() -> None:
    for name, _, pod in pods():
        assert pod["securityContext"]["runAsNonRoot"], name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in pod["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False, name
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, name
            assert "memory" in container["resources"]["limits"], name


def test_each_service_finds_its_pods_and_its_port() -> None:
    by_label = {labels["app"]: pod for _, labels, pod in pods()}
    services = [resource for resource in resources() if resource["kind"] == "Service"]
    assert {service["metadata"]["name"] for service in services} >= {"code-location", "webserver", "service", "db"}
    for service in services:
        (container,) = by_label[service["spec"]["selector"]["app"]]["containers"]
        open_ports = {port["containerPort"] for port in container["ports"]}
        assert {port["port"] for port in service["spec"]["ports"]} <= open_ports
        assert service["spec"].get("type", "ClusterIP") == "ClusterIP"  # nothing is published by itself


def test_volumes_maps_and_secrets_that_are_named_exist() -> None:
    claims = {resource["metadata"]["name"] for resource in resources() if resource["kind"] == "PersistentVolumeClaim"}
    maps = {
        generated["name"]
        for kustomization in MANIFESTS.glob("*/**/kustomization.yaml")
        for generated in yaml.safe_load(kustomization.read_text()).get("configMapGenerator", [])
    }
    for name, _, pod in pods():
        for volume in pod.get("volumes", []):
            assert volume.get("persistentVolumeClaim", {}).get("claimName") in {None, *claims}, name
            assert volume.get("configMap", {}).get("name") in {None, *maps}, name
        for container in pod["containers"]:
            for source in container.get("envFrom", []):
                assert source.get("configMapRef", source.get("secretRef"))["name"] in {
                    *maps,
                    "earthsignature-secrets",
                }
            for variable in container.get("env", []):
                if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
                    assert reference["name"] == "earthsignature-secrets"
                    assert reference["key"] in SECRETS
    told = (MANIFESTS / "overlays" / "example" / "kustomization.yaml").read_text()
    assert set(re.findall(r"--from-literal=(\w+)=", told)) == SECRETS
    assert not any(resource["kind"] == "Secret" for resource in resources())


def test_variables_are_settings_and_hold_no_secret(known_variables: set[str]) -> None:
    files = [path.read_text() for path in MANIFESTS.rglob("*") if path.suffix in {".yaml", ".env"}]
    named = {name for text in files for name in re.findall(r"\bEARTHSIGNATURE_\w+", text)}
    assert {"EARTHSIGNATURE_STORE", "EARTHSIGNATURE_TRITON"} <= named <= known_variables
    assert not SECRETS & set(settings())
    read = set(re.findall(r"env: (\w+)", (BASE / "dagster.yaml").read_text()))
    assert read <= set(settings())


def test_the_platform_runs_as_compose_runs_it(check_command: Callable[[list[str]], None]) -> None:
    compose = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())["services"]
    commands = {name: pod["containers"][0].get("command") for name, _, pod in pods()}
    for name in ("code-location", "webserver", "daemon", "service"):
        assert commands[name] == compose[name]["command"]
    for _, _, pod in pods():
        for container in pod["containers"]:
            for probe in ("readinessProbe", "livenessProbe"):
                command = container.get(probe, {}).get("exec", {}).get("command", ["pg_isready"])
                if command[0] != "pg_isready":
                    check_command(command)
    images = {container["image"] for _, _, pod in pods() for container in pod["containers"]}
    assert images <= {service["image"] for service in compose.values()}


def test_copies_are_equal() -> None:
    assert (BASE / "workspace.yaml").read_text() == (ROOT / "deploy" / "workspace.yaml").read_text()
    copied = MANIFESTS / "components" / "postgres" / "create-databases.sql"
    assert copied.read_text() == (ROOT / "deploy" / "postgres" / "create-databases.sql").read_text()


def test_the_job_of_a_run_fits_its_schema_and_has_what_a_run_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    content = yaml.safe_load((BASE / "dagster.yaml").read_text())["run_launcher"]["config"]
    processed = process_config(K8sRunLauncher.config_type(), content)
    assert processed.success, processed.errors
    monkeypatch.setattr("kubernetes.config.load_incluster_config", lambda: None)  # there is no cluster here
    monkeypatch.setattr(DagsterKubernetesClient, "production_client", lambda **_: None)
    launcher = K8sRunLauncher(**(processed.value or {}))
    context = launcher.get_container_context_for_run(dg.DagsterRun(job_name="land_cover"))
    made = construct_dagster_k8s_job(
        context.get_k8s_job_config("registry.example/earthsignature:0.1.0", launcher),
        args=["dagster", "api", "execute_run"],
        job_name="run",
        user_defined_k8s_config=context.run_k8s_config,
    )
    job = ApiClient().sanitize_for_serialization(made)
    kubernetes_validate.validate(job, kubernetes_validate.latest_version(), strict=True)
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert {mount["mountPath"] for mount in container["volumeMounts"]} >= {"/var/lib/earthsignature", "/tmp"}
    assert {"secretRef": {"name": "earthsignature-secrets"}} in container["envFrom"]
    assert job["spec"]["ttlSecondsAfterFinished"] == 86400


def test_kustomize_builds_everything_with_one_image() -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed: it builds the overlay")
    built = subprocess.run(
        ["kubectl", "kustomize", str(MANIFESTS / "overlays" / "example")], capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    found = list(yaml.safe_load_all(built.stdout))
    for resource in found:
        kubernetes_validate.validate(resource, kubernetes_validate.latest_version(), strict=True)
        assert resource["metadata"].get("namespace") == "earthsignature"
    images = set(re.findall(r"(?:image|value): (\S*/earthsignature:\S+)", built.stdout))
    assert images == {"registry.example/earthsignature:0.1.0"}
    (configured,) = [one["data"] for one in found if one["metadata"]["name"] == "earthsignature-settings"]
    assert configured["EARTHSIGNATURE_TRITON"] == "triton:8001"
