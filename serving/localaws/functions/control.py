"""Lambda's control plane: functions and published versions."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from serving.localaws import account
from serving.localaws.account import Location, ObjectMissing
from serving.localaws.errors import AwsError
from serving.localaws.functions import describe, rules
from serving.localaws.functions.catalog import Catalog, Function, Name, check_revision, conflict, invalid
from serving.localaws.functions.host import FunctionHost
from serving.localaws.functions.limits import (
    DIRECT_ZIP_BYTES,
    ENVIRONMENT_BYTES,
    LAYERS,
    REQUEST_BYTES,
    RESERVED_VARIABLES,
)
from serving.localaws.functions.packages import Package, PackageStore, check_size
from serving.localaws.functions.revision import LATEST, LayerVersion, Revision
from serving.localaws.pages import LAMBDA
from serving.localaws.protocol import Call, Members, Operation

# Members of CreateFunction and UpdateFunctionConfiguration that are kept as they come.
_SETTINGS = (
    "Runtime", "Role", "Handler", "Description", "Timeout", "MemorySize", "VpcConfig", "DeadLetterConfig",
    "Environment", "KMSKeyArn", "TracingConfig", "FileSystemConfigs", "Architectures", "EphemeralStorage", "SnapStart",
    "LoggingConfig",
)  # fmt: skip


class FunctionControl:
    """Makes, changes, publishes and deletes functions.

    Args:
        settle_seconds: How long a change stays Pending or InProgress.
    """

    def __init__(self, host: FunctionHost, packages: PackageStore, *, endpoint: str, settle_seconds: float) -> None:
        self._host = host
        self._packages = packages
        self._endpoint = endpoint
        self._settle_seconds = settle_seconds
        self._catalogs: dict[str, Catalog] = {}

    def catalog(self, region: str) -> Catalog:
        """One region's functions and layers."""
        return self._catalogs.setdefault(region, Catalog(region))

    def catalogs(self) -> list[Catalog]:
        """Every region's."""
        return list(self._catalogs.values())

    def operations(self) -> Mapping[str, Operation]:
        """Lambda's names of what is done here."""
        return {
            "CreateFunction": self.create,
            "GetFunction": self.get,
            "GetFunctionConfiguration": self.get_configuration,
            "ListFunctions": self.list_all,
            "UpdateFunctionCode": self.update_code,
            "UpdateFunctionConfiguration": self.update_configuration,
            "PublishVersion": self.publish,
            "ListVersionsByFunction": self.list_versions,
            "DeleteFunction": self.delete,
        }

    def create(self, call: Call) -> Members:
        """CreateFunction."""
        params, catalog = call.params, self.catalog(call.region)
        name = Name.parse(params["FunctionName"]).name
        if params.get("PackageType", "Zip") != "Zip":
            raise invalid("The local AWS has no container images for functions; send a zip.")
        settings = {key: params[key] for key in _SETTINGS if params.get(key) is not None}
        self._check_settings(settings, call.region)
        settings = rules.normal(settings)
        package, layers = self._package(params["Code"]), self._layers(catalog, params.get("Layers") or [])
        check_size(package, [layer.package for layer in layers])
        with catalog.lock:
            if name in catalog.functions:
                raise conflict(f"Function already exist: {name}")
            latest = Revision(
                name,
                catalog.arn(name),
                LATEST,
                package,
                layers,
                settings,
                datetime.now(UTC),
                self._settled(),
                created=True,
            )
            function = catalog.functions[name] = Function(latest, tags=dict(params.get("Tags") or {}))
            shown = self._publish(function, "") if params.get("Publish") else latest
        return describe.configuration(shown, now=0.0)

    def get(self, call: Call) -> Members:
        """GetFunction."""
        function, revision, arn = self._find(call)
        answer: Members = {
            "Configuration": describe.configuration(revision, time.time(), arn=arn),
            "Code": {
                "RepositoryType": "S3",
                "Location": f"{self._endpoint}/_slipway/packages/{revision.package.sha256}",
            },
        }
        if function.tags:
            answer["Tags"] = dict(function.tags)
        if function.reserved is not None:
            answer["Concurrency"] = {"ReservedConcurrentExecutions": function.reserved}
        return answer

    def get_configuration(self, call: Call) -> Members:
        """GetFunctionConfiguration."""
        _, revision, arn = self._find(call)
        return describe.configuration(revision, time.time(), arn=arn)

    def _find(self, call: Call) -> tuple[Function, Revision, str]:
        name = Name.parse(call.params["FunctionName"], call.params.get("Qualifier"))
        function = self.catalog(call.region).function(name)
        revision = function.resolve(name.qualifier)
        return function, revision, revision.arn + (f":{name.qualifier}" if name.qualifier else "")

    def list_all(self, call: Call) -> Members:
        """ListFunctions, in pages."""
        catalog = self.catalog(call.region)
        shown: list[Revision] = []
        for revision in catalog.revisions():
            shown.append(revision)
            if call.params.get("FunctionVersion") == "ALL":
                shown += catalog.functions[revision.name].versions.values()
        page, more = LAMBDA.cut(shown, call.params)
        return {"Functions": [describe.configuration(revision, time.time()) for revision in page], **more}

    def list_versions(self, call: Call) -> Members:
        """ListVersionsByFunction, in pages, $LATEST first."""
        function, _, _ = self._find(call)
        latest = describe.configuration(function.latest, time.time(), arn=f"{function.latest.arn}:{LATEST}")
        versions = [latest, *(describe.configuration(r, time.time()) for r in function.versions.values())]
        page, more = LAMBDA.cut(versions, call.params)
        return {"Versions": page, **more}

    def update_code(self, call: Call) -> Members:
        """UpdateFunctionCode."""
        params, catalog = call.params, self.catalog(call.region)
        package = self._package(params)
        with catalog.lock:
            function = self._changeable(catalog, params)
            check_size(package, [layer.package for layer in function.latest.layers])
            settings = dict(function.latest.settings)
            if params.get("Architectures"):
                settings["Architectures"] = params["Architectures"]
            if params.get("DryRun"):
                return describe.configuration(function.latest, time.time())
            function.latest = function.latest.changed(settled_at=self._settled(), package=package, settings=settings)
            shown = self._publish(function, "") if params.get("Publish") else function.latest
        self._host.retire(function.latest.arn, keep=function.latest, version=LATEST)
        return describe.configuration(shown, now=0.0)

    def update_configuration(self, call: Call) -> Members:
        """UpdateFunctionConfiguration."""
        params, catalog = call.params, self.catalog(call.region)
        given = {key: params[key] for key in _SETTINGS if params.get(key) is not None}
        with catalog.lock:
            function = self._changeable(catalog, params)
            latest = function.latest
            settings = {**latest.settings, **given}
            self._check_settings(settings, call.region)
            settings = rules.normal(settings)
            layers = latest.layers if params.get("Layers") is None else self._layers(catalog, params["Layers"])
            check_size(latest.package, [layer.package for layer in layers])
            function.latest = latest.changed(settled_at=self._settled(), settings=settings, layers=layers)
        self._host.retire(function.latest.arn, keep=function.latest, version=LATEST)
        return describe.configuration(function.latest, now=0.0)

    def _changeable(self, catalog: Catalog, params: Members) -> Function:
        function = catalog.function(Name.parse(params["FunctionName"]))
        check_revision(params.get("RevisionId"), function.latest.revision_id, "GetFunction/GetAlias")
        if time.time() < function.latest.settled_at:
            raise conflict(
                "The operation cannot be performed at this time. An update is in progress for resource: "
                f"{function.latest.arn}"
            )
        return function

    def publish(self, call: Call) -> Members:
        """PublishVersion: the last version again when nothing changed since."""
        params, catalog = call.params, self.catalog(call.region)
        with catalog.lock:
            function = self._changeable(catalog, params)
            wanted, found = params.get("CodeSha256"), function.latest.package.code_sha256
            if wanted and wanted != found:
                raise invalid(
                    f"CodeSHA256 ({wanted}) is different from current CodeSHA256 in $LATEST ({found}). "
                    "Please try again with the CodeSHA256 in $LATEST."
                )
            revision = self._publish(function, params.get("Description", ""))
        return describe.configuration(revision, now=0.0)

    def _publish(self, function: Function, description: str) -> Revision:
        last = function.versions.get(str(function.published))
        if last is not None and last.same_content(function.latest):
            return last
        function.published += 1
        version = str(function.published)
        settings = {**function.latest.settings, **({"Description": description} if description else {})}
        made = function.latest.changed(settled_at=self._settled(), version=version, settings=settings)
        function.versions[version] = made
        return made

    def delete(self, call: Call) -> Members:
        """DeleteFunction: the whole function, or one version; its processes end."""
        catalog, name = self.catalog(call.region), Name.parse(call.params["FunctionName"], call.params.get("Qualifier"))
        with catalog.lock:
            function = catalog.function(name)
            if name.qualifier is None:
                del catalog.functions[name.name]
            else:
                self._delete_version(function, name.qualifier)
        self._host.retire(function.latest.arn, version=name.qualifier)
        return {}

    def _delete_version(self, function: Function, version: str) -> None:
        if version == LATEST or version in function.aliases:
            raise invalid("$LATEST version cannot be deleted without deleting the function.")
        users = [a.name for a in function.aliases.values() if version in (a.version, *dict(a.weights))]
        if users:
            raise conflict(f"Version {version} is referenced by alias {', '.join(users)}; delete or move it first.")
        function.versions.pop(version, None)

    def _settled(self) -> float:
        return time.time() + self._settle_seconds

    def _package(self, code: Members) -> Package:
        if code.get("ZipFile") is not None:
            content = code["ZipFile"]
            if len(content) > REQUEST_BYTES * 3 // 4:
                message = f"Request must be smaller than {REQUEST_BYTES} bytes for the CreateFunction operation"
                raise AwsError("RequestEntityTooLargeException", message, status=413)
            if len(content) > DIRECT_ZIP_BYTES:
                raise invalid(f"Zipped size must be smaller than {DIRECT_ZIP_BYTES} bytes; put it in S3.")
        else:
            content = self.from_s3(code)
        return self._packages.add(content)

    @staticmethod
    def from_s3(code: Members) -> bytes:
        """The zip that a request points to.

        Raises:
            AwsError: It points to nothing.
        """
        if not code.get("S3Bucket") or not code.get("S3Key"):
            raise invalid("Please provide a source for function code.")
        try:
            return account.read_object(Location(code["S3Bucket"], code["S3Key"]), code.get("S3ObjectVersion"))
        except ObjectMissing as error:
            raise invalid(
                f"Error occurred while GetObject. S3 Error Code: {error.code}. S3 Error Message: {error.message}"
            ) from error

    @staticmethod
    def _layers(catalog: Catalog, arns: Sequence[str]) -> tuple[LayerVersion, ...]:
        if len(arns) > LAYERS:
            raise invalid(f"Cannot reference more than {LAYERS} layers.")
        return tuple(catalog.layer_version(arn) for arn in arns)

    def _check_settings(self, settings: Mapping[str, Any], region: str) -> None:
        self.check_runtime(settings.get("Runtime"), "runtime", " or be a valid ARN")
        if not account.role_trusts(str(settings["Role"]), "lambda.amazonaws.com"):
            raise invalid("The role defined for the function cannot be assumed by Lambda.")
        variables: dict[str, str] = (settings.get("Environment") or {}).get("Variables") or {}
        taken = sorted(RESERVED_VARIABLES & set(variables))
        if taken:
            raise invalid(
                "Lambda was unable to configure your environment variables because the environment variables you have "
                "provided contains reserved keys that are currently not supported for modification. "
                f"Reserved keys used in this request: {', '.join(taken)}"
            )
        if sum(len(key.encode()) + len(value.encode()) for key, value in variables.items()) > ENVIRONMENT_BYTES:
            raise invalid(
                "Lambda was unable to configure your environment variables because the environment variables you have "
                "provided exceeded the 4KB limit."
            )
        rules.check(settings, region)

    def check_runtime(self, runtime: str | None, where: str, tail: str = "") -> None:
        """Refuse a runtime that no interpreter here can play, as AWS refuses one that it does not know.

        Raises:
            AwsError: There is none; the offered ones are in the message's brackets.
        """
        if runtime is not None and runtime not in self._host.runtimes:
            offered = ", ".join(self._host.runtimes)
            raise invalid(
                f"Value {runtime} at '{where}' failed to satisfy constraint: Member must satisfy enum value set: "
                f"[{offered}]{tail}"
            )
